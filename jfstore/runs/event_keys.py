"""List event keys: the contents of psana's event and configuration stores for a run, as EventKey prints them."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from jfstore.errors import Damaged, Failed
from jfstore.fs.files import open_checked
from jfstore.runs.head import ALIAS, JUNGFRAU, Aliases, read_aliases, read_jungfrau
from jfstore.runs.tree import LOWEST_CONTROL_STREAM, RunFiles
from jfstore.runs.xtc import Datagram, Readable, Source, Transition, XtcBytes, XtcObject, read_datagrams, read_objects

# psana's names of the types (psana data definitions), to which the version is appended as V<version>.
_NAMES = {
    int(number): name
    for number, name in (
        pair.split(":")
        for pair in (
            "2:Camera.Frame 3:Acqiris.DataDesc 4:Acqiris.Config 5:Camera.TwoDGaussian 6:Opal1k.Config "
            "7:Camera.FrameFexConfig 8:EvrData.Config 9:Pulnix.TM6740Config 10:ControlData.Config 11:PNCCD.Frames "
            "12:PNCCD.Config 15:Bld.BldDataEBeam 17:Princeton.Frame 18:Princeton.Config 19:EvrData.Data "
            "20:Camera.FrameFccdConfig 21:FCCD.FccdConfig 22:Ipimb.Data 23:Ipimb.Config 24:Encoder.Data "
            "25:Encoder.Config 26:EvrData.IOConfig 27:Princeton.Info 28:CsPad.Data 29:CsPad.Config "
            "30:Lusi.IpmFexConfig 31:Lusi.IpmFex 32:Lusi.DiodeFexConfig 33:Lusi.DiodeFex 34:Lusi.PimImageConfig "
            "35:Bld.BldDataIpimb 36:Acqiris.TdcConfig 37:Acqiris.TdcData 41:CsPad2x2.Element 42:Bld.BldDataPim "
            "43:CsPad2x2.Config 46:Gsc16ai.Config 47:Gsc16ai.Data 49:Timepix.Config 50:Timepix.Data "
            "52:OceanOptics.Config 53:OceanOptics.Data 54:Epics.Config 55:Fli.Config 56:Fli.Frame 57:Quartz.Config "
            "60:Andor.Config 61:Andor.Frame 62:UsdUsb.Data 63:UsdUsb.Config 64:Bld.BldDataGMD 65:Bld.BldDataAcqADC "
            "66:Orca.Config 67:Imp.Element 68:Imp.Config 69:Alias.Config 70:L3T.Config 71:L3T.Data "
            "72:Bld.BldDataSpectrometer 73:Rayonix.Config 74:Epix.Config 75:Epix.Element 76:EpixSampler.Config "
            "77:EpixSampler.Element 78:EvrData.SrcConfig 79:Partition.Config 80:Pimax.Config 81:Pimax.Frame "
            "83:Epix.Config10K 84:Epix.Config100a 86:TimeTool.Config 87:TimeTool.Data 89:SmlData.Config "
            "90:SmlData.OrigDgramOffset 91:SmlData.Proxy 94:Bld.BldDataAnalogInput 98:Bld.BldDataBeamMonitor "
            "103:Bld.BldDataEOrbits 104:Bld.BldDataUsdUsb 105:Camera.ControlsCameraConfig 107:Jungfrau.Config "
            "108:Jungfrau.Element 110:Zyla.Config 111:Zyla.Frame"
        ).split()
    )
}
_EPICS = 13  # goes to a store of its own
_NO_TYPE = 0
_OF_EVENT = tuple(
    f"EventKey(type={name})" for name in ("psana.EventOffset", "psana.EventId", "None", "psana.DgramList")
)
_OF_CONFIG = ("EventKey(type=psana.EventId)",)
_NEAR = 2  # seconds by which the clock of a control stream may differ


@dataclass(frozen=True, slots=True)
class Event:
    """The keys of an event's data, and of the configuration at that time, as psana prints them."""

    of_event: tuple[str, ...]
    of_config: tuple[str, ...]


@dataclass
class _Store:
    """The configuration, in which a later object replaces one of the same source and type."""

    objects: dict[tuple[Source, int, int], XtcObject] = field(default_factory=dict)
    aliases: Aliases = field(default_factory=Aliases)
    _lines: tuple[str, ...] | None = None

    def lines(self) -> tuple[str, ...]:
        if self._lines is None:
            self._lines = (*_format_keys(self.objects.values(), self.aliases.of, True), *_OF_CONFIG)
        return self._lines

    def add(self, file: Readable, datagram: Datagram, problems: list[str]) -> None:
        try:
            for found in read_objects(file, datagram):
                if found.start == found.end or found.compressed:
                    continue
                if found.type == ALIAS:
                    self.aliases.add(read_aliases(file, found))
                self.objects[found.source, found.type, found.version] = found
                if found.type == JUNGFRAU and found.source.is_jungfrau:
                    read_jungfrau(file, found)
        except (Damaged, Failed) as error:
            # The rest of this datagram is left out; others follow.
            problems.append(str(error))
        self._lines = None


def _format_keys(found: Iterable[XtcObject], aliases: dict[Source, str], configured: bool) -> list[str]:
    """Return the keys of `found` in psana's order; a configuration has a second key, for the DAQ's own object."""
    ordered = []
    for item in found:
        stem = _NAMES.get(item.type)
        source, alias = item.source, aliases.get(item.source)
        where = f"src='{source.describe(item.process)}'" + (f", alias='{alias}'" if alias else "")
        if configured or not stem:
            ordered.append((source.order, "", f"EventKey(type=None, {where})"))
        if stem:
            name = f"{stem}V{item.version}"
            # The stores are ordered by the C++ name, in which each word has its length before it.
            mangled = "".join(f"{len(word)}{word}" for word in name.split("."))
            ordered.append((source.order, mangled, f"EventKey(type=psana.{name}, {where})"))
    return [line for _, _, line in sorted(ordered)]


def read_events(run: RunFiles, problems: list[str]) -> Iterator[Event]:
    """Yield the events of a run, one for each event of a DAQ stream; damaged files are described in `problems`."""
    store = _Store()
    with ExitStack() as stack:
        streams: dict[int, list[XtcBytes]] = {}
        for stream, paths in run.streams().items():
            for path in paths:
                try:
                    fd = stack.enter_context(open_checked(path, follow=True))
                    streams.setdefault(stream, []).append(XtcBytes(fd, path))
                except Damaged as error:
                    problems.append(str(error))
                except OSError as error:
                    problems.append(f"{path}: {error.strerror}")
        of_daq = [_read_stream(files, store, problems) for n, files in streams.items() if n < LOWEST_CONTROL_STREAM]
        of_controls = [
            _Window(_read_stream(files, store, problems)) for n, files in streams.items() if n >= LOWEST_CONTROL_STREAM
        ]
        for file, datagram in heapq.merge(*of_daq, key=lambda pair: pair[1].clock):
            found = _read_data(file, datagram, problems)
            for window in of_controls:
                found += [item for pair in window.find(datagram) for item in _read_data(*pair, problems)]
            distinct = {(item.source, item.type, item.version): item for item in found}
            lines = _format_keys(distinct.values(), store.aliases.of, False)
            yield Event((*lines, *_OF_EVENT), store.lines())


def _read_data(file: Readable, datagram: Datagram, problems: list[str]) -> list[XtcObject]:
    try:
        return [
            item
            for item in read_objects(file, datagram)
            if item.end > item.start and item.type not in (_NO_TYPE, _EPICS)
        ]
    except (Damaged, Failed) as error:
        problems.append(str(error))
        return []


def _read_stream(files: list[XtcBytes], store: _Store, problems: list[str]) -> Iterator[tuple[Readable, Datagram]]:
    """Yield the events of a stream; configurations between them are added to `store`."""
    for file in files:
        if not file.size:
            problems.append(f"{file.name} is empty")
        try:
            for datagram in read_datagrams(file):
                if datagram.transition == Transition.L1Accept:
                    yield file, datagram
                elif datagram.transition in (Transition.Configure, Transition.BeginCalibCycle):
                    store.add(file, datagram, problems)
        except (Damaged, Failed) as error:
            problems.append(str(error))


class _Window:
    """The events of a control stream near the present one; those with the same fiducials belong to it."""

    def __init__(self, stream: Iterator[tuple[Readable, Datagram]]) -> None:
        self._stream = stream
        self._near: deque[tuple[Readable, Datagram]] = deque()

    def find(self, event: Datagram) -> list[tuple[Readable, Datagram]]:
        while not self._near or self._near[-1][1].seconds <= event.seconds + _NEAR:
            following = next(self._stream, None)
            if following is None:
                break
            self._near.append(following)
        while self._near and self._near[0][1].seconds < event.seconds - _NEAR:
            self._near.popleft()
        return [pair for pair in self._near if pair[1].fiducials == event.fiducials]
