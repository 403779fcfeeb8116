"""``jfstore verify``: check every stored byte of a repository."""

from __future__ import annotations

import argparse

from jfstore.cli.options import Parser, add_json, add_repo
from jfstore.cli.output import count, emit, note, progress
from jfstore.cli.writing import confirm_real, open_to_read, open_to_write, place_to_write

_DAY = 86400.0
EPILOG = """\
The command reads every file and compares it with the log: size, BLAKE3 of the file and of each array, the chain of
the commits, the links of the index. It lists all problems with the versions that they affect; the exit code is 4 if
there are any. Files that an interrupted writer left behind do no harm; they are listed as notes. So are DCS files in
the directory of the repository (jungfrau-<detector Id>.h5) that jfstore import has not imported as they are now.

examples:
  jfstore verify --repo real
  jfstore verify --repo real --rebuild-index
  jfstore verify --repo real --repair-from s3://bucket/jungfrau
"""


def add_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--quick", action="store_true", help="do not read the arrays: check sizes, log and index only")
    add("--clean", action="store_true", help="first remove temporary files that are older than a day")
    add("--rebuild-index", action="store_true", help="first rebuild the index from the log")
    text = "first restore, bit for bit, what is damaged or missing from a copy of the repository: a name, path or URL"
    add("--repair-from", metavar="MIRROR", help=text)
    add("--yes", action="store_true", help="do not ask before a real repository is changed")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.repository.verify import verify

    restored = _repair(args) if args.repair_from else ()
    changes = args.clean or args.rebuild_index
    repository = open_to_write(args) if changes else open_to_read(args)
    if changes:
        confirm_real(args, repository)
    removed = repository.storage.clean(_DAY) if args.clean else []
    for name in removed:
        note(f"removed {name}")
    if args.rebuild_index:
        repository.rebuild_index()
    with progress("verify") as show:
        report = verify(repository, quick=args.quick, progress=show)
    problems = [{"file": p.file, "what": p.message, "versions": list(p.versions)} for p in report.problems]
    notes = [{"file": name, "what": text} for name, text in report.notes]
    value = {
        "repository": {"id": repository.id, "path": repository.location},
        "commits": report.commits,
        "versions": report.versions,
        "files": report.files,
        "quick": args.quick,
        "removed": removed,
        "restored": restored,
        "problems": problems,
        "notes": notes,
    }
    rows = [{"state": "problem", **row} for row in problems]
    emit(args, value, rows + [{"state": "note", **row} for row in notes], ["state", "file", "what", "versions"])
    numbers = (report.commits, "commit"), (report.versions, "version"), (report.files, "payload")
    counts = ", ".join(count(*number) for number in numbers)
    if report.problems:
        note(f"{count(len(report.problems), 'problem')} in {repository.location} ({counts})")
        return report.exit_code
    note(f"{repository.location} is sound ({counts}{', arrays not read' if args.quick else ''})")
    return 0


def _repair(args: argparse.Namespace) -> tuple[str, ...]:
    """Restore from a mirror; return the names of the files restored."""
    from jfstore.repository.catalogue import locate, open_repository
    from jfstore.repository.repair import repair

    place = place_to_write(args)
    source = open_repository(args.repair_from)
    # Copies of one repository have one role; the damaged one may not be able to say its own.
    confirm_real(args, source, str(locate(place)[1]))
    with progress("repair") as show:
        restored = repair(place, source, progress=show)
    for name in restored:
        note(f"restored {name}")
    return restored
