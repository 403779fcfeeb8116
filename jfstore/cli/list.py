"""``jfstore list``: what is stored, the test and the real repository side by side."""

from __future__ import annotations

import argparse
import warnings
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from jfstore.cli.options import Parser, add_json, add_repo, add_time, add_types
from jfstore.cli.output import emit, note
from jfstore.errors import Failed, JfstoreWarning, NotFound, nearest

if TYPE_CHECKING:
    from jfstore.core.records import Version
    from jfstore.repository import Repository

SUMMARY = "List what is stored, by default the test and the real repository side by side."
EPILOG = """\
A row for each panel, stamp and content: from when to when it is valid, its types, its number
in the test and in the real repository, and who added it, when and why (where both have it, to the
real one). What is in brackets is superseded by a higher number of the same stamp. valid_to has
an end for each type if they differ (A,B), and for test and real if these differ (A/B); - is
no end. Times are stamps in the repository's zone.

examples:
  jfstore list
  jfstore list 171113-154920171025-3d00fb -t pixel_gain
  jfstore list -T 20180401000000           what is valid then
  jfstore list | cut -f1,2,5               piped it is TSV with a header line
"""


def add_options(parser: Parser) -> None:
    """Add the options and arguments of the command."""
    parser.add_argument("panels", metavar="PANEL", nargs="*", help="only these panels (panel or detector Ids)")
    parser.add_argument(
        "-d", "--detector", dest="panels_option", metavar="PANEL", action="append", default=[], help="the same as PANEL"
    )
    add_types(parser, "only what holds this calibration type; may be repeated")
    add_time(parser, "only what is valid at this time", required=False)
    add_repo(parser, "default: test and real, side by side")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from jfstore.core.ids import resolve_detector
    from jfstore.repository.catalogue import configured, open_repository

    repositories: dict[str, Repository] = {}
    missing = {}
    if hasattr(args, "repo"):
        repository = open_repository(args.repo)
        repositories[args.repo if args.repo in configured() else repository.identity.role] = repository
    else:
        for name in ("test", "real"):
            try:
                repositories[name] = open_repository(name)
            except Failed as error:
                missing[name] = error.message
                warnings.warn(error.message, JfstoreWarning, stacklevel=1)
    if not repositories:
        note("jfstore demo makes an example, jfstore init a repository")
    known = {panel for repository in repositories.values() for panel in repository.log.table().panel_rows}
    asked = [panel for text in [*args.panels, *args.panels_option] for panel in resolve_detector(text, known)]
    wanted = {str(panel) for panel in asked} or None
    if repositories and wanted and (unknown := sorted(wanted - known)):
        unheard = NotFound(f"no constants of panel {', '.join(unknown)} are stored", nearest(unknown[0], known))
        if not wanted & known:
            raise unheard
        note(str(unheard))
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, repository in repositories.items():
        for key, row in _rows(args, repository, wanted).items():
            common = {field: row.pop(field) for field in ("panel", "stamp", "types", "content")}
            rows.setdefault(key, {**common, "in": dict.fromkeys(repositories)})["in"][name] = row
    ordered = sorted(rows.values(), key=_order)
    value = {
        "repositories": [
            {
                "name": name,
                "path": r.storage.location,
                "id": r.identity.id,
                "role": r.identity.role,
                "zone": r.identity.zone,
            }
            for name, r in repositories.items()
        ],
        "missing": [{"name": name, "message": message} for name, message in missing.items()],
        "versions": ordered,
    }
    if repositories and not ordered:
        note("nothing matches" if wanted or args.types or args.time else "nothing is stored yet")
    columns = ["panel", "valid_from", "valid_to", "types", *(repositories or missing), "user", "time", "message"]
    emit(args, value, [_flat(row) for row in ordered], columns)
    return 0


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["panel"], row["stamp"], [entry["numbers"] for entry in row["in"].values() if entry]


def _rows(
    args: argparse.Namespace, repository: Repository, wanted: set[str] | None
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return a row for each panel, stamp and content of one repository that passes the filters."""
    from jfstore.core.instants import BEGINNING, iso, iso_second, parse_time, stamp_at

    table = repository.log.table()
    t = None if args.time is None else parse_time(args.time, repository.zone)
    panels: dict[str, list[Version]] = {}
    for version in table.version_list():
        if wanted is None or version.panel in wanted:
            panels.setdefault(version.panel, []).append(version)
    summaries = {}
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for panel, versions in panels.items():
        highest, starts = _highest_and_starts(versions)
        for version in versions:
            names = [name for name in version.content if not args.types or name in args.types]
            if not names:
                continue
            # Each type has its own validity: a later version may hold one of the pair only.
            current = [name for name in names if highest[version.start, name] == version.number]
            ends = {name: _after(starts[name], version.start) for name in names}
            if t is not None and not any(version.start <= t < _end(ends[name]) for name in current):
                continue
            if version.seq not in summaries:
                summaries[version.seq] = table.summary(version.seq)
            why = summaries[version.seq]
            key = (panel, version.stamp, tuple(sorted(version.content.items())))
            row = rows.setdefault(
                key,
                {
                    "panel": panel,
                    "stamp": version.stamp,
                    "types": list(version.content),
                    "content": version.content,
                    "numbers": [],
                },
            )
            row["numbers"].append(version.number)
            row.update(
                valid_from=None if version.start == BEGINNING else iso(version.start),
                valid_to={name: None if end is None else iso(end) for name, end in ends.items()},
                valid_to_stamp=[None if end is None else stamp_at(end, repository.zone) for end in ends.values()],
                current=current,
                commit=version.seq,
                user=why.user,
                time=iso(why.time),
                time_second=iso_second(why.time),
                message=why.message,
            )
    return rows


def _highest_and_starts(versions: list[Version]) -> tuple[dict[tuple[int, str], int], dict[str, list[int]]]:
    """Return the highest number of each start and type, and the starts of each type."""
    highest: dict[tuple[int, str], int] = {}
    for version in versions:
        for name in version.content:
            highest[version.start, name] = max(version.number, highest.get((version.start, name), 0))
    starts: dict[str, list[int]] = {}
    for start, name in sorted(highest):
        starts.setdefault(name, []).append(start)
    return highest, starts


def _after(starts: list[int], start: int) -> int | None:
    place = bisect_right(starts, start)
    return starts[place] if place < len(starts) else None


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the JSON form as a row of the table; of who, when and why the last repository counts."""
    there = {name: entry for name, entry in row["in"].items() if entry}
    # One end, or one for each type; of both repositories where they differ.
    ends = dict.fromkeys(",".join(end or "-" for end in _short(entry["valid_to_stamp"])) for entry in there.values())
    counting = {name for entry in there.values() for name in entry["current"]}
    flat = {
        "panel": row["panel"],
        "valid_from": row["stamp"],
        "valid_to": "/".join(ends),
        "types": [name if name in counting or not counting else f"({name})" for name in row["types"]],
    }
    for name, entry in there.items():
        numbers = ",".join(f"v{number}" for number in entry["numbers"])
        flat[name] = numbers if entry["current"] else f"({numbers})"
        flat.update(user=entry["user"], time=entry["time_second"], message=entry["message"])
    return flat


def _end(end: int | None) -> int:
    return 2**63 if end is None else end


def _short(ends: list[str | None]) -> list[str | None]:
    return ends[:1] if len(set(ends)) == 1 else ends
