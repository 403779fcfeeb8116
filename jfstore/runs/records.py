"""Define what is known of a run: its times, and the panels of its Jungfraus."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jfstore.core.ids import PanelId, count_places, detector_id
from jfstore.core.instants import iso
from jfstore.errors import BadValue, Damaged, JfstoreError, NotFound, nearest
from jfstore.runs.dataset import ANY_JUNGFRAU

LCLS1, LCLS2 = "LCLS-I", "LCLS-II"
"""The data acquisition systems, which write XTC and XTC2."""


@dataclass(frozen=True, slots=True)
class Jungfrau:
    """A Jungfrau of a run."""

    source: str  # such as MfxEndstation.0:Jungfrau.0; in LCLS-II the detector's name, such as jungfrau
    alias: str | None  # its name in the experiment
    version: int  # of its configuration object, psana's Jungfrau.ConfigV<version>; 0 in LCLS-II
    count: int  # number of panels
    panels: tuple[PanelId, ...]  # in order; empty for versions 1 and 2, which have no Ids
    segments: tuple[int, ...] = ()  # of LCLS-II the number of each panel, ascending; there may be gaps
    gain_mode: str | None = None  # as the configuration calls it; None if it does not say
    has_high_g0: bool | None = None  # whether the first gain range is the high one; None if it does not say

    @property
    def detector_id(self) -> str:
        """The detector Id; empty for versions 1 and 2."""
        return detector_id(self.panels)

    @property
    def label(self) -> str:
        """The source, with the alias if there is one."""
        return f"{self.source} ({self.alias})" if self.alias else self.source

    @property
    def places(self) -> int:
        """Number of panels in psana2's arrays, absent ones included; in LCLS-I that of the panels."""
        return count_places(self.segments) if self.segments else self.count

    @property
    def config(self) -> str:
        """The version of the configuration object, such as V3; empty in LCLS-II, which has none."""
        return f"V{self.version}" if self.version else ""

    def require_id(self, label: str) -> str:
        """Return the detector Id; NotFound, with the run's `label`, if the configuration has none."""
        if not self.panels:
            raise NotFound(
                f"{label}: {self.source} has no panel Ids (psana.Jungfrau.Config{self.config}); "
                "pass the detector Id and -T TIME instead of the run: jfstore get DETECTOR_ID -T TIME"
            )
        return self.detector_id


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """A run and its Jungfraus.

    Attributes
    ----------
    experiment : str
        Name of the experiment; empty if the name of the file does not have it.
    run : int
        Run number; -1 if neither the name of the file nor BeginRun has it.
    start : int or None
        Start time, nanoseconds since 1970 UTC; None if no stream has a BeginRun.
    file : str
        Path of the file that was read: of the lowest sound stream.
    jungfraus : tuple of Jungfrau
        All Jungfraus, in psana's order.
    others : tuple of (str, str or None)
        Source and alias of the other detectors.
    notes : tuple of str
        What a user should know, such as streams that disagree.
    problems : tuple of str
        Damaged and unreadable files of the run; the other streams were read.
    is_lowest_sound : bool
        Whether the lowest stream, which decides if streams disagree, could be read.
    source : str or None
        The source that was asked for, of several Jungfraus.
    daq : str
        ``LCLS-I`` or ``LCLS-II``: what wrote the run.
    end : int or None
        Clock of EndRun, or of the last datagram, nanoseconds since 1970 UTC; None if it was not found or not looked
        for: `jfstore.run` looks, `jfstore.runs` only if it is told to.
    """

    experiment: str
    run: int
    start: int | None
    file: str
    jungfraus: tuple[Jungfrau, ...]
    others: tuple[tuple[str, str | None], ...]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    is_lowest_sound: bool = True
    source: str | None = None
    daq: str = LCLS1
    end: int | None = None

    def __repr__(self) -> str:
        start = "unknown start" if self.start is None else iso(self.start)
        return f"<Run {self.label}, {start}: {_join(self.jungfraus) or 'no Jungfrau'}>"

    @property
    def label(self) -> str:
        """``exp=xpptut15:run=430``, or the path of the file."""
        return f"exp={self.experiment}:run={self.run}" if self.experiment and self.run >= 0 else self.file

    @property
    def jungfrau(self) -> Jungfrau:
        """The Jungfrau that was asked for; raises NotFound or BadValue if the run does not have exactly one."""
        return match_jungfrau(self, ANY_JUNGFRAU if self.source is None else self.source)

    @property
    def panels(self) -> tuple[PanelId, ...]:
        """Panel Ids of `jungfrau`; empty if its configuration has none."""
        return self.jungfrau.panels

    @property
    def detector_id(self) -> str:
        """Detector Id of `jungfrau`; empty if its configuration has no panel Ids."""
        return self.jungfrau.detector_id

    def require_start(self) -> int:
        """Return the start time; NotFound if no stream has one."""
        if self.start is None:
            raise NotFound(
                f"{self.label}: {self.file} has no BeginRun, so the start time is not known; "
                f"pass the detector Id and -T TIME: jfstore id {self.label} prints the Id"
            )
        return self.start


@dataclass(frozen=True, slots=True)
class RunList:
    """Runs in ascending order, everything that is damaged or cannot be read, and what else a user should know.

    `list_runs` lists a run that cannot be read, too: it has no file and no Jungfraus, only `problems`.
    """

    runs: tuple[Run, ...]
    errors: tuple[JfstoreError, ...] = ()
    notes: tuple[str, ...] = ()


def match_jungfrau(run: Run, pattern: str) -> Jungfrau:
    """Return the Jungfrau of `run` that `pattern` matches.

    A pattern matches an exact source, else an exact alias, else a part of a source; see `is_part`.

    Raises
    ------
    BadValue
        If the pattern matches several Jungfraus; the message lists them.
    NotFound
        If it matches none, or another detector; the message lists the run's Jungfraus.
    Damaged
        If it matches none, but a stream of the run is damaged and might have it.
    """
    is_any = pattern == ANY_JUNGFRAU
    for fits in (
        lambda j: j.source == pattern,
        lambda j: j.alias == pattern,
        lambda j: is_any or is_part(pattern, j.source),
    ):
        fitting = [jungfrau for jungfrau in run.jungfraus if fits(jungfrau)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise BadValue(f"{run.label}: {pattern!r} fits several Jungfraus, choose one: {_join(fitting)}")
    if run.problems:
        raise Damaged(f"{run.label}: no Jungfrau {pattern!r} in its sound files; {run.problems[0]}")
    others = f"; it has {_join(run.jungfraus) or 'no Jungfrau'}"
    for source, alias in run.others:
        if is_part(pattern, source) or pattern == alias:
            raise NotFound(f"{run.label}: {pattern!r} is {source}, not a Jungfrau{others}")
    names = [name for jungfrau in run.jungfraus for name in (jungfrau.source, jungfrau.alias) if name]
    raise NotFound(f"{run.label} has no Jungfrau {pattern!r}{others}", nearest(pattern, names))


def is_part(pattern: str, source: str) -> bool:
    """Return whether `pattern` is a part of `source`, in its case; Jungfrau.1 is not a part of Jungfrau.10."""
    end = "(?![0-9])" if pattern[-1:].isdigit() else ""
    return re.search(re.escape(pattern) + end, source) is not None


def _join(jungfraus: Sequence[Jungfrau]) -> str:
    return ", ".join(jungfrau.label for jungfrau in jungfraus)
