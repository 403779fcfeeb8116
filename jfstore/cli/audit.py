"""``jfstore audit``: is what was deployed into calibration directories still right?"""

from __future__ import annotations

import argparse
import warnings
from typing import TYPE_CHECKING, Any

from jfstore.cli._open import open_to_read
from jfstore.cli._output import count, emit, note, progress
from jfstore.cli._parser import Once, add_json, add_repo
from jfstore.errors import JfstoreError

if TYPE_CHECKING:
    from jfstore.audit import Moment
    from jfstore.legacy.calibdir import CalibFile

_EPILOG = """\
Every deployed file of pixel_gain and pixel_offset is held against the repository, also those that were made before
jfstore: by its hash, which the note beside it has; else by the hash of each panel's array; else by its values, which
the old commands rounded to %.4f (gains) and %.1f (offsets). What it is:

  current       the constants that are valid now for its run
  stale         others are valid now: which, and since when
  edited        somebody changed values after it was deployed
  rounded copy  the values of a version, with fewer digits
  unknown       like nothing that is stored, or its run is not known
  unreadable    not a text of constants, or cut off

When a run began is in the note; without one it comes from the XTC files of the experiment, which the directory above
calib names, or -e. The exit code is 0 if all are current, 4 if one is unreadable, else 1.

examples:
  jfstore audit /reg/d/psdm/XCS/xcsls3716/calib
  jfstore audit ./calib -e xcsls3716 --repo test
  jfstore audit /reg/d/psdm/*/*/calib | awk -F'\\t' '$1 == "stale"'
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "audit", help="is what was deployed still right",
        description="Hold the files in calibration directories against a repository.", epilog=_EPILOG,
    )  # fmt: skip
    parser.add_argument("directories", metavar="CALIBDIR", nargs="+", help="directory that has Jungfrau::CalibV1 in it")
    parser.add_argument("-e", "--experiment", metavar="EXP", action=Once,
                        help="experiment of the runs, where the path does not say it")  # fmt: skip
    add_repo(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from pathlib import Path

    from jfstore.audit import STATES, Auditor, exit_code
    from jfstore.legacy.calibdir import files

    repository = open_to_read(args)
    found: list[CalibFile] = []
    for directory in args.directories:
        there, ignored = files(Path(directory))
        found += there
        for name in ignored:
            note(f"{name}: psana does not read a file of that name")
    moments = _Moments(args.experiment)
    auditor = Auditor(repository, moments.of)
    findings = []
    with progress("audit") as show, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is odd about a run is for jfstore id to say
        for done, file in enumerate(found):
            show(done, len(found))
            findings.append(auditor.examine(file))
        show(len(found), len(found))
    values = [
        {
            "state": finding.state,
            "file": str(finding.file.path),
            "source": finding.file.source,
            "type": finding.file.type,
            "run": finding.file.run,
            "versions": list(finding.versions),
            "detail": finding.detail,
        }
        for finding in findings
    ]
    value = {"repository": {"id": repository.identity.id, "path": repository.storage.location}, "files": values}
    emit(args, value, values, ["state", "file", "versions", "detail"])
    counts = {state: sum(finding.state == state for finding in findings) for state in STATES}
    said = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    where = f"{repository.identity.role} repository {repository.storage.location}"
    note(f"{count(len(found), 'file')}{': ' if said else ''}{said}, held against the {where}")
    return exit_code(findings)


class _Moments:
    """For which detector and instant a file should hold constants, as the XTC files of its run say."""

    def __init__(self, experiment: str | None) -> None:
        self._experiment = experiment
        self._known: dict[tuple[str, str, int], Moment | None] = {}

    def of(self, file: CalibFile) -> Moment | None:
        """Return what is known of the run that `file` begins with, None if that is nothing."""
        experiment = self._experiment or file.calibdir.absolute().parent.name
        key = experiment, file.source, file.run
        if key not in self._known:
            self._known[key] = _moment(*key)
        return self._known[key]


def _moment(experiment: str, source: str, number: int) -> Moment | None:
    from jfstore.audit import Moment
    from jfstore.dataset import parse_dataset
    from jfstore.runs.run import read_runs

    try:
        for each in read_runs(parse_dataset(f"exp={experiment}:run={number}")):
            for jungfrau in each.jungfraus:
                if jungfrau.source == source and jungfrau.panels and each.begin is not None:
                    return Moment(tuple(map(str, jungfrau.panels)), each.begin)
    except JfstoreError:
        pass  # the tree of runs may not be on this machine
    return None
