"""Read the heads of all streams of an LCLS-II run, and merge what they say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from jfstore.core.ids import PanelId
from jfstore.core.instants import iso
from jfstore.errors import Damaged
from jfstore.runs.begin import read_heads
from jfstore.runs.head2 import GAIN0, GAIN_MODE, Detector2, Head2, read_head2
from jfstore.runs.records import LCLS2, Jungfrau, Run
from jfstore.runs.streams import note_unknown_begin
from jfstore.runs.tree import RunFiles

_Heads = Mapping[int, tuple[str, Head2]]
_T = TypeVar("_T")


def read_run2(files: RunFiles) -> Run:
    """Read the heads of a run's streams; errors as for `jfstore.runs.run.read_run`.

    The segments of a Jungfrau are spread over the streams. Its panels are those of all segments that are there, in the
    order of the segments.
    """
    heads, failures = read_heads(files, read_head2)
    if not heads:
        raise failures[0]
    notes = [note for _, head in heads.values() for note in head.notes]
    start, experiment, number = _find_begin(heads, notes)
    if files.run >= 0 and number and number != files.run:
        notes.append(f"{files.label}: its BeginRun has the run number {number}")
    if files.experiment and experiment and experiment != files.experiment:
        notes.append(f"{files.label}: its BeginRun has the experiment {experiment}")
    names = sorted({name for _, head in heads.values() for name in head.jungfraus})
    others = sorted({name for _, head in heads.values() for name in head.others} - {*names})
    return Run(
        files.experiment or experiment,
        files.run if files.run >= 0 else (number or -1),
        start,
        next(iter(heads.values()))[0],
        tuple(_merge(name, heads, notes) for name in names),
        tuple((name, None) for name in others),
        tuple(notes),
        (*map(str, failures), *note_unknown_begin([head.problem for _, head in heads.values()], start)),
        # Every stream has panels of its own, so that all of them must be sound.
        not failures,
        daq=LCLS2,
    )


def _find_begin(heads: _Heads, notes: list[str]) -> tuple[int | None, str, int]:
    """Return start time (None if unknown), experiment and run number (empty and 0 if unknown) of a run."""
    begun = [(path, head) for path, head in heads.values() if head.start is not None]
    if not begun:
        return None, "", 0
    first_path, first = begun[0]
    for path, head in begun[1:]:
        if head.start != first.start:
            times = f"{iso(first.start or 0)}, {iso(head.start or 0)}"
            notes.append(f"{first_path} and {path} disagree on the start of the run: {times}; the first counts")
    experiment = next((head.experiment for _, head in begun if head.experiment), "")
    return first.start, experiment, next((head.run for _, head in begun if head.run), 0)


def _merge(name: str, heads: _Heads, notes: list[str]) -> Jungfrau:
    """Return a Jungfrau with the segments of all streams; of a segment that two streams have, the lowest one counts."""
    segments: dict[int, tuple[str, PanelId]] = {}
    found: list[tuple[str, Detector2]] = []
    for path, head in heads.values():
        if name not in head.jungfraus:
            continue
        found.append((path, head.jungfraus[name]))
        for segment, panel in head.jungfraus[name].segments.items():
            first_path, first_panel = segments.setdefault(segment, (path, panel))
            if first_panel != panel:
                notes.append(f"{first_path} and {path} disagree on segment {segment} of {name}; the first counts")
    ordered = tuple(sorted(segments))
    panels = tuple(segments[segment][1] for segment in ordered)
    if len(set(panels)) < len(panels):
        raise Damaged(f"{found[0][0]}: two segments of {name} are the same panel")
    mode, is_high = _merge_modes(name, [one for _, one in found], notes)
    return Jungfrau(name, None, 0, len(panels), panels, ordered, mode, is_high)


def _merge_modes(name: str, found: list[Detector2], notes: list[str]) -> tuple[str | None, bool | None]:
    """Return gain mode and whether the first gain range is the high one; None if the streams do not say or differ."""
    modes = {mode for one in found for mode in one.gain_modes}
    high = {is_high for one in found for is_high in one.high_g0}
    scanned = {value for one in found for value in one.scanned}
    if len(modes) > 1:
        notes.append(f"the segments of {name} are set to different gain modes: {', '.join(sorted(map(str, modes)))}")
    if len(high) > 1:
        notes.append(f"the segments of {name} differ in whether the first gain range is the high one")
    for value in sorted(scanned):
        notes.append(f"{value} of {name} changes within the run, which is a scan")
    return None if GAIN_MODE in scanned else _find_only(modes), None if GAIN0 in scanned else _find_only(high)


def _find_only(values: Iterable[_T | None]) -> _T | None:
    """Return the only one of different values; None if there are several or none."""
    different = set(values)
    return different.pop() if len(different) == 1 else None
