"""A run: its begin time and its Jungfraus, from the heads of all its streams; and finding one of them by a pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jfstore.core.ids import PanelId, detector_id
from jfstore.core.instants import SECOND, iso
from jfstore.errors import BadValue, Damaged, Failed, NotFound, nearest
from jfstore.fs.files import opened
from jfstore.runs.config import Aliases, JungfrauConfig
from jfstore.runs.dataset import ANY_JUNGFRAU, parse_dataset
from jfstore.runs.head import Head, read_head
from jfstore.runs.source import Source
from jfstore.runs.tree import LOWEST_CONTROL_STREAM, RunFiles, Tree
from jfstore.runs.xtc import XtcBytes


@dataclass(frozen=True, slots=True)
class Jungfrau:
    """A Jungfrau as a run has it.

    Attributes
    ----------
    source : str
        ``MfxEndstation.0:Jungfrau.0``.
    alias : str or None
        The name that the experiment gave it.
    version : int
        Of its configuration object, psana's ``Jungfrau.ConfigV<version>``.
    count : int
        Number of panels.
    panels : tuple of PanelId
        Their Ids in order; empty for versions 1 and 2, which have none.
    """

    source: str
    alias: str | None
    version: int
    count: int
    panels: tuple[PanelId, ...]

    @property
    def detector_id(self) -> str:
        """The detector Id; empty for versions 1 and 2."""
        return detector_id(self.panels)

    @property
    def label(self) -> str:
        """The source, with the alias if it has one."""
        return f"{self.source} ({self.alias})" if self.alias else self.source

    def known_id(self, label: str) -> str:
        """Return the detector Id; NotFound if the configuration has none, naming the run by `label`."""
        if not self.panels:
            raise NotFound(
                f"{label}: {self.source} has no panel Ids (psana.Jungfrau.ConfigV{self.version}); "
                "pass the detector Id and -T TIME instead of the run: jfstore get DETECTOR_ID -T TIME"
            )
        return self.detector_id


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of a run.

    Attributes
    ----------
    experiment : str
        Name of the experiment; empty for a file whose name does not say it.
    run : int
        Number; -1 if neither the file's name nor BeginRun says it.
    start : int or None
        Begin time, nanoseconds since 1970 UTC; None if no stream has a BeginRun.
    file : str
        Path of the first sound file, the one that everything comes from if the streams agree.
    jungfraus : tuple of Jungfrau
        Its Jungfraus, in the order in which psana lists them.
    others : tuple of (str, str or None)
        Source and alias of its other detectors.
    notes : tuple of str
        Where its streams disagree, and what else a user should know.
    problems : tuple of str
        Files of it that are damaged or cannot be read; the rest comes from the others.
    is_lowest_sound : bool
        Whether the lowest stream, the one that counts, is none of those.
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

    @property
    def label(self) -> str:
        """``exp=xpptut15:run=430``, or the path of the file."""
        return f"exp={self.experiment}:run={self.run}" if self.experiment and self.run >= 0 else self.file

    def known_start(self) -> int:
        """Return the begin time; NotFound if no stream has one."""
        if self.start is None:
            raise NotFound(
                f"{self.label}: {self.file} has no BeginRun, so the begin time is not known; "
                "pass a detector Id and -T TIME"
            )
        return self.start

    def start_text(self) -> str:
        """Return the begin time as ``@<Unix seconds>``, exactly; errors as of `begun`."""
        seconds, nanoseconds = divmod(self.known_start(), SECOND)
        return f"@{seconds}.{nanoseconds:09d}"


def read_runs(dataset: str) -> list[Run]:
    """Return the runs that a dataset names, at least one, in ascending order."""
    return [read_run(files) for files in Tree.from_environment().find(parse_dataset(dataset))]


def jungfrau_of(dataset: str, source: str | None) -> tuple[Run, Jungfrau]:
    """Return the run that a dataset names and the Jungfrau that `source` matches.

    Parameters
    ----------
    dataset : str
        ``exp=EXP:run=RUN``, or the path of an XTC file.
    source : str or None
        Source, alias or a part of the source; None if the run has one Jungfrau only.

    Raises
    ------
    BadValue
        If the dataset names several runs, or `source` matches several Jungfraus.
    NotFound
        If the run or the Jungfrau does not exist.
    Damaged
        If the lowest stream is damaged: it decides, and might differ from the other streams.
    """
    runs = Tree.from_environment().find(parse_dataset(dataset))
    if len(runs) > 1:
        raise BadValue(f"{dataset} names {len(runs)} runs: choose one")
    run = read_run(runs[0])
    if not run.is_lowest_sound:
        raise Damaged(
            f"{dataset}: its lowest stream is damaged ({run.problems[0]}); "
            f"choose a sound one, as in {run.label}:stream=1"
        )
    return run, match_jungfrau(run, ANY_JUNGFRAU if source is None else source)


def read_run(files: RunFiles) -> Run:
    """Return what the heads of a run's streams say; of those that disagree the lowest counts, and it is noted.

    Raises
    ------
    Damaged
        If no stream is sound.
    Failed
        If none can be read.
    BadValue
        If two files claim to be the same part of the run.
    """
    heads: dict[int, tuple[str, Head]] = {}
    failures: list[Damaged | Failed] = []
    streams = files.streams()
    for stream, paths in streams.items():
        try:
            heads[stream] = paths[0], _head_of(paths[0])
        except (Damaged, Failed) as error:
            failures.append(error)
    if not heads:
        raise failures[0]
    notes = [note for _, head in heads.values() for note in head.notes]
    configs = _merged(heads, notes)
    start, number = _start(heads, notes)
    if files.run >= 0 and number and number != files.run:
        notes.append(f"{files.label}: its BeginRun says that it is run {number}")
    aliases = Aliases()
    for _, head in heads.values():
        aliases.take(head.aliases)
    sources = dict.fromkeys(source for _, head in heads.values() for source in head.sources)
    return Run(
        files.experiment,
        files.run if files.run >= 0 else (number or -1),
        start,
        next(iter(heads.values()))[0],
        tuple(
            Jungfrau(source.name, aliases.of.get(source), config.version, config.count, config.panels)
            for source, config in configs.items()
        ),
        tuple((source.name, aliases.of.get(source)) for source in sources if source not in configs),
        tuple(notes),
        tuple(map(str, failures)),
        next(iter(heads)) == next(iter(streams)),
    )


def _head_of(path: str) -> Head:
    try:
        with opened(path, follow=True) as fd:
            return read_head(XtcBytes(fd, path))
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None


def _merged(heads: dict[int, tuple[str, Head]], notes: list[str]) -> dict[Source, JungfrauConfig]:
    configs: dict[Source, tuple[str, JungfrauConfig]] = {}
    for path, head in heads.values():
        for source, config in head.jungfraus.items():
            first, counts = configs.setdefault(source, (path, config))
            if counts != config:
                notes.append(f"{first} and {path} disagree on {source.name}; the first counts")
    return {source: configs[source][1] for source in sorted(configs, key=lambda source: source.order)}


def _start(heads: dict[int, tuple[str, Head]], notes: list[str]) -> tuple[int | None, int]:
    """Return begin time and run number (0 if not known) of a run."""
    # The DAQ's streams have one clock; those of the controls may have another.
    known_start = [(stream, *both) for stream, both in heads.items() if both[1].start is not None]
    number = next((head.run for _, _, head in known_start if head.run), 0)
    if not known_start:
        return None, number
    _, first, counts = known_start[0]
    for stream, path, head in known_start[1:]:
        if stream < LOWEST_CONTROL_STREAM and head.start != counts.start:
            assert head.start is not None
            assert counts.start is not None
            notes.append(
                f"{first} and {path} disagree on the begin of the run: {iso(counts.start)}, {iso(head.start)}; "
                "the first counts"
            )
    return counts.start, number


def match_jungfrau(run: Run, pattern: str) -> Jungfrau:
    """Return the Jungfrau of `run` that `pattern` means.

    An exact source or alias; else a part of a source, in which upper and lower case differ and a number at the
    end is a whole one, if it is of one Jungfrau only.

    Raises
    ------
    BadValue
        If the pattern fits several Jungfraus; they are listed.
    NotFound
        If it fits none, or another detector; the run's Jungfraus are listed.
    Damaged
        If it fits none, and a stream of the run is damaged, which might have it.
    """
    for fits in (lambda j: j.source == pattern, lambda j: j.alias == pattern, lambda j: is_part(pattern, j.source)):
        fitting = [jungfrau for jungfrau in run.jungfraus if fits(jungfrau)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise BadValue(f"{run.label}: {pattern!r} fits several Jungfraus, choose one: {_listed(fitting)}")
    if run.problems:
        raise Damaged(f"{run.label}: no Jungfrau {pattern!r} in what is sound of it; {run.problems[0]}")
    for source, alias in run.others:
        if is_part(pattern, source) or pattern == alias:
            raise NotFound(f"{run.label}: {pattern!r} is {source}, not a Jungfrau{_there(run)}")
    names = [name for jungfrau in run.jungfraus for name in (jungfrau.source, jungfrau.alias) if name]
    raise NotFound(f"{run.label} has no Jungfrau {pattern!r}{_there(run)}", nearest(pattern, names))


def is_part(pattern: str, source: str) -> bool:
    """Whether `pattern` is a part of `source`; a number at its end is a whole one, so Jungfrau.1 is not Jungfrau.10."""
    end = "(?![0-9])" if pattern[-1:].isdigit() else ""
    return re.search(re.escape(pattern) + end, source) is not None


def _listed(jungfraus: Sequence[Jungfrau]) -> str:
    return ", ".join(jungfrau.label for jungfrau in jungfraus)


def _there(run: Run) -> str:
    return f"; it has {_listed(run.jungfraus)}" if run.jungfraus else "; it has no Jungfrau"
