"""Read the head of a stream of an LCLS-II run: the panels of its Jungfraus, how they were set, and its start time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jfstore.core.ids import PanelId, parse_panel
from jfstore.errors import BadValue, Damaged
from jfstore.runs.xtc import CutOff, Readable
from jfstore.runs.xtc2 import (
    Datagram2,
    Names,
    Object2,
    Service,
    find_enum_word,
    is_names,
    read_datagrams2,
    read_names,
    read_objects2,
    read_values,
)

JUNGFRAU = "jungfrau"
"""The detType of a Jungfrau."""

_RUN_INFO = "runinfo"
_CONFIG = "config"
_OF_THE_DAQ = (_RUN_INFO, "chunkinfo", "smdinfo", "transition", "enable")
"""Types of what the DAQ writes about itself, which are not detectors."""
_LARGEST_SEGMENT = 1 << 10
_AFTER_START = (Service.BeginStep, Service.Enable, Service.L1Accept, Service.L1AcceptEndOfBatch)
_MOST_DATAGRAMS = 1000
_GAIN_MODES = ("DYNAMIC", "FORCE_SWITCH_G1", "FORCE_SWITCH_G2", "FIX_G1", "FIX_G2", "FIX_G0")
"""Words of ``user.gainMode`` where the file has none (psdaq/configdb/jungfrau_config_store.py of lcls2)."""


@dataclass(frozen=True, slots=True)
class Detector2:
    """A Jungfrau in the configuration of a stream: its segments there, and how its amplifiers were set.

    ``has_high_g0`` is None if the configuration does not say.
    """

    segments: Mapping[int, PanelId]
    gain_mode: str | None = None
    has_high_g0: bool | None = None


@dataclass(frozen=True, slots=True)
class Head2:
    """The head of one stream of an LCLS-II run."""

    jungfraus: Mapping[str, Detector2]  # by name of the detector
    others: tuple[str, ...]  # names of the other detectors
    start: int | None  # clock of BeginRun, nanoseconds since 1970 UTC
    experiment: str  # as BeginRun says, empty if it does not
    run: int  # run number in BeginRun, 0 if it has none
    notes: tuple[str, ...]
    problem: str = ""  # why the start is not known, if the file ends after Configure


def read_head2(file: Readable) -> Head2:
    """Read the head of a stream and no more; Damaged if it violates the format or does not start with Configure."""
    if not file.size:
        raise Damaged(f"{file.name} is empty")
    configured, begin, problem = _find_begin(file)
    if configured is None:
        raise Damaged(f"{file.name} has no Configure")
    info = {} if begin is None else _read_run_info(file, begin, configured)
    number, experiment = info.get("runnum", 0), info.get("expt", "")
    return Head2(
        {name: found.finish() for name, found in sorted(configured.jungfraus.items())},
        tuple(sorted(configured.others)),
        None if begin is None else begin.clock,
        experiment if isinstance(experiment, str) else "",
        number if isinstance(number, int) and 0 < number < 1 << 30 else 0,
        tuple(configured.notes),
        problem,
    )


def _find_begin(file: Readable) -> tuple[_Configured | None, Datagram2 | None, str]:
    """Return the configuration and BeginRun of a stream, and why the latter is missing if the file ends before it."""
    configured: _Configured | None = None
    try:
        for count, datagram in enumerate(read_datagrams2(file)):
            if count >= _MOST_DATAGRAMS:
                raise Damaged(f"{file.name} has no BeginRun among its first {_MOST_DATAGRAMS} datagrams")
            if datagram.service == Service.Configure:
                configured = _read_configure(file, datagram)
            elif datagram.service in (Service.BeginRun, *_AFTER_START):
                if configured is None:
                    raise Damaged(f"{file.name} starts with {Service(datagram.service).name}, not with Configure")
                if datagram.service != Service.BeginRun:
                    return configured, None, ""
                if not datagram.clock:
                    raise Damaged(f"{file.name}: the BeginRun at offset {datagram.offset} has no time")
                return configured, datagram, ""
    except CutOff as error:
        if configured is None:
            raise
        return configured, None, error.message
    return configured, None, f"{file.name} ends after its Configure"


@dataclass
class _Jungfrau:
    segments: dict[int, PanelId] = field(default_factory=dict)
    modes: set[tuple[str | None, bool | None]] = field(default_factory=set)

    def finish(self) -> Detector2:
        # Segments are set together; where they differ, nobody can say which mode the run had.
        mode, is_high = next(iter(self.modes)) if len(self.modes) == 1 else (None, None)
        return Detector2(dict(sorted(self.segments.items())), mode, is_high)


@dataclass
class _Configured:
    names: dict[int, Names] = field(default_factory=dict)
    jungfraus: dict[str, _Jungfrau] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def _read_configure(file: Readable, datagram: Datagram2) -> _Configured:
    configured = _Configured()
    data: list[Object2] = []
    for found in read_objects2(file, datagram):
        if not is_names(found):
            data.append(found)
            continue
        names = read_names(file, found)
        configured.names[found.source] = names
        if names.type == JUNGFRAU:
            _add_segment(configured.jungfraus.setdefault(names.detector, _Jungfrau()), file, found, names)
        elif names.type not in _OF_THE_DAQ:
            configured.others.add(names.detector)
    for found in data:
        described = configured.names.get(found.source)
        if described and described.type == JUNGFRAU and described.algorithm == _CONFIG:
            _add_modes(configured.jungfraus[described.detector], described, read_values(file, found, described))
    for name, jungfrau in configured.jungfraus.items():
        if len(jungfrau.modes) > 1:
            configured.notes.append(f"{file.name}: the segments of {name} are set to different gain modes")
    return configured


def _add_segment(jungfrau: _Jungfrau, file: Readable, found: Object2, names: Names) -> None:
    """Add the panel of a segment; a segment has a Names for each algorithm, and perhaps more for a scan."""
    where = f"{file.name}: the Names at offset {found.offset}"
    if names.segment > _LARGEST_SEGMENT:
        raise Damaged(f"{where} are of segment {names.segment}")
    try:
        panel = parse_panel(names.id)
    except BadValue as error:
        raise Damaged(f"{where}: segment {names.segment} of {names.detector}: {error.message}") from None
    if jungfrau.segments.setdefault(names.segment, panel) != panel:
        raise Damaged(f"{where} say that segment {names.segment} of {names.detector} is another panel than before")


def _add_modes(jungfrau: _Jungfrau, names: Names, values: Mapping[str, int | str]) -> None:
    number, word = find_enum_word(names, values, "user.gainMode")
    if number is not None and word is None and 0 <= number < len(_GAIN_MODES):
        word = _GAIN_MODES[number]
    high, _ = find_enum_word(names, values, "user.gain0")
    if number is not None or high is not None:
        jungfrau.modes.add((word, {0: False, 1: True}.get(high) if high is not None else None))


def _read_run_info(file: Readable, datagram: Datagram2, configured: _Configured) -> dict[str, int | str]:
    """Return the values of ``runinfo`` in BeginRun: the experiment and the run number."""
    for found in read_objects2(file, datagram):
        names = configured.names.get(found.source)
        if not is_names(found) and names and names.type == _RUN_INFO:
            return dict(read_values(file, found, names))
    return {}
