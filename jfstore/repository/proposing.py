"""Propose which panel Ids may be one physical panel, with the evidence; only a maintainer states it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from jfstore.core.calib_types import order_types
from jfstore.core.ids import resolve_panel
from jfstore.core.instants import Instant
from jfstore.core.joining import check_can_join
from jfstore.core.pairing import Pair, find_pairs
from jfstore.core.pattern import compare_blocks, has_pattern
from jfstore.core.records import Naming, RunPanels, SamePanel, Statement, Version
from jfstore.core.table import Table
from jfstore.core.validity import find_joined_panels, find_withdrawn
from jfstore.errors import JfstoreError, Refused
from jfstore.repository.joining import Sighting, find_sightings

if TYPE_CHECKING:
    from jfstore.repository.reading import ReadableRepository
    from jfstore.runs.run import Run

_NEVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ProposedPanel:
    """One Id of a proposal.

    Attributes
    ----------
    id : str
        Panel Id.
    versions : tuple of str
        Names of its versions that are not withdrawn, in the order of their starts.
    first, last : Instant or None
        The first and the last start of validity; None without versions.
    sightings : tuple of Sighting
        The runs that had it, of those that were asked about.
    """

    id: str
    versions: tuple[str, ...]
    first: Instant | None
    last: Instant | None
    sightings: tuple[Sighting, ...] = ()


@dataclass(frozen=True, slots=True)
class Alikeness:
    """How alike the constants of two Ids are, of one calibration type.

    Attributes
    ----------
    type : str
        Calibration type.
    is_equal : bool
        Whether a version of each holds the same array.
    alike : float or None
        Otherwise how alike the block means of their last versions are, as the guard measures it: near 1 for one
        panel, near 0 for two; None if the arrays are too small or have no sketch.
    """

    type: str
    is_equal: bool
    alike: float | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """Two Ids that may be one physical panel.

    Attributes
    ----------
    panel, other : ProposedPanel
        The Id that came later, and the one that it may be the same as.
    reason : str
        The numbers that they have in common, and in what they differ.
    is_weak : bool
        Whether only a name such as M044 says that the module number is that of the other panel.
    constants : tuple of Alikeness
        Of the calibration types that both have.
    conflict : str or None
        Why they could not be joined as they are.
    """

    panel: ProposedPanel
    other: ProposedPanel
    reason: str
    is_weak: bool
    constants: tuple[Alikeness, ...]
    conflict: str | None


def propose_panels(
    repository: ReadableRepository,
    panel: str | None = None,
    *,
    runs: Iterable[Run] = (),
    as_of: int | str | None = None,
) -> tuple[Proposal, ...]:
    """Return which Ids may be one panel; see `Repository.propose_panels`."""
    seq = repository.seq_of(as_of)
    table = repository.log.table(seq)
    last = table.seq if seq is None else seq
    listed = list(runs)
    known = table.panel_names
    asked = None if panel is None else str(resolve_panel(str(panel), known))
    proposer = _Proposer(repository, table, last)
    starts = _find_first_runs(listed)
    ids = {*known, *starts, *_list_stated(table, last), *([asked] if asked else [])}

    def age(name: str) -> int:
        return min([starts.get(name, _NEVER), *(version.start for version in proposer.versions(name))])

    pairs = find_pairs(table, ids, known.names, age, last)
    if asked:
        family = {*find_joined_panels(table, asked, last)}
        pairs = [pair for pair in pairs if family & {pair.panel, pair.other}]
    wanted = tuple(name for pair in pairs for name in (pair.panel, pair.other))
    sightings = find_sightings(repository, table, last, wanted, listed)
    return tuple(proposer.propose(pair, sightings) for pair in pairs)


def _find_first_runs(runs: Sequence[Run]) -> dict[str, int]:
    """Return for each panel Id in the configurations of runs the start of the first run that had it."""
    found: dict[str, int] = {}
    for run in runs:
        for panel in (str(panel) for jungfrau in run.jungfraus for panel in jungfrau.panels):
            found[panel] = min(found.get(panel, _NEVER), _NEVER if run.start is None else run.start)
    return found


def _list_stated(table: Table, as_of: int) -> set[str]:
    """Return the panel Ids in what the log states."""
    return {name for seq, _, said in table.statements if seq <= as_of for name in _ids_in(said)}


def _ids_in(statement: Statement) -> Sequence[str]:
    match statement:
        case SamePanel():
            return statement.panels
        case Naming():
            return statement.id.split("_")
        case RunPanels():
            return statement.detector.split("_")
        case _:
            return ()


class _Proposer:
    """Gathers the evidence of proposals."""

    def __init__(self, repository: ReadableRepository, table: Table, as_of: int) -> None:
        self._repository, self._table, self._as_of = repository, table, as_of
        self._withdrawn = find_withdrawn(table, as_of)
        self.versions = cache(self._list_versions)

    def _list_versions(self, panel: str) -> list[Version]:
        versions = self._table.version_list(self._table.rows(panel))
        wanted = (v for v in versions if v.seq <= self._as_of and not v.closes and v.name not in self._withdrawn)
        return sorted(wanted, key=lambda version: (version.start, version.number))

    def propose(self, pair: Pair, sightings: Sequence[Sighting]) -> Proposal:
        """Return a pair with its evidence."""
        conflict = None
        try:
            check_can_join(self._table, pair.panel, pair.other)
        except Refused as error:
            conflict = error.message
        return Proposal(
            self._describe(pair.panel, sightings),
            self._describe(pair.other, sightings),
            pair.reason,
            pair.is_weak,
            tuple(self._compare(pair.panel, pair.other)),
            conflict,
        )

    def _describe(self, panel: str, sightings: Sequence[Sighting]) -> ProposedPanel:
        versions = self.versions(panel)
        starts = [Instant(version.start, version.stamp) for version in versions]
        return ProposedPanel(
            panel,
            tuple(version.name for version in versions),
            starts[0] if starts else None,
            starts[-1] if starts else None,
            tuple(seen for seen in sightings if seen.panel == panel),
        )

    def _compare(self, panel: str, other: str) -> Iterable[Alikeness]:
        mine, its = self._by_type(panel), self._by_type(other)
        for name in order_types({*mine} & {*its}):
            if {version.content[name] for version in mine[name]} & {version.content[name] for version in its[name]}:
                yield Alikeness(name, True)
            else:
                yield Alikeness(name, False, self._compare_sketches(mine[name][-1], its[name][-1], name))

    def _by_type(self, panel: str) -> dict[str, list[Version]]:
        found: dict[str, list[Version]] = {}
        for version in self.versions(panel):
            for name in version.content:
                found.setdefault(name, []).append(version)
        return found

    def _compare_sketches(self, version: Version, other: Version, name: str) -> float | None:
        if not has_pattern(version.array(name).shape):
            return None
        try:
            one, two = (self._repository.version(v.name).array(name).sketch for v in (version, other))
        except JfstoreError:
            return None  # a commit that cannot be read is the business of `verify`
        return None if one is None or two is None else round(compare_blocks(one, two), 3)
