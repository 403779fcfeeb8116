"""``jfstore promote``: from the test to the real repository, content, stamps and origin kept."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from jfstore.cli._open import open_to_write
from jfstore.cli._output import note, progress
from jfstore.cli._parser import add_write_options
from jfstore.cli.add import emit_added
from jfstore.errors import Refused

if TYPE_CHECKING:
    from jfstore.repository import Added, Repository

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
        "promote", help="from test to real, content and origin kept",
        description="Copy versions from one repository to another.", epilog=_EPILOG,
    )  # fmt: skip
    parser.add_argument(
        "versions", metavar="VERSION", nargs="+", help="<panel Id>/<stamp>/v<number>, as jfstore list shows it"
    )
    parser.add_argument("--from", dest="source", metavar="NAME|PATH", required=True, help="the repository to copy from")
    add_write_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from jfstore.catalogue import open_repository

    source = open_repository(args.source)
    target = open_to_write(args)
    for what in ("id", "panel_shape", "zone", "detector"):
        ours, theirs = getattr(source.identity, what), getattr(target.identity, what)
        if (ours == theirs) == (what == "id"):
            problem = "are the same repository" if what == "id" else f"differ in {what}: {ours}, {theirs}"
            raise Refused(f"{source.storage.location} and {target.storage.location} {problem}")
    # Every name is looked up before the first array is read: all or nothing.
    versions = list({version.name: version for version in map(source.version, args.versions)}.values())
    with progress("promote") as show:

        def entries() -> Any:
            for done, version in enumerate(versions):
                show(done, len(versions))
                yield source.entry_of(version)

        added = target.add(entries(), args.message, request=args.request, dry_run=args.dry_run)
    if args.dry_run:
        _impact(target, added)
    emit_added(args, target, added)
    return 0


def _impact(target: Repository, added: Added) -> None:
    """Say for which times the answers of `target` would change."""
    from jfstore.times import stamp_at

    for version in added.versions:
        for name in version.content:
            rows = target.log.table().rows(version.panel, name)
            begins = sorted({int(begin) for begin in target.log.table().versions["begin"][rows]})
            later = [begin for begin in begins if begin > version.begin]
            until = f"until {stamp_at(later[0], target.zone)}" if later else "on"
            before = [begin for begin in begins if begin <= version.begin]
            now = f"those of {stamp_at(before[-1], target.zone)} are" if before else "nothing is"
            note(f"{name} of {version.panel} would change from {version.stamp} {until}; {now} valid there now")
