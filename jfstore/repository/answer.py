"""Define the answer to "which versions are valid for this detector at this time", and how it prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from jfstore.core.arrays import CalibArray
from jfstore.core.calib_types import calib_type, high_g0_type
from jfstore.core.ids import PanelId, count_places, detector_id
from jfstore.core.instants import Instant
from jfstore.core.slabs import spread_segments
from jfstore.core.validity import Selection
from jfstore.errors import BadValue, Failed, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jfstore.core.lock import Lock
    from jfstore.repository.bundle import Bundle
    from jfstore.repository.reading import ReadableRepository
    from jfstore.runs.run import Jungfrau, Run


_AXES = ("gain", "panel", "row", "column")


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What is valid for a detector at a time; immutable, and can be pickled.

    ``answer["pixel_gain"]`` is the array of a calibration type, of its dtype and of shape (gain, panel, row, column),
    or (panel, row, column).

    Attributes
    ----------
    panels : tuple of PanelId
        The detector's panels in their order.
    time : Instant
        The time that was asked for, or the start of the run.
    as_of : int
        The commit that the answer is as of.
    by_type : tuple of (str, tuple of Selection)
        For each calibration type the selection of each panel.
    notes : tuple of str
        What the user should know, such as that gains and offsets come from different versions.
    run, jungfrau : Run and Jungfrau, or None
        The run that the panels and the time come from.
    locked : Lock or None
        The lock that the answer was replayed from; its arrays are always compared with their hashes.
    """

    panels: tuple[PanelId, ...]
    time: Instant
    as_of: int
    by_type: tuple[tuple[str, tuple[Selection, ...]], ...]
    notes: tuple[str, ...] = ()
    run: Run | None = None
    jungfrau: Jungfrau | None = None
    repository: ReadableRepository | Bundle | None = field(default=None, compare=False)
    locked: Lock | None = field(default=None, compare=False)

    @property
    def detector(self) -> str:
        """The detector Id."""
        return detector_id(self.panels)

    @property
    def types(self) -> tuple[str, ...]:
        """The calibration types that were asked for."""
        return tuple(name for name, _ in self.by_type)

    @property
    def selections(self) -> dict[str, tuple[Selection, ...]]:
        """The selection of each panel by calibration type; a new dict each time."""
        return dict(self.by_type)

    def of(self, type: str) -> tuple[Selection, ...]:
        """Return the selections of one calibration type; BadValue if it was not asked for.

        For a run whose first gain range is the high one, a type such as ``pixel_gain`` means ``pixel_gain_hg0``.
        """
        names = [type]
        if self.jungfrau and self.jungfrau.has_high_g0 and (high := high_g0_type(type)):
            names.append(high)
        for name in names:
            for other, selections in self.by_type:
                if name == other:
                    return selections
        raise BadValue(f"the answer has no {type!r}", nearest(str(type), self.types) or self.types)

    def __getitem__(self, type: str) -> CalibArray:
        assert self.repository is not None
        return self.repository.read(self, type)

    def full_array(self, type: str) -> CalibArray:
        """Return the array of one calibration type with a place for every segment of the detector, as psana2 has it.

        Absent segments are zeros; their `pixel_status` has all bits set.

        Returns
        -------
        ndarray
            Of the dtype of `type` and of shape (gain, place, row, column) or (place, row, column), with 1, 2, 8 or 32
            places. It is private memory if a segment is absent.

        Raises
        ------
        BadValue
            If the answer is not one for a run of LCLS-II.
        """
        return spread_segments(self[type], self.of(type)[0].type, self._segments)

    @property
    def _segments(self) -> tuple[int, ...]:
        """Segment number of each panel; BadValue if the answer is not one for a run of LCLS-II."""
        segments = self.jungfrau.segments if self.jungfrau else ()
        if not segments:
            raise BadValue("only a run of LCLS-II says at which places of the detector its panels are")
        return segments

    @property
    def places(self) -> int:
        """Number of places of `full_array`; BadValue as there."""
        return count_places(self._segments)

    @property
    def full_panels(self) -> tuple[str, ...]:
        """The panel Id at each place of `full_array`, empty if the segment is absent; BadValue as there."""
        by_segment = dict(zip(self._segments, map(str, self.panels), strict=True))
        return tuple(by_segment.get(place, "") for place in range(self.places))

    def __iter__(self) -> Iterator[str]:
        return iter(self.types)

    def __len__(self) -> int:
        return len(self.by_type)

    def __repr__(self) -> str:
        count = len(self.panels)
        what = f"panel {self.panels[0]}" if count == 1 else f"{count} panels {self.panels[0]}, ..."
        return f"<jfstore answer: {', '.join(self.types)} of {what} at {self.time}, as of commit {self.as_of}>"

    def lock(self) -> Lock:
        """Return the lock of the answer: with it, `replay` returns the same bits later, or from a copy, or fails.

        ``answer.lock().text`` is the text of a lock file.

        Raises
        ------
        Damaged
            If a commit that the lock needs is missing or not what was written.
        """
        from jfstore.repository.locking import make_lock

        return make_lock(self)

    def rows(self) -> tuple[dict[str, Any], ...]:
        """Return a row for each panel and type, as ``pandas.DataFrame`` takes them."""
        return tuple(
            {
                "panel": selection.version.panel,
                "type": selection.type,
                "version": selection.version.name,
                "valid_from": selection.valid_from.stamp,
                "valid_to": selection.valid_to.stamp if selection.valid_to else None,
                "commit": selection.version.seq,
                "blake3": selection.version.array(selection.type).blake3,
            }
            for per_panel in zip(*(selections for _, selections in self.by_type), strict=True)
            for selection in per_panel
        )

    def _repr_html_(self) -> str:
        return html_table(repr(self), self.rows())

    def xarray(self) -> Any:
        """Return the arrays as an ``xarray.Dataset`` with the coordinate ``panel``; needs xarray."""
        try:
            import xarray
        except ImportError:
            raise Failed("xarray is not installed: pip install xarray") from None
        arrays = {name: self[name] for name in self.types}
        return xarray.Dataset(
            {name: (_AXES[-array.ndim :], array, {"units": calib_type(name).units}) for name, array in arrays.items()},
            coords={"panel": [str(panel) for panel in self.panels]},
            attrs={"time": self.time.iso, "as_of": self.as_of},
        )


def html_table(title: str, rows: Iterable[dict[str, Any]]) -> str:
    """Return rows as an HTML table for notebooks, under a title."""
    rows = list(rows)
    columns: Sequence[str] = list(rows[0]) if rows else []

    def line(cell: str, values: Iterable[Any]) -> str:
        texts = ("" if value is None else escape(str(value)) for value in values)
        return "<tr>" + "".join(f"<{cell}>{text}</{cell}>" for text in texts) + "</tr>"

    body = "".join(line("td", row.values()) for row in rows)
    return f"<p>{escape(title)}</p><table>{line('th', columns)}{body}</table>"
