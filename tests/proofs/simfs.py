"""What the proofs of reliability share: kinds of change, what a reader sees, and a disk that loses power."""

from __future__ import annotations

import io
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import jfstore
from jfstore.cli.app import main
from jfstore.fs import durable
from jfstore.repository import Repository
from tests.makers.gains import make_gain_tree
from tests.makers.repositories import LATER, SHAPE, STAMP, TYPES, A, B, C, D, constants, entry, new_repository

REQUEST = "0123456789abcdef" * 2
OTHER_REQUEST = "fedcba9876543210" * 2
_NEXT = entry("171113-154920171025-3d0099", STAMP, seed=9)
SYSTEM_CALLS = [name for name in vars(durable.System) if not name.startswith("_")]


def _add(detector: str, stamp: str, seed: int, types: Sequence[str] = TYPES, panels: int = 1) -> tuple[str, ...]:
    files = [word for name in types for word in ("-t", name, "-f", f"{{stock}}/{name}-{seed}-{panels}.npy")]
    return ("add", detector, "-T", stamp, *files, "-m", "a message", "--repo", "{root}")


def _state(*words: str) -> tuple[str, ...]:
    return (*words, "-m", "a message", "--repo", "{root}")


def _promote(*versions: str) -> tuple[str, ...]:
    return ("promote", *versions, "--from", "{stock}/origin", "-m", "a message", "--repo", "{root}")


@dataclass(frozen=True)
class Kind:
    """A kind of change: the command line, and the repository that it finds."""

    words: tuple[str, ...]
    base: str = "some"

    def argv(self, stock: Path, root: Path, request: str | None = None) -> list[str]:
        words = [word.format(stock=stock, root=root) for word in self.words]
        words += ["--storage", _storage_of(stock)] if words[0] == "init" else []
        return words + (["--request", request] if request and words[0] != "init" else [])


KINDS = {
    "init": Kind(("init", "{root}", "--role", "test", "--shape", "x".join(map(str, SHAPE))), "nothing"),
    "first commit": Kind(_add(A, STAMP, 1), "empty"),
    "new panel": Kind(_add(D, STAMP, 5)),
    "new stamp": Kind(_add(A, LATER, 5)),
    "second number": Kind(_add(A, STAMP, 4)),
    "one type": Kind(_add(A, LATER, 5, TYPES[:1])),
    "detector": Kind(_add(f"{A}_{D}_{B}", LATER, 5, panels=3)),
    "shared payload": Kind(_add(D, STAMP, 1)),
    "payload left behind": Kind(_add(D, STAMP, 5), "left behind"),
    "import": Kind(("import", "{stock}/tree", "-m", "legacy", "--repo", "{root}")),
    "promote": Kind(_promote(f"{D}/{LATER}/v1")),
    "promote several": Kind(_promote(f"{D}/{LATER}/v1", f"{A}/{STAMP}/v1", f"{B}/{LATER}/v2")),
    "unchanged": Kind(_add(A, STAMP, 1)),
    "withdraw": Kind(_state("withdraw", f"{A}/{STAMP}/v1", f"{C}/{STAMP}/v1")),
    "restore": Kind(_state("restore", f"{A}/{STAMP}/v1"), "withdrawn"),
    "close": Kind(_state("close", f"{A}_{B}", "-T", LATER)),
    "tag": Kind(_state("tag", "paper-2018")),
    "freeze": Kind(_state("freeze", "-T", STAMP)),
    "same panel": Kind(_state("panel", D, "--same-as", A)),
    "name": Kind(_state("panel", A, "--name", "M044")),
}
"""Every kind of change that the proofs go through."""


@cache
def _storage_of(stock: Path) -> str:
    return (stock / "storage").read_text()


def make_stock(stock: Path, storage: str = "hdf5") -> Path:
    """Make below `stock` everything that `KINDS` need: arrays, a gain tree, repositories to start from."""
    stock.mkdir()
    (stock / "storage").write_text(storage)
    for seed in range(1, 8):
        for name in TYPES:
            np.save(stock / f"{name}-{seed}-1.npy", constants(seed, name))
            np.save(stock / f"{name}-{seed}-3.npy", np.stack([constants(seed + i, name) for i in range(3)], axis=1))
    links = {f"{A}-{LATER}": "M1", D: "M2", f"{D}-{LATER}": "M1", f"{C}-{STAMP}": "M3"}
    make_gain_tree(stock / "tree", links, SHAPE)
    (stock / "nothing").mkdir()
    (stock / "empty").mkdir()
    new_repository(stock / "empty" / "R", storage=storage)
    (stock / "some").mkdir()
    some = new_repository(stock / "some" / "R", storage=storage)
    some.add_entries([entry(A, seed=1)], "first")
    some.add_entries([entry(B, seed=2), entry(C, seed=3)], "a detector")
    origin = new_repository(stock / "origin")
    for panel, stamp, seed in ((D, LATER, 6), (A, STAMP, 7), (B, LATER, 1), (B, LATER, 5)):
        origin.add_entries([entry(panel, stamp, seed)], "measured")
    shutil.copytree(stock / "some", stock / "withdrawn")
    jfstore.open(str(stock / "withdrawn" / "R")).withdraw(f"{A}/{STAMP}/v1", "wrong bias")
    # A writer was stopped when its payload had its name and its commit not.
    shutil.copytree(stock / "some", stock / "left behind")
    left = jfstore.open(str(stock / "left behind" / "R"))
    left.storage.store(D, STAMP, {name: constants(5, name) for name in TYPES})
    return stock


@contextmanager
def directory_in_memory(otherwise: Path) -> Iterator[Path]:
    """Provide a directory where nothing waits for a disk, `otherwise` if there is none."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield otherwise
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


def command(argv: Sequence[str]) -> tuple[int, str, str]:
    """Run ``jfstore`` in this process; return exit code, standard output and standard error."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = main(argv)
    return code, out.getvalue(), err.getvalue()


def start(stock: Path, kind: str, place: Path) -> Path:
    """Put the repository that `kind` finds into the directory `place`, made anew; return its path."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(stock / KINDS[kind].base, place)
    return place / "R"


@dataclass(frozen=True)
class Seen:
    """What a reader sees: the hash of each commit, each version with its commit and the bytes of its arrays, and of
    each panel and type the version that is valid in the end."""

    hashes: tuple[str, ...] = ()
    versions: Mapping[str, tuple[int, Mapping[str, bytes]]] = field(default_factory=dict)
    valid: Mapping[tuple[str, str], str] = field(default_factory=dict)


def opened(root: Path) -> Repository:
    """Open a repository as a new process would."""
    return jfstore.open(str(root))


def contents(root: Path) -> Counter[Any]:
    """Return how often each content, close and statement is there, as the log says; nothing if there is none."""
    if not os.path.lexists(root / "repository.json"):
        return Counter()
    repository = opened(root)
    stored = [(v.panel, v.stamp, *v.content.items(), *v.closes) for v in repository.versions()]
    return Counter(stored + [(op, statement) for _, op, statement in repository.log.table().statements])


def seen(root: Path) -> Seen:
    """Get everything there is, as a new process would; nothing is there if there is no repository."""
    if not os.path.lexists(root / "repository.json"):
        return Seen()
    repository = opened(root)
    versions = {}
    for version in repository.versions():
        arrays = {name: repository.panel_array(version, name).tobytes() for name in version.content}
        versions[version.name] = (version.seq, arrays)
    explained = [one for panel in (A, B, C, D) for one in repository.explain(panel, TYPES, "20250101000000")]
    valid = {(one.panel, one.type): one.valid for one in explained if one.valid}
    for (panel, name), valid_name in valid.items():
        got = repository.get(panel, name, "20250101000000").tobytes()
        assert got == versions[valid_name][1][name], f"{valid_name} is valid, and other constants are got"
    return Seen(tuple(commit.hash for commit in repository.history()), versions, valid)


def assert_sound(root: Path) -> None:
    """Let ``verify`` find nothing but notes; a stale index may be noted as a problem, since reads are served."""
    report = jfstore.verify(opened(root))
    problems = [problem for problem in report.problems if problem.file != "index"]
    assert not problems, f"verify: {problems}"


def assert_next_add_works(root: Path) -> None:
    repository = opened(root)
    before = repository.log.table().seq
    assert repository.add_entries([_NEXT], "the next").seq == before + 1, "the next add made no commit"
    assert opened(root).get(_NEXT.panel, TYPES[0], STAMP).tobytes() == constants(9).tobytes(), "the next add"


def assert_modes(root: Path) -> None:
    """A colleague can go on: every directory has the mode of docs/design.md, "Rights"."""
    below = [root / "log", root / "panels", *(path for path in (root / "panels").iterdir() if path.is_dir())]
    modes = {str(path): oct(path.stat().st_mode & 0o7777) for path in (root, *below)}
    right = {str(root): "0o2775", **dict.fromkeys(map(str, below), "0o3775")}
    assert modes == right, f"modes of directories are {modes}"


# -- the disk


class Stopped(BaseException):
    """The writer was killed."""


class Recorder(durable.System):
    """Does everything, writes down what changes the disk, and calls `before` with the number of each call."""

    def __init__(
        self, file_sync: bool = True, directory_sync: bool = True, sync_of_existing: bool = True, index: bool = True
    ) -> None:
        self.operations: list[tuple[Any, ...]] = []
        self.before: Callable[[int], None] = lambda number: None
        self._file_sync, self._directory_sync, self._sync_of_existing = file_sync, directory_sync, sync_of_existing
        self._index = index
        self._files: dict[int, int] = {}
        self._existed: Path | None = None

    def _next(self) -> None:
        self.before(len(self.operations))

    def create(self, path: Path, mode: int) -> int:
        self._next()
        fd = super().create(path, mode)
        self._files[fd] = len(self.operations)
        self.operations.append(("create", path, self._files[fd]))
        return fd

    def write(self, fd: int, buffers: Sequence[memoryview]) -> int:
        self._next()
        count = super().write(fd, buffers)
        self.operations.append(("write", self._files[fd], b"".join(buffers)[:count]))
        return count

    def skip(self, fd: int, count: int) -> None:
        self._next()
        super().skip(fd, count)
        self.operations.append(("write", self._files[fd], bytes(count)))

    def sync(self, fd: int) -> None:
        self._next()
        self.operations.append(("sync" if self._file_sync else "nothing", self._files[fd]))

    def link(self, source: Path, target: Path) -> None:
        self._next()
        super().link(source, target)
        self.operations.append(("link", source, target))

    def rename(self, source: Path, target: Path) -> None:
        self._next()
        if not self._index:
            raise OSError(28, "No space left on device", str(target))
        super().rename(source, target)
        self.operations.append(("rename", source, target))

    def remove(self, path: Path) -> None:
        self._next()
        super().remove(path)
        self.operations.append(("remove", path))

    def make_directory(self, path: Path) -> None:
        self._next()
        try:
            super().make_directory(path)
        except FileExistsError:
            self._existed = path.parent
            raise
        self.operations.append(("make_directory", path))

    def sync_directory(self, path: Path) -> None:
        existed, self._existed = self._existed, None
        self._next()
        skip = not self._directory_sync or (existed == path and not self._sync_of_existing)
        self.operations.append(("nothing" if skip else "sync_directory", path))

    def lock(self, fd: int) -> None:
        """Exclude nobody, as a lock on a network does: correctness never rests on it."""


class File:
    """A file: its bytes now, and those that a power failure leaves for sure."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = self.safe = data

    def outcomes(self) -> list[bytes]:
        rest = self.data[len(self.safe) :]
        middle, zeros = len(rest) // 2, bytes(len(rest))
        some = [b"", zeros, rest[:middle], zeros[:middle] + rest[middle:], rest]
        return list(dict.fromkeys(self.safe + written for written in some))


class Folder:
    """A directory: what it held when it was last synced, and what became of each name since."""

    def __init__(self) -> None:
        self.now: dict[str, File | Folder] = {}
        self.outcomes: dict[str, list[File | Folder | None]] = {}

    def put(self, name: str, node: File | Folder | None, safe: bool = False) -> None:
        possible = self.outcomes.setdefault(name, [None])
        self.outcomes[name] = [node] if safe else [*(other for other in possible if other is not node), node]
        if node is None:
            self.now.pop(name)
        else:
            self.now[name] = node

    def sync(self) -> None:
        self.outcomes = {name: [node] for name, node in self.now.items()}


Tree = dict[str, bytes | None]
"""What is on a disk: the bytes of each file by path; None is a directory."""


class Disk:
    """A disk on which operations are played again; at any moment the power may fail."""

    def __init__(self, place: Path) -> None:
        """Begin with what is in `place`, all of it safe."""
        self._place = place
        self._root = self._copy(place)
        self._files: dict[int, File] = {}

    def _copy(self, path: Path) -> Folder:
        folder = Folder()
        for child in path.iterdir():
            folder.put(child.name, self._copy(child) if child.is_dir() else File(child.read_bytes()), safe=True)
        return folder

    def _folder(self, path: Path) -> Folder:
        folder = self._root
        for name in path.relative_to(self._place).parts:
            folder = folder.now[name]  # type: ignore[assignment]
        return folder

    def play(self, operation: tuple[Any, ...]) -> None:
        """Play one operation that a `Recorder` wrote down."""
        name, *rest = operation
        getattr(self, f"_{name}")(*rest)

    def _create(self, path: Path, number: int) -> None:
        self._files[number] = File()
        self._folder(path.parent).put(path.name, self._files[number])

    def _write(self, number: int, data: bytes) -> None:
        self._files[number].data += data

    def _sync(self, number: int) -> None:
        self._files[number].safe = self._files[number].data

    def _link(self, source: Path, target: Path) -> None:
        self._folder(target.parent).put(target.name, self._folder(source.parent).now[source.name])

    def _rename(self, source: Path, target: Path) -> None:
        self._link(source, target)
        self._remove(source)

    def _remove(self, path: Path) -> None:
        self._folder(path.parent).put(path.name, None)

    def _make_directory(self, path: Path) -> None:
        self._folder(path.parent).put(path.name, Folder())

    def _sync_directory(self, path: Path) -> None:
        self._folder(path).sync()

    def _nothing(self, *_rest: Any) -> None:
        """A sync that was asked for, and not done."""

    def _outcome(self, choose: Callable[[int], int]) -> Tree:
        """Return one outcome of a power failure; `choose` picks one of so many possibilities."""
        tree: Tree = {}
        files: dict[int, bytes] = {}

        def fill(folder: Folder, path: str) -> None:
            for name, nodes in folder.outcomes.items():
                node = nodes[choose(len(nodes))]
                if isinstance(node, Folder):
                    tree[path + name] = None
                    fill(node, f"{path}{name}/")
                elif node is not None:
                    if id(node) not in files:
                        possible = node.outcomes()
                        files[id(node)] = possible[choose(len(possible))]
                    tree[path + name] = files[id(node)]

        fill(self._root, "")
        return tree

    def outcomes(self, limit: int, chance: random.Random) -> list[Tree]:
        """Return what a power failure may leave: everything possible, or `limit` of it by chance."""
        every = []
        for tree in self._every_outcome():
            every.append(tree)
            if len(every) > limit:
                extremes = [self._outcome(lambda count: 0), self._outcome(lambda count: count - 1)]
                return (extremes + [self._outcome(chance.randrange) for _ in range(limit)])[:limit]
        return every

    def _every_outcome(self) -> Iterator[Tree]:
        script: list[int] = []
        while True:
            made: list[tuple[int, int]] = []

            def choose(count: int, made: list[tuple[int, int]] = made, script: list[int] = script) -> int:
                made.append((script[len(made)] if len(made) < len(script) else 0, count))
                return made[-1][0]

            yield self._outcome(choose)
            while made and made[-1][0] + 1 == made[-1][1]:
                made.pop()
            if not made:
                return
            script = [choice for choice, _ in made]
            script[-1] += 1


def put_on_disk(tree: Tree, place: Path) -> None:
    """Make `place` hold `tree` and nothing else."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for path, data in tree.items():
        if data is None:
            (place / path).mkdir()
        else:
            (place / path).write_bytes(data)
