"""The one door to the disk: order of its calls, what it does when they fail, and that nothing else writes."""

from __future__ import annotations

import ast
import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.errors import Damaged, Refused
from jfstore.fs import durable
from jfstore.fs.holes import Hole

CALLS = [name for name in vars(durable.System) if not name.startswith("_")]


class Recording(durable.System):
    """Does everything, and writes down what; `fail` may raise in its place."""

    def __init__(self, fail: Callable[[str, tuple[Any, ...]], None] = lambda name, arguments: None) -> None:
        self.calls: list[tuple[str, Any]] = []
        for name in CALLS:
            setattr(self, name, self._recorded(name, getattr(super(), name), fail))

    def _recorded(self, name: str, do: Callable[..., Any], fail: Callable[[str, tuple[Any, ...]], None]) -> Any:
        def call(*arguments: Any) -> Any:
            self.calls.append((name, arguments[-1]))
            fail(name, arguments)
            return do(*arguments)

        return call

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


def failing(call: str, code: int) -> Recording:
    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        if name == call:
            raise OSError(code, os.strerror(code))

    return Recording(fail)


@pytest.fixture
def put_in_place(monkeypatch: pytest.MonkeyPatch) -> Callable[[Recording], Recording]:
    def place(system: Recording) -> Recording:
        monkeypatch.setattr(durable, "system", system)
        return system

    return place


Place = Callable[[Recording], Recording]


# -- publish


def test_publish_in_this_order(tmp_path: Path, put_in_place: Place) -> None:
    system = put_in_place(Recording())
    durable.publish(tmp_path / "name", [b"one", b"", b"two"])
    assert system.names == ["create", "write", "chmod", "sync", "close", "link", "sync_directory", "remove"]
    assert dict(system.calls)["link"] == tmp_path / "name"
    assert dict(system.calls)["sync_directory"] == tmp_path
    assert (tmp_path / "name").read_bytes() == b"onetwo"
    assert os.listdir(tmp_path) == ["name"]


@pytest.mark.parametrize("act", [durable.publish, durable.overwrite])
@pytest.mark.parametrize("mode", [0o444, 0o664, 0o600])
def test_mode_is_exact(tmp_path: Path, act: Callable[..., None], mode: int) -> None:
    act(tmp_path / "name", [b"x"], mode=mode)
    assert (tmp_path / "name").stat().st_mode & 0o7777 == mode
    assert (tmp_path / "name").stat().st_nlink == 1


@pytest.mark.parametrize("most", [1, 7, 4096])
def test_short_writes_are_continued(tmp_path: Path, put_in_place: Place, most: int) -> None:
    system = put_in_place(Recording())

    def write(fd: int, buffers: Sequence[memoryview]) -> int:
        return os.write(fd, b"".join(buffers)[:most])

    system.write = write  # type: ignore[method-assign]
    pieces = [bytes([i % 251]) * (i % 5) for i in range(300)] + [b"end"]
    durable.publish(tmp_path / "name", pieces)
    assert (tmp_path / "name").read_bytes() == b"".join(pieces)


def test_many_pieces(tmp_path: Path) -> None:
    pieces = [b"%d," % i for i in range(5000)]
    durable.publish(tmp_path / "name", pieces)
    assert (tmp_path / "name").read_bytes() == b"".join(pieces)


@pytest.mark.parametrize("there", ["file", "link to nothing", "directory"])
def test_publish_never_replaces(tmp_path: Path, there: str) -> None:
    name = tmp_path / "name"
    {"file": name.touch, "link to nothing": lambda: name.symlink_to("nowhere"), "directory": name.mkdir}[there]()
    with pytest.raises(FileExistsError):
        durable.publish(name, [b"mine"])
    assert os.listdir(tmp_path) == ["name"]
    assert not name.exists() or name.is_dir() or name.read_bytes() == b""


@pytest.mark.parametrize("act", [durable.publish, durable.overwrite])
@pytest.mark.parametrize("call", ["create", "write", "skip", "chmod", "sync", "close"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_file_that_could_not_be_written_is_thrown_away(
    tmp_path: Path, put_in_place: Place, act: Callable[..., None], call: str, code: int
) -> None:
    system = put_in_place(failing(call, code))
    with pytest.raises(OSError, match=os.strerror(code)):
        act(tmp_path / "name", [b"x", Hole(9)])
    assert os.listdir(tmp_path) == []
    assert system.names.count("sync") <= 1
    assert not {"link", "rename", "sync_directory"} & set(system.names)


def test_failed_sync_is_never_repeated(tmp_path: Path, put_in_place: Place) -> None:
    system = put_in_place(failing("sync", errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        durable.publish(tmp_path / "name", [b"x"])
    assert system.names[system.names.index("sync") + 1 :] == ["close", "remove"]


def test_name_given_by_a_lost_answer_is_ours(tmp_path: Path, put_in_place: Place) -> None:
    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "link":
            os.link(*arguments)
            raise FileExistsError(errno.EEXIST, "File exists")

    system = put_in_place(Recording(fail))
    durable.publish(tmp_path / "name", [b"mine"])
    assert system.names[-2:] == ["sync_directory", "remove"]
    assert (tmp_path / "name").read_bytes() == b"mine"


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_system_without_hard_links_is_refused(tmp_path: Path, put_in_place: Place, code: int) -> None:
    put_in_place(failing("link", code))
    with pytest.raises(Refused, match="hard links") as caught:
        durable.publish(tmp_path / "name", [b"x"])
    assert caught.value.exit_code == 5
    assert os.listdir(tmp_path) == []


def test_init_refuses_a_file_system_without_hard_links(tmp_path: Path, put_in_place: Place) -> None:
    put_in_place(failing("link", errno.EPERM))
    with pytest.raises(Refused, match="hard links"):
        jfstore.init(str(tmp_path / "R"), "test")


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.ESTALE])
def test_directory_that_cannot_be_synced_leaves_a_doubt(tmp_path: Path, put_in_place: Place, code: int) -> None:
    put_in_place(failing("sync_directory", code))
    with pytest.raises(durable.NotSynced) as caught:
        durable.publish(tmp_path / "name", [b"x"])
    assert caught.value.errno == code
    assert os.listdir(tmp_path) == ["name"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_file_system_that_does_not_sync_directories_is_no_error(tmp_path: Path, put_in_place: Place, code: int) -> None:
    put_in_place(failing("sync_directory", code))
    durable.publish(tmp_path / "name", [b"x"])
    durable.overwrite(tmp_path / "name", [b"y"])
    assert (tmp_path / "name").read_bytes() == b"y"


def test_temporary_file_that_cannot_be_removed_is_no_error(tmp_path: Path, put_in_place: Place) -> None:
    put_in_place(failing("remove", errno.EIO))
    durable.publish(tmp_path / "name", [b"x"])
    (other,) = set(os.listdir(tmp_path)) - {"name"}
    assert other.startswith(durable.TEMPORARY)


# -- overwrite, directories


def test_overwrite_in_this_order(tmp_path: Path, put_in_place: Place) -> None:
    (tmp_path / "name").write_bytes(b"old")
    system = put_in_place(Recording())
    durable.overwrite(tmp_path / "name", [b"new"])
    assert system.names == ["create", "write", "chmod", "sync", "close", "rename", "sync_directory"]
    assert (tmp_path / "name").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["name"]


def test_overwrite_that_fails_leaves_the_old(tmp_path: Path, put_in_place: Place) -> None:
    (tmp_path / "name").write_bytes(b"old")
    put_in_place(failing("rename", errno.EACCES))
    with pytest.raises(PermissionError):
        durable.overwrite(tmp_path / "name", [b"new"])
    assert (tmp_path / "name").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["name"]


def test_overwrite_replaces_a_link_not_its_target(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"foreign")
    (tmp_path / "name").symlink_to("target")
    durable.overwrite(tmp_path / "name", [b"new"])
    assert (tmp_path / "target").read_bytes() == b"foreign"
    assert not (tmp_path / "name").is_symlink()


def test_make_directory_in_this_order(tmp_path: Path, put_in_place: Place) -> None:
    system = put_in_place(Recording())
    assert durable.make_directory(tmp_path / "d", 0o3775) is True
    assert system.names == ["make_directory", "chmod_directory", "sync_directory"]
    assert (tmp_path / "d").stat().st_mode & 0o7777 == 0o3775
    assert durable.make_directory(tmp_path / "d", 0o3775) is False
    assert system.calls[-1] == ("sync_directory", tmp_path), "whoever made it may not have synced it"


def test_directory_of_a_writer_killed_before_chmod_gets_its_mode(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o700)
    durable.make_directory(tmp_path / "d", 0o3775)
    assert (tmp_path / "d").stat().st_mode & 0o7777 == 0o3775


@pytest.mark.parametrize("link", [True, False])
def test_something_in_the_place_of_a_directory(tmp_path: Path, link: bool) -> None:
    (tmp_path / "d").symlink_to(tmp_path) if link else (tmp_path / "d").touch()
    with pytest.raises(Damaged):
        durable.make_directory(tmp_path / "d", 0o3775)


# -- locks

HOLD = """
import fcntl, sys
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Any:
    (tmp_path / "lock").touch()
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process


def test_lock_held_by_another_process_is_waited_for_at_most_so_long(tmp_path: Path, holder: Any) -> None:
    with durable.hold_lock(tmp_path / "lock", timeout=0.05) as had:
        assert had is False


def test_lock_is_had_once_the_other_process_ends(tmp_path: Path, holder: Any, put_in_place: Place) -> None:
    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        if len(system.calls) == 3:
            holder.stdin.close()
            holder.wait()

    system = put_in_place(Recording(fail))
    with durable.hold_lock(tmp_path / "lock", timeout=60) as had:
        assert had is True
    assert len(system.calls) >= 3


def test_lock_excludes_and_is_given_back(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    for _ in range(2):
        with durable.hold_lock(tmp_path / "lock") as one, durable.hold_lock(tmp_path / "lock", timeout=0) as two:
            assert (one, two) == (True, False)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks_goes_on(tmp_path: Path, put_in_place: Place, code: int) -> None:
    (tmp_path / "lock").touch()
    put_in_place(failing("lock", code))
    with durable.hold_lock(tmp_path / "lock") as had:
        assert had is None


def test_lock_file_that_is_not_there_goes_on(tmp_path: Path) -> None:
    with durable.hold_lock(tmp_path / "lock") as had:
        assert had is None
    assert os.listdir(tmp_path) == []


def test_pieces_may_be_made_when_their_turn_comes(tmp_path: Path, put_in_place: Place) -> None:
    made: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(5):
            made.append(number)
            yield bytes([number]) * (number * 1_000_000)

    system = put_in_place(Recording())
    path = durable.stage(tmp_path / "name", pieces(), 0o640)
    assert path.read_bytes() == b"".join(bytes([number]) * (number * 1_000_000) for number in range(5))
    assert [name for name, *_ in system.calls].count("write") >= 4
    assert made == list(range(5))


# -- the only door

CHANGING = re.findall(
    r"\w+",
    """link symlink replace rename renames unlink remove rmdir removedirs mkdir makedirs mkfifo mknod fsync fdatasync
    write writev pwrite pwritev chmod fchmod lchmod chown fchown truncate ftruncate umask sendfile copy_file_range
    system popen fdopen""",
)
PATH_METHODS = {"write_text", "write_bytes", "touch", "hardlink_to", "symlink_to", "rename", "unlink", "mkdir"}
PATH_METHODS |= {"rmdir", "chmod", "tofile"}
MODULES = {"pickle", "cPickle", "shelve", "marshal", "dill", "joblib", "tempfile"}
SHUTIL = {"disk_usage", "which", "get_terminal_size"}
IN_MEMORY = ("io.BytesIO(", "io.FileIO(os.memfd_create(")
READERS = {"os.open", "h5f.open", "h5o.open", "jfstore.open"}
WRITING_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_EXCL", "O_TMPFILE"}


def is_writing_mode(mode: ast.expr | None) -> bool:
    if mode is None:
        return False
    return not isinstance(mode, ast.Constant) or bool(set(str(mode.value)) & set("wax+"))


def breaks_the_rule(node: ast.AST, harmless: set[str]) -> bool:
    """Return whether a node changes the disk or runs text; `harmless` are the sources of what it may use."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            if (node.module == "os" and names & {*CHANGING, *WRITING_FLAGS, "open"}) or (
                node.module == "shutil" and names - SHUTIL
            ):
                return True
            names = {node.module or ""}
        return any(name.split(".")[0] in MODULES for name in names)
    if isinstance(node, ast.Attribute):
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        spawns = node.attr.startswith(("exec", "spawn", "posix_spawn"))
        changes = (owner == "os" and (node.attr in CHANGING or spawns)) or (
            owner == "shutil" and node.attr not in SHUTIL
        )
        return changes or (node.attr in WRITING_FLAGS and f"line {node.lineno}" not in harmless)
    return isinstance(node, ast.Call) and is_bad_call(node, harmless)


def is_bad_call(node: ast.Call, harmless: set[str]) -> bool:
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    if any(word in keywords and ast.unparse(keywords[word]) != "False" for word in ("shell", "allow_pickle")):
        return True
    called = ast.unparse(node.func)
    last = called.rsplit(".", 1)[-1]
    first = ast.unparse(node.args[0]) if node.args else ""
    if called in {"eval", "exec", "compile", "__import__"}:
        return True
    if last == "open" and called not in READERS:
        place = 1 if called in {"open", "io.open"} else 0
        return is_writing_mode(keywords.get("mode", node.args[place] if len(node.args) > place else None))
    if called == "h5py.File":
        in_memory = first in harmless or ast.unparse(keywords.get("backing_store", ast.Name("None"))) == "False"
        return not in_memory and is_writing_mode(keywords.get("mode", node.args[1] if len(node.args) > 1 else None))
    if last == "set_fapl_core":
        return ast.unparse(node.args[1]) != "False"
    if called in {"h5f.create", "h5f.open"}:
        return "fapl" not in keywords
    if called.startswith(("np.", "numpy.")):
        return last in {"save", "savez", "savez_compressed", "memmap", "open_memmap"} and first not in harmless
    return isinstance(node.func, ast.Attribute) and last in PATH_METHODS


def broken_rules(source: str) -> list[str]:
    tree = ast.parse(source)
    harmless = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith(IN_MEMORY):
            harmless |= {ast.unparse(target) for target in node.targets}
        if isinstance(node, ast.Call) and ast.unparse(node).startswith("os.open(os.devnull, "):
            harmless.add(f"line {node.lineno}")
    found = [
        node for node in ast.walk(tree) if isinstance(node, ast.expr | ast.stmt) and breaks_the_rule(node, harmless)
    ]
    return [f"line {node.lineno}: {ast.unparse(node)}" for node in found]


PACKAGE = Path(jfstore.__file__).parent
SOURCES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("source", [name for name in SOURCES if name not in ("fs/durable.py", "fs/append.py")])
def test_only_durable_writes(source: str) -> None:
    assert broken_rules((PACKAGE / source).read_text(encoding="utf-8")) == []


def test_lines_are_added_through_durable() -> None:
    broken = broken_rules((PACKAGE / "fs/append.py").read_text(encoding="utf-8"))
    assert broken
    assert all(": durable.system." in line for line in broken), broken


def test_durable_itself_has_no_shell_pickle_eval_or_umask() -> None:
    broken = broken_rules((PACKAGE / "fs/durable.py").read_text(encoding="utf-8"))
    assert broken, "the rule sees nothing"
    assert not [
        line for line in broken if any(word in line for word in ("umask", "system(", "popen", "eval", "import"))
    ]


@pytest.mark.parametrize(
    "line",
    [
        "os.link(a, b)",
        "os.replace(a, b)",
        "os.unlink(a)",
        "os.fsync(f)",
        "os.mkdir(d)",
        "os.write(f, b)",
        "os.umask(0)",
        "os.system('x')",
        "os.execv('x', [])",
        "os.open(p, os.O_RDWR)",
        "from os import replace",
        "open(p, 'w')",
        "open(p, mode='ab')",
        "open(p, mode)",
        "p.open('x')",
        "p.write_bytes(b)",
        "p.write_text(t)",
        "p.unlink()",
        "h5py.File(p, 'a')",
        "h5py.File(p, mode='r+')",
        "a.set_fapl_core(1, True)",
        "h5f.create(p)",
        "np.save(p, a)",
        "a.tofile(p)",
        "import pickle",
        "from shutil import copy",
        "shutil.rmtree(d)",
        "eval(t)",
        "exec(t)",
        "subprocess.run(c, shell=True)",
        "np.load(p, allow_pickle=True)",
    ],
)
def test_the_rule_sees(line: str) -> None:
    assert broken_rules(line)


@pytest.mark.parametrize(
    "line",
    [
        "f = io.BytesIO()\nnp.save(f, a)",
        "os.open(os.devnull, os.O_WRONLY)",
        "open(p)",
        "open(p, 'rb')",
        "re.compile(t)",
        "t.replace('a', 'b')",
        "h5py.File(p)",
        "os.open(p, os.O_RDONLY)",
    ],
)
def test_the_rule_lets_readers_read(line: str) -> None:
    assert broken_rules(line) == []
