"""Read the start time and the Jungfraus of a run from the heads of all its streams."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from jfstore.core.ids import PanelId, detector_id
from jfstore.core.instants import iso
from jfstore.errors import BadValue, Damaged, Failed, JfstoreError, NotFound, nearest
from jfstore.fs.files import open_checked
from jfstore.runs.dataset import ANY_JUNGFRAU, parse_dataset
from jfstore.runs.head import Aliases, Head, JungfrauConfig, read_head
from jfstore.runs.tree import LOWEST_CONTROL_STREAM, RunFiles, Tree
from jfstore.runs.xtc import Source, XtcBytes, read_datagrams


@dataclass(frozen=True, slots=True)
class Jungfrau:
    """A Jungfrau of a run."""

    source: str  # such as MfxEndstation.0:Jungfrau.0
    alias: str | None  # its name in the experiment
    version: int  # of its configuration object, psana's Jungfrau.ConfigV<version>
    count: int  # number of panels
    panels: tuple[PanelId, ...]  # in order; empty for versions 1 and 2, which have no Ids

    @property
    def detector_id(self) -> str:
        """The detector Id; empty for versions 1 and 2."""
        return detector_id(self.panels)

    @property
    def label(self) -> str:
        """The source, with the alias if there is one."""
        return f"{self.source} ({self.alias})" if self.alias else self.source

    def require_id(self, label: str) -> str:
        """Return the detector Id; NotFound, with the run's `label`, if the configuration has none."""
        if not self.panels:
            raise NotFound(
                f"{label}: {self.source} has no panel Ids (psana.Jungfrau.ConfigV{self.version}); "
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
                "pass a detector Id and -T TIME"
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


def find_run(dataset: str, source: str | None = None) -> Run:
    """Read a run: its start time, and the panels of the Jungfrau that `source` matches.

    Parameters
    ----------
    dataset : str
        ``exp=EXP:run=RUN``, or the path of an XTC file.
    source : str, optional
        Source, alias or a part of the source; needed if the run has several Jungfraus.

    Raises
    ------
    BadValue
        If the dataset names several runs, or `source` matches several Jungfraus.
    NotFound
        If the run or the Jungfrau does not exist.
    Damaged
        If the lowest stream is damaged: it decides, and might differ from the other streams.

    Examples
    --------
    >>> jfstore.run("exp=xcsls3716:run=631").panels  # doctest: +SKIP
    """
    run, jungfrau = jungfrau_of(dataset, source)
    return replace(run, source=jungfrau.source)


def jungfrau_of(dataset: str, source: str | None) -> tuple[Run, Jungfrau]:
    """Return the run and the Jungfrau that `find_run` finds."""
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


def read_runs(dataset: str) -> list[Run]:
    """Return the runs that a dataset names, at least one, in ascending order."""
    return [read_run(files) for files in Tree.from_environment().find(parse_dataset(dataset))]


def read_dataset(dataset: str, source: str | None = None) -> RunList:
    """Read the runs of a dataset, of which damaged ones are left out; `source` is as for `find_run`.

    Raises
    ------
    BadValue
        If the dataset is malformed, or `source` matches several Jungfraus of a run.
    NotFound
        If a run does not exist, or has no such Jungfrau.
    """
    runs: list[Run] = []
    errors: list[JfstoreError] = []
    for files in Tree.from_environment().find(parse_dataset(dataset)):
        try:
            run = read_run(files)
            runs.append(run if source is None else replace(run, source=match_jungfrau(run, source).source))
        except (Damaged, Failed) as error:
            errors.append(Damaged(str(error)))
        else:
            errors += map(Damaged, run.problems)
    return RunList(tuple(runs), tuple(errors), tuple(note for run in runs for note in run.notes))


def read_run(files: RunFiles) -> Run:
    """Read the heads of a run's streams; if they disagree, the lowest stream decides, and `notes` says so.

    Damaged or Failed is raised if no stream can be read, and BadValue if two files have the name of the same chunk,
    or a file without the name of an XTC file is not one.
    """
    heads: dict[int, tuple[str, Head]] = {}
    failures: list[Damaged | Failed] = []
    streams = files.streams()
    for stream, paths in streams.items():
        try:
            heads[stream] = paths[0], _read_head(paths[0])
        except (Damaged, Failed) as error:
            failures.append(error)
    if not heads:
        _check_is_xtc(files.files[0].path)
        raise failures[0]
    notes = [note for _, head in heads.values() for note in head.notes]
    configs = _merge_configs(heads, notes)
    start, number = _find_start(heads, notes)
    if files.run >= 0 and number and number != files.run:
        notes.append(f"{files.label}: its BeginRun has the run number {number}")
    aliases = Aliases()
    for _, head in heads.values():
        aliases.add(head.aliases)
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


def _read_head(path: str) -> Head:
    try:
        with open_checked(path, follow=True) as fd:
            return read_head(XtcBytes(fd, path))
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None


def _check_is_xtc(path: str) -> None:
    """Raise BadValue for a file without the name of an XTC file that does not start as one."""
    with suppress(OSError), open_checked(path, follow=True) as fd:
        try:
            next(read_datagrams(XtcBytes(fd, path)), None)
        except Damaged as error:
            if not path.endswith(".xtc"):
                raise BadValue(f"{path} is not an XTC file ({error.message.removeprefix(path).strip(': ')})") from None


def _merge_configs(heads: dict[int, tuple[str, Head]], notes: list[str]) -> dict[Source, JungfrauConfig]:
    configs: dict[Source, tuple[str, JungfrauConfig]] = {}
    for path, head in heads.values():
        for source, config in head.jungfraus.items():
            first_path, first_config = configs.setdefault(source, (path, config))
            if first_config != config:
                notes.append(f"{first_path} and {path} disagree on {source.name}; the first counts")
    return {source: configs[source][1] for source in sorted(configs, key=lambda source: source.order)}


def _find_start(heads: dict[int, tuple[str, Head]], notes: list[str]) -> tuple[int | None, int]:
    """Return start time (None if unknown) and run number (0 if unknown) of a run."""
    starts = [(stream, path, head.start) for stream, (path, head) in heads.items() if head.start is not None]
    number = next((head.run for _, head in heads.values() if head.start is not None and head.run), 0)
    if not starts:
        return None, number
    _, first_path, first_start = starts[0]
    for stream, path, start in starts[1:]:
        # The DAQ's streams have one clock; control streams may have another.
        if stream < LOWEST_CONTROL_STREAM and start != first_start:
            times = f"{iso(first_start)}, {iso(start)}"
            notes.append(f"{first_path} and {path} disagree on the start of the run: {times}; the first counts")
    return first_start, number


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
    for fits in (lambda j: j.source == pattern, lambda j: j.alias == pattern, lambda j: is_part(pattern, j.source)):
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
