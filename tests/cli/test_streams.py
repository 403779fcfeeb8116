"""Pipes, terminals, signals and full disks: what a process does that its function cannot show."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jfstore
from jfstore.cli.app import COMMANDS, get_parser, main
from tests.conftest import ROOT
from tests.makers.gains import make_gain_directory, make_gain_tree
from tests.makers.repositories import LATER, SHAPE, STAMP, A, B, D, constants, entry, new_repository, story, tree

PROGRAMS = ("jfstore", "jungfrau_id", "event_keys", "find_detector_runs", "jungfrau_gain_constants", "dcs")
COMMAND = [sys.executable, str(ROOT / "bin" / "jfstore")]
MESSAGE = "tab\there\nnew line \\ and \x1b[31mred"
ESCAPED = r"tab\there\nnew line \\ and \x1b[31mred"
TO_STDOUT = f"get {A} -T {STAMP} -t pixel_gain -f - --repo test"
COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7])(?:;\d+)*m")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_environment: dict[str, str]) -> dict[str, str]:
    """The working directory, with two repositories in it; returns the environment of a command."""
    story(tmp_path / "test").add_entries([entry(B, STAMP, 8)], MESSAGE)
    new_repository(tmp_path / "real", "real")
    make_gain_tree(tmp_path / "gains", shape=SHAPE)
    make_gain_directory(tmp_path / "M", SHAPE)
    monkeypatch.chdir(tmp_path)
    for role in ("test", "real"):
        monkeypatch.setenv(f"JFSTORE_{role.upper()}", str(tmp_path / role))
        command_environment[f"JFSTORE_{role.upper()}"] = str(tmp_path / role)
    del command_environment["PYTHONUNBUFFERED"]  # what is written late can fail late
    return command_environment


def process(environment: dict[str, str], *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([*COMMAND, *words], env=environment, check=False, timeout=60, **options)


def shell(environment: dict[str, str], script: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, check=False, timeout=60)


def is_one_error(err: bytes) -> bool:
    return err.startswith(b"jfstore: error: ") and err.count(b"\n") == 1 and b"Traceback" not in err


# -- data on standard output


@pytest.mark.parametrize("command", ["list", "history --repo test"])
def test_piped_output_is_tsv_with_a_header_and_escapes(
    command: str, here: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 0
    header, *lines = [line.split("\t") for line in capsys.readouterr().out.split("\n")[:-1]]
    assert {len(line) for line in lines} == {len(header)}
    assert [line[header.index("message")] for line in lines].count(ESCAPED) == 1


REPOSITORY = ["id", "path"]
ADDED = ["repository", "seq", "dry_run", "added", "unchanged", "skipped", "targets", "changes"]
KEYS = {
    "init ./new --role test": ["path", "id", "role", "detector", "panel_shape", "zone", "storage"],
    "mirror ./test ./copy": ["source", "mirror", "id", "role", "storage", "new_commits", "commits"],
    "cache": ["path", "arrays", "bytes", "limit"],
    f"add {A} -T {STAMP} -f M -m why --repo test": ADDED,
    "import gains -m why --repo test": ADDED,
    f"promote {A}/{STAMP}/v2 -m why --from test --repo real --yes": [*ADDED, "stated"],
    f"get {A} -T {STAMP} --repo test": ["repository", "detector", "time", "as_of", "shape", "selections"],
    "list": ["repositories", "missing", "versions"],
    "history --repo test": ["repository", "as_of", "commits"],
    "verify --repo test": [
        "repository",
        "commits",
        "versions",
        "files",
        "quick",
        "removed",
        "restored",
        "problems",
        "notes",
    ],
    f"show {A}/{STAMP}/v1 --repo test": [
        "version",
        "panel",
        "stamp",
        "valid_from",
        "zone",
        "number",
        "panel_names",
        "same_panels",
        "closes",
        "withdrawn",
        "as_of",
        "about",
        "arrays",
        "file",
        "file_size",
        "file_blake3",
        "source",
        "origin",
        "commit",
        "repository",
    ],
}
INNER = {
    f"add {A} -T {STAMP} -f M -m why --repo test": ("added", ["version", "content", "source"]),
    f"get {A} -T {STAMP} --repo test": (
        "selections",
        ["panel", "type", "version", "valid_from", "valid_to", "commit", "blake3", "rejected"],
    ),
    "list": ("versions", ["panel", "stamp", "types", "content", "in"]),
    "history --repo test": ("commits", ["seq", "time", "op", "user", "host", "message", "hash", "versions"]),
}


@pytest.mark.parametrize("command", KEYS)
def test_json_has_these_keys(command: str, here: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert list(value) == KEYS[command]
    if command in INNER:
        name, keys = INNER[command]
        assert value[name]
        assert {tuple(item) for item in value[name]} == {tuple(keys)}
    if "repository" in value:
        assert [key for key in value["repository"] if key != "role"] == REPOSITORY


def test_every_command_has_json() -> None:
    (subparsers,) = (action.choices for action in get_parser()._actions if action.dest == "command")
    assert isinstance(subparsers, dict)
    assert [name for name in COMMANDS if "--json" not in subparsers[name].format_usage()] == []


def test_piped_npy_is_loadable(here: dict[str, str]) -> None:
    done = process(here, "get", A, "-T", STAMP, "-t", "pixel_gain", "-f", "-", "--repo", "test")
    assert done.returncode == 0
    assert np.load(io.BytesIO(done.stdout)).tobytes() == constants(4).tobytes()


def test_the_first_line_of_a_list_is_enough(here: dict[str, str]) -> None:
    done = shell(here, "jfstore list | head -n 1; echo ${PIPESTATUS[0]}")
    assert done.stdout.splitlines() == [b"panel\tvalid_from\tvalid_to\ttypes\ttest\treal\tuser\ttime\tmessage", b"0"]
    assert done.stderr == b""


@pytest.mark.parametrize("command", ["list", "list --json", "history --repo test", "--help"])
def test_a_reader_that_never_reads_is_no_error(command: str, here: dict[str, str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = process(here, *command.split(), stdout=write)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["list", "list --json", "list --bogus --json", TO_STDOUT])
def test_a_full_standard_output_is_one_error(command: str, here: dict[str, str]) -> None:
    done = shell(here, f"jfstore {command} >/dev/full")
    assert done.returncode == (2 if "--bogus" in command else 1)
    assert is_one_error(done.stderr.splitlines(keepends=True)[-1])
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["list", "list --json", TO_STDOUT])
def test_a_closed_standard_output_is_no_traceback(command: str, here: dict[str, str]) -> None:
    done = shell(here, f"jfstore {command} >&-")
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 1)


def test_a_closed_standard_error_keeps_messages_out_of_the_data(here: dict[str, str]) -> None:
    done = shell(here, f"jfstore get {A} -T {STAMP} -t pixel_gain -f - --repo test 2>&-")
    assert done.returncode == 0
    assert done.stdout.endswith(constants(4).tobytes())


def test_a_closed_standard_error_does_not_stop_the_work(here: dict[str, str]) -> None:
    assert shell(here, "jfstore verify --repo test >/dev/null 2>&-").returncode == 0


# -- terminals


def on_terminal(environment: dict[str, str], *words: str, answer: bytes = b"", columns: int = 80) -> tuple[int, bytes]:
    """Run a command on a terminal of 80 columns; return its exit code and all that it wrote there."""
    main_end, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**environment, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES"):
        environment.pop(name, None)
    child = subprocess.Popen([*COMMAND, *words], env=environment, stdin=end, stdout=end, stderr=end)
    os.close(end)
    if answer:
        os.write(main_end, answer)
    written = b""
    while True:
        try:
            piece = os.read(main_end, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        written += piece
    os.close(main_end)
    return child.wait(60), written


def test_a_terminal_gets_a_table(here: dict[str, str]) -> None:
    code, written = on_terminal({**here, "NO_COLOR": "1"}, "list", columns=300)
    assert code == 0
    assert b"\t" not in written
    assert re.search(rb"\n" + A.encode() + rb" +" + STAMP.encode() + rb" +- +pixel_gain,pixel_offset +v2 ", written)


@pytest.mark.parametrize("columns", [20, 60, 80, 100, 200])
@pytest.mark.parametrize(
    "command",
    [
        "list",
        "history --repo test",
        f"show {A}/{STAMP}/v1 --repo test",
        "verify --repo test --quick",
        f"get {A} -T {STAMP} --repo test",
    ],
)
def test_tables_are_never_wider_than_the_terminal(command: str, columns: int, here: dict[str, str]) -> None:
    if command.startswith("verify"):
        next(Path("test/panels", A).glob("*.h5")).unlink()
    _, written = on_terminal({**here, "NO_COLOR": "1"}, *command.split(), columns=columns)
    lines = [
        line for line in written.decode().splitlines() if not line.startswith(("1 problem in", "valid at", "\x1b"))
    ]
    assert lines
    assert max(map(len, lines)) <= columns


def test_panel_ids_lose_their_firmware_on_a_narrow_terminal(here: dict[str, str]) -> None:
    _, written = on_terminal(here, "list")
    module, _, serial = A.split("-")
    assert f"{module}-\u2026-{serial}".encode() in written
    assert b"pixel_gain" in written
    assert b"message" not in written


def test_show_wraps_values_and_shows_all_of_them(here: dict[str, str]) -> None:
    name = f"{A}/{STAMP}/v1"
    blake3 = jfstore.open("test").version(name).file.blake3
    _, written = on_terminal(here, "show", name, "--repo", "test", columns=60)
    assert blake3 in re.sub(r"\s+", "", written.decode())
    assert b"\r\n\r\n" not in written


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("command", ["get --help", "audit --help", "--help", "help import"])
def test_help_is_as_wide_as_the_terminal_but_no_wider_than_a_page(
    command: str, columns: int, here: dict[str, str]
) -> None:
    code, written = on_terminal(here, *command.split(), columns=columns)
    assert code == 0
    # Examples and tables are indented, and as they were written.
    lines = [line for line in written.decode().split("\r\n") if not line.startswith("  ")]
    assert max(map(len, lines)) <= min(columns, 100)
    assert "\n\n\n" not in written.decode().replace("\r", "")


HOSTILE = "red \x9b31m \x7f \u202egnp.exe\u2066 \u2028"


def test_c1_and_bidirectional_characters_reach_neither_terminal_nor_tsv(here: dict[str, str]) -> None:
    jfstore.open("test").add_entries([entry(B, STAMP, 9)], HOSTILE)
    escaped = rb"red \x9b31m \x7f \u202egnp.exe\u2066 \u2028"
    assert escaped in process(here, "history", "--repo", "test").stdout
    written = on_terminal(here, "history", "--repo", "test", columns=300)[1].decode()
    assert escaped.decode() in written
    assert not {*HOSTILE} & {*written} & {*"\x9b\x7f\u202e\u2066\u2028"}


def test_no_control_character_of_a_message_reaches_the_terminal(here: dict[str, str]) -> None:
    _, written = on_terminal({**here, "NO_COLOR": "1"}, "history", "--repo", "test", columns=300)
    assert b"\x1b[31m" not in written
    assert rb"\x1b[31mred" in written


def test_no_color_is_honoured(here: dict[str, str]) -> None:
    words = ["verify", "--repo", "test"]
    assert COLOUR.search(on_terminal(here, *words)[1])
    assert not COLOUR.search(on_terminal({**here, "NO_COLOR": "1"}, *words)[1])


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 5), (b"\x04", 5)])
def test_writing_to_a_real_repository_asks(answer: bytes, code: int, here: dict[str, str]) -> None:
    words = ["add", A, "-T", STAMP, "-f", "M", "-m", "why", "--repo", "real"]
    got, written = on_terminal(here, *words, answer=answer)
    assert got == code
    plan, question = written.index(b"would add"), written.index(b"Write to the real repository")
    assert plan < question
    assert b"pixel_gain of " in written
    assert len(list(Path("real/log").iterdir())) == (code == 0)


def test_npy_is_not_written_to_a_terminal(here: dict[str, str]) -> None:
    code, written = on_terminal(here, "get", A, "-T", STAMP, "-t", "pixel_gain", "-f", "-", "--repo", "test")
    assert code == 2
    assert b"NUMPY" not in written


# -- signals, rights, space


def interruptible() -> None:
    """Undo in a child that a background job ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


INTERRUPTED_IMPORT = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.path.insert(0, {root!r})
sys.meta_path.insert(0, Interrupt())
from jfstore.cli import run_{program}
sys.exit(run_{program}())
"""


@pytest.mark.parametrize("module", ["argparse", "jfstore.errors", "jfstore.cli.program", "jfstore.cli.options"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_an_interrupt_while_modules_load_is_one_line(program: str, module: str, here: dict[str, str]) -> None:
    script = INTERRUPTED_IMPORT.format(module=module, root=str(ROOT), program=program)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=here,
        capture_output=True,
        check=False,
        timeout=60,
        preexec_fn=interruptible,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", f"{program}: interrupted\n".encode())


def test_an_interrupt_that_a_library_turns_into_another_error_is_one_line(here: dict[str, str]) -> None:
    script = """
import os, signal, sys, types
def main():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise ImportError("numpy could not be loaded") from None
sys.path.insert(0, {root!r})
sys.modules["jfstore.cli.app"] = types.ModuleType("app")
sys.modules["jfstore.cli.app"].main = main
from jfstore.cli import run_jfstore
sys.exit(run_jfstore())
"""
    words = [sys.executable, "-c", script.format(root=str(ROOT))]
    done = subprocess.run(words, env=here, capture_output=True, check=False, timeout=60, preexec_fn=interruptible)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"jfstore: interrupted\n")


def test_an_interrupted_import_leaves_a_sound_repository(here: dict[str, str]) -> None:
    words = [*COMMAND, "import", "gains", "-m", "why", "--repo", "real", "--yes"]
    with open("real/.lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the import waits for it, with its payloads written
        child = subprocess.Popen(
            words,
            env=here,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=interruptible,
        )
        while child.poll() is None and not list(Path("real/panels").glob("*/*.h5")):
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (130, b"", b"jfstore: interrupted\n")
    assert list(Path("real/log").iterdir()) == []
    assert main(["verify", "--repo", "real"]) == 0
    assert main(["import", "gains", "-m", "why", "--repo", "real", "--yes"]) == 0
    assert main(["verify", "--repo", "real"]) == 0


def without_rights(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command that must obey the modes of files, also if the tests are root's."""
    obey = []
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root needs setpriv to do without its rights")
        obey = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
    return subprocess.run([*obey, *COMMAND, *words], env=environment, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize(
    "command",
    [
        "get {A} -T {STAMP} -t pixel_gain -f closed/g.npy --repo test",
        "init closed/R --role test",
        "demo closed/demo",
    ],
)
def test_a_directory_without_rights_is_one_error(command: str, here: dict[str, str]) -> None:
    Path("closed").mkdir(mode=0o555)
    done = without_rights(here, *command.format(A=A, STAMP=STAMP).split())
    assert done.returncode == 1
    assert done.stdout == b""
    assert is_one_error(done.stderr.splitlines(keepends=True)[-1])
    assert b"closed" in done.stderr
    assert list(Path("closed").iterdir()) == []


def test_a_repository_without_rights_is_one_error_and_unchanged(here: dict[str, str]) -> None:
    for path in [*Path("test").rglob("*"), Path("test")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = tree(Path("test"))
    done = without_rights(here, "import", "gains", "-m", "why", "--repo", "test")
    assert (done.returncode, done.stdout) == (1, b"")
    assert is_one_error(done.stderr)
    assert tree(Path("test")) == before


def test_reading_needs_no_right_to_write(here: dict[str, str]) -> None:
    Path("test/jungfrau.h5").unlink()
    for path in [*Path("test").rglob("*"), Path("test")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    for command in ("list --repo test", f"get {A} -T {STAMP} --repo test"):
        assert without_rights(here, *command.split()).returncode == 0, command


def limited(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(("out", "force"), [("out.npy", False), ("out.h5", True)])
def test_a_full_disk_leaves_no_half_file(out: str, force: bool, here: dict[str, str]) -> None:
    words = ["get", A, "-T", STAMP, "-t", "pixel_gain", "-f", out, "--repo", "test"]
    if force:
        Path(out).write_bytes(b"mine")
        words.append("--force")
    before = tree(Path())
    done = process(here, *words, preexec_fn=limited(300))
    assert (done.returncode, done.stdout) == (1, b"")
    assert is_one_error(done.stderr)
    assert out.encode() in done.stderr
    after = tree(Path())
    assert {name: (value[0], value[2]) for name, value in after.items()} == {
        name: (value[0], value[2]) for name, value in before.items()
    }


@pytest.mark.parametrize("size", [0, 5000])
def test_a_full_disk_stops_an_add_before_its_commit(size: int, here: dict[str, str]) -> None:
    log = tree(Path("test/log"))
    done = process(here, *f"add {A} -T {STAMP} -f M -m why --repo test".split(), preexec_fn=limited(size))
    assert (done.returncode, done.stdout) == (1, b"")
    assert is_one_error(done.stderr)
    assert tree(Path("test/log")) == log
    assert not list(Path("test").rglob(".tmp-*"))
    assert main(["verify", "--repo", "test"]) == 0


def test_a_disk_too_full_for_the_index_keeps_the_commit_and_warns(here: dict[str, str]) -> None:
    for calib_type in ("pixel_gain", "pixel_offset"):
        np.save(f"{calib_type}.npy", constants(1, calib_type))  # these are stored: no payload is written
    space = 3000
    assert space < Path("test/jungfrau.h5").stat().st_size
    words = f"add {D} -T {LATER} -t pixel_gain -f pixel_gain.npy -t pixel_offset -f pixel_offset.npy -m why --repo test"
    done = process(here, *words.split(), preexec_fn=limited(space))
    assert done.returncode == 0
    assert b"jfstore: warning: the commit is stored, but the index could not be updated" in done.stderr
    assert jfstore.open("test").get(D, "pixel_gain", LATER).tobytes() == constants(1).tobytes()
    assert len(list(Path("test/log").iterdir())) == 6
