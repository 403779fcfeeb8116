"""Search the tree of XTC files, ``<root>/<instrument>/<experiment>/xtc``: its experiments, its runs and their files."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from jfstore.errors import BadValue, Failed, NotFound, nearest
from jfstore.fs.files import read_regular
from jfstore.runs.dataset import Dataset, is_within

ROOT_VARIABLE, NUMBERS_VARIABLE = "SIT_PSDM_DATA", "SIT_DATA"
LOWEST_CONTROL_STREAM = 80
_DEFAULT_ROOTS = ("/reg/d/psdm", "/sdf/data/lcls/ds")
_NUMBERS_FILE = "ExpNameDb/experiment-db.dat"
_NUMBERS_LIMIT = 16 << 20
_INSTRUMENT = re.compile(r"[A-Z]{3}|[a-z]{3}", re.ASCII)
_NAME = re.compile(r"(e[0-9]{1,9}|[A-Za-z0-9_]+)-r0*([0-9]{1,9})-s([0-9]{1,9})-c([0-9]{1,9})(\.smd)?\.xtc2?", re.ASCII)
_UNFINISHED = ".inprogress"
_NUMBER_PREFIX = re.compile(r"e[0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class XtcFile:
    """A chunk of a stream, by the name of its file; ordered by stream (the DAQ's first) and chunk."""

    stream: int
    chunk: int
    path: str


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of a run, ordered by stream and chunk."""

    experiment: str  # empty if unknown
    run: int  # number in the names of the files; -1 if unknown
    files: tuple[XtcFile, ...]
    is_unfinished: bool = False  # whether a further file is still being written

    @property
    def label(self) -> str:
        """``exp=xpptut15:run=430``, or the path of the file."""
        return f"exp={self.experiment}:run={self.run}" if self.run >= 0 else self.files[0].path

    @property
    def is_xtc2(self) -> bool:
        """Whether the files are those of LCLS-II."""
        return _is_xtc2(self.files[0].path)

    def streams(self) -> dict[int, list[str]]:
        """Return the paths of the chunks of each stream.

        BadValue is raised if two files have the name of one chunk, or there are files of LCLS-I and of LCLS-II.
        """
        if odd := next((file.path for file in self.files if _is_xtc2(file.path) != self.is_xtc2), None):
            raise BadValue(
                f"{self.label} has files of LCLS-I and of LCLS-II, {self.files[0].path} and {odd}; "
                "remove one kind, or choose with dir="
            )
        chunks: dict[int, dict[int, str]] = {}
        for file in self.files:
            other = chunks.setdefault(file.stream, {}).setdefault(file.chunk, file.path)
            if other != file.path and not _is_same(other, file.path):
                raise BadValue(
                    f"{self.label}: {other} and {file.path} are the same chunk; remove one, or choose with dir="
                )
        return {stream: list(paths.values()) for stream, paths in chunks.items()}


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment and its directories: several if the instrument exists in upper and in lower case."""

    instrument: str
    name: str
    directories: tuple[Path, ...]


@dataclass(frozen=True)
class Tree:
    """A tree of XTC files; `numbers` has number and instrument of experiments, from the name database."""

    root: Path
    numbers: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, place: str | os.PathLike[str] | None = None) -> Tree:
        """Return the tree at `place` or ``SIT_PSDM_DATA``, with the name database at ``SIT_DATA`` if that is set."""
        default = next(filter(os.path.isdir, _DEFAULT_ROOTS), _DEFAULT_ROOTS[0])
        root = Path(place or os.environ.get(ROOT_VARIABLE) or default)
        data = os.environ.get(NUMBERS_VARIABLE)
        return cls(root, _read_numbers(Path(data)) if data else {})

    def find(self, dataset: Dataset) -> list[RunFiles]:
        """Return the runs of a dataset in ascending order, at least one.

        Raises
        ------
        NotFound
            If the experiment, a run or a file does not exist; the error has the nearest that exist.
        Failed
            If the root does not exist, or a directory cannot be read.
        """
        if dataset.file:
            return [_find_file(dataset.file)]
        name, instrument = self._resolve(dataset.experiment, dataset.instrument)
        directories = [Path(dataset.directory)] if dataset.directory else self._find(instrument, name).directories
        suffix = Path("smalldata") if dataset.smalldata else Path()
        places = [directory / suffix for directory in directories]
        # Perhaps only one of two directories has small data.
        places = [place for place in places if _is_directory(place)] or places[:1]
        everything = self._find_runs(name, places, dataset.smalldata)
        numbers = [run.run for run in everything]
        for first, last in dataset.runs:
            if not any(first <= number <= last for number in numbers):
                raise self._no_run(name, first, last, numbers, places)
        wanted = [run for run in everything if is_within(run.run, dataset.runs)]
        return [_select_streams(run, dataset) for run in wanted] if dataset.streams else wanted

    def instruments(self) -> list[str]:
        """Return the instruments, in upper case."""
        names = [name for name in _list_directory(self._check_root()) if _INSTRUMENT.fullmatch(name)]
        return sorted({name.upper() for name in names if _is_directory(self.root / name)})

    def experiments(self, instrument: str) -> list[Experiment]:
        """Return the experiments of an instrument by name; NotFound if there is no such instrument."""
        found: dict[str, list[Path]] = {}
        places = self._places(instrument)
        for place in places:
            for name in _list_directory(place):
                if name[:3].lower() == instrument.lower() and _is_directory(place / name / "xtc"):
                    found.setdefault(name, []).append(place / name / "xtc")
        if not places:
            raise NotFound(
                f"no instrument {instrument} in {self.root} ({ROOT_VARIABLE})",
                nearest(instrument.upper(), self.instruments()),
            )
        return [Experiment(instrument.upper(), name, tuple(_drop_links(found[name]))) for name in sorted(found)]

    def experiment(self, name: str) -> Experiment:
        """Return an experiment by its name or number; NotFound if it does not exist."""
        name, instrument = self._resolve(name, None)
        return self._find(instrument, name)

    def runs(self, experiment: Experiment) -> list[RunFiles]:
        """Return the runs of an experiment in ascending order."""
        return self._find_runs(experiment.name, experiment.directories, False)

    def calib_directory(self, name: str) -> Path:
        """Return the calibration directory of an experiment, which may be missing; NotFound without experiment."""
        name, instrument = self._resolve(name, None)
        for place in self._places(instrument):
            if _is_directory(place / name):
                return place / name / "calib"
        raise NotFound(f"no directory of experiment {name} in {self.root} ({ROOT_VARIABLE}) to deploy into")

    def calib_directories(self) -> tuple[list[tuple[str, Path]], list[Failed]]:
        """Return the calibration directory of each experiment that has one, and what cannot be read."""
        found: list[tuple[str, Path]] = []
        errors: list[Failed] = []
        for instrument in self.instruments():
            for place in self._places(instrument):
                try:
                    names = [name for name in _list_directory(place) if name[:3].upper() == instrument]
                except Failed as error:
                    errors.append(error)
                    continue
                found += [(name, place / name / "calib") for name in names if _is_directory(place / name / "calib")]
        return sorted(found), errors

    def count_unfinished(self, experiment: Experiment) -> int:
        """Return how many files of an experiment are still being written."""
        names = [name for directory in experiment.directories for name in _list_directory(directory)]
        return sum(name.endswith((f".xtc{_UNFINISHED}", f".xtc2{_UNFINISHED}")) for name in names)

    def _resolve(self, name: str, instrument: str | None) -> tuple[str, str]:
        """Return name and instrument of an experiment, whose number may be given instead of its name."""
        if not name.isdecimal():
            return name, instrument or self.numbers.get(name, ("", name[:3]))[1]
        if not self.numbers:
            raise NotFound(f"experiment {name} is a number, but {NUMBERS_VARIABLE} has no {_NUMBERS_FILE}")
        for known, (number, its_instrument) in self.numbers.items():
            if number == str(int(name)) and (instrument or its_instrument).upper() == its_instrument.upper():
                return known, its_instrument
        raise NotFound(f"no experiment has the number {name} in the name database ({NUMBERS_VARIABLE})")

    def _check_root(self) -> Path:
        if not self.root.is_dir():
            raise Failed(f"{self.root} is not a directory; set {ROOT_VARIABLE} to the directory of the instruments")
        return self.root

    def _places(self, instrument: str) -> list[Path]:
        names = dict.fromkeys((instrument.upper(), instrument.lower(), instrument))
        return _drop_links(self._check_root() / name for name in names if _is_directory(self.root / name))

    def _find(self, instrument: str, name: str) -> Experiment:
        places = self._places(instrument)
        directories = [place / name / "xtc" for place in places if _is_directory(place / name / "xtc")]
        if directories:
            return Experiment(instrument.upper(), name, tuple(_drop_links(directories)))
        others = [other for place in places for other in _list_directory(place)]
        if not places:
            others = [found.name for other in self.instruments() for found in self.experiments(other)]
        where = " and ".join(map(str, places)) or str(self.root)
        raise NotFound(f"no experiment {name} with a directory xtc in {where}", nearest(name.lower(), others))

    def _find_runs(self, name: str, directories: Iterable[Path], smalldata: bool) -> list[RunFiles]:
        number = self.numbers.get(name, ("", ""))[0]
        runs: dict[int, list[XtcFile]] = {}
        unfinished: set[int] = set()
        for directory in directories:
            for entry in _list_directory(directory):
                match = _NAME.fullmatch(entry.removesuffix(_UNFINISHED))
                if not match or bool(match[5]) != smalldata:
                    continue
                has_number = _NUMBER_PREFIX.fullmatch(match[1]) is not None
                if match[1] != name and not (has_number and (not number or match[1] == f"e{number}")):
                    continue
                if entry.endswith(_UNFINISHED):
                    unfinished.add(int(match[2]))
                    continue
                file = XtcFile(int(match[3]), int(match[4]), str(directory / entry))
                runs.setdefault(int(match[2]), []).append(file)
        return [RunFiles(name, run, tuple(sorted(files)), run in unfinished) for run, files in sorted(runs.items())]

    def _no_run(self, name: str, first: int, last: int, numbers: list[int], places: list[Path]) -> NotFound:
        wanted = f"run {first}" if first == last else f"run from {first} to {last}"
        near = sorted(sorted(numbers, key=lambda number: abs(number - first))[:3])
        pattern = re.compile(rf"-r0*{first}-s[0-9]+-c[0-9]+(\.smd)?\.xtc2?\.inprogress$")
        unfinished = [entry for place in places for entry in _list_directory(place) if pattern.search(entry)]
        hint = f": {unfinished[0]} is still being written" if unfinished else ""
        where = " and ".join(map(str, places))
        return NotFound(f"no files of {wanted} of {name} in {where}{hint}", [str(number) for number in near])


def _find_file(path: str) -> RunFiles:
    """Return the run of one file; experiment and number are those in its name."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        directory, name = os.path.split(path)
        others = os.listdir(directory or ".") if os.path.isdir(directory or ".") else []
        raise NotFound(f"{path} does not exist", nearest(name, others)) from None
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
    is_unfinished = path.endswith(_UNFINISHED)
    match = _NAME.fullmatch(os.path.basename(path).removesuffix(_UNFINISHED))
    if not match:
        return RunFiles("", -1, (XtcFile(0, 0, path),), is_unfinished)
    experiment = match[1]
    if _NUMBER_PREFIX.fullmatch(experiment):
        above = Path(os.path.abspath(path)).parent
        experiment = above.parent.name if above.name == "xtc" else experiment
    return RunFiles(experiment, int(match[2]), (XtcFile(int(match[3]), int(match[4]), path),), is_unfinished)


def _is_xtc2(path: str) -> bool:
    return path.removesuffix(_UNFINISHED).endswith(".xtc2")


def _select_streams(run: RunFiles, dataset: Dataset) -> RunFiles:
    files = tuple(file for file in run.files if is_within(file.stream, dataset.streams))
    if not files:
        streams = sorted({file.stream for file in run.files})
        raise NotFound(f"{run.label} has none of the streams of {dataset.text}", [str(stream) for stream in streams])
    return replace(run, files=files)


def _list_directory(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        raise NotFound(f"{directory} does not exist") from None
    except NotADirectoryError:
        return []
    except OSError as error:
        raise Failed(f"{directory}: {error.strerror}") from None


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False  # one is a dangling link, or may not be looked at


def _is_directory(path: Path) -> bool:
    """Return whether `path` is a directory; True if that may not be looked at, so that reading it reports the error."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except PermissionError:
        return True
    except OSError:
        return False


def _drop_links(paths: Iterable[Path]) -> list[Path]:
    """Return `paths` without those that are links to another one, whose files would be compared one by one."""
    different: list[Path] = []
    for path in paths:
        if not any(_is_same(str(path), str(other)) for other in different):
            different.append(path)
    return different


def _read_numbers(data: Path) -> dict[str, tuple[str, str]]:
    """Return number and instrument of experiments from the name database, whose lines have three words."""
    for place in (data / _NUMBERS_FILE, data / "expname" / _NUMBERS_FILE):
        try:
            text = read_regular(place, _NUMBERS_LIMIT, follow=True).decode("utf-8", "replace")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Failed(f"{place}: {error.strerror}") from None
        words = [line.split() for line in text.splitlines()]
        return {name: (number, instrument) for number, instrument, name in (line for line in words if len(line) == 3)}
    return {}
