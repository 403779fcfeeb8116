"""State that two Ids are one panel, take that back, give Ids a name, and tell the history of a panel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jfstore.core.ids import detector_id, resolve_detector, resolve_panel
from jfstore.core.instants import Instant, instant_at
from jfstore.core.joining import are_joined, check_can_join
from jfstore.core.names import check_is_free, check_name, kind_of_id
from jfstore.core.records import Commit, Naming, RunPanels, SamePanel, Statement
from jfstore.core.statements import subjects_of
from jfstore.core.table import Table
from jfstore.core.validity import find_joined_panels
from jfstore.errors import BadValue, NotFound, Refused, nearest
from jfstore.repository.governing import Stated, commit_statement, statements_in
from jfstore.repository.listing import Listing, LoggedCommit, describe_commit, list_versions
from jfstore.repository.run_panels import fill_panels, find_run_panels

if TYPE_CHECKING:
    from jfstore.repository.reading import ReadableRepository
    from jfstore.runs.run import Run


def join_panels(
    repository: ReadableRepository,
    panel: str,
    other: str,
    message: str,
    *,
    separate: bool = False,
    request: str | None = None,
    dry_run: bool = False,
) -> Stated:
    """State that two Ids are one panel, or are not; see `Repository.join_panels` and `separate_panels`."""
    table = repository.log.table()
    one, two = (str(resolve_panel(str(text), table.panel_names)) for text in (panel, other))
    if one == two:
        raise BadValue(f"{panel} and {other} are the same Id, {one}")
    holds = are_joined(table, one, two)
    if separate and not holds and two in (family := find_joined_panels(table, one)):
        between = ", ".join(name for name in family if name not in (one, two))
        raise Refused(f"{one} and {two} were joined through {between}: separate one of them from that")

    def check(now: Table, commit: Commit) -> None:
        if not separate:
            check_can_join(now, one, two)

    op = "not_same_panel" if separate else "same_panel"
    statement = SamePanel((one, two))
    names, unchanged = ((), statement.panels) if holds != separate else (statement.panels, ())
    notes = () if separate else tuple(_note_unknown(table, statement.panels))
    return commit_statement(
        repository, op, statement, message, request, dry_run, names, unchanged, check=check, notes=notes
    )


def name_panel(
    repository: ReadableRepository,
    target: str,
    name: str,
    message: str,
    *,
    request: str | None = None,
    dry_run: bool = False,
) -> Stated:
    """Give a panel or a detector a name; see `Repository.name_panel`."""
    table = repository.log.table()
    panels = resolve_detector(str(target), table.panel_names)
    detector = detector_id(panels)
    statement = Naming(detector, check_name(name, kind_of_id(detector)))
    check_is_free(statements_in(table), statement)
    names, unchanged = ((), (name,)) if table.panel_names.names.get(name) == detector else ((name,), ())
    notes = tuple(_note_unknown(table, map(str, panels)))
    return commit_statement(repository, "name", statement, message, request, dry_run, names, unchanged, notes=notes)


def _note_unknown(table: Table, panels: Iterable[str]) -> Iterator[str]:
    """Yield a note for each panel without constants, whose Id may have a typing error."""
    for panel in panels:
        if panel not in table.panel_names:
            yield f"panel {panel} has no constants of its own yet"


@dataclass(frozen=True, slots=True)
class Sighting:
    """Runs of one experiment in which a detector had a panel.

    Attributes
    ----------
    detector : str
        Detector Id.
    panel : str
        The Id that the panel had.
    position : int
        Its place in the detector, from 0.
    experiment : str
        Name of the experiment.
    runs : tuple of int
        Run numbers, ascending.
    first, last : Instant or None
        Start of the first and of the last of these runs, None if it is not known.
    """

    detector: str
    panel: str
    position: int
    experiment: str
    runs: tuple[int, ...]
    first: Instant | None
    last: Instant | None


@dataclass(frozen=True, slots=True)
class PanelHistory:
    """What a repository knows of one physical panel.

    Attributes
    ----------
    ids : tuple of str
        Every Id of the panel, the one that was asked for first.
    names : tuple of (str, str)
        Names of the panel, and of detectors that have it, each with the Id that it stands for.
    commits : tuple of LoggedCommit
        The commits that joined, separated or named its Ids, or state that runs had it.
    versions : Listing
        Its versions and closes under all Ids.
    sightings : tuple of Sighting
        The detectors and runs it was seen in, of the runs that were asked about.
    """

    ids: tuple[str, ...]
    names: tuple[tuple[str, str], ...]
    commits: tuple[LoggedCommit, ...]
    versions: Listing
    sightings: tuple[Sighting, ...] = ()


def tell_history(
    repository: ReadableRepository, panel: str, *, runs: Iterable[Run] = (), as_of: int | str | None = None
) -> PanelHistory:
    """Return what is known of a panel; see `Repository.panel_history`."""
    seq = repository.seq_of(as_of)
    table = repository.log.table(seq)
    last = table.seq if seq is None else seq
    known = table.panel_names
    asked = str(resolve_panel(str(panel), known))
    ids = tuple(find_joined_panels(table, asked, last))
    said = [(seq, statement) for seq, _, statement in table.statements if seq <= last and _is_about(statement, ids)]
    if not said and not any(name in known for name in ids):
        raise NotFound(f"panel {asked}: no constants are stored, and no commit is about it", nearest(asked, known))
    return PanelHistory(
        ids,
        tuple((statement.name, statement.id) for _, statement in said if isinstance(statement, Naming)),
        tuple(describe_commit(table, repository.zone, seq, subjects_of(statement)) for seq, statement in said),
        list_versions(repository, asked, as_of=seq) if any(name in known for name in ids) else Listing(),
        find_sightings(repository, table, last, ids, runs),
    )


def _is_about(statement: Statement, ids: Iterable[str]) -> bool:
    match statement:
        case SamePanel():
            return bool({*statement.panels} & {*ids})
        case Naming():
            return bool({*statement.id.split("_")} & {*ids})
        case RunPanels():
            return bool({*statement.detector.split("_")} & {*ids})
        case _:
            return False


def find_sightings(
    repository: ReadableRepository, table: Table, last: int, ids: tuple[str, ...], runs: Iterable[Run]
) -> tuple[Sighting, ...]:
    """Return the detectors and runs in which panels with one of `ids` were seen, as commits up to `last` say."""
    stated = find_run_panels(table, last)
    found: dict[tuple[str, str, int, str], list[Run]] = {}
    for run in runs:
        for bare in run.jungfraus:
            jungfrau = fill_panels(run, bare, stated)[0]
            for position, panel in enumerate(map(str, jungfrau.panels)):
                if panel in ids:
                    key = jungfrau.detector_id, panel, position, run.experiment
                    found.setdefault(key, []).append(run)

    def start_of(run: Run) -> Instant | None:
        return None if run.start is None else instant_at(run.start, repository.zone)

    sightings = [
        Sighting(*key, tuple(run.run for run in several), start_of(several[0]), start_of(several[-1]))
        for key, several in found.items()
    ]
    return tuple(sorted(sightings, key=lambda seen: (seen.first.ns if seen.first else 0, seen.experiment)))
