"""The story that ``jfstore demo`` tells: its world, and the commands of a day in it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TextIO

from jfstore.cli import _demo_data as data
from jfstore.cli import _demo_xtc as xtc
from jfstore.cli.output import note
from jfstore.errors import Failed, Refused
from jfstore.fs import durable

PANEL = "171113-154920171025-3d00fb"
DETECTOR = "170505-149520170815-3d00b0_170505-149520170815-3d00f7"
RUN = "exp=xcsls3716:run=631"
_MARK = ".jfstore-demo"
_BYTES = 300_000_000


def tell(directory: Path, storage: str, out: TextIO) -> dict[str, str]:
    """Make the demo's world in `directory`, its repositories in `storage`, and walk through it, telling it on `out`.

    Returns
    -------
    dict of str to str
        The environment variables that name its repositories.

    Raises
    ------
    Refused
        If the directory holds something else.
    Failed
        If there is no room for it, or a command fails.
    """
    root = directory.absolute()
    _make(root)
    variables = {
        "JFSTORE_TEST": str(root / "test"),
        "JFSTORE_REAL": str(root / "real"),
        "SIT_PSDM_DATA": str(root / "psdm"),
    }
    story = _Story(variables, out)
    story.say(f"\nA detector group's gain tree is in {root / 'gains'}, XTC files of runs are in {root / 'psdm'}.")
    story.say("Two empty repositories are made beside them:\n")
    for name, value in variables.items():
        story.say(f"$ export {name}={shlex.quote(value)}")
    for role in ("test", "real"):
        if not (root / role / "repository.json").exists():
            story.run("init", role, *([] if storage == "hdf5" else ["--storage", storage]))
    _day(story, root)
    story.say("\nTo go on by hand:\n")
    for name, value in variables.items():
        story.say(f"export {name}={shlex.quote(value)}")
    story.say("jfstore list")
    return variables


def _make(root: Path) -> None:
    if not root.parent.is_dir():
        raise Failed(f"{root.parent} is not there; make it first")
    if root.exists() and not (root.is_dir() and (not any(root.iterdir()) or (root / _MARK).exists())):
        raise Refused(f"{root} exists and is not a demo: name another directory")
    if shutil.disk_usage(root.parent).free < _BYTES:
        raise Failed(f"{root.parent} has less than {_BYTES // 1_000_000} MB free")
    note(f"making a gain tree and runs in {root} ...")
    if not root.is_dir():
        durable.make_directory(root, 0o755)
    durable.overwrite(root / _MARK, [b"made by jfstore demo; may be removed at any time\n"], mode=0o644)
    data.write_tree(root / "gains")
    data.write_new_constants(root / "M044-new")
    xtc.write_runs(root / "psdm")


def _day(story: _Story, root: Path) -> None:
    gain = str(root / "gain.npy")
    story.tell("The maintainer takes the legacy gain tree into the test repository.")
    story.run("import", str(root / "gains"), "-m", "legacy gains", "--repo", "test")
    story.tell("An admin looks at both repositories.")
    story.run("list")
    story.tell("An analyst gets the gains of a detector of two panels that were valid on 2017-12-05.")
    story.run("get", DETECTOR, "-T", "20171205161400", "-t", "pixel_gain", "-f", gain, "--force", "--repo", "test")
    story.tell("The maintainer adds a second version of a panel's constants; the first stays.")
    story.run(
        "add",
        PANEL,
        "-T",
        "20180306000000",
        "-f",
        str(root / "M044-new"),
        "-m",
        "lowest range measured again",
        "--repo",
        "test",
    )
    story.run("get", PANEL, "-T", "20180401000000", "--repo", "test")
    story.tell("It was checked: to the real repository with it, and with the panels of the detector.")
    versions = [f"{PANEL}/20180306000000/v2", *(f"{panel}/20171025000000/v1" for panel in DETECTOR.split("_"))]
    story.run("promote", *versions, "--from", "test", "--repo", "real", "-m", "checked with run 689", "--yes")
    story.tell(
        "Analysis reads the real repository by default, and may ask by run: which detector was it, from when on?"
    )
    story.run("id", RUN)
    story.run("get", RUN, "-t", "pixel_gain", "-f", gain, "--force")
    story.tell("psana reads constants from the experiment's calibration directory: there they go, and are they right?")
    calib = str(root / "calib")
    story.run("deploy", RUN, "-c", calib)
    story.run("audit", calib)
    story.tell("Are there constants for every run of the experiment?")
    story.run("runs", RUN[4:].partition(":")[0], "--resolve")
    story.run("list")
    story.tell("Is every stored byte sound?")
    story.run("verify", "--repo", "test")
    story.run("verify", "--repo", "real")


class _Story:
    """Prints commands and runs them, in the environment of the demo."""

    def __init__(self, variables: dict[str, str], out: TextIO) -> None:
        self._out = out
        # From a checkout the package is not installed.
        package = Path(__file__).resolve().parents[2]
        places = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._environment = {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(places)}

    def say(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def tell(self, text: str) -> None:
        self.say(f"\n# {text}")

    def run(self, *words: str) -> None:
        self.say(f"$ {shlex.join(['jfstore', *words])}")
        program = [sys.executable, "-m", "jfstore", *words]
        done = subprocess.run(program, env=self._environment, stdout=self._out, check=False)  # noqa: S603 - our own words
        if done.returncode:
            raise Failed(f"jfstore {words[0]} ended with exit code {done.returncode}")
