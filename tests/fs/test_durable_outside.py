"""What `durable` does for files outside a repository: read back, kept under a second name, added to."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from jfstore.errors import BadValue, Busy, Damaged
from jfstore.fs import durable
from jfstore.fs.append import appending
from jfstore.fs.events import listen
from jfstore.fs.owner import group_number, parse_mode


class Failing(durable.System):
    """Fails one of its calls with an error number."""

    def __init__(self, name: str, number: int) -> None:
        def fail(*_arguments: object) -> None:
            raise OSError(number, os.strerror(number))

        setattr(self, name, fail)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_reads_back_otherwise_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Losing(durable.System):
        def sync(self, fd: int) -> None:
            super().sync(fd)
            os.pwrite(fd, b"?", 1)

    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(durable, "system", Losing())
    with pytest.raises(Damaged, match="x: what was read back is not what was written"):
        durable.overwrite(tmp_path / "x", [b"new"], read_back=True)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"old")]


def test_large_pieces_are_read_back_too(tmp_path: Path) -> None:
    pieces = [os.urandom(3_000_001), b"", os.urandom(5)]
    durable.overwrite(tmp_path / "x", pieces, 0o664, read_back=True)
    assert (tmp_path / "x").read_bytes() == b"".join(pieces)
    assert mode(tmp_path / "x") == 0o664


def test_a_kept_file_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    durable.keep(tmp_path / "x", tmp_path / "kept")
    assert (tmp_path / "x").samefile(tmp_path / "kept")
    with pytest.raises(FileExistsError):
        durable.keep(tmp_path / "x", tmp_path / "kept")


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_where_it_may_not_be_linked_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    (tmp_path / "x").write_bytes(b"old")
    (tmp_path / "x").chmod(0o640)
    monkeypatch.setattr(durable, "system", Failing("link", number))
    durable.keep(tmp_path / "x", tmp_path / "kept")
    assert (tmp_path / "kept").read_bytes() == b"old"
    assert mode(tmp_path / "kept") == 0o640


def test_lines_are_added_whole_and_after_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "HISTORY"
    path.write_bytes(b"one\ntor")
    with appending(path, 0o664) as history:
        history.append(b"two\n")
        assert history.text() == b"one\ntor\ntwo\n"


def test_a_new_file_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    program = "import os; os.umask(0o077); from pathlib import Path; from jfstore.fs import durable\n"
    program += "from jfstore.fs.append import appending\n"
    program += "with appending(Path('HISTORY'), 0o664) as history: history.append(b'line\\n')\n"
    program += "durable.make_directory(Path('there'), 0o2775)\n"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert mode(tmp_path / "HISTORY") == 0o664
    assert mode(tmp_path / "there") == 0o2775


def test_without_room_for_a_line_none_of_it_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "HISTORY"
    path.write_bytes(b"one\n")

    class Full(durable.System):
        def write(self, fd: int, buffers: list[memoryview]) -> int:  # type: ignore[override]
            return os.writev(fd, [buffers[0][:2]])

    monkeypatch.setattr(durable, "system", Full())
    with appending(path, 0o664) as history, pytest.raises(OSError, match="No space"):
        history.append(b"two\n")
    assert path.read_bytes() == b"one\n"


def test_a_line_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Telling(durable.System):
        def write(self, fd: int, buffers: Sequence[memoryview]) -> int:
            said.append("write")
            return super().write(fd, buffers)

        def sync(self, fd: int) -> None:
            said.append("sync")
            super().sync(fd)

    monkeypatch.setattr(durable, "system", Telling())
    with appending(tmp_path / "HISTORY", 0o664) as history:
        history.append(b"line\n")
    assert said == ["write", "sync"]


def test_many_writers_add_their_lines(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from jfstore.fs.append import appending\n"
        "for i in range(50):\n"
        "    with appending(Path('HISTORY'), 0o664) as h: h.append(f'{sys.argv[1]} {i}\\n'.encode())"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(n)], cwd=tmp_path) for n in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    lines = (tmp_path / "HISTORY").read_text().splitlines()
    assert sorted(lines) == sorted(f"{n} {i}" for n in range(4) for i in range(50))


def test_who_waits_too_long_for_the_others_adds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "HISTORY"
    with appending(path, 0o664) as history:
        with pytest.raises(Busy, match="HISTORY: others have had it locked"), appending(path, 0o664, timeout=0.05):
            pass
        history.append(b"line\n")
    assert path.read_bytes() == b"line\n"


def test_a_link_or_a_directory_is_not_added_to(tmp_path: Path) -> None:
    (tmp_path / "HISTORY").symlink_to("elsewhere")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)), appending(tmp_path / "HISTORY", 0o664):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_group_that_cannot_be_given_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "system", Failing("change_group", errno.EPERM))
    said: list[str] = []
    with listen(said.append):
        durable.overwrite(tmp_path / "x", [b"x"], 0o664, group=0)
    assert said == [f"{tmp_path / 'x'} could not be given to its group: Operation not permitted"]
    assert (tmp_path / "x").read_bytes() == b"x"
    with listen(said.append):
        durable.overwrite(tmp_path / "y", [b"y"], 0o664)
    assert len(said) == 1


@pytest.mark.parametrize(("text", "value"), [("664", 0o664), ("0664", 0o664), ("0o664", 0o664), ("2775", 0o2775)])
def test_modes_are_octal(text: str, value: int) -> None:
    assert parse_mode(text, 0o600) == value


@pytest.mark.parametrize("text", ["436", "1230", "66", "-1", "888", "rw-r--r--", "", "66400", "064"])
def test_other_modes_are_refused(text: str) -> None:
    with pytest.raises(BadValue, match="octal"):
        parse_mode(text, 0o600)


def test_groups_are_known_by_name() -> None:
    assert group_number("root") == 0
    with pytest.raises(BadValue, match="no group 'rooot'; nearest: root"):
        group_number("rooot")
