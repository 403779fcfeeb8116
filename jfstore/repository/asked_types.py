"""Choose the calibration types that a question is about."""

from __future__ import annotations

from collections.abc import Sequence

from jfstore.core.calib_types import CALIB_TYPES, PAIRS, calib_type, high_g0_type, order_types, type_for_run
from jfstore.core.table import Table
from jfstore.core.validity import find_joined_panels, timeline
from jfstore.errors import BadValue


def check_types(types: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Return the calibration types that are asked for, each once; None if `types` is None, for those that there are."""
    if types is None:
        return None
    names = (types,) if isinstance(types, str) else tuple(dict.fromkeys(types))
    for name in names:
        calib_type(name)
    if not names:
        raise BadValue("no calibration type is asked for", list(CALIB_TYPES))
    return names


def choose_types(
    table: Table,
    panels: Sequence[str],
    t: int,
    types: Sequence[str] | None,
    seq: int | None = None,
    *,
    of_run: bool = False,
    has_high_g0: bool | None = None,
) -> tuple[str, ...]:
    """Return the stored types that answer a question.

    If no types are asked for, they are those of which at least one panel has something at the time. Gains and offsets
    belong together: if there is one of them at any time, both are needed.

    Parameters
    ----------
    table : Table
        The table of the repository.
    panels : sequence of str
        Panel Ids.
    t : int
        Instant in nanoseconds UTC.
    types : sequence of str or None
        The types that are asked for, None for those that there are.
    seq : int, optional
        Only what commits up to this one say counts.
    of_run : bool
        Whether the question is about a run, which needs either the normal types or those of the high first gain range.
    has_high_g0 : bool or None
        Whether the first gain range of the run is the high one; None if the run does not say.
    """
    if types is not None:
        return tuple(dict.fromkeys(_find_stored_type(name, has_high_g0) for name in types))
    pair = PAIRS[bool(has_high_g0)]
    held = {panel: find_types(table, panel, seq) for panel in panels}
    wanted = set()
    for name in set().union(*held.values()) if held else ():
        fits = not of_run or name == type_for_run(name, has_high_g0)
        if fits and (name in pair or any(name in held[p] and _starts_before(table, p, name, t, seq) for p in panels)):
            wanted.add(name)
    if wanted & {*pair} or not wanted:
        wanted |= {*pair}
    return order_types(wanted)


def find_types(table: Table, panel: str, seq: int | None = None) -> set[str]:
    """Return the calibration types that a panel has, or that are closed, under any of its Ids."""
    ids = find_joined_panels(table, panel, seq) if table.are_joined else [panel]
    return {name for one in ids for name in table.types_of(one) if name in CALIB_TYPES}


def _find_stored_type(name: str, has_high_g0: bool | None) -> str:
    return (high_g0_type(name) or name) if has_high_g0 else name


def _starts_before(table: Table, panel: str, name: str, t: int, seq: int | None) -> bool:
    return timeline(table, panel, name, seq).place(t) >= 0
