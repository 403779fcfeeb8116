"""``jfstore panel``: show the history of a panel, propose or state that two Ids are one panel, or give a name."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jfstore.cli.as_of import resolve_as_of
from jfstore.cli.options import Once, Parser, add_as_of, add_write_options
from jfstore.cli.output import count, emit, note, progress
from jfstore.cli.writing import open_to_read, open_to_write, state_confirmed
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.repository.governing import Stated
    from jfstore.repository.joining import PanelHistory, Sighting
    from jfstore.repository.proposing import Proposal, ProposedPanel
    from jfstore.repository.repository import Repository

EPILOG = """\
Without an option the command shows what is known of the panel: its Ids, its names, its versions under every Id, and
with --runs the detectors and runs that had it.

New firmware gives a panel a new Id. --same-as states that both Ids are one panel: from then on the versions under each
are candidates for both, and of one stamp the last added holds. Two Ids that hold different constants with one stamp are
refused until one of the versions is withdrawn. --not-same-as takes that back. A name stands for the Id of a panel or a
detector in every command, is unique, and is never moved.

--propose finds Ids that may be one panel, and joins nothing: Ids with the same serial number; Ids of LCLS-II that
differ in software, firmware or board, but not in the number of the module. With --runs it also looks at the Ids in
runs, which may have no constants yet. It prints the evidence and, on standard error, the commands that a maintainer
would run. A name such as M044 is a weak reason: the module number in the Id was never compared with labels of modules.

examples:
  jfstore panel 171113-154920171025-3d00fb --runs XCS
  jfstore panel 171113-154920171025-3d00fb --name M044 --repo real -m "the label on the module"
  jfstore panel 171113-164920190301-3d00fb --same-as M044 --repo real -m "new firmware"
  jfstore panel --propose --runs MFX
  jfstore get M044 -T 20190401000000
"""

_PROPOSAL_COLUMNS = ("panel", "same_as", "reason", "constants", "used", "conflict")
_COLUMNS = ("what", "name", "valid_from", "valid_to", "commit", "user", "message")


def add_options(parser: Parser) -> None:
    add = parser.add_argument
    text = "panel Id or the name of a panel; with --name also a detector Id; with --propose it may be left out"
    add("panel", metavar="ID", nargs="?", help=text)
    add("--propose", action="store_true", help="show which Ids may be the same panel, and why; nothing is joined")
    add("--same-as", metavar="ID", action=Once, help="state that this Id is the same panel")
    add("--not-same-as", metavar="ID", action=Once, help="take back that this Id is the same panel")
    add("--name", metavar="NAME", action=Once, help="give the panel or the detector this name")
    add("--runs", metavar="INSTRUMENT|EXPERIMENT", action=Once, help="also look for the panels in the runs here")
    add_as_of(parser, "the history up to that commit or time")
    add_write_options(parser, is_message_required=False)


def run(args: argparse.Namespace) -> int:
    stated = [name for name in ("same_as", "not_same_as", "name") if getattr(args, name) is not None]
    if len(stated) > 1:
        raise BadValue("--same-as, --not-same-as and --name make a commit each: give one of them")
    if args.panel is None and not args.propose:
        raise BadValue("the panel Id is missing")
    if args.propose and stated:
        raise BadValue("--propose states nothing: leave out --same-as, --not-same-as and --name")
    if not stated:
        return _propose(args) if args.propose else _show(args)
    if args.runs is not None or args.as_of is not None:
        raise BadValue("--runs and --as-of show the history, without --same-as, --not-same-as and --name")
    if args.message is None:
        raise BadValue("the message is missing: -m MESSAGE says why, for the log")
    repository = open_to_write(args)
    methods = {
        "same_as": repository.join_panels,
        "not_same_as": repository.separate_panels,
        "name": repository.name_panel,
    }
    value = getattr(args, stated[0])

    def state(dry_run: bool) -> Stated:
        return methods[stated[0]](args.panel, value, args.message, request=args.request, dry_run=dry_run)

    state_confirmed(args, repository, state)
    return 0


def _refuse_write_options(args: argparse.Namespace) -> None:
    if args.message is not None or args.request is not None or args.dry_run:
        raise BadValue("there is nothing to commit: give --same-as, --not-same-as or --name, or leave out -m")


def _show(args: argparse.Namespace) -> int:
    _refuse_write_options(args)
    repository = open_to_read(args)
    runs = _list_runs(args.runs) if args.runs is not None else ()
    history = repository.panel_history(args.panel, runs=runs, as_of=args.as_of)
    emit(args, _value(repository, history), list(_rows(history)), _COLUMNS)
    return 0


def _propose(args: argparse.Namespace) -> int:
    _refuse_write_options(args)
    repository = open_to_read(args)
    runs = _list_runs(args.runs) if args.runs is not None else ()
    proposals = repository.propose_panels(args.panel, runs=runs, as_of=resolve_as_of(args, repository))
    place = getattr(args, "repo", "real")
    values = [_proposal_value(proposal, place) for proposal in proposals]
    emit(args, values, [_proposal_row(proposal) for proposal in proposals], _PROPOSAL_COLUMNS)
    for value in values:
        note(shlex.join(value["command"]))
    if not proposals:
        note("no Ids are proposed to be one panel")
    return 0


def _proposal_row(proposal: Proposal) -> dict[str, Any]:
    """Return the row of the table: Ids, the reason, how alike the constants are, when each Id was used."""
    sides = proposal.panel, proposal.other
    constants = [
        f"{one.type} {'equal' if one.is_equal else 'not compared' if one.alike is None else f'{one.alike:.2f} alike'}"
        for one in proposal.constants
    ]
    without = [f"none of {side.id}" for side in sides if not side.versions]
    return {
        "panel": proposal.panel.id,
        "same_as": proposal.other.id,
        "reason": f"weak: {proposal.reason}" if proposal.is_weak else proposal.reason,
        "constants": ", ".join(constants or without),
        "used": "; ".join(map(_tell_use, sides)),
        "conflict": proposal.conflict,
    }


def _tell_use(side: ProposedPanel) -> str:
    """Return from when to when an Id has constants, and the runs that had it."""
    parts = []
    if side.first and side.last:
        stamps = dict.fromkeys([side.first.stamp, side.last.stamp])
        parts.append(f"{count(len(side.versions), 'version')} {'-'.join(stamps)}")
    parts += [f"exp={seen.experiment}:run={_shorten(seen.runs)}" for seen in side.sightings]
    return " ".join(parts) or "-"


def _proposal_value(proposal: Proposal, place: str) -> dict[str, Any]:
    """Return a proposal as the JSON form has it."""
    panel, other = proposal.panel.id, proposal.other.id
    return {
        "panel": _side_value(proposal.panel),
        "same_as": _side_value(proposal.other),
        "reason": proposal.reason,
        "weak": proposal.is_weak,
        "constants": [{"type": one.type, "equal": one.is_equal, "alike": one.alike} for one in proposal.constants],
        "conflict": proposal.conflict,
        "command": ["jfstore", "panel", panel, "--same-as", other, "-m", proposal.reason, "--repo", place],
    }


def _side_value(side: ProposedPanel) -> dict[str, Any]:
    return {
        "id": side.id,
        "versions": list(side.versions),
        "first": side.first and side.first.stamp,
        "last": side.last and side.last.stamp,
        "runs": [_sighting_value(seen) for seen in side.sightings],
    }


def _list_runs(place: str) -> Any:
    from jfstore.cli.program import warn_all
    from jfstore.runs.listing import list_runs

    with progress("reading runs") as show:
        found = list_runs(place, progress=show)
    warn_all([*found.notes, *map(str, found.errors)])
    return found.runs


def _rows(history: PanelHistory) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table: Ids, names, statements, versions in the order of their starts, runs."""
    yield from ({"what": "Id", "name": name} for name in history.ids)
    for commit in history.commits:
        row = {"commit": commit.seq, "user": commit.user, "message": commit.message}
        yield {"what": commit.op.replace("_", " "), "name": " ".join(commit.versions), **row}
    for version in sorted(history.versions, key=lambda version: (version.start.ns, version.seq)):
        ends = ["-" if end is None else end.stamp for end in version.ends]
        yield {
            "what": "close" if version.is_close else "version",
            "name": f"{version.name}{' withdrawn' * version.is_withdrawn}",
            "valid_from": version.start.stamp,
            "valid_to": ",".join(dict.fromkeys(ends)),
            "commit": version.seq,
            "user": version.user,
            "message": version.message,
        }
    for seen in history.sightings:
        yield {
            "what": "runs",
            "name": f"exp={seen.experiment}:run={_shorten(seen.runs)}",
            "valid_from": seen.first.stamp if seen.first else None,
            "message": f"{count(len(seen.runs), 'run')}, place {seen.position} of {seen.detector}",
        }


def _shorten(runs: tuple[int, ...]) -> str:
    """Return run numbers as a dataset has them: ranges joined by commas."""
    ranges: list[list[int]] = []
    for number in runs:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _value(repository: Repository, history: PanelHistory) -> dict[str, Any]:
    """Return the history as the JSON form has it."""
    return {
        "repository": {"id": repository.id, "path": repository.location},
        "panel": history.ids[0],
        "ids": list(history.ids),
        "names": [{"name": name, "id": named} for name, named in history.names],
        "commits": [
            {
                "seq": commit.seq,
                "operation": commit.op,
                "about": list(commit.versions),
                "user": commit.user,
                "time": commit.time.iso,
                "message": commit.message,
            }
            for commit in history.commits
        ],
        "versions": [
            {
                "version": version.name,
                "types": list(version.types),
                "valid_from": version.start.stamp,
                "valid_to": [end and end.stamp for end in version.ends],
                "closed": version.is_close,
                "withdrawn": version.is_withdrawn,
                "commit": version.seq,
            }
            for version in history.versions
        ],
        "runs": [_sighting_value(seen) for seen in history.sightings],
    }


def _sighting_value(seen: Sighting) -> dict[str, Any]:
    return {
        "detector": seen.detector,
        "panel": seen.panel,
        "position": seen.position,
        "experiment": seen.experiment,
        "runs": list(seen.runs),
        "first": seen.first and seen.first.stamp,
        "last": seen.last and seen.last.stamp,
    }
