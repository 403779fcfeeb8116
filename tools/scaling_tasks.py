"""Measure one jfstore: the tasks that `scaling.py` runs in child processes.

Only public functions and methods of jfstore are used, so that the tasks run with any release.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PANELS = [f"171113-154920171025-{number:x}" for number in range(32)]
LEVELS = {"pixel_gain": (41.5, -1.39, -0.11), "pixel_offset": (0.01, 300.0, 50.0)}
TYPES = tuple(LEVELS)
FIRST = 946684800  # 2000-01-01 in Unix seconds; the version after it starts an hour later, and so on
ADDED = 1672531200  # 2023-01-01
WHEN = "20240101000000"
Figures = dict[str, dict[str, float]]


def public() -> Any:
    """Return the jfstore of this interpreter; its type is unknown, because it may be another release."""
    return importlib.import_module("jfstore")


def timed(work: Callable[..., Any], *args: Any) -> float:
    """Return the time that `work` takes in milliseconds; its result is freed after the measurement."""
    start = time.perf_counter()
    result = work(*args)
    taken = time.perf_counter() - start
    del result
    return 1000 * taken


def figure(times: Sequence[float], bare: Sequence[float] = ()) -> dict[str, float]:
    """Return the median of `times` and the median of their ratios to the `bare` times of the same rounds."""
    result = {"ms": statistics.median(times)}
    if bare:
        result["ratio"] = statistics.median(a / b for a, b in zip(times, bare, strict=True))
    return result


def make_entry(repository: Any, panel: str, seconds: int, seed: int) -> Any:
    """Return random constants of one panel to add."""
    import numpy as np

    jfstore, random, shape = public(), np.random.default_rng(seed), repository.identity.panel_shape
    arrays = {}
    for name, levels in LEVELS.items():
        spread = 1 + np.float32(0.01) * random.standard_normal(shape, np.float32)
        values = np.array(levels, np.float32)[:, np.newaxis, np.newaxis] * spread
        arrays[name] = jfstore.check_array(values, name, shape, name)
    start, stamp = seconds * 10**9, f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d%H%M%S}"
    if hasattr(jfstore, "Instant"):
        return jfstore.Entry(panel, jfstore.Instant(start, stamp), arrays, "scaling")
    return jfstore.Entry(panel, stamp, start, arrays, "scaling")


def add(repository: Any, entries: Iterable[Any]) -> None:
    """Add entries in one commit; the method of 0.1.0 has another name."""
    added = getattr(repository, "add_entries", repository.add)(entries, "scaling")
    assert added.versions


def write_log(place: Path, commits: int, each: int) -> None:
    """Write commits 2, 3, ... of `each` versions that share the payload of commit 1, in the form of 0.1.0."""
    from blake3 import blake3

    raw = json.loads((place / "log/0000000001.json").read_bytes())
    body, previous, file = raw["commit"], raw["hash"], raw["files"][0]
    file = {name: file[name] for name in ("path", "size", "blake3", "offsets")}
    arrays = {
        name: {field: array[field] for field in ("dtype", "shape", "blake3")}
        for name, array in body["versions"][0]["arrays"].items()
    }
    fields = ("time", "clock", "user", "host", "program", "message")
    files = json.dumps([file] * each, separators=(",", ":")).encode()
    end = b'",\n"files":\n%b,\n"files_hash":"%b"}\n' % (files, blake3(files).hexdigest().encode())
    for seq in range(2, commits + 1):
        versions = []
        for number in range((seq - 2) * each + 1, (seq - 1) * each + 1):
            start = FIRST + (1 + number // 32) * 3600
            stamp = f"{datetime.fromtimestamp(start, UTC):%Y%m%d%H%M%S}"
            version = {"panel": PANELS[number % 32], "stamp": stamp, "begin": start * 10**9, "number": 1}
            versions.append({**version, "arrays": arrays})
        commit = {"seq": seq, "prev": previous, **{name: body[name] for name in fields}}
        commit |= {"request": f"{seq:032x}", "op": "add", "versions": versions}
        line = json.dumps(commit, ensure_ascii=False, separators=(",", ":")).encode()
        previous = blake3(line).hexdigest()
        content = b'{"commit":\n%b,\n"hash":"%b' % (line, previous.encode()) + end
        (place / f"log/{seq:010}.json").write_bytes(content)


def make(place: str, storage: str, shape: list[int], commits: int, each: int = 1) -> Figures:
    """Make a repository with so many commits; return the size of its index."""
    jfstore = public()
    repository = jfstore.init(place, "test", panel_shape=tuple(shape), zone="UTC", storage=storage)
    add(repository, [make_entry(repository, PANELS[0], FIRST, 0)])
    write_log(Path(place), commits, each)
    jfstore.open(place).rebuild_index()
    if commits >= 1000:
        os.sync()  # or the first adds wait until the file system has written so many commits
    others = [path for path in Path(place).iterdir() if path.name not in ("log", "panels")]
    files = [path for other in others for path in (other, *other.rglob("*")) if path.is_file()]
    return {"index": {"bytes": sum(path.stat().st_size for path in files)}}


def make_detector(place: str, shape: list[int]) -> Figures:
    """Make a repository with one version of each of the 32 panels."""
    repository = public().init(place, "test", panel_shape=tuple(shape), zone="UTC")
    add(repository, (make_entry(repository, panel, FIRST, seed) for seed, panel in enumerate(PANELS)))
    return {}


def find(place: str) -> Any:
    """Open a repository and find one version."""
    return public().open(place).find(PANELS[1], ["pixel_gain"], WHEN)


def measure_find(place: str, rounds: int) -> Figures:
    """Measure opening and finding, when everything is imported and the page cache is warm."""
    find(place)
    return {"find": figure([timed(find, place) for _ in range(rounds)])}


def write_bare(path: Path, arrays: list[Any]) -> None:
    """Write and fsync the bytes of some arrays."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    for array in arrays:
        os.write(fd, memoryview(array).cast("B"))
    os.fsync(fd)
    os.close(fd)


def measure_add(place: str, rounds: int) -> Figures:
    """Measure adding one panel again and again, of writing and syncing the same bytes; and finding in between."""
    repository = public().open(place)
    times: dict[str, list[float]] = {"bare": [], "add": [], "find": []}
    # Random numbers take time, in which a disk may recover; a batch of constants is added without such pauses.
    numbers = range(-1, rounds)
    entries = [make_entry(repository, PANELS[number % 32], ADDED + number, 100 + number) for number in numbers]
    # The bare files are kept until the end: a new file in the blocks and pages of a deleted one is written faster.
    with tempfile.TemporaryDirectory(dir=Path(place).parent) as beside:
        for number, entry in zip(numbers, entries, strict=True):
            arrays = [checked.array for checked in entry.arrays.values()]
            works = [("bare", write_bare, Path(beside, f"{number}"), arrays), ("add", add, repository, [entry])]
            for name, work, *args in works if number % 2 else reversed(works):
                times[name].append(timed(work, *args))
            if number % 5 == 0:
                times["find"].append(timed(find, place))
    bare, adds = times["bare"][1:], times["add"][1:]  # The first add imports modules.
    figures = {"bare": figure(bare), "add": figure(adds, bare), "worst": {"ms": max(adds)}}
    return {**figures, "find between": figure(times["find"])}


class Detector:
    """A detector of some panels of a repository, read by jfstore and by preadv."""

    def __init__(self, place: str, count: int) -> None:
        import h5py
        import numpy as np

        self.repository, self.panels = public().open(place), PANELS[:count]
        self.files = []
        for path in (path for panel in self.panels for path in Path(place, "panels", panel).glob("*.h5")):
            with h5py.File(path, locking=False) as file:
                self.files.append((path, file["pixel_gain"].id.get_offset()))
        self.source = self.get(False).copy()
        self.target = np.zeros_like(self.source)

    def get(self, verify: bool) -> Any:
        """Return the constants."""
        return self.repository.get("_".join(self.panels), "pixel_gain", WHEN, verify=verify)

    def touch(self, verify: bool) -> int:
        """Get the constants and read one byte of every page."""
        return int(self.get(verify).reshape(-1).view("u1")[::4096].max())

    def read_bare(self) -> None:
        """Read the same bytes into memory that the process already has."""
        for panel, (path, offset) in enumerate(self.files):
            fd = os.open(path, os.O_RDONLY)
            os.preadv(fd, [self.target[gain, panel].data.cast("B") for gain in range(len(self.target))], offset)
            os.close(fd)

    def copy(self) -> None:
        """Copy the same bytes into memory that the process already has."""
        self.target[...] = self.source

    def change_times(self) -> None:
        """Give all files a new ctime, so that an earlier verification no longer counts."""
        for path, _ in self.files:
            path.chmod(path.stat().st_mode & 0o7777)

    def drop_pages(self) -> None:
        """Drop the files from the page cache."""
        for path, _ in self.files:
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)

    def measure_huge_pages(self) -> dict[str, float]:
        """Return how many bytes of the constants are mapped by huge pages when every page is touched."""
        array = self.get(False)
        array.reshape(-1).view("u1")[::4096].max()
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return {"bytes": sum(1024 * int(line.split()[1]) for line in lines if line.startswith("FilePmdMapped:"))}


def measure_warm(place: str, count: int, rounds: int, settle: float) -> Figures:
    """Measure reading a detector with a warm page cache, of a memcpy."""
    detector = Detector(place, count)
    works: dict[str, tuple[Any, ...]] = {"memcpy": (detector.copy,), "first": (detector.get, True)}
    works |= {"again": (detector.get, True), "mapped": (detector.get, False), "touched": (detector.touch, False)}
    times: dict[str, list[float]] = {name: [] for name in works}
    detector.touch(True)
    detector.copy()
    for _ in range(rounds):
        detector.change_times()
        time.sleep(settle)
        for name, work in works.items():
            times[name].append(timed(*work))
    result = {name: figure(values, times["memcpy"]) for name, values in times.items()}
    del result["memcpy"]["ratio"]
    return {**result, "huge": detector.measure_huge_pages()}


def measure_cold(place: str, count: int, rounds: int) -> Figures:
    """Measure reading a detector with a cold page cache, of preadv."""
    detector = Detector(place, count)
    works: dict[str, tuple[Any, ...]] = {"preadv": (detector.read_bare,), "cold": (detector.touch, False)}
    works["cold verified"] = (detector.touch, True)
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            detector.change_times()
            detector.drop_pages()
            times[name].append(timed(*work))
    result = {name: figure(values, times["preadv"]) for name, values in times.items()}
    del result["preadv"]["ratio"]
    return {**result, "huge cold": detector.measure_huge_pages()}


def measure_first(place: str, count: int) -> Figures:
    """Measure the first verified reading in this process of files that another process has verified."""
    import numpy as np

    repository, detector = public().open(place), "_".join(PANELS[:count])
    source = repository.get(detector, "pixel_offset", WHEN, verify=False).copy()
    target = np.zeros_like(source)
    bare = [timed(np.copyto, target, source) for _ in range(3)][1:]
    repository.get(PANELS[-1], "pixel_offset", WHEN)  # imports what verification needs
    return {"first": figure([timed(repository.get, detector, "pixel_gain", WHEN)], [statistics.median(bare)])}


def tell_version() -> Figures:
    """Return the name of the release as the only key."""
    return {public().__version__: {}}


TASKS: dict[str, Callable[..., Figures]] = {
    task.__name__: task
    for task in (
        make,
        make_detector,
        measure_find,
        measure_add,
        measure_warm,
        measure_cold,
        measure_first,
        tell_version,
    )
}


if __name__ == "__main__":
    print(json.dumps([TASKS[task](**options) for task, options in json.loads(sys.argv[1])]))
