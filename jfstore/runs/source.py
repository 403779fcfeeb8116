"""Sources of data in XTC (pdsdata's Src): their two words, and the names that are printed of them.

The tables are those of pdsdata (DetInfo, BldInfo), with the names that its programs print.
"""

from __future__ import annotations

from dataclasses import dataclass

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
_INVALID = "-Invalid-"
_DETINFO, _BLDINFO = 1, 6
_JUNGFRAU = _DEVICES.index("Jungfrau")


def _name(names: list[str], index: int) -> str:
    return names[index] if index < len(names) else _INVALID


@dataclass(frozen=True, slots=True)
class Source:
    """A source of data; two are the same if `level` and `phy` are, whatever process wrote them.

    Attributes
    ----------
    level : int
        1 for a detector (DetInfo), 6 for beam-line data (BldInfo), others for processes (ProcInfo).
    phy : int
        Detector, detector number, device, device number, 8 bits each; for a process its IPv4 address.
    """

    level: int
    phy: int

    @property
    def is_detector(self) -> bool:
        """Whether it is a DetInfo."""
        return self.level == _DETINFO

    @property
    def is_jungfrau(self) -> bool:
        """Whether it is a whole Jungfrau; the DAQ's pieces of one (JungfrauSegment) are not."""
        return self.is_detector and self.phy >> 8 & 0xFF == _JUNGFRAU

    @property
    def order(self) -> tuple[int, int]:
        """Its place among others: psana's, by level, then by `phy` as a signed number."""
        return self.level, self.phy - (1 << 32) if self.phy >> 31 else self.phy

    @property
    def name(self) -> str:
        """``MfxEndstation.0:Jungfrau.0``; of beam-line data its name; of a process its address."""
        first, second, third, fourth = self.phy.to_bytes(4, "big")
        if self.level == _DETINFO:
            return f"{_name(_DETECTORS, first)}.{second}:{_name(_DEVICES, third)}.{fourth}"
        if self.level == _BLDINFO:
            return _name(_BLD, self.phy)
        return f"{first}.{second}.{third}.{fourth}"

    def described(self, process: int) -> str:
        """Return the text that psana prints: ``DetInfo(MfxEndstation.0:Jungfrau.0)``."""
        if self.level == _DETINFO:
            return f"DetInfo({self.name})"
        if self.level == _BLDINFO:
            return f"BldInfo({self.name})"
        return f"ProcInfo({self.name}, pid={process})"
