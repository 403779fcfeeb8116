"""Write the constants of a run to files beside the user, and to where psana reads them."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import time as clock
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jfstore._version import __version__
from jfstore.core.arrays import CalibArray
from jfstore.core.calib_types import CALIB_TYPES, psana1_dtype
from jfstore.core.ids import file_id
from jfstore.core.instants import iso, now
from jfstore.core.lock import Lock, lock_value
from jfstore.deployment.calibdir import CalibFile
from jfstore.deployment.constants import Constants, Place, constants_of
from jfstore.deployment.deploy import Deployed, Deployer, check
from jfstore.deployment.file_types import convert_for_psana1
from jfstore.deployment.note import Deployment
from jfstore.errors import BadValue, Damaged, Failed, JfstoreError, Refused
from jfstore.formats.text import FORMAT, format_text, parse_text
from jfstore.fs import durable, owner
from jfstore.fs.files import pieces_of
from jfstore.fs.output_file import npy_pieces, place_of_file
from jfstore.fs.owner import Rights
from jfstore.runs.records import LCLS2
from jfstore.runs.tree import Tree

if TYPE_CHECKING:
    from jfstore.repository.finding import Time

NAME_LIMIT = 255
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Generated:
    """What was written for a run."""

    constants: Constants
    written: tuple[str, ...]  # local files
    deployed: tuple[Deployed, ...]  # what happened to each deployed file; what would happen, with dry_run
    calibdir: Path | None  # None if it is not known and nothing was deployed
    needs_confirmation: bool = False  # a test repository's constants go to the experiment's own calibration directory
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """Where files go and how they are written, as the parameters of `generate` and `deploy` say; no local files if
    `directory` is None. The note beside deployed files holds the `command`."""

    directory: str | os.PathLike[str] | None = None
    replace_local: bool = False
    deploy: bool = False
    calibdir: str | os.PathLike[str] | None = None
    replace_deployed: bool = False
    from_test: bool = False
    fmt: str | None = None
    rights: Rights = field(default_factory=Rights)
    command: Sequence[str] = ("python",)
    last_runs: Mapping[str, int | None] = field(default_factory=dict)  # of each type; None, or none, for all later runs


def generate(
    dataset: str | None = None,
    *,
    types: Sequence[str] | str | None = None,
    source: str | None = None,
    time: Time | None = None,
    repo: Place | None = None,
    as_of: int | str | None = None,
    locked: Lock | str | os.PathLike[str] | None = None,
    directory: str | os.PathLike[str] = ".",
    replace: bool = False,
    fmt: str | None = None,
    rights: Rights = Rights(),
    progress: Progress = lambda done, total: None,
) -> Generated:
    """Write the constants of a run to local files: for each calibration type an .npy file and a text.

    Parameters
    ----------
    dataset, types, source, time, repo, as_of, locked
        As for `constants_of`.
    directory : path
        Where the files go.
    replace : bool
        Whether files with other values may be replaced.
    fmt : str, optional
        printf format of floats in text, such as ``%.4f``; default all digits, which bring back every bit. Integers
        have all their digits.
    rights : Rights
        Modes and group of new files.
    progress : callable
        Called with the number of calibration types written and their total.

    Raises
    ------
    Refused
        If a file has other values.
    JfstoreError
        As `constants_of`.
    """
    output = Output(directory=directory, replace_local=replace, fmt=fmt, rights=rights)
    constants = constants_of(dataset, types=types, source=source, time=time, repo=repo, as_of=as_of, locked=locked)
    return write_constants(constants, output, progress=progress)


def deploy(
    dataset: str | None = None,
    *,
    types: Sequence[str] | str | None = None,
    source: str | None = None,
    time: Time | None = None,
    repo: Place | None = None,
    as_of: int | str | None = None,
    locked: Lock | str | os.PathLike[str] | None = None,
    calibdir: str | os.PathLike[str] | None = None,
    replace: bool = False,
    from_test: bool = False,
    fmt: str | None = None,
    rights: Rights = Rights(),
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> Generated:
    """Deploy the constants of a run to where psana1 reads them.

    Parameters
    ----------
    dataset, source, time, repo, as_of, locked
        As for `constants_of`.
    types : sequence of str, optional
        Calibration types that psana1 reads; default those of them that are valid then.
    calibdir : path, optional
        The calibration directory; default that of the experiment.
    replace : bool
        Whether files that jfstore did not write may be replaced.
    from_test : bool
        Whether constants of a test repository may go to the experiment's own calibration directory.
    fmt, rights, progress
        As for `generate`.
    dry_run : bool
        Check everything and return what would be deployed, but change nothing.

    Raises
    ------
    Refused
        If `replace` or `from_test` would be needed, a value does not fit the dtype that psana reads, or the run is one
        of LCLS-II, for which psana2 reads its database.
    JfstoreError
        As `constants_of`.
    """
    output = Output(
        deploy=True, calibdir=calibdir, replace_deployed=replace, from_test=from_test, fmt=fmt, rights=rights
    )
    options: dict[str, Any] = {"source": source, "time": time, "repo": repo, "as_of": as_of, "locked": locked}
    constants = constants_of(dataset, types=types, psana1=True, **options)
    return write_constants(constants, output, dry_run=dry_run, progress=progress)


def write_constants(
    constants: Constants,
    output: Output,
    *,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> Generated:
    """Write constants as `output` says; everything is checked before the first file is written."""
    if output.fmt is not None and not FORMAT.fullmatch(output.fmt):
        raise BadValue(f"{output.fmt!r} is not a format of values, such as %.4f")
    if output.deploy:
        _check_can_deploy(constants, output)
    calibdir, is_own = find_calibration_directory(constants, output)
    is_test = constants.origin.get("role") == "test"
    needs_confirmation = output.deploy and is_test and is_own
    notes = [*constants.notes, *(_note_not_deployed(constants) if output.deploy else ())]
    if output.deploy and is_test:
        notes.append(f"{constants.origin['path']} is a test repository: psana would read constants from there")
    if needs_confirmation and not output.from_test and not dry_run:
        raise Refused(
            f"{constants.origin['path']} is a test repository, and {calibdir} is where psana reads for "
            f"{constants.run.experiment}: confirm with jfstore deploy {constants.run.label} --yes "
            f"--repo {shlex.quote(constants.origin['path'])}"
        )
    targets = _make_deployments(constants, output, calibdir) if output.deploy and calibdir else {}
    planned = []
    for name, (file, deployment) in targets.items():
        array = convert_for_psana1(name, constants.arrays[name], [panel.panel for panel in constants.panels[name]])
        is_unchanged = check(file, deployment, array, output.replace_deployed)
        planned.append(Deployed(file, "unchanged" if is_unchanged else "would deploy"))
    if dry_run:
        return Generated(constants, (), tuple(planned), calibdir, needs_confirmation, tuple(notes))
    if output.directory is not None and not output.replace_local:
        _refuse_other_values(constants, Path(output.directory), output.fmt)
    written, deployed = _write(constants, output, targets, progress)
    return Generated(constants, written, deployed, calibdir, needs_confirmation, tuple(notes))


def _write(
    constants: Constants, output: Output, targets: dict[str, tuple[CalibFile, Deployment]], progress: Progress
) -> tuple[tuple[str, ...], tuple[Deployed, ...]]:
    """Write the local files and deploy; return the names of the files written and what was deployed."""
    written: list[str] = []
    total = len(constants.arrays)
    with Deployer(output.replace_deployed, output.rights) as deployer:
        for done, (name, array) in enumerate(constants.arrays.items()):
            progress(done, total)
            local = make_local_name(constants, name)
            pieces: list[bytes] = []
            if output.directory is not None:
                pieces = _format_text(constants, name, array, f"{local}.txt", output)
                written += _write_local(Path(output.directory) / local, array, pieces, output.rights)
            if name in targets:
                panels = [panel.panel for panel in constants.panels[name]]
                converted = convert_for_psana1(name, array, panels)
                is_copy = pieces != [] and converted.dtype == array.dtype
                if not is_copy:
                    pieces = _format_text(constants, name, converted, f"{local}.txt", output)
                deployer.stage(*targets[name], converted, pieces, f"{local}.txt" if is_copy else "-")
        deployed = deployer.finish()
    progress(total, total)
    return tuple(written), tuple(deployed)


def _check_can_deploy(constants: Constants, output: Output) -> None:
    """Refuse to deploy for psana2, and types that psana1 does not read."""
    run = constants.run
    if run.daq == LCLS2:
        raise Refused(
            f"{run.label} is a run of LCLS-II, for which psana2 reads its calibration database, not files: "
            f"jfstore generate {run.label} -U writes the arrays and prints the commands that add them to it"
        )
    useless = _find_not_deployed(constants)
    if useless and (output.directory is None or len(useless) == len(constants.arrays)):
        readable = [name for name, known in CALIB_TYPES.items() if known.psana1]
        raise BadValue(f"psana does not read {', '.join(useless)}: it reads {', '.join(readable)}")


def _find_not_deployed(constants: Constants) -> list[str]:
    return [name for name in constants.arrays if psana1_dtype(name) is None]


def _note_not_deployed(constants: Constants) -> Iterator[str]:
    if names := _find_not_deployed(constants):
        yield f"{', '.join(names)}: written, not deployed, because psana does not read them"


def find_calibration_directory(constants: Constants, output: Output) -> tuple[Path | None, bool]:
    """Return the calibration directory, and whether it is the experiment's own; None if it is not known."""
    own: Path | None = None
    try:
        own = Tree.from_environment().calib_directory(constants.run.experiment)
    except JfstoreError:
        if output.deploy and output.calibdir is None:
            raise
    if output.calibdir is None:
        return own, own is not None
    if not os.fspath(output.calibdir):
        raise BadValue("the calibration directory (-c) is empty")
    asked = Path(output.calibdir)
    return asked, own is not None and os.path.realpath(asked) == os.path.realpath(own)


def _make_deployments(constants: Constants, output: Output, calibdir: Path) -> dict[str, tuple[CalibFile, Deployment]]:
    """Return file and note by calibration type; hash and size of the file are not known yet."""
    run, source, call, time = constants.run, constants.jungfrau.source, secrets.token_hex(8), now()
    user, host, program = owner.user(), owner.host(), f"jfstore {__version__}"
    command, lock = shlex.join(output.command), constants.lock
    about = {"user": user, "host": host, "program": program, "dataset": run.label, "command": command}
    return {
        name: (
            CalibFile(calibdir, source, name, run.run, output.last_runs.get(name)),
            Deployment(
                blake3="",
                size=0,
                source=source,
                type=name,
                run=run.run,
                start=run.start,
                valid_at=constants.time.ns,
                panels=panels,
                fmt=_format_of(name, output.fmt),
                origin=constants.origin,
                replaced=None,
                time=time,
                call=call,
                about=about,
                lock=None if lock is None else lock_value(lock.select_types([constants.find_stored_type(name)])),
                stored_type=None if (stored := constants.find_stored_type(name)) == name else stored,
            ),
        )
        for name, panels in constants.panels.items()
        if psana1_dtype(name)
    }


def _format_of(name: str, fmt: str | None) -> str | None:
    """Return the format of the values of a type; None, for all digits, if they are integers."""
    return None if CALIB_TYPES[name].is_integer else fmt


def make_local_name(constants: Constants, calib_type: str) -> str:
    """Return the name of a local file without its ending, such as
    ``xcsls3716-r0631_XcsEndstation.0:Jungfrau.0_<detector Id>_pixel_gain``."""
    run = constants.run
    head = f"{run.experiment}-r{run.run:04d}_{constants.jungfrau.source}_"
    longest = max(map(len, constants.arrays)) + len("_.npy")
    return f"{head}{file_id(constants.jungfrau.detector_id, NAME_LIMIT - len(head) - longest)}_{calib_type}"


def _format_text(constants: Constants, name: str, array: CalibArray, file_name: str, output: Output) -> list[bytes]:
    fmt, last = _format_of(name, output.fmt), output.last_runs.get(name)
    pieces = format_text(array, _make_header(constants, name, array, file_name, last), fmt)
    if fmt is None and parse_text(b"".join(pieces), file_name).array.tobytes() != array.tobytes():
        raise Failed(f"{name}: the text of the constants does not bring back their bits; nothing was written of it")
    return pieces


def _make_header(
    constants: Constants, name: str, array: CalibArray, file_name: str, last: int | None
) -> Iterator[tuple[str, str]]:
    """Yield the lines of a text's header beside the shape: the origin of the constants, and the keys of psana."""
    run = constants.run
    runs = f"run {run.run} of {run.experiment} and later runs" if last is None else f"runs {run.run} to {last}"
    yield from [
        ("TITLE", f"{name} of {constants.jungfrau.source}, valid for {runs}"),
        ("EXPERIMENT", run.experiment),
        ("DETECTOR", constants.jungfrau.source),
        ("CALIB_TYPE", name),
        ("VALID_AT", iso(constants.time.ns)),
        ("ORIGIN", constants.origin_text),
    ]
    if (stored := constants.find_stored_type(name)) != name:
        yield "STORED_TYPE", stored
    if constants.jungfrau.segments:
        yield "SEGMENTS", " ".join(map(str, constants.jungfrau.segments))
    yield from (("VERSION", panel.version) for panel in constants.panels[name])
    yield from [
        ("PROGRAM", f"jfstore {__version__}"),
        ("", ""),
        ("HOST", owner.host()),
        ("WORK_DIR", os.getcwd()),
        ("FILE_NAME", file_name),
        ("DATE_TIME", clock.strftime("%Y-%m-%dT%H:%M:%S")),
        ("UID", owner.user()),
        ("SHAPE", f"({','.join(map(str, array.shape))})"),
        ("DATATYPE", array.dtype.name),
    ]


def _refuse_other_values(constants: Constants, directory: Path, fmt: str | None) -> None:
    """Refuse if a local file exists that holds other values: it may be of another time or repository."""
    for name, array in constants.arrays.items():
        local = directory / make_local_name(constants, name)
        text = partial(format_text, facts=(), fmt=_format_of(name, fmt))
        for suffix, encode in ((".npy", npy_pieces), (".txt", text)):
            path = Path(f"{local}{suffix}")
            if os.path.lexists(path) and _read_values(path) != _strip_header(b"".join(map(bytes, encode(array)))):
                raise Refused(f"{path} exists and holds other values; --force replaces it")


def _read_values(path: Path) -> bytes | None:
    try:
        return _strip_header(b"".join(pieces_of(path, follow=True)))
    except (OSError, Damaged):
        return None


def _strip_header(raw: bytes) -> bytes:
    """Return a text without its header lines, which hold dates; other bytes as they are."""
    return re.sub(rb"\A((#[^\n]*)?\n)+", b"", raw)


def _write_local(local: Path, array: CalibArray, text: Sequence[Any], rights: Rights) -> list[str]:
    files: Mapping[str, Sequence[Any]] = {f"{local}.npy": npy_pieces(array), f"{local}.txt": text}
    for path, pieces in files.items():
        try:
            durable.overwrite(place_of_file(path), pieces, rights.file, group=rights.group)
        except OSError as error:
            raise Failed(f"{path}: {error.strerror}") from None
    return sorted(files, reverse=True)
