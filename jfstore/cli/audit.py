"""``jfstore audit``: is what was deployed into calibration directories still right?"""

from __future__ import annotations

import argparse
import os
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from jfstore.cli.options import Once, Parser, add_json, add_repo
from jfstore.cli.output import count, emit, note, progress
from jfstore.cli.writing import open_to_read
from jfstore.errors import Damaged, JfstoreError

if TYPE_CHECKING:
    from jfstore.deployment.audit import Moment
    from jfstore.deployment.calibdir import CalibFile

SUMMARY = "Check whether deployed files still match a repository."
EPILOG = """\
Every deployed file of pixel_gain and pixel_offset is held against the repository, also those that were made before
jfstore: by its hash, which the note beside it has; else by the hash of each panel's array; else by its values, which
the old commands rounded to %.4f (gains) and %.1f (offsets). What it is:

  current       the constants that are valid now for its run
  stale         others are valid now: which, and since when
  edited        somebody changed values after it was deployed
  rounded copy  the values of a version, with fewer digits
  unknown       like nothing that is stored, or its run is not known
  unreadable    not a text of constants, or cut off

When a run began, and with which panels, its XTC files say, whose experiment is the name of the directory above
calib, or -e; where there are none, the note is believed. The exit code is 0 if all are current, 4 if one is
unreadable, else 1.

examples:
  jfstore audit /reg/d/psdm/XCS/xcsls3716/calib
  jfstore audit ./calib -e xcsls3716 --repo test
  jfstore audit /reg/d/psdm/*/*/calib | awk -F'\\t' '$1 == "stale"'
"""


def add_options(parser: Parser) -> None:
    """Add the options and arguments of the command."""
    parser.add_argument("directories", metavar="CALIBDIR", nargs="+", help="directory that has Jungfrau::CalibV1 in it")
    parser.add_argument(
        "-e", "--experiment", metavar="EXP", action=Once, help="experiment of the runs, where the path does not say it"
    )
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from pathlib import Path

    from jfstore.deployment.audit import STATES, Auditor, exit_code
    from jfstore.deployment.calibdir import files

    repository = open_to_read(args)
    found: list[CalibFile] = []
    problems: list[tuple[str, str]] = []
    # A directory that is given twice counts once.
    directories = {os.path.realpath(directory): directory for directory in reversed(args.directories)}
    for listing in [files(Path(directory)) for directory in reversed(directories.values())]:
        found += listing.files
        problems += listing.problems
        for name in listing.ignored:
            note(f"{name}: psana does not read a file of that name")
        for file, other in pairwise(listing.files):
            if (file.source, file.type, file.run) == (other.source, other.type, other.run):
                note(f"{other.path}: for run {file.run} psana takes {file.name} in its place")
    moments = _Moments(args.experiment)
    auditor = Auditor(repository, moments.of)
    findings = []
    with progress("audit") as show, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is odd about a run is for jfstore id to say
        for done, file in enumerate(found):
            show(done, len(found))
            findings.append(auditor.examine(file))
        show(len(found), len(found))
    values: list[dict[str, Any]] = [
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
    ] + [{"state": "unreadable", "file": name, "versions": [], "detail": reason} for name, reason in problems]
    value = {"repository": {"id": repository.identity.id, "path": repository.storage.location}, "files": values}
    emit(args, value, values, ["state", "file", "versions", "detail"])
    counts = {state: sum(value["state"] == state for value in values) for state in STATES}
    said = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    where = f"{repository.identity.role} repository {repository.storage.location}"
    note(f"{count(len(values), 'file')}{': ' if said else ''}{said}, held against the {where}")
    return Damaged.exit_code if problems else exit_code(findings)


class _Moments:
    """For which detector and instant a file should hold constants, as the XTC files of its run say."""

    def __init__(self, experiment: str | None) -> None:
        self._experiment = experiment
        self._known: dict[tuple[str, str, int], Moment | None] = {}

    def of(self, file: CalibFile) -> Moment | None:
        """Return what is known of the run that `file` begins with, None if that is nothing."""
        experiment = self._experiment or os.path.basename(os.path.dirname(os.path.abspath(file.calibdir)))
        key = experiment, file.source, file.run
        if key not in self._known:
            self._known[key] = _moment(*key)
        return self._known[key]


def _moment(experiment: str, source: str, number: int) -> Moment | None:
    from jfstore.deployment.audit import Moment
    from jfstore.runs.run import read_runs

    try:
        for each in read_runs(f"exp={experiment}:run={number}"):
            for jungfrau in each.jungfraus:
                if jungfrau.source == source and jungfrau.panels and each.start is not None:
                    return Moment(tuple(map(str, jungfrau.panels)), each.start)
    except JfstoreError:
        pass  # the tree of runs may not be on this machine
    return None
