"""Parse XTC files (pdsdata): datagrams, the objects in them and their sources. Every byte is treated as hostile.

A file is a sequence of datagrams. Each has a header of 40 bytes, whose last 20 are the header of
its top object; the extent of an object includes its own 20 bytes. All words are little-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from jfstore.errors import Damaged, Failed

Transition = IntEnum(
    "Transition",
    "Unknown Reset Map Unmap Configure Unconfigure BeginRun EndRun BeginCalibCycle EndCalibCycle Enable Disable "
    "L1Accept",
    start=0,
)
"""What a datagram is for."""

_DATAGRAM = struct.Struct("<10I")
_OBJECT = struct.Struct("<5I")
_CONTAINER = 1
_INCOMPLETE = 1 << 15  # of the damage word: IncompleteContribution
_LARGEST_DATAGRAM = 1 << 28  # as in psana
_MOST_OBJECTS = 100_000
_BLOCK = 1 << 16

# Names of sources, as pdsdata's programs print them (DetInfo, BldInfo).
_DETECTORS = (
    "NoDetector AmoIMS AmoGD AmoETOF AmoITOF AmoMBES AmoVMI AmoBPS Camp EpicsArch BldEb SxrBeamline SxrEndstation "
    "XppSb1Ipm XppSb1Pim XppMonPim XppSb2Ipm XppSb3Ipm XppSb3Pim XppSb4Pim XppGon XppLas XppEndstation AmoEndstation "
    "CxiEndstation XcsEndstation MecEndstation CxiDg1 CxiDg2 CxiDg3 CxiDg4 CxiKb1 CxiDs1 CxiDs2 CxiDsu CxiSc1 CxiDsd "
    "XcsBeamline CxiSc2 MecXuvSpectrometer MecXrtsForw MecXrtsBack MecFdi MecTimeTool MecTargetChamber "
    "FeeHxSpectrometer XrayTransportDiagnostic Lamp MfxEndstation MfxDg1 MfxDg2 XrtDiag DetLab"
).split()
_DEVICES = (
    "NoDevice Evr Acqiris Opal1000 Tm6740 pnCCD Princeton Fccd Ipimb Encoder Cspad AcqTDC Xamps Cspad2x2 Fexamp "
    "Gsc16ai Phasics Timepix Opal2000 Opal4000 OceanOptics Opal1600 Opal8000 Fli Quartz4A150 Andor USDUSB OrcaFl40 "
    "Imp Epix Rayonix EpixSampler Pimax Fccd960 Epix10k Epix100a EpixS Gotthard DualAndor Wave8 LeCroy "
    "ControlsCamera Archon Jungfrau Zyla Epix10ka Pixis Uxi Epix10ka2M StreakC7700 Epix10kaQuad JungfrauSegment "
    "JungfrauSegmentM2 JungfrauSegmentM3 JungfrauSegmentM4 iStar QuadAdc Alvium"
).split()
_BLD = (
    "EBeam PhaseCavity FEEGasDetEnergy NH2-SB1-IPM-01 XCS-IPM-01 XCS-DIO-01 XCS-IPM-02 XCS-DIO-02 XCS-IPM-03 "
    "XCS-DIO-03 XCS-IPM-03m XCS-DIO-03m XCS-YAG-1 XCS-YAG-2 XCS-YAG-3m XCS-YAG-3 XCS-YAG-mono XCS-IPM-mono "
    "XCS-DIO-mono XCS-DEC-mono MEC-LAS-EM-01 MEC-TCTR-PIP-01 MEC-TCTR-DI-01 MEC-XT2-IPM-02 MEC-XT2-IPM-03 "
    "MEC-HXM-IPM-01 GMD CxiDg1_Imb01 CxiDg2_Imb01 CxiDg2_Imb02 CxiDg3_Imb01 CxiDg1_Pim CxiDg2_Pim CxiDg3_Pim "
    "XppMon_Pim0 XppMon_Pim1 XppSb2_Ipm XppSb3_Ipm XppSb3_Pim XppSb4_Pim XppEnds_Ipm0 XppEnds_Ipm1 MEC-XT2-PIM-02 "
    "MEC-XT2-PIM-03 CxiDg3_Spec NH2-SB1-IPM-02 FEE-SPEC0 SXR-SPEC0 XPP-SPEC0 XCS-USR-IPM-01 XCS-USR-IPM-02 "
    "XCS-USR-IPM-03 XCS-USR-IPM-04 XCS-IPM-04 XCS-DIO-04 XCS-IPM-05 XCS-DIO-05 XCS-IPM-gon XCS-IPM-ladm XPP-AIN-01 "
    "XCS-AIN-01 AMO-AIN-01 MFX-BEAMMON-01 EOrbits MfxDg1_Pim MfxDg2_Pim SXR-AIN-01 HX2-SB1-BMMON XRT-USB-ENCODER-01 "
    "XPP-USB-ENCODER-01 XPP-USB-ENCODER-02 XCS-USB-ENCODER-01 CXI-USB-ENCODER-01 XCS-SND-DIO MFX-USR-DIO "
    "XPP-SB2-BMMON XPP-SB3-BMMON HFX-DG2-BMMON XCS-SB1-BMMON XCS-SB2-BMMON CXI-DG2-BMMON CXI-DG3-BMMON "
    "MFX-DG1-BMMON MFX-DG2-BMMON MFX-AIN-01 MEC-AIN-01 FEE-AIN-01 MEC-XT2-BMMON-02 MEC-XT2-BMMON-03 XPP-USR-DIO "
    "XPP-ALC-DIO XCS-USR-DIO CXI-USR-DIO MEC-USR-DIO MFX-USB-ENCODER-01 HXX-DG1-BMMON-01 EM3L0-BMMON SP1L2-BMMON "
    "XRT-HRM-DIO"
).split()
_DETINFO, _BLDINFO = 1, 6
_JUNGFRAU = _DEVICES.index("Jungfrau")


@dataclass(frozen=True, slots=True)
class Source:
    """A source of data (pdsdata's Src); equal if `level` and `phy` are, whatever process wrote it."""

    level: int  # 1 for a detector (DetInfo), 6 for beam-line data (BldInfo), others for processes (ProcInfo)
    phy: int  # detector, detector number, device, device number, 8 bits each; or the IPv4 address of a process

    @property
    def is_detector(self) -> bool:
        """Whether it is a DetInfo."""
        return self.level == _DETINFO

    @property
    def is_jungfrau(self) -> bool:
        """Whether it is a whole Jungfrau, not one of the DAQ's pieces of one (JungfrauSegment)."""
        return self.is_detector and self.phy >> 8 & 0xFF == _JUNGFRAU

    @property
    def order(self) -> tuple[int, int]:
        """The key by which psana sorts sources: level, then `phy` as a signed number."""
        return self.level, self.phy - (1 << 32) if self.phy >> 31 else self.phy

    @property
    def name(self) -> str:
        """``MfxEndstation.0:Jungfrau.0``; the name of beam-line data; the address of a process."""
        first, second, third, fourth = self.phy.to_bytes(4, "big")
        if self.level == _DETINFO:
            return f"{_look_up(_DETECTORS, first)}.{second}:{_look_up(_DEVICES, third)}.{fourth}"
        if self.level == _BLDINFO:
            return _look_up(_BLD, self.phy)
        return f"{first}.{second}.{third}.{fourth}"

    def describe(self, process: int) -> str:
        """Return the text that psana prints: ``DetInfo(MfxEndstation.0:Jungfrau.0)``."""
        if self.level == _DETINFO:
            return f"DetInfo({self.name})"
        if self.level == _BLDINFO:
            return f"BldInfo({self.name})"
        return f"ProcInfo({self.name}, pid={process})"


def _look_up(names: list[str], index: int) -> str:
    return names[index] if index < len(names) else "-Invalid-"


class Readable(Protocol):
    """Bytes of an XTC file: on disk, or in memory in a test."""

    name: str
    size: int

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`, all of which lie below `size`."""
        ...


class XtcBytes:
    """An open file as `Readable`; it is read in blocks, so that its size does not matter.

    Reading raises Damaged if the file has shrunk, and Failed if the system cannot read it.
    """

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self.size = os.fstat(fd).st_size
        self._fd = fd
        self._start = 0
        self._block = b""

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`."""
        start = offset - self._start
        if start < 0 or start + count > len(self._block):
            try:
                self._block, self._start, start = os.pread(self._fd, max(count, _BLOCK), offset), offset, 0
            except OSError as error:
                raise Failed(f"{self.name}: {error.strerror}") from None
            if len(self._block) < count:
                raise Damaged(f"{self.name} is shorter than it was: it ends before offset {offset + count}")
        return self._block[start : start + count]


class CutOff(Damaged):
    """A file ends within a datagram: it was cut, or is still being written."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram; only its header was read."""

    offset: int
    end: int
    seconds: int  # since 1970 UTC
    nanoseconds: int
    transition: int  # a Transition; 0 if it is not an event of the DAQ's sequence
    fiducials: int  # counter of the machine's 360 Hz clock
    env: int  # environment word; the run number in at least one stream's BeginRun

    @property
    def kind(self) -> int:
        """What it is for: `transition`."""
        return self.transition

    @property
    def has_time(self) -> bool:
        """Whether its clock was set."""
        return self.seconds > 0

    @property
    def clock(self) -> int:
        """Nanoseconds since 1970 UTC."""
        return self.seconds * 1_000_000_000 + self.nanoseconds


@dataclass(frozen=True, slots=True)
class XtcObject:
    """An object in a datagram that is not a container; its payload was not read."""

    offset: int
    start: int  # of the payload
    end: int
    damage: int  # not 0 if the DAQ marked the object
    source: Source
    process: int  # id of the process that wrote it
    type: int
    version: int
    compressed: bool


def read_datagrams(file: Readable, offset: int = 0) -> Iterator[Datagram]:
    """Yield the datagrams of a file; Damaged if one is cut off, or its extent or clock is impossible."""
    while offset < file.size:
        left = file.size - offset
        if left < _DATAGRAM.size:
            raise CutOff(f"{file.name} is cut off: {left} bytes of a datagram's header at offset {offset}")
        nanoseconds, seconds, low, high, env, *_, extent = _DATAGRAM.unpack(file.read(offset, _DATAGRAM.size))
        if not _OBJECT.size <= extent <= _LARGEST_DATAGRAM:
            raise Damaged(f"{file.name}: a datagram at offset {offset} has the extent {extent}")
        end = offset + 20 + extent
        if end > file.size:
            raise CutOff(f"{file.name} is cut off: the datagram at offset {offset} needs {end - file.size} bytes more")
        if nanoseconds >= 1_000_000_000:
            raise Damaged(f"{file.name}: a datagram at offset {offset} has a clock of {nanoseconds} ns in the second")
        is_event = not low >> 28 & 3
        transition = low >> 24 & 15 if is_event else 0
        yield Datagram(offset, end, seconds, nanoseconds, transition, high & 0x1FFFF, env)
        offset = end


def read_objects(file: Readable, datagram: Datagram) -> Iterator[XtcObject]:
    """Yield the objects in a datagram that are not containers, in the order of the file.

    Containers that the DAQ marked as incomplete are skipped, as in pdsdata and psana. Damaged is raised if an extent
    is not between 20 and the rest of its container, or there are too many objects.
    """
    left = _MOST_OBJECTS
    stack = [(datagram.offset + 20, datagram.end)]
    while stack:
        offset, end = stack.pop()
        if offset == end:
            continue
        if end - offset < _OBJECT.size:
            raise Damaged(f"{file.name}: {end - offset} stray bytes at offset {offset}")
        damage, log, phy, contains, extent = _OBJECT.unpack(file.read(offset, _OBJECT.size))
        if not _OBJECT.size <= extent <= end - offset:
            raise Damaged(f"{file.name}: an object at offset {offset} has the extent {extent} of {end - offset} bytes")
        left -= 1
        if not left:
            raise Damaged(f"{file.name}: the datagram at offset {datagram.offset} has over {_MOST_OBJECTS} objects")
        start, after = offset + _OBJECT.size, offset + extent
        stack.append((after, end))
        if contains & 0xFFFF != _CONTAINER:
            source, version = Source(log >> 24, phy), contains >> 16 & 0x7FFF
            yield XtcObject(
                offset, start, after, damage, source, log & 0xFFFFFF, contains & 0xFFFF, version, bool(contains >> 31)
            )
        elif not damage & _INCOMPLETE:
            stack.append((start, after))
