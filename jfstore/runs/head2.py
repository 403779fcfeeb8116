"""Read the head of a stream of an LCLS-II run: the panels of its Jungfraus, how they were set, and its start time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jfstore.core.ids import LARGEST_SEGMENT, PanelId, parse_panel
from jfstore.errors import BadValue, Damaged
from jfstore.runs.begin import find_begin
from jfstore.runs.xtc import Readable
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
_CONFIG, _RAW = "config", "raw"
GAIN_MODE, GAIN0 = "user.gainMode", "user.gain0"
"""Values of the configuration."""
_OF_THE_DAQ = (_RUN_INFO, "chunkinfo", "smdinfo", "transition", "enable")
"""Types of what the DAQ writes about itself, which are not detectors."""
_AFTER_START = ("BeginStep", "Enable", "L1Accept", "L1AcceptEndOfBatch")
_LARGEST_CONFIGURE = 1 << 26
"""The DAQ makes no transition larger than 16 MB (Dgram::MaxSize of lcls2)."""
_MOST_VALUES = 50_000
"""Of the configurations of all segments in a stream; 32 segments have some 1,000."""
_GAIN_MODES = ("DYNAMIC", "FORCE_SWITCH_G1", "FORCE_SWITCH_G2", "FIX_G1", "FIX_G2", "FIX_G0")
"""Words of ``user.gainMode`` where the file has none (psdaq/configdb/jungfrau_config_store.py of lcls2)."""


@dataclass(frozen=True, slots=True)
class Detector2:
    """A Jungfrau in the configuration of a stream: its segments there, and how their amplifiers were set.

    There are several gain modes if segments differ. None stands for a value that has no word.
    """

    segments: Mapping[int, PanelId]
    gain_modes: frozenset[str | None] = frozenset()
    high_g0: frozenset[bool | None] = frozenset()
    scanned: frozenset[str] = frozenset()  # what a scan changes within the run: names of values such as user.gainMode


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
    configured, begin, problem = find_begin(file, read_datagrams2(file), Service, _AFTER_START, _read_configure)
    if configured is None:
        raise Damaged(f"{file.name} has no Configure")
    info = {} if begin is None else _read_run_info(file, begin, configured)
    number, experiment = info.get("runnum", 0), info.get("expt", "")
    return Head2(
        dict(sorted(configured.jungfraus.items())),
        tuple(sorted(configured.others)),
        None if begin is None else begin.clock,
        experiment if isinstance(experiment, str) else "",
        number if isinstance(number, int) and 0 < number < 1 << 30 else 0,
        tuple(configured.notes),
        problem,
    )


@dataclass
class _Jungfrau:
    names: list[tuple[Object2, Names]] = field(default_factory=list)
    gain_modes: set[str | None] = field(default_factory=set)
    high_g0: set[bool | None] = field(default_factory=set)


@dataclass
class _Configured:
    names: dict[int, Names] = field(default_factory=dict)
    jungfraus: dict[str, Detector2] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def _read_configure(file: Readable, datagram: Datagram2) -> _Configured:
    if datagram.end - datagram.offset > _LARGEST_CONFIGURE:
        raise Damaged(
            f"{file.name}: the Configure at offset {datagram.offset} is larger than {_LARGEST_CONFIGURE} bytes"
        )
    configured = _Configured()
    found_jungfraus: dict[str, _Jungfrau] = {}
    data: list[Object2] = []
    for found in read_objects2(file, datagram):
        if not is_names(found):
            data.append(found)
            continue
        names = read_names(file, found)
        configured.names[found.source] = names
        if names.type == JUNGFRAU:
            found_jungfraus.setdefault(names.detector, _Jungfrau()).names.append((found, names))
        elif names.type not in _OF_THE_DAQ:
            configured.others.add(names.detector)
    left = _MOST_VALUES
    for found in data:
        described = configured.names.get(found.source)
        if described and described.type == JUNGFRAU and described.algorithm == _CONFIG:
            left -= len(described.values)
            if left < 0:
                raise Damaged(f"{file.name} has over {_MOST_VALUES} values in the configurations of its Jungfraus")
            _add_modes(found_jungfraus[described.detector], described, read_values(file, found, described))
    with_data = {found.source for found in data}
    for name, jungfrau in found_jungfraus.items():
        segments = _find_segments(file, name, jungfrau.names, configured.notes)
        scanned = _find_scanned(names for found, names in jungfrau.names if found.source not in with_data)
        modes = frozenset(jungfrau.gain_modes), frozenset(jungfrau.high_g0)
        configured.jungfraus[name] = Detector2(segments, *modes, scanned)
    return configured


def _find_segments(
    file: Readable, name: str, all_names: Iterable[tuple[Object2, Names]], notes: list[str]
) -> dict[int, PanelId]:
    """Return the panel of each segment.

    A segment has a Names for its data, one for its configuration, and one for what a scan changes. If their Ids differ,
    that of the data counts: until June 2025 the DAQ joined the Ids of all connections in those of configurations.
    """
    by_segment: dict[int, list[tuple[Object2, Names]]] = {}
    for found, names in all_names:
        if names.segment > LARGEST_SEGMENT:
            raise Damaged(f"{file.name}: the Names at offset {found.offset} are of segment {names.segment}")
        by_segment.setdefault(names.segment, []).append((found, names))
    segments: dict[int, PanelId] = {}
    for segment, described in sorted(by_segment.items()):
        deciding = [one for one in described if one[1].algorithm == _RAW] or described
        for found, names in deciding:
            where = f"{file.name}: the Names at offset {found.offset}"
            try:
                panel = parse_panel(names.id)
            except BadValue as error:
                raise Damaged(f"{where}: segment {segment} of {name}: {error.message}") from None
            if segments.setdefault(segment, panel) != panel:
                raise Damaged(f"{where} say that segment {segment} of {name} is another panel than before")
        if odd := {names.id for _, names in described} - {names.id for _, names in deciding}:
            text = f"segment {segment} of {name} is configured as {min(odd)!r}; the Id of its data counts"
            notes.append(f"{file.name}: {text}")
    return segments


def _add_modes(jungfrau: _Jungfrau, names: Names, values: Mapping[str, int | str]) -> None:
    number, word = find_enum_word(names, values, GAIN_MODE)
    if number is not None:
        is_known = word is None and 0 <= number < len(_GAIN_MODES)
        jungfrau.gain_modes.add(_GAIN_MODES[number] if is_known else word)
    high, _ = find_enum_word(names, values, GAIN0)
    if high is not None:
        jungfrau.high_g0.add({0: False, 1: True}.get(high))


def _find_scanned(all_names: Iterable[Names]) -> frozenset[str]:
    """Return which values the steps of a scan change; Configure has Names for them, of which it has no data."""
    stems = (full.partition(":")[0] for names in all_names if names.algorithm == _CONFIG for full, _, _ in names.values)
    return frozenset(stems) & {GAIN_MODE, GAIN0}


def _read_run_info(file: Readable, datagram: Datagram2, configured: _Configured) -> dict[str, int | str]:
    """Return the values of ``runinfo`` in BeginRun: the experiment and the run number."""
    for found in read_objects2(file, datagram):
        names = configured.names.get(found.source)
        if not is_names(found) and names and names.type == _RUN_INFO:
            return dict(read_values(file, found, names))
    return {}
