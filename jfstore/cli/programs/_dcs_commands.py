"""Run the commands of ``dcs``: find the file and the time that are meant, read or change the file, report."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jfstore.cli.options import rights_of
from jfstore.cli.output import note, printable, progress
from jfstore.cli.program import warn_all
from jfstore.cli.run_options import dataset_of, find_jungfrau
from jfstore.dcs import edit, model, write
from jfstore.dcs.model import Blob, DcsContents, name_version
from jfstore.dcs.read import open_dcs
from jfstore.dcs.text import format_contents
from jfstore.errors import BadValue, Refused
from jfstore.formats.npy import read_npy
from jfstore.formats.text import format_text, read_text
from jfstore.fs import durable
from jfstore.fs.files import read_regular, user_errors
from jfstore.fs.output_file import npy_pieces, publish_file
from jfstore.runs.run import Run
from jfstore.runs.tree import Tree

_NAME_LIMIT = 255
_TEXT_LIMIT = 64 << 20
_FORMATS = {"pedestals": "%.2f"}
_FORMAT = "%.6f"


@dataclass(frozen=True, slots=True)
class _Place:
    """The file that a command is about, the name of its detector, and the run that it was found by."""

    path: Path
    name: str
    run: Run | None = None


def run_command(args: argparse.Namespace) -> int:
    """Run the command that was parsed into `args`."""
    report = _COMMANDS[args.command](args, _find_place(args))
    if report and not args.quiet:
        note(report)
    return 0


def _find_place(args: argparse.Namespace) -> _Place:
    """Return the file that is meant: FILE, or the file of a run's Jungfrau in a calibration directory."""
    if args.file is not None:
        if args.cdir is not None:
            raise BadValue(f"-c {args.cdir} is superfluous: {args.file} says which file is meant")
        return _Place(Path(args.file), os.path.basename(args.file).split(".")[0])
    dataset = dataset_of(args)
    if dataset is None:
        raise BadValue("which file? FILE, or a run: -e EXP -r RUN [-d SOURCE]; see dcs --help")
    run, jungfrau = find_jungfrau(dataset, args.source)
    name = f"{model.JUNGFRAU}-{jungfrau.require_id(run.label)}"
    if len(f"{name}.h5") > _NAME_LIMIT:
        raise BadValue(
            f"the Id of the {jungfrau.count} panels of {jungfrau.source} is too long for the name of a file: pass FILE"
        )
    root = Path(args.cdir) if args.cdir is not None else Tree.from_environment().root / "detector" / "calib"
    return _Place(root / model.JUNGFRAU / f"{name}.h5", name, run)


def _read_run_start(args: argparse.Namespace, place: _Place) -> int:
    """Return the start of the run in nanoseconds; BadValue if no run was given."""
    run, dataset = place.run, dataset_of(args)
    if run is None:
        if dataset is None:
            raise BadValue("the time is missing: -T SECONDS, or a run (-e EXP -r RUN)")
        run = find_jungfrau(dataset, args.source)[0]
    return run.require_start()


def _find_time(args: argparse.Namespace, place: _Place) -> float | None:
    """Return the time that was asked for in Unix seconds, None if a range was; BadValue if both or neither were."""
    if args.range is not None:
        if args.seconds is not None:
            raise BadValue("-T and -g both say which range: leave out one")
        return None
    seconds = _read_run_start(args, place) / 1e9 if args.seconds is None else float(args.seconds)
    if math.isnan(seconds):
        warn_all(["-T nan is treated as later than every range; did you mean a number of Unix seconds?"])
    return seconds


def _find_start(args: argparse.Namespace, place: _Place) -> float:
    """Return the start of validity: -T, or the start of the run floored to the second."""
    if args.seconds is None:
        return float(_read_run_start(args, place) // 10**9)
    if not 0 <= args.seconds < float("inf"):
        raise BadValue(f"constants cannot be valid from {args.seconds:g} on: a time from 1970 on is needed")
    return float(args.seconds)


# -- files of constants


def _read_constants(name: str, type_name: str) -> Blob:
    """Return the constants of a file: ``.npy``, text of geometry, or text of an array."""
    path = Path(name)
    if path.suffix == ".npy":
        return edit.make_array_blob(read_npy(path, None), type_name, name)
    if type_name != model.GEOMETRY:
        return edit.make_array_blob(read_text(path).array, type_name, name)
    with user_errors(path):
        text = read_regular(path, _TEXT_LIMIT, follow=True).decode("utf-8", "surrogateescape")
    return edit.make_text_blob(text, name)


def _check_output(name: str, store: Path) -> None:
    if name.endswith("/") or Path(name).suffix in (".h5", ".hdf5"):
        raise BadValue(f"-f {name}: constants are written as .npy or as text")
    if os.path.exists(name) and os.path.exists(store) and os.path.samefile(name, store):
        raise Refused(f"-f {name} is the store itself")


def _write_constants(name: str, blob: Blob, type_name: str) -> None:
    """Write constants to a file, over an existing one: text as it is, an array as ``.npy`` or as text."""
    array = blob.load()
    if blob.is_text:
        pieces = [array.tobytes()]
    elif Path(name).suffix == ".npy":
        pieces = npy_pieces(array)
    else:
        pieces = format_text(array, fmt=_FORMATS.get(type_name, _FORMAT) if array.dtype.kind == "f" else None)
    publish_file(name, pieces, replace=True)


# -- the commands; each returns what it did


def _print(args: argparse.Namespace, place: _Place) -> str:
    with open_dcs(place.path) as contents:
        if contents.foreign:
            more = f" and {len(contents.foreign) - 1} more" if len(contents.foreign) > 1 else ""
            warn_all([f"{contents.where} holds {contents.foreign[0]}{more}, which is not part of a DCS file"])
        for line in format_contents(contents):
            print(printable(line))
    return ""


def _get(args: argparse.Namespace, place: _Place) -> str:
    seconds = _find_time(args, place)
    out = args.constants if args.constants is not None else f"{place.name}-{args.type}.npy"
    _check_output(out, place.path)
    with open_dcs(place.path) as contents:
        dcs_range = model.find_range(contents, args.type, seconds, args.range)
        version = model.find_version(contents, args.type, dcs_range, args.number)
        name = f"{args.type}/{dcs_range.key}"
        if version.problem:
            warn_all([f"{name}/{name_version(version.number)}: {version.problem}"])
        if args.number is None:
            later = [other for other in dcs_range.versions if other.problem and other.number > version.number]
            warn_all(f"{name}/{name_version(other.number)} is skipped: {other.problem}" for other in later)
        assert version.blob is not None
        _write_constants(out, version.blob, args.type)
    return f"wrote {out}: {name}/{name_version(version.number)} of {place.path}"


def _add(args: argparse.Namespace, place: _Place) -> str:
    if args.constants is None:
        raise BadValue("the file of the constants is missing: -f NAME")
    if args.range is not None:
        raise BadValue("a new range starts at -T and has no end: leave out -g")
    start = _find_start(args, place)
    blob = _read_constants(args.constants, args.type)
    run = {"experiment": args.experiment, "run": args.run_number, "source": args.source}
    parameters = {name: value for name, value in run.items() if value is not None}
    message = args.message or ""
    new = edit.Addition(args.type, start, blob, message, args.number, parameters, args.predecessor, args.successor)
    added = valid = ""

    def change(contents: DcsContents) -> DcsContents:
        nonlocal added, valid
        edit.check_blob(contents, new.type, blob, args.constants)
        changed, version = edit.add_version(contents, new, time.time())
        added = f"{new.type}/{model.name_range(start)}/{name_version(version.number)}"
        valid = model.name_valid_version(changed, new.type, start)
        return changed

    directory = place.path.parent
    if place.run and not directory.exists() and directory.parent.is_dir():
        rights = rights_of(args)
        durable.make_directory(directory, rights.directory, rights.group)
    _change(args, place, change, create=True)
    if valid != added:
        warn_all([f"at {start:.17g} get returns {valid}, not {added}, which was added"])
    if not args.quiet:
        _note_repository(place.path)
    return f"added {added} to {place.path}"


def _note_repository(path: Path) -> None:
    """Note that a file is in the directory of a repository, which does not see it."""
    directory = path.parent
    if (directory / "repository.json").exists():
        command = shlex.join(["jfstore", "import", str(path), "-m", "MESSAGE", "--repo", str(directory.absolute())])
        note(f"{directory} is a repository of jfstore, which does not see the file until it is imported: {command}")


def _delete(args: argparse.Namespace, place: _Place) -> str:
    if args.command == "delrange" and args.range is None:
        raise BadValue("which range? -g RANGE, such as -g 1520294400-end")
    what, refused = _WHOLE.get(args.command, ("", {}))
    for name, flag in refused.items():
        if getattr(args, name) is not None:
            raise BadValue(f"{args.command} deletes a whole {what}: leave out {flag}")
    seconds = None if what else _find_time(args, place)
    message, deleted = args.message or "", args.type

    def change(contents: DcsContents) -> DcsContents:
        nonlocal deleted
        now = time.time()
        if args.command == "delctype":
            return edit.delete_type(contents, args.type, message, now)
        if args.command == "delrange":
            deleted = f"{args.type}/{args.range}"
            return edit.delete_range(contents, args.type, args.range, message, now)
        dcs_range = model.find_range(contents, args.type, seconds, args.range)
        changed, version = edit.delete_version(contents, args.type, dcs_range, args.number, message, now)
        deleted = f"{args.type}/{dcs_range.key}/{name_version(version.number)}"
        return changed

    _change(args, place, change)
    return f"deleted {deleted} from {place.path}"


def _change(
    args: argparse.Namespace, place: _Place, change: Callable[[DcsContents], DcsContents], create: bool = False
) -> None:
    with progress(args.command) as show:
        warn_all(write.change_dcs(place.path, change, create=create, rights=rights_of(args), progress=show))


# Options that would make the user expect less to be deleted than is.
_WHOLE = {
    "delrange": ("range", {"number": "-v"}),
    "delctype": ("calibration type", {"number": "-v", "range": "-g", "seconds": "-T"}),
}
_COMMANDS = {
    "print": _print,
    "get": _get,
    "add": _add,
    "delversion": _delete,
    "delrange": _delete,
    "delctype": _delete,
}
