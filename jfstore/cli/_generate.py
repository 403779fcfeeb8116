"""From a run to files: merged arrays beside the user, text where psana reads it, and the commands that add them."""

from __future__ import annotations

import os
import secrets
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jfstore._version import __version__
from jfstore.cli._constants import Constants, constants_of
from jfstore.cli.output import progress
from jfstore.cli.program import warn_of
from jfstore.core.ids import file_id
from jfstore.errors import BadValue, Failed, JfstoreError
from jfstore.fs import durable, owner
from jfstore.fs.output_file import npy_pieces, place_of_file
from jfstore.fs.rights import Rights

if TYPE_CHECKING:
    from jfstore.core.arrays import Float32
    from jfstore.deployment.calibdir import CalibFile
    from jfstore.deployment.deploy import Deployed
    from jfstore.deployment.note import Deployment

_NAME_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for.

    Attributes
    ----------
    command : sequence of str
        Program and arguments, for the notes.
    dataset, source, when, place
        As for `constants_of`.
    local, deploy : bool
        Whether to write files here, and files that psana reads.
    calibdir : str or None
        The calibration directory, that of the experiment if None.
    fmt : str or None
        Format of values in text; None keeps every bit.
    replacing : bool
        Whether deployed files that jfstore did not write may be replaced.
    dry_run : bool
        Whether only to say what would be deployed.
    """

    command: Sequence[str]
    dataset: str
    source: str
    when: str | None
    place: str
    local: bool
    deploy: bool
    calibdir: str | None
    fmt: str | None = None
    replacing: bool = False
    dry_run: bool = False
    rights: Rights = field(default_factory=Rights)


@dataclass(frozen=True, slots=True)
class Generated:
    """What was found, the local files that were written, what became of deployed ones, and the calibration
    directory they are in (None if it is not known and nothing was deployed)."""

    constants: Constants
    written: tuple[str, ...]
    deployed: tuple[Deployed, ...]
    calibdir: Path | None


def generate(request: Request) -> Generated:
    """Find the constants, write files and deploy as asked for; nothing at all if any panel has none.

    Raises
    ------
    JfstoreError
        As of `constants_of`, `deploying.check` and `deploying.deploy`.
    """
    from jfstore.deployment.calibdir import CalibFile
    from jfstore.deployment.deploy import Deployed, Text, check, deploy, seal
    from jfstore.formats.text import FORMAT

    if request.fmt is not None and not FORMAT.fullmatch(request.fmt):
        raise BadValue(f"{request.fmt!r} is not a format of values, such as %.4f")
    constants = constants_of(request.dataset, request.source, request.when, request.place)
    calibdir = _calibdir(request, constants)
    places: dict[str, tuple[CalibFile, Deployment]] = {}
    deployed: list[Deployed] = []
    if request.deploy and calibdir is not None:
        call = secrets.token_hex(8)
        if constants.origin.get("role") == "test":
            warn_of([f"{constants.origin['path']} is a test repository: what psana reads would come from there"])
        for name, array in constants.arrays.items():
            file = CalibFile(calibdir, constants.jungfrau.source, name, constants.run.run)
            places[name] = file, _deployment(request, constants, name, call)
            is_unchanged = check(*places[name], array, request.replacing)
            if request.dry_run:
                deployed.append(Deployed(file, "unchanged" if is_unchanged else "would deploy"))
    if request.dry_run:
        return Generated(constants, (), tuple(deployed), calibdir)
    written: list[str] = []
    with progress("writing") as show:

        def texts() -> Iterator[Text]:
            for done, (name, array) in enumerate(constants.arrays.items()):
                show(done, len(constants.arrays))
                local = local_name(constants, name)
                pieces = _text(request, constants, name, array, f"{local}.txt")
                if request.local:
                    _write(Path(f"{local}.npy"), npy_pieces(array), request.rights)
                    _write(Path(f"{local}.txt"), pieces, request.rights)
                    written.extend([f"{local}.txt", f"{local}.npy"])
                if name in places:
                    file, deployment = places[name]
                    yield Text(file, seal(deployment, pieces), array, pieces, f"{local}.txt" if request.local else "-")
            show(len(constants.arrays), len(constants.arrays))

        deployed = deploy(texts(), replacing=request.replacing, rights=request.rights)
    return Generated(constants, tuple(written), tuple(deployed), calibdir)


def _calibdir(request: Request, constants: Constants) -> Path | None:
    if request.calibdir is not None:
        if not request.calibdir:
            raise BadValue("the calibration directory (-c) is empty")
        return Path(request.calibdir)
    from jfstore.runs.tree import Tree

    try:
        return Tree.from_environment().calib_directory(constants.run.experiment)
    except JfstoreError:
        if request.deploy:
            raise
        return None


def _deployment(request: Request, constants: Constants, name: str, call: str) -> Deployment:
    from jfstore.core.instants import now
    from jfstore.deployment.note import Deployment

    about = {
        "user": owner.user(),
        "host": owner.host(),
        "program": f"jfstore {__version__}",
        "dataset": constants.run.label,
        "command": shlex.join(request.command),
    }
    return Deployment(
        blake3="",
        size=0,
        source=constants.jungfrau.source,
        type=name,
        run=constants.run.run,
        start=constants.run.start,
        valid_at=constants.t,
        panels=constants.panels[name],
        fmt=request.fmt,
        origin=constants.origin,
        replaced=None,
        time=now(),
        call=call,
        about=about,
    )


def local_name(constants: Constants, calib_type: str) -> str:
    """Return the name of a local file without its ending, such as
    ``xcsls3716-r0631_XcsEndstation.0:Jungfrau.0_<detector Id>_pixel_gain``."""
    run = constants.run
    head = f"{run.experiment}-r{run.run:04d}_{constants.jungfrau.source}_"
    longest = max(map(len, constants.arrays)) + len("_.npy")
    return f"{head}{file_id(constants.jungfrau.detector_id, _NAME_LIMIT - len(head) - longest)}_{calib_type}"


def _text(request: Request, constants: Constants, name: str, array: Float32, file_name: str) -> list[bytes]:
    from jfstore.formats.text import format_text, parse_text

    pieces = format_text(array, _facts(constants, name, array.shape, file_name), request.fmt)
    if request.fmt is None and parse_text(b"".join(pieces), file_name).array.tobytes() != array.tobytes():
        raise Failed(f"{name}: the text of the constants does not bring back their bits; nothing was written of it")
    return pieces


def _facts(constants: Constants, name: str, shape: tuple[int, ...], file_name: str) -> Iterator[tuple[str, str]]:
    """Yield what a text's header says beside the shape: where the constants are from, and the keys of psana's files."""
    from jfstore.core.instants import iso

    run = constants.run
    yield from [
        (
            "TITLE",
            f"{name} of {constants.jungfrau.source}, valid for run {run.run} of {run.experiment} and those after it",
        ),
        ("EXPERIMENT", run.experiment),
        ("DETECTOR", constants.jungfrau.source),
        ("CALIB_TYPE", name),
        ("VALID_AT", iso(constants.t)),
        ("ORIGIN", constants.origin_text),
    ]
    yield from (("VERSION", panel.version) for panel in constants.panels[name])
    yield from [
        ("PROGRAM", f"jfstore {__version__}"),
        ("", ""),
        ("HOST", owner.host()),
        ("WORK_DIR", os.getcwd()),
        ("FILE_NAME", file_name),
        ("DATE_TIME", time.strftime("%Y-%m-%dT%H:%M:%S")),
        ("UID", owner.user()),
        ("SHAPE", f"({','.join(map(str, shape))})"),
        ("DATATYPE", "float32"),
    ]


def _write(path: Path, pieces: Sequence[Any], rights: Rights) -> None:
    try:
        durable.overwrite(place_of_file(str(path)), pieces, rights.file, group=rights.group)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None


def upload_commands(constants: Constants, program: str) -> list[tuple[str, list[list[str]]]]:
    """Return the commands that add the local files to the real and to the test repository: what each group of
    them is for, and their words."""
    from jfstore.core.instants import SECOND, exact_stamp
    from jfstore.repository.catalogue import locate

    run, detector = constants.run, constants.jungfrau.detector_id
    start = constants.t - constants.t % SECOND
    try:
        stamp = exact_stamp(start, constants.zone)
    except BadValue:
        stamp = f"@{start // SECOND}"
    message = f"See command: {program} -d {run.label} -U"
    files = {name: f"{local_name(constants, name)}.npy" for name in constants.arrays}
    groups = []
    # What a real repository would take without asking comes last.
    for role in ("test", "real"):
        given = [word for name, file in files.items() for word in ("-t", name, "-f", file)]
        sure = ["--yes"] if role == "real" else []
        add = ["jfstore", "add", detector, "-T", stamp, *given, "-m", message, "--repo", role, *sure]
        groups.append((f"to the {role} repository", [add]))
        directory = locate(role)[1]
        if not isinstance(directory, Path):
            continue  # there are no DCS files in a bucket
        store = directory / f"jungfrau-{file_id(detector, _NAME_LIMIT - len('jungfrau-.h5'))}.h5"
        adds = [
            [
                "dcs",
                "add",
                str(store),
                "-t",
                name,
                "-f",
                file,
                "-T",
                str(start // SECOND),
                "-m",
                message,
                "-e",
                run.experiment,
                "-r",
                str(run.run),
                "-d",
                constants.jungfrau.source,
            ]
            for name, file in files.items()
        ]
        groups.append((f"to the DCS file of the detector in the directory of the {role} repository", adds))
    return groups


def upload_lines(groups: Sequence[tuple[str, list[list[str]]]]) -> Iterator[str]:
    """Yield the lines of a shell's script of those commands."""
    for text, commands in groups:
        yield f"# {text}:"
        yield from map(shlex.join, commands)
