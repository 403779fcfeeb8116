"""``jfstore list``: list stored versions, the test and the real repository side by side."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jfstore.cli.as_of import resolve_as_of
from jfstore.cli.options import Once, Parser, about_of, add_about, add_as_of, add_json, add_repo, add_time, add_types
from jfstore.cli.output import emit, note
from jfstore.cli.program import warn_all
from jfstore.errors import BadValue, Failed, NotFound, nearest

if TYPE_CHECKING:
    from jfstore.core.instants import Instant
    from jfstore.repository.listing import ComparedVersion, ListedVersion
    from jfstore.repository.repository import Repository

_MOST_FILES = 16
"""DCS files in the directory of a repository that are compared with it; the tables of each are read."""

EPILOG = """\
The table has a row for each panel, stamp and content: when it is valid, its calibration types, its number in the test
and in the real repository, and who added it, when and why (to the real repository if both have it). Brackets mark
what a higher number of the same stamp supersedes. If the end of validity differs, valid_to has one for each type
(A,B), or one for test and real (A/B); - means no end. Times are stamps in the repository's zone.

A DCS file in the directory of a repository, jungfrau-<detector Id>.h5, is named on standard error until jfstore import
has imported it as it is.

examples:
  jfstore list
  jfstore list 171113-154920171025-3d00fb -t pixel_gain
  jfstore list -T 20180401000000           only what is valid at that time
  jfstore list 3d00fb -T 20180101000000..20190101000000
  jfstore list --only-different            what to promote, withdraw or close
  jfstore list | cut -f1,2,5               piped, the table is TSV with a header line
"""


def add_options(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "panels",
        metavar="PANEL",
        nargs="*",
        help="only these panels (Ids, or a part of one: all that fit), or PANEL-STAMP",
    )
    text = "the same as PANEL"
    add("-d", "--detector", dest="panels_option", metavar="PANEL", action="append", default=[], help=text)
    add_types(parser, "only versions that hold this calibration type; may be repeated")
    add_time(parser, "only versions that are valid at this time, or in a range FROM..TO")
    add("--user", metavar="USER", action=Once, help="only what this user added")
    add("--grep", dest="text", metavar="TEXT", action=Once, help="only what was added with this text in its message")
    add_about(parser, "only versions that carry this text, see jfstore add --about; may be repeated")
    text = "only what differs between the test and the real repository in what is valid"
    add("--only-different", action="store_true", help=text)
    text = "also say where each version comes from, and the texts that it carries"
    add("--sources", action="store_true", help=text)
    add_as_of(parser, "as the repository was after that commit, or at that time")
    add_repo(parser, "default: test and real, side by side")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from jfstore.repository.listing import compare_listings
    from jfstore.repository.unimported import find_unimported

    repositories, missing = _open_repositories(args)
    wanted, stamps = _find_panels([*args.panels, *args.panels_option], repositories)
    as_of = _resolve_as_of(args, repositories)
    filters: dict[str, Any] = {name: getattr(args, name) for name in ("types", "user", "text")}
    filters |= {"time": _parse_range(args.time), "about": about_of(args) or None}
    more: dict[str, Any] = {"sources": True} if args.sources else {}
    listings = {
        name: repository.list(_restrict_panels(repository, wanted), as_of=as_of[name], **filters, **more)
        for name, repository in repositories.items()
    }
    compared = compare_listings(listings)
    compared = tuple(row for row in compared if row.start.stamp in (stamps.get(row.panel) or {row.start.stamp}))
    if args.only_different:
        compared = tuple(row for row in compared if row.is_different)
    unimported = {name: find_unimported(repository, _MOST_FILES) for name, repository in repositories.items()}
    value = {
        "repositories": [
            {
                "name": name,
                "path": r.location,
                "id": r.id,
                "role": r.role,
                "zone": r.identity.zone,
                "as_of": r.log.table().seq if as_of[name] is None else as_of[name],
                "not_imported": [asdict(file) for file in unimported[name]],
            }
            for name, r in repositories.items()
        ],
        "missing": [{"name": name, "message": message} for name, message in missing.items()],
        "versions": [_value(row) for row in compared],
    }
    if not compared:
        is_filtered = wanted or args.only_different or any(value is not None for value in filters.values())
        note("nothing matches" if is_filtered else "nothing is stored yet")
    columns = ["panel", "valid_from", "valid_to", "types", *repositories, "user", "time", "message"]
    columns += ["source", "about"] if args.sources else []
    emit(args, value, [_row(row) for row in compared], columns)
    warn_all(f"{file.path}: {file}" for files in unimported.values() for file in files)
    return 0


def _open_repositories(args: argparse.Namespace) -> tuple[dict[str, Repository], dict[str, str]]:
    """Return the repositories to list by name, and why others are missing; Failed if there is none."""
    from jfstore.repository.catalogue import open_repository, read_names

    if hasattr(args, "repo"):
        if args.only_different:
            raise BadValue("--only-different compares the test and the real repository: leave out --repo")
        repository = open_repository(args.repo)
        return {args.repo if args.repo in read_names() else repository.role: repository}, {}
    repositories, missing = {}, {}
    for name in ("test", "real"):
        try:
            repositories[name] = open_repository(name)
        except Failed as error:
            missing[name] = error.message
    if args.only_different and missing:
        raise Failed(f"--only-different needs both repositories: {'; '.join(missing.values())}")
    if not repositories:
        raise Failed(f"{'; '.join(missing.values())}; jfstore demo makes an example, jfstore init a repository")
    warn_all(missing.values())
    return repositories, missing


def _parse_range(text: str | None) -> str | tuple[str | None, str | None] | None:
    """Return a time, or the two of a range FROM..TO, of which one may be left out."""
    if text is None or ".." not in text:
        return text
    start, _, end = text.partition("..")
    return start or None, end or None


def _resolve_as_of(args: argparse.Namespace, repositories: dict[str, Repository]) -> dict[str, int | None]:
    """Return the commit that each repository is listed as of, None for the last one."""
    if len(repositories) > 1 and (args.as_of or "").isdecimal():
        raise BadValue(f"--as-of {args.as_of} is the number of a commit of one repository: name it with --repo")
    return {name: resolve_as_of(args, repository) for name, repository in repositories.items()}


def _find_panels(asked: list[str], repositories: dict[str, Repository]) -> tuple[list[str] | None, dict[str, set[str]]]:
    """Return the panels that are asked for, None for all, and by panel the stamps of PANEL-STAMP, if there are only
    these; NotFound if no repository has any of the panels."""
    from jfstore.core.ids import match_panels, merge_panels, split_stamp
    from jfstore.core.validity import find_joined_panels

    tables = [repository.log.table() for repository in repositories.values()]
    known = merge_panels([table.panel_names for table in tables])
    named: set[str] = set()
    wanted: set[str] = set()
    stamps: dict[str, set[str | None]] = {}
    for text in asked:
        panel, stamp = split_stamp(text) or (text, None)
        found = set(match_panels(panel, known))
        family = {name for panel in found for table in tables for name in find_joined_panels(table, panel)}
        named |= found
        wanted |= family
        for name in family:
            stamps.setdefault(name, set()).add(stamp)
    if unknown := sorted(panel for panel in wanted if panel not in known):
        error = NotFound(f"panel {', '.join(unknown)}: no constants are stored", nearest(unknown[0], known))
        if len(unknown) == len(wanted):
            raise error
        if {*unknown} & named:
            note(str(error))
    only = {name: {stamp for stamp in several if stamp} for name, several in stamps.items() if None not in several}
    return sorted(wanted) or None, only


def _restrict_panels(repository: Repository, wanted: list[str] | None) -> list[str] | None:
    if wanted is None:
        return None
    known = {str(panel) for panel in repository.panels}
    return [panel for panel in wanted if panel in known]


def _value(compared: ComparedVersion) -> dict[str, Any]:
    """Return a row of the JSON form."""
    return {
        "panel": compared.panel,
        "stamp": compared.start.stamp,
        "types": list(compared.types),
        "content": dict(compared.content),
        "in": {
            name: _entry(versions, compared.current[name]) if versions else None for name, versions in compared.versions
        },
    }


def _entry(versions: tuple[ListedVersion, ...], current: tuple[str, ...]) -> dict[str, Any]:
    """Return the part of a row that one repository has; user, time and message are those of the last version."""
    from jfstore.core.instants import BEGINNING, iso_second

    last = versions[-1]
    return {
        "numbers": [version.number for version in versions],
        "valid_from": None if last.start.ns == BEGINNING else last.start.iso,
        "valid_to": {name: end and end.iso for name, end in zip(last.types, last.ends, strict=True)},
        "valid_to_stamp": [end and end.stamp for end in last.ends],
        "current": list(current),
        "closed": last.is_close,
        "withdrawn": [version.number for version in versions if version.is_withdrawn],
        **({"source": last.source} if last.source else {}),
        "commit": last.seq,
        "user": last.user,
        "time": last.time.iso,
        "time_second": iso_second(last.time.ns),
        "message": last.message,
        **({} if last.about is None else {"about": dict(last.about)}),
    }


def _row(compared: ComparedVersion) -> dict[str, Any]:
    """Return a row of the table; user, time and message are those of the last repository."""
    from jfstore.core.instants import iso_second

    stored = [(name, versions) for name, versions in compared.versions if versions]
    # One end, or one for each type; of both repositories where they differ.
    ends = dict.fromkeys(_ends(versions[-1].ends) for _, versions in stored)
    current = {name for names in compared.current.values() for name in names}
    row: dict[str, Any] = {
        "panel": compared.panel,
        "valid_from": compared.start.stamp,
        "valid_to": "/".join(ends),
        "types": [name if name in current or not current else f"({name})" for name in compared.types],
    }
    for name, versions in stored:
        numbers = ",".join(f"v{version.number}{' withdrawn' * version.is_withdrawn}" for version in versions)
        last = versions[-1]
        numbers += " (closed)" * last.is_close
        row[name] = numbers if compared.current[name] else f"({numbers})"
        row.update(user=last.user, time=iso_second(last.time.ns), message=last.message)
    # The repository that has it first says most: in another one it was promoted.
    first = next((one for _, versions in stored for one in versions if one.source or one.about), None)
    if first:
        about = " ".join(f"{key}={value}" for key, value in (first.about or {}).items())
        row.update(source=first.source, about=about)
    return row


def _ends(ends: tuple[Instant | None, ...]) -> str:
    texts = ["-" if end is None else end.stamp for end in ends]
    return ",".join(texts[:1] if len(set(texts)) == 1 else texts)
