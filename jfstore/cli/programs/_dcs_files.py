"""The files of ``dcs``: which HDF5 file is meant and for when, constants read from and written to files beside it."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jfstore.cli.options import rights_of
from jfstore.cli.run_options import dataset_of, read_jungfrau
from jfstore.errors import BadValue, Refused
from jfstore.fs.output_file import npy_pieces, publish_file

if TYPE_CHECKING:
    from jfstore.dcs.model import Blob
    from jfstore.runs.run import Run

DETECTOR_TYPE = "jungfrau"
_NAME_LIMIT = 255
_TEXT_LIMIT = 64 << 20
_FORMATS = {"pedestals": "%.2f"}
_FORMAT = "%.6f"


@dataclass(frozen=True, slots=True)
class Place:
    """The file that a command is about, what its detector is called, and the run that it was found by, if it was."""

    path: Path
    name: str
    run: Run | None = None

    def seconds(self, args: argparse.Namespace) -> float:
        """Return the time in Unix seconds that was asked for: -T, or the begin of the run."""
        if args.seconds is not None:
            return float(args.seconds)
        return _run_of(args, self).known_start() / 1e9

    def start(self, args: argparse.Namespace) -> float:
        """Return the begin of validity: -T, or the begin of the run, floored so that it covers the run."""
        if args.seconds is None:
            return float(_run_of(args, self).known_start() // 10**9)
        if not 0 <= args.seconds < float("inf"):
            raise BadValue(f"constants cannot be valid from {args.seconds:g} on: a time from 1970 on is needed")
        return float(args.seconds)

    def parameters(self, args: argparse.Namespace) -> dict[str, str]:
        """Return what is noted of the run."""
        given = {"experiment": args.experiment, "run": args.run_number, "source": args.source}
        return {name: value for name, value in given.items() if value is not None}


def place_of(args: argparse.Namespace) -> Place:
    """Return the file that is meant: FILE, or that of a run's Jungfrau in a calibration directory.

    Raises
    ------
    BadValue
        If neither is given, or the name of the file would be too long.
    NotFound
        If there is no such run or detector.
    """
    if args.file is not None:
        if args.cdir is not None:
            raise BadValue(f"-c {args.cdir} is one too many: {args.file} says which file is meant")
        return Place(Path(args.file), os.path.basename(args.file).split(".")[0])
    dataset = dataset_of(args)
    if dataset is None:
        raise BadValue("which file? FILE, or a run: -e EXP -r RUN [-d SOURCE]; see dcs --help")
    run, jungfrau = read_jungfrau(dataset, args.source)
    name = f"{DETECTOR_TYPE}-{jungfrau.known_id(run.label)}"
    if len(f"{name}.h5") > _NAME_LIMIT:
        raise BadValue(
            f"the Id of the {jungfrau.count} panels of {jungfrau.source} is too long for the name of a file: pass FILE"
        )
    return Place(_calibration_directory(args) / DETECTOR_TYPE / f"{name}.h5", name, run)


def _calibration_directory(args: argparse.Namespace) -> Path:
    from jfstore.runs.tree import Tree

    return Path(args.cdir) if args.cdir is not None else Tree.from_environment().root / "detector" / "calib"


def _run_of(args: argparse.Namespace, place: Place) -> Run:
    if place.run:
        return place.run
    dataset = dataset_of(args)
    if dataset is None:
        raise BadValue("the time is missing: -T SECONDS, or a run (-e EXP -r RUN)")
    return read_jungfrau(dataset, args.source)[0]


def make_directory(args: argparse.Namespace, place: Place) -> None:
    """Make the directory of the detector's type in a calibration directory that is there."""
    from jfstore.fs import durable

    directory = place.path.parent
    if place.run and not directory.exists() and directory.parent.is_dir():
        rights = rights_of(args)
        durable.make_directory(directory, rights.directory, rights.group)


def read_constants(name: str, type_name: str) -> Blob:
    """Return the constants of a file: ``.npy``, text of geometry, or text of an array.

    Raises
    ------
    BadValue
        If there is no such file, or it is not acceptable.
    """
    from jfstore.dcs.check import array_blob, text_blob
    from jfstore.dcs.model import GEOMETRY
    from jfstore.formats.npy import read_npy
    from jfstore.formats.text import read_text
    from jfstore.fs.files import given, read_regular

    path = Path(name)
    if path.suffix == ".npy":
        return array_blob(read_npy(path, None), type_name, name)
    if type_name != GEOMETRY:
        return array_blob(read_text(path).array, type_name, name)
    with given(path):
        return text_blob(read_regular(path, _TEXT_LIMIT, follow=True).decode("utf-8", "surrogateescape"), name)


def check_output(name: str, store: Path) -> None:
    """Refuse a name under which constants are not to be written."""
    if name.endswith("/") or Path(name).suffix in (".h5", ".hdf5"):
        raise BadValue(f"-f {name}: constants are written as .npy or as text")
    if os.path.exists(name) and os.path.exists(store) and os.path.samefile(name, store):
        raise Refused(f"-f {name} is the store itself")


def write_constants(name: str, blob: Blob, type_name: str) -> None:
    """Write constants to a file, in place of what is there: text as it is, an array as ``.npy`` or as text."""
    if blob.is_text:
        pieces = [blob.load().tobytes()]
    elif Path(name).suffix == ".npy":
        pieces = npy_pieces(blob.load())
    else:
        from jfstore.formats.text import format_text

        array = blob.load()
        fmt = _FORMATS.get(type_name, _FORMAT) if array.dtype.kind == "f" else None
        pieces = format_text(array, fmt=fmt)
    publish_file(name, pieces, replace=True)
