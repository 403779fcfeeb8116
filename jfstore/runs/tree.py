"""The tree of XTC files, ``<root>/<instrument>/<experiment>/xtc``: which runs there are, which files a run has."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jfstore.errors import BadValue, Failed, NotFound, nearest
from jfstore.fs.files import read_regular
from jfstore.runs.dataset import Dataset, within

ROOT_VARIABLE, NUMBERS_VARIABLE = "SIT_PSDM_DATA", "SIT_DATA"
_DEFAULT_ROOT = "/reg/d/psdm"
_NUMBERS_FILE = "ExpNameDb/experiment-db.dat"
_NUMBERS_LIMIT = 16 << 20
_INSTRUMENT = re.compile(r"[A-Z]{3}|[a-z]{3}", re.ASCII)
_NAME = re.compile(r"(e[0-9]{1,9}|[A-Za-z0-9_]+)-r0*([0-9]{1,9})-s([0-9]{1,9})-c([0-9]{1,9})(\.smd)?\.xtc", re.ASCII)
_NUMBER_PREFIX = re.compile(r"e[0-9]+", re.ASCII)
LOWEST_CONTROL_STREAM = 80


@dataclass(frozen=True, slots=True, order=True)
class XtcFile:
    """A chunk of a stream, as its name says; ordered by stream, the DAQ's first, and chunk."""

    stream: int
    chunk: int
    path: str


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of a run.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    run : int
        Number of the run, as the names of the files say; -1 if that is not known.
    files : tuple of XtcFile
        Ordered by stream and chunk.
    """

    experiment: str
    run: int
    files: tuple[XtcFile, ...]

    @property
    def label(self) -> str:
        """``exp=xpptut15:run=430``, or the path of the file."""
        return f"exp={self.experiment}:run={self.run}" if self.run >= 0 else self.files[0].path

    def streams(self) -> dict[int, list[str]]:
        """Return the paths of each stream's chunks.

        Raises
        ------
        BadValue
            If two files claim to be the same chunk.
        """
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
    """An experiment with its directories; it may have several, as an instrument in upper and in lower case."""

    instrument: str
    name: str
    directories: tuple[Path, ...]


@dataclass(frozen=True)
class Tree:
    """A tree of XTC files.

    Parameters
    ----------
    root : Path
        Where the directories of the instruments are.
    numbers : mapping of str to (str, str)
        Of experiments that have one, number and instrument, as the name database has them.
    """

    root: Path
    numbers: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def from_environment(cls) -> Tree:
        """Return the tree under ``SIT_PSDM_DATA``, with the name database under ``SIT_DATA`` if there is one."""
        root = Path(os.environ.get(ROOT_VARIABLE) or _DEFAULT_ROOT)
        data = os.environ.get(NUMBERS_VARIABLE)
        return cls(root, _read_numbers(Path(data)) if data else {})

    def find(self, dataset: Dataset) -> list[RunFiles]:
        """Return the runs of a dataset in ascending order, each with its files.

        Raises
        ------
        NotFound
            If the experiment, a run or a file is not there; the nearest that exist are named.
        Failed
            If the root of the tree is not there, or a directory cannot be read.
        """
        if dataset.file:
            return [_one_file(dataset.file)]
        name, instrument = self._named(dataset.experiment, dataset.instrument)
        directories = [Path(dataset.directory)] if dataset.directory else self._experiment(instrument, name).directories
        suffix = Path("smalldata") if dataset.smalldata else Path()
        places = [directory / suffix for directory in directories]
        # Of two directories perhaps one only has small data.
        places = [place for place in places if _is_directory(place)] or places[:1]
        everything = self._runs_in(name, places, dataset.smalldata)
        wanted = [run for run in everything if within(run.run, dataset.runs)]
        numbers = [run.run for run in everything]
        for first, last in dataset.runs:
            if not any(first <= number <= last for number in numbers):
                raise self._no_run(name, first, last, numbers, places)
        if dataset.streams:
            wanted = [_only_streams(run, dataset) for run in wanted]
        return wanted

    def instruments(self) -> list[str]:
        """Return the instruments, in upper case."""
        names = [name for name in self._listed(self._there()) if _INSTRUMENT.fullmatch(name)]
        return sorted({name.upper() for name in names if _is_directory(self.root / name)})

    def experiments(self, instrument: str) -> list[Experiment]:
        """Return the experiments of an instrument, by name.

        Raises
        ------
        NotFound
            If there is no such instrument.
        """
        found: dict[str, list[Path]] = {}
        places = self._places(instrument)
        for place in places:
            for name in self._listed(place):
                if name[:3].lower() == instrument.lower() and _is_directory(place / name / "xtc"):
                    found.setdefault(name, []).append(place / name / "xtc")
        if not places:
            raise NotFound(
                f"no instrument {instrument} under {self.root} ({ROOT_VARIABLE})",
                nearest(instrument.upper(), self.instruments()),
            )
        return [Experiment(instrument.upper(), name, tuple(_distinct(found[name]))) for name in sorted(found)]

    def experiment(self, name: str) -> Experiment:
        """Return an experiment by its name or number; errors as of `find`."""
        name, instrument = self._named(name, None)
        return self._experiment(instrument, name)

    def runs(self, experiment: Experiment) -> list[RunFiles]:
        """Return the runs of an experiment in ascending order."""
        return self._runs_in(experiment.name, experiment.directories, False)

    def calib_directory(self, name: str) -> Path:
        """Return the calibration directory of an experiment, which need not be there; NotFound if that is not."""
        name, instrument = self._named(name, None)
        for place in self._places(instrument):
            if _is_directory(place / name):
                return place / name / "calib"
        raise NotFound(f"no directory of experiment {name} under {self.root} ({ROOT_VARIABLE}), so none to deploy into")

    def unfinished(self, experiment: Experiment) -> int:
        """Return how many files of an experiment are still being written."""
        return sum(
            name.endswith(".xtc.inprogress") for directory in experiment.directories for name in self._listed(directory)
        )

    def _named(self, name: str, instrument: str | None) -> tuple[str, str]:
        """Return name and instrument of an experiment, which may be given by its number."""
        if not name.isdecimal():
            return name, instrument or self.numbers.get(name, ("", name[:3]))[1]
        if not self.numbers:
            raise NotFound(f"no experiment is known by a number ({name}): no {_NUMBERS_FILE} under {NUMBERS_VARIABLE}")
        for known, (number, its_instrument) in self.numbers.items():
            if number == str(int(name)) and (instrument or its_instrument).upper() == its_instrument.upper():
                return known, its_instrument
        raise NotFound(f"no experiment has the number {name} in the name database ({NUMBERS_VARIABLE})")

    def _there(self) -> Path:
        if not self.root.is_dir():
            raise Failed(f"{self.root} is no directory; set {ROOT_VARIABLE} to the directory of the instruments")
        return self.root

    def _places(self, instrument: str) -> list[Path]:
        names = dict.fromkeys((instrument.upper(), instrument.lower(), instrument))
        return _distinct(self._there() / name for name in names if _is_directory(self.root / name))

    def _experiment(self, instrument: str, name: str) -> Experiment:
        places = self._places(instrument)
        directories = [place / name / "xtc" for place in places if _is_directory(place / name / "xtc")]
        if directories:
            return Experiment(instrument.upper(), name, tuple(_distinct(directories)))
        others = [other for place in places for other in self._listed(place)]
        if not places:
            others = [each.name for other in self.instruments() for each in self.experiments(other)]
        where = " and ".join(map(str, places)) or str(self.root)
        raise NotFound(f"no experiment {name} with a directory xtc in {where}", nearest(name.lower(), others))

    def _runs_in(self, name: str, directories: Iterable[Path], smalldata: bool) -> list[RunFiles]:
        number = self.numbers.get(name, ("", ""))[0]
        runs: dict[int, list[XtcFile]] = {}
        for directory in directories:
            for entry in self._listed(directory):
                match = _NAME.fullmatch(entry)
                if not match or bool(match[5]) != smalldata:
                    continue
                by_number = _NUMBER_PREFIX.fullmatch(match[1]) is not None
                if match[1] != name and not (by_number and (not number or match[1] == f"e{number}")):
                    continue
                file = XtcFile(int(match[3]), int(match[4]), str(directory / entry))
                runs.setdefault(int(match[2]), []).append(file)
        return [RunFiles(name, run, tuple(sorted(files))) for run, files in sorted(runs.items())]

    def _no_run(self, name: str, first: int, last: int, numbers: list[int], places: list[Path]) -> NotFound:
        asked = f"run {first}" if first == last else f"run from {first} to {last}"
        near = sorted(sorted(numbers, key=lambda number: abs(number - first))[:3])
        unfinished = [
            entry
            for place in places
            for entry in self._listed(place)
            if re.search(rf"-r0*{first}-s[0-9]+-c[0-9]+(\.smd)?\.xtc\.inprogress$", entry)
        ]
        hint = f": {unfinished[0]} is still being written" if unfinished else ""
        where = " and ".join(map(str, places))
        return NotFound(f"no files of {asked} of {name} in {where}{hint}", [str(number) for number in near])

    @staticmethod
    def _listed(directory: Path) -> list[str]:
        try:
            return os.listdir(directory)
        except FileNotFoundError:
            raise NotFound(f"{directory} is not there") from None
        except NotADirectoryError:
            return []
        except OSError as error:
            raise Failed(f"{directory}: {error.strerror}") from None


def _one_file(path: str) -> RunFiles:
    """Return a file that was given by its path as a run; its name may say which."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        directory, name = os.path.split(path)
        others = os.listdir(directory or ".") if os.path.isdir(directory or ".") else []
        raise NotFound(f"{path} is not there", nearest(name, others)) from None
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
    match = _NAME.fullmatch(os.path.basename(path))
    if not match:
        return RunFiles("", -1, (XtcFile(0, 0, path),))
    experiment = match[1]
    if _NUMBER_PREFIX.fullmatch(experiment):
        above = Path(os.path.abspath(path)).parent
        experiment = above.parent.name if above.name == "xtc" else experiment
    return RunFiles(experiment, int(match[2]), (XtcFile(int(match[3]), int(match[4]), path),))


def _only_streams(run: RunFiles, dataset: Dataset) -> RunFiles:
    files = tuple(file for file in run.files if within(file.stream, dataset.streams))
    if not files:
        there = sorted({file.stream for file in run.files})
        raise NotFound(f"{run.label} has none of the streams of {dataset.text}", [str(stream) for stream in there])
    return RunFiles(run.experiment, run.run, files)


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False  # one leads nowhere, or may not be looked at


def _is_directory(path: Path) -> bool:
    """Whether `path` is a directory; one that may not be looked at is taken for one, so that reading it says so."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except PermissionError:
        return True
    except OSError:
        return False


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """Return `paths` without those that are another one of them by a link, whose files would be compared one by one."""
    distinct: list[Path] = []
    for path in paths:
        if not any(_is_same(str(path), str(other)) for other in distinct):
            distinct.append(path)
    return distinct


def _read_numbers(data: Path) -> dict[str, tuple[str, str]]:
    """Return number and instrument of the experiments in the name database under `data`; a line is of three words."""
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
