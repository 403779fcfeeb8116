"""``jfstore audit``: check whether deployed files still match a repository."""

from __future__ import annotations

import argparse
from typing import Any

from jfstore.cli.as_of import resolve_as_of
from jfstore.cli.options import Once, Parser, add_as_of, add_json, add_repo
from jfstore.cli.output import count, emit, note, progress
from jfstore.cli.program import warn_all
from jfstore.cli.writing import open_to_read
from jfstore.errors import BadValue, Damaged

EPILOG = """\
The command compares every deployed file of the types that psana1 reads with the repository, also files that were made
before jfstore: by the file's hash, which the note beside it holds; else by the hash of each panel's array; else by its
values, which psana's commands rounded: gains to %.4f, offsets to %.1f, pedestals and noise to %.3f. It prints the state
of each file:

  current       it holds the constants that are valid now for its run
  stale         other constants are valid now; the command says which, and since when
  edited        somebody changed values after it was deployed
  rounded copy  it holds the values of a version with fewer digits
  unknown       it matches no stored version, or its run is not known
  unreadable    it is not a text of constants, or is cut off

The start of a run and its panels come from its XTC files; its experiment is the name of the directory above calib,
or -e. Without XTC files, the command uses the note. From a bucket it downloads at most 64 arrays of other panels to
recognise values. The exit code is 0 if all files are current, 3 if there are no files, 4 if one is unreadable, else 1.

With --generic, the command compares the DCS files in psana's generic repository, CALIBDIR/jungfrau, by default in
detector/calib under SIT_PSDM_DATA: for each range the version that psana takes, with what is valid at its start.

examples:
  jfstore audit /reg/d/psdm/XCS/xcsls3716/calib
  jfstore audit --generic
  jfstore audit ./calib -e xcsls3716 --repo test
  jfstore audit /reg/d/psdm/*/*/calib | awk -F'\\t' '$1 == "stale"'
"""


def add_options(parser: Parser) -> None:
    parser.add_argument("directories", metavar="CALIBDIR", nargs="*", help="directory that has Jungfrau::CalibV1 in it")
    parser.add_argument("--generic", action="store_true", help="check the DCS files of the generic repository")
    parser.add_argument(
        "-e", "--experiment", metavar="EXP", action=Once, help="experiment of the runs, if the path does not name it"
    )
    add_as_of(parser, "compare with what was valid after that commit, or at that time")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.deployment.audit import audit
    from jfstore.deployment.generic_audit import audit_generic

    if args.generic and (len(args.directories) > 1 or args.experiment is not None):
        raise BadValue("--generic checks one generic repository, which is of no experiment")
    if not (args.generic or args.directories):
        raise BadValue("the calibration directory is missing")
    repository = open_to_read(args)
    as_of = resolve_as_of(args, repository)
    with progress("audit") as show:
        if args.generic:
            place = args.directories[0] if args.directories else None
            done = audit_generic(place, repo=repository, as_of=as_of, progress=show)
        else:
            done = audit(args.directories, experiment=args.experiment, repo=repository, as_of=as_of, progress=show)
    warn_all(done.notes)
    values: list[dict[str, Any]] = []
    for finding in done.findings:
        place = {"source": finding.source, "type": finding.type, "run": finding.run} if finding.source else {}
        result = {"versions": list(finding.versions), "detail": finding.detail}
        values.append({"state": finding.state, "file": finding.path, **place, **result})
    last = repository.log.table().seq if as_of is None else as_of
    value = {"repository": {"id": repository.id, "path": repository.location}, "as_of": last, "files": values}
    emit(args, value, values, ["state", "file", "versions", "detail"])
    counts = ", ".join(f"{number} {state}" for state, number in done.counts.items())
    where = f"{repository.role} repository {repository.location}"
    note(f"{count(len(values), 'file')}: {counts}; compared with the {where}")
    return Damaged.exit_code if "unreadable" in done.counts else int(set(done.counts) != {"current"})
