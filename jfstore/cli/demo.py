"""``jfstore demo``: make a complete example, and walk through it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from jfstore.cli.demo_names import CHANGED, EXPERIMENT, LAST, name_panels
from jfstore.cli.options import Parser, add_json
from jfstore.cli.output import emit_json, note
from jfstore.errors import Failed, NotFound, Refused

if TYPE_CHECKING:
    from pathlib import Path

EPILOG = """\
The command makes a directory of about 750 MB with a gain tree, XTC files of runs of LCLS-I and LCLS-II,
text files of dark runs, and a test and a real repository. It then runs the commands of a typical day and
prints each before it runs. A second run walks through the same directory and adds nothing twice. The
directory may be removed at any time.

examples:
  jfstore demo ~/jfstore-demo
  jfstore demo ~/jfstore-zarr --storage zarr
"""
_BYTES = 900_000_000
_PANEL = "171113-154920171025-3d00fb"
_HALVES = ("170505-149520170815-3d00b0", "170505-149520170815-3d00f7")
_RUN = "exp=xcsls3716:run=631"
_MODERN = f"exp={EXPERIMENT}"
_PROMOTED = " ".join([f"{_PANEL}/20180306000000/v2", *(f"{panel}/20171025000000/v1" for panel in _HALVES)])
_WRONG = " ".join(f"{panel}/20171101000000/v1" for panel in _HALVES)
_ENDINGS = {"": (0,), "!": (Refused.exit_code,), "?": (0, NotFound.exit_code)}
"""Exit codes with which a command of the story may end, by the mark before it."""
# A repetition with the same request adds nothing twice, though the versions were withdrawn meanwhile.
_REQUESTS = [f"{number:032x}" for number in (1, 2, 3)]
_STORY = f"""\
# The maintainer imports the gain tree into the test repository.
import {{root}}/gains -m 'legacy gains' --repo test

# An admin lists both repositories.
list

# An analyst gets the gains of a detector of two panels that were valid on 2017-12-05.
get {"_".join(_HALVES)} -T 20171205161400 -t pixel_gain -f {{root}}/gain.npy --force --repo test

# The maintainer adds a second version of a panel's constants; the first version stays.
add {_PANEL} -T 20180306000000 -f {{root}}/M044-new -m 'lowest range measured again' --repo test
get {_PANEL} -T 20180401000000 --repo test

# After a check, the maintainer promotes it to the real repository, with the panels of the detector.
promote {_PROMOTED} --from test --repo real -m 'checked with run 689' --yes

# An analyst asks by run: its XTC files name the detector and the time. The default is the real repository.
id {_RUN}
get {_RUN} -t pixel_gain -f {{root}}/gain.npy --force

# psana reads constants from the experiment's calibration directory: deploy them, then audit the files.
deploy {_RUN} -c {{root}}/calib
audit {{root}}/calib

# Somebody confuses files, and adds gains as offsets: the guard refuses.
! add {"_".join(_HALVES)} -T 20180601000000 -t pixel_offset -f {{root}}/gain.npy -m 'new offsets' --repo test

# A mistake that no guard can find: gains of November 2018 get a stamp of 2017, and are promoted with it.
add {"_".join(_HALVES)} -T 20171101000000 -t pixel_gain -f {{root}}/gain-2018.npy -m 'gains of November' --repo test \
--request {_REQUESTS[0]}
promote {_WRONG} --from test --repo real -m 'gains of November' --yes --request {_REQUESTS[1]}

# An analyst wonders about the gains of a run of 2017, and asks for the reason.
explain {_RUN} -t pixel_gain

# The maintainer takes them back. The report says which answers and runs that concerns; nothing is lost.
withdraw {_WRONG} -m 'the stamp should be 20181101000000' --repo real --yes --impact --request {_REQUESTS[2]}
get {_RUN} -t pixel_gain -f {{root}}/gain.npy --force
history -n 3

# An admin checks that every run of the experiment has constants.
runs xcsls3716 --resolve
list

# A detector of today, in LCLS-II: 32 panels. Until its gains are measured, the nominal ones do.
add {_MODERN}:run=5 --fill pixel_gain=41.5,-1.39,-0.11 --fill pixel_offset=0 -m 'nominal gains' --repo test

# Its pedestals come from two dark runs, as text files of a panel repository. Each run gets those before it.
import {{root}}/constants -m 'dark runs 5 and 8' --repo test
get {_MODERN}:run=7 -t pedestals -f {{root}}/pedestals-7.npy --force --repo test
get {_MODERN}:run=9 -t pedestals -f {{root}}/pedestals-9.npy --force --repo test

# In run 20 a panel has new firmware, and so a new Id, for which nothing is stored.
? runs {EXPERIMENT} --resolve --repo test
panel --propose --runs {EXPERIMENT} --repo test
panel {name_panels(LAST)[CHANGED]} --same-as {name_panels(5)[CHANGED]} -m 'new firmware' --repo test
runs {EXPERIMENT} --resolve --repo test

# Finally, every stored byte is checked.
verify --repo test
verify --repo real
"""


def add_options(parser: Parser) -> None:
    parser.add_argument(
        "directory", metavar="DIR", nargs="?", default="jfstore-demo", help="a new directory (default: %(default)s)"
    )
    parser.add_argument(
        "--storage", choices=("hdf5", "zarr"), default="hdf5", help="storage of its repositories (default: %(default)s)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    root = Path(args.directory).absolute()
    _make_data(root)
    variables = {"JFSTORE_TEST": root / "test", "JFSTORE_REAL": root / "real", "SIT_PSDM_DATA": root / "psdm"}
    environment = {name: str(path) for name, path in variables.items()}
    exports = [f"export {name}={shlex.quote(path)}" for name, path in environment.items()]
    out = sys.stderr if args.json else sys.stdout
    print(f"\nA gain tree is in {root / 'gains'}, XTC files of runs are in {root / 'psdm'},", file=out)
    print(f"text files of dark runs are in {root / 'constants'}.", file=out)
    print("\n# Two empty repositories are made beside them.", *(f"$ {line}" for line in exports), sep="\n", file=out)
    for role in ("test", "real"):
        if not (root / role / "repository.json").exists():
            _run_command(["init", role, "--storage", args.storage], environment, out)
    for line in _STORY.splitlines():
        if line.startswith("#") or not line:
            print(line, file=out)
        else:
            mark = line[0] if line[0] in _ENDINGS else ""
            words = [word.format(root=root) for word in shlex.split(line.removeprefix(f"{mark} "))]
            _run_command(words, environment, out, _ENDINGS[mark])
    print("\nTo go on by hand:\n", *exports, "jfstore list", sep="\n", file=out)
    if args.json:
        emit_json({"directory": str(root), "environment": environment})
    return 0


def _make_data(root: Path) -> None:
    import shutil

    from jfstore.cli import demo_data, demo_lcls2
    from jfstore.core.guard import DEMO_FILE
    from jfstore.fs import durable

    if not root.parent.is_dir():
        raise Failed(f"{root.parent} does not exist; make it first")
    if root.exists() and not (root.is_dir() and (not any(root.iterdir()) or (root / DEMO_FILE).exists())):
        raise Refused(f"{root} exists and is not a demo: name another directory")
    if shutil.disk_usage(root.parent).free < _BYTES:
        raise Failed(f"{root.parent} has less than {_BYTES // 1_000_000} MB free")
    note(f"making a gain tree, dark runs and runs in {root} ...")
    if not root.is_dir():
        durable.make_directory(root, 0o755)
    durable.overwrite(root / DEMO_FILE, [b"made by jfstore demo; may be removed at any time\n"], mode=0o644)
    demo_data.write_tree(root / "gains")
    demo_data.write_new_constants(root / "M044-new")
    demo_data.write_new_gains(root / "gain-2018.npy")
    demo_data.write_runs(root / "psdm")
    demo_lcls2.write_runs(root / "psdm")
    demo_lcls2.write_darks(root / "constants")


def _run_command(words: list[str], environment: dict[str, str], out: TextIO, codes: Sequence[int] = (0,)) -> None:
    """Print a command and run it; Failed if it does not end with one of these exit codes."""
    import subprocess

    print(f"$ {shlex.join(['jfstore', *words])}", file=out, flush=True)
    # From a checkout the package is not installed.
    places = [os.path.realpath(f"{__file__}/../../.."), *filter(None, [os.environ.get("PYTHONPATH")])]
    program = [sys.executable, "-m", "jfstore", *words]
    environment = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(program, env=environment, stdout=out, check=False)  # noqa: S603 - our own words
    if done.returncode not in codes:
        raise Failed(f"jfstore {words[0]} ended with exit code {done.returncode}")
