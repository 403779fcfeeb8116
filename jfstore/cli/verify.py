"""``jfstore verify``: is every stored byte sound?"""

from __future__ import annotations

import argparse

from jfstore.cli.options import Parser, add_json, add_repo
from jfstore.cli.output import count, emit, note, progress
from jfstore.cli.writing import confirm_real, open_to_read, open_to_write
from jfstore.errors import Damaged

_DAY = 86400.0
SUMMARY = "Check every stored byte of a repository."
EPILOG = """\
Every file is read and compared with what the log says: size, BLAKE3 of the file and of each
array, the chain of the commits, the links of the index. All problems are listed with the
versions they affect, and the exit code is 4 if there are any. What a writer that was stopped
left behind does no harm; it is listed as a note.

examples:
  jfstore verify --repo real
  jfstore verify --repo real --rebuild-index
  jfstore verify --repo real --repair-from s3://bucket/jungfrau
"""


def add_options(parser: Parser) -> None:
    parser.add_argument("--quick", action="store_true", help="do not read the arrays: sizes, log and index only")
    parser.add_argument("--clean", action="store_true", help="first remove temporary files older than a day")
    parser.add_argument("--rebuild-index", action="store_true", help="first make the index anew from the log")
    parser.add_argument(
        "--repair-from",
        metavar="MIRROR",
        help="first restore what is damaged or missing, bit for bit, from a copy of the repository: "
        "a name, a path, or a URL",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before any of these on a real repository")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.repository.verify import verify

    args.dry_run = False
    restored = _repair(args) if args.repair_from else []
    changes = args.clean or args.rebuild_index
    repository = open_to_write(args) if changes else open_to_read(args)
    if changes and repository.role == "real" and not args.yes:
        confirm_real(repository.location)
    removed = repository.storage.clean(_DAY) if args.clean else []
    for name in removed:
        note(f"removed {name}")
    if args.rebuild_index:
        repository.rebuild_index()
    with progress("verify") as show:
        report = verify(repository, quick=args.quick, progress=show)
    rows = [
        {"state": "problem", "file": problem.file, "what": problem.message, "versions": list(problem.versions)}
        for problem in report.problems
    ]
    value = {
        "repository": {"id": repository.identity.id, "path": repository.storage.location},
        "commits": report.commits,
        "versions": report.versions,
        "files": report.files,
        "quick": args.quick,
        "removed": removed,
        "restored": restored,
        "problems": [{field: row[field] for field in ("file", "what", "versions")} for row in rows],
        "notes": [{"file": name, "what": text} for name, text in report.notes],
    }
    rows += [{"state": "note", "file": name, "what": text} for name, text in report.notes]
    emit(args, value, rows, ["state", "file", "what", "versions"])
    counted = (
        f"{count(report.commits, 'commit')}, {count(report.versions, 'version')}, {count(report.files, 'payload')}"
    )
    if report.problems:
        note(f"{count(len(report.problems), 'problem')} in {repository.storage.location} ({counted})")
        return Damaged.exit_code
    note(f"{repository.storage.location} is sound ({counted}{', arrays not read' if args.quick else ''})")
    return 0


def _repair(args: argparse.Namespace) -> list[str]:
    """Restore from a mirror; return the names of what was restored."""
    from jfstore.repository.catalogue import broken_storage, open_repository
    from jfstore.repository.log import IDENTITY_NAME
    from jfstore.repository.repair import repair, repair_identity

    source = open_repository(args.repair_from)
    restored = []
    storage = broken_storage(args.repo, source) if hasattr(args, "repo") else None
    if storage:
        if source.identity.role == "real" and not args.yes:
            confirm_real(storage.location)
        repair_identity(storage, source)
        restored.append(IDENTITY_NAME)
    repository = open_to_write(args)
    if repository.role == "real" and not args.yes:
        confirm_real(repository.location)
    with progress("repair") as show:
        restored += repair(repository, source, show)
    for name in restored:
        note(f"restored {name}")
    return restored
