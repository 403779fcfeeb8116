"""Which version is valid: the rule, as a pure function over the table (DESIGN "Which version is valid").

The greatest stamp at or before the time wins; of one stamp the highest number. Never a later
one, never "the closest", never the newest insertion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import numpy as np

from jfstore.core.instants import iso, stamp_at
from jfstore.core.records import Version
from jfstore.core.table import Table
from jfstore.errors import NotFound, nearest


@dataclass(frozen=True, slots=True)
class Selection:
    """The answer for one panel and calibration type.

    Attributes
    ----------
    version : Version
        The version that is valid.
    type : str
        The calibration type that was asked for.
    valid_from, valid_to : int
        Half-open interval of validity in nanoseconds UTC; ``valid_to`` is None while no later
        stamp is stored.
    """

    version: Version
    type: str
    valid_from: int
    valid_to: int | None
    _explain: Callable[[], list[tuple[Version, str]]] = field(repr=False, compare=False)

    @property
    def rejected(self) -> list[tuple[Version, str]]:
        """Every other version of the panel that holds the type, with the reason it was not chosen."""
        return self._explain()


def select(
    table: Table,
    panel: str,
    t: int,
    calib_type: str,
    zone: ZoneInfo,
    as_of: int | None = None,
    number: int | None = None,
) -> Selection:
    """Return the version of `panel` whose `calib_type` is valid at `t`.

    Parameters
    ----------
    table : Table
        The table of the repository.
    panel : str
        Panel Id in its normal form.
    t : int
        Instant in nanoseconds UTC.
    calib_type : str
        Calibration type.
    zone : zoneinfo.ZoneInfo
        Zone in which messages write stamps.
    as_of : int, optional
        Only versions added by commits up to this seq count.
    number : int, optional
        This number of the winning stamp, in place of the highest.

    Raises
    ------
    NotFound
        If nothing is valid; the message names the earliest stamp there is.
    """
    rows = table.rows(panel, calib_type)
    columns = table.versions[rows]
    known = columns["seq"] <= (table.seq if as_of is None else as_of)
    starts = columns["begin"]
    valid = known & (starts <= t)
    if not valid.any():
        raise _nothing(table, panel, t, calib_type, zone, columns["stamp"][known], as_of)
    start = starts[valid].max()
    holding = valid & (starts == start)
    numbers = columns["number"][holding]
    wanted = numbers.max() if number is None else number
    if wanted not in numbers:
        there = ", ".join(f"v{n}" for n in sorted(numbers.tolist()))
        raise NotFound(
            f"no v{number} of {panel} {calib_type} at the stamp valid at {stamp_at(t, zone)}, "
            f"{stamp_at(int(start), zone)}; there: {there}"
        )
    winner = int(np.flatnonzero(holding & (columns["number"] == wanted))[0])
    later = starts[known & (starts > start)]

    def explain() -> list[tuple[Version, str]]:
        reasons = []
        for seq, other in zip(columns["seq"].tolist(), starts.tolist(), strict=True):
            if seq > (table.seq if as_of is None else as_of):
                reasons.append(f"added later, by commit {seq}")
            elif other > t:
                reasons.append("starts later")
            elif other < start:
                reasons.append(f"superseded from {stamp_at(int(start), zone)}")
            else:
                reasons.append(f"v{wanted} of this stamp {'is newer' if number is None else 'was asked for'}")
        explained = zip(table.version_list(rows), reasons, strict=True)
        return [pair for i, pair in enumerate(explained) if i != winner]

    return Selection(
        version=table.version_list(rows[[winner]])[0],
        type=calib_type,
        valid_from=int(start),
        valid_to=int(later.min()) if len(later) else None,
        _explain=explain,
    )


def _nothing(
    table: Table, panel: str, t: int, calib_type: str, zone: ZoneInfo, stamps: np.ndarray, as_of: int | None
) -> NotFound:
    if len(stamps):
        first = f"{int(stamps.min()):014d}"
        return NotFound(
            f"no valid {calib_type} of {panel} at {stamp_at(t, zone)} ({iso(t)}): the first starts at {first}",
            [first],
        )
    if panel not in table.panel_rows:
        return NotFound(f"no constants of panel {panel} are stored", nearest(panel, table.panel_rows))
    when = "" if as_of is None else f" as of commit {as_of}"
    return NotFound(f"no {calib_type} of panel {panel} is stored{when}")


def holding(
    table: Table, panel: str, stamp: str, content: Mapping[str, str], ever: bool, new: Sequence[Version] = ()
) -> str | None:
    """Return the version through which `panel` holds `content` at `stamp`, None if it does not.

    Parameters
    ----------
    content : mapping of str to str
        BLAKE3 of each array by calibration type; all must be held.
    ever : bool
        Whether it is enough that one version once held them all; else what holds now counts.
    new : sequence of Version
        Versions that are about to be added, to be counted too.
    """
    rows = table.rows(panel)
    rows = rows[table.versions["stamp"][rows] == int(stamp)]
    versions = table.version_list(rows) + [v for v in new if (v.panel, v.stamp) == (panel, stamp)]
    versions.sort(key=lambda version: version.number, reverse=True)
    if ever:
        for version in versions:
            if content.items() <= version.content.items():
                return version.name
    holders = [next((version for version in versions if name in version.content), None) for name in content]
    for holder, (name, seal) in zip(holders, content.items(), strict=True):
        if holder is None or holder.content[name] != seal:
            return None
    return holders[0].name if holders and holders[0] else None
