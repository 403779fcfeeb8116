"""``jfstore promote``: from the test to the real repository, content, stamps and origin kept."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from jfstore.cli._added import emit_added
from jfstore.cli._open import open_to_write
from jfstore.cli._output import note, progress
from jfstore.cli._parser import add_write_options
from jfstore.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jfstore.core.records import Version
    from jfstore.repository import Entry, Repository

_EPILOG = """\
The versions keep panel, stamp and content, and remember which version of which repository
they came from; the number is the next one there. Nothing happens if the repository holds
the same content at that stamp already. --dry-run shows for which times answers would change.

example:
  jfstore promote 171113-154920171025-3d00fb/20180306000000/v1 --from test --repo real \\
      -m "checked with run 689"
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "promote",
        help="from test to real, content and origin kept",
        description="Copy versions from one repository to another.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "versions", metavar="VERSION", nargs="+", help="<panel Id>/<stamp>/v<number>, as jfstore list shows it"
    )
    parser.add_argument("--from", dest="source", metavar="NAME|PATH", required=True, help="the repository to copy from")
    parser.add_argument(
        "--superseded", action="store_true", help="also what a higher number of the same stamp has superseded there"
    )
    add_write_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from jfstore.repository.catalogue import open_repository

    source = open_repository(args.source)
    target = open_to_write(args)
    for what in ("id", "panel_shape", "zone", "detector"):
        ours, theirs = getattr(source.identity, what), getattr(target.identity, what)
        if (ours == theirs) == (what == "id"):
            problem = "are the same repository" if what == "id" else f"differ in {what}: {ours}, {theirs}"
            raise Refused(f"{source.storage.location} and {target.storage.location} {problem}")
    # Every name is looked up before the first array is read: all or nothing; the higher number goes last and wins.
    named = {version.name: version for version in map(source.version, args.versions)}
    versions = sorted(named.values(), key=lambda version: (version.panel, version.start, version.number))
    if not args.superseded:
        _refuse_superseded(source, target, versions)
    with progress("promote") as show:

        def entries() -> Iterator[Entry]:
            for done, version in enumerate(versions):
                show(done, len(versions))
                yield source.entry_of(version)

        added = target.add(entries(), args.message, request=args.request, dry_run=args.dry_run)
    changes = _changes(target, added.versions) if args.dry_run else []
    for change in changes:
        until = f"until {change['until']}" if change["until"] else "on"
        now = f"{change['now']} is" if change["now"] else "nothing is"
        note(f"{change['type']} of {change['panel']} would change from {change['from']} {until}; {now} valid there now")
    emit_added(args, target, added, changes=changes)
    return 0


def _refuse_superseded(source: Repository, target: Repository, versions: Sequence[Version]) -> None:
    """Refuse what its own repository has replaced, unless the target holds it already or gets the better one too."""
    from jfstore.core.validity import holding

    table, there = source.log.table(), target.log.table()
    names = {version.name for version in versions}
    for version in versions:
        same = table.version_list(table.rows(version.panel))
        better = [other for other in same if other.start == version.start and other.number > version.number]
        better = [other for other in better if other.content.keys() >= version.content.keys()]
        given = any(other.name in names for other in better)
        held = holding(there, version.panel, version.stamp, version.content, ever=False)
        if better and not given and not held:
            raise Refused(
                f"{version.name} is superseded by {better[-1].name} there; --superseded promotes it all the same"
            )


def _changes(target: Repository, added: Sequence[Version]) -> list[dict[str, str | None]]:
    """Return for which times the answers of `target` would change, and what is valid there now."""
    from jfstore.core.instants import stamp_at

    table = target.log.table()
    changes: list[dict[str, str | None]] = []
    for version in added:
        for name in version.content:
            there = table.version_list(table.rows(version.panel, name))
            new = [other for other in added if other.panel == version.panel and name in other.content]
            later = [other.start for other in (*there, *new) if other.start > version.start]
            before = [other for other in there if other.start <= version.start]
            now = max(before, key=lambda other: (other.start, other.number), default=None)
            changes.append(
                {
                    "panel": version.panel,
                    "type": name,
                    "from": version.stamp,
                    "until": stamp_at(min(later), target.zone) if later else None,
                    "now": now.name if now else None,
                }
            )
    return changes
