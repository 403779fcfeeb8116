"""Measure how jfstore scales, and write a table and plots: ``docs/scaling.md`` and ``docs/scaling-*.svg``.

``--before PYTHON`` also measures the jfstore that this other interpreter imports, such as release 0.1.0 in a virtual
environment of its own. Each program makes its repositories and measures in child processes (`scaling_tasks.py`), in
turn with the other program.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loglog import Line, draw
from scaling_tasks import Figures

ROOT = Path(__file__).resolve().parent.parent
FULL, SMALL, TINY = (3, 512, 1024), (3, 4, 1024), (3, 4, 8)
SETTLE = 2.2  # jfstore does not remember the verification of a file that changed in the last 2 s
ZARR_LIMIT = 10_000
NAMES = ("before", "now")
ABOUT = """\
`python tools/scaling.py --before PYTHON` wrote this page. A figure is the median of several rounds. A ratio is to the
bare operation in the same rounds: memcpy into memory that the process already has, write and fsync of the same bytes,
or preadv of the same bytes. The time of jfstore is in brackets.

`get` reads files older than 2 s from a warm page cache, unless stated. A cold page cache is one after `posix_fadvise`
with `POSIX_FADV_DONTNEED` on the files; a hypervisor or disk may still cache them. FilePmdMapped is how many bytes are
mapped by huge pages after every page was touched.

A full panel is two float32 arrays of shape (3, 512, 1024), a tiny one of shape (3, 4, 8). Each commit adds one version,
and the stored commits share one payload. The index is every file outside `log/` and `panels/`. The programs open the
repository again for each `open + find`, in a process that has imported everything.
"""
PLOTS = {
    "add": ("add of a full panel, ms", "add of a full panel, {} commits stored (ratio to write + fsync)"),
    "add-tiny": ("add of a tiny panel, ms", "add of a tiny panel, {} commits stored"),
    "find": ("open + find, ms", "open + find, {} versions"),
    "index": ("size of the index, kB", "index, {} versions"),
}


class Measuring:
    """The figures of both programs by row, and how to measure them."""

    def __init__(self, pythons: dict[str, str], place: Path, quick: bool) -> None:
        self.pythons, self.place, self.quick = pythons, place, quick
        self.full = SMALL if quick else FULL
        self.rows: dict[tuple[str, str], Figures] = {}

    def run(self, name: str, tasks: Sequence[tuple[str, dict[str, Any]]]) -> list[Figures]:
        """Run tasks in one process of one of the programs; each program has a cache directory of its own."""
        hidden = ("JFSTORE_", "PYTHONPATH", "XDG_")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        environment["XDG_CACHE_HOME"] = environment["XDG_RUNTIME_DIR"] = str(self.place / f"cache-{name}")
        Path(environment["XDG_CACHE_HOME"]).mkdir(mode=0o700, exist_ok=True)
        if name == "now":
            environment["PYTHONPATH"] = str(ROOT)
        command = [self.pythons[name], str(ROOT / "tools/scaling_tasks.py"), json.dumps(tasks)]
        done = subprocess.run(command, cwd=self.place, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        results: list[Figures] = json.loads(done.stdout)
        return results

    def note(self, name: str, what: str, goal: str, value: dict[str, float]) -> None:
        """Keep a figure of one of the programs for its row of the table."""
        self.rows.setdefault((what, goal), {})[name] = value
        print(f"{what}, {name}: {show(value)}", file=sys.stderr)

    def measure_reading(self) -> None:
        """Measure `get`: first everything with a warm page cache, as dropping it changes the pages of the files."""
        warm, cold = (1, 1) if self.quick else (9, 9)
        settle = 0 if self.quick else SETTLE
        for name in self.pythons:
            self.run(name, [("make_detector", {"place": f"{self.place}/get-{name}", "shape": self.full})])
        cases: list[tuple[str, dict[str, Any]]] = [
            (name, {"place": f"{self.place}/get-{name}", "count": count}) for count in (8, 32) for name in self.pythons
        ]
        for name, case in cases:
            found = self.run(name, [("measure_warm", {**case, "rounds": warm, "settle": settle})])[0]
            again = [self.run(name, [("measure_first", case)])[0]["first"] for _ in range(min(warm, 5))]
            found["first in a process"] = {key: statistics.median(f[key] for f in again) for key in again[0]}
            self.note_reading(name, case["count"], found)
        for name, case in cases:
            self.note_reading(name, case["count"], self.run(name, [("measure_cold", {**case, "rounds": cold})])[0])
        for name in self.pythons:
            shutil.rmtree(self.place / f"get-{name}")

    def note_reading(self, name: str, count: int, found: Figures) -> None:
        """Keep the figures of `get`."""
        texts = {
            "mapped": ("mapped (ratio to memcpy)", "≤ 0.15" if count == 8 else "≤ 0.1"),
            "touched": ("every page touched (ratio to memcpy)", "≤ 0.2"),
            "first": ("verified for the first time (ratio to memcpy)", "≤ 2.0"),
            "first in a process": ("verified by another process before (ratio to memcpy)", "≤ 0.2"),
            "again": ("verified again (ratio to memcpy)", "≤ 0.1"),
            "memcpy": ("memcpy of the same bytes", ""),
            "huge": ("FilePmdMapped", ""),
            "cold": ("cold page cache, every page touched (ratio to preadv)", "≤ 1.05"),
            "cold verified": ("cold page cache, verified and touched (ratio to preadv)", "≤ 1.3"),
            "preadv": ("preadv of the same bytes, cold page cache", ""),
            "huge cold": ("FilePmdMapped after a cold page cache", ""),
        }
        for key, (text, goal) in texts.items():
            if key in found:
                self.note(name, f"get of {count} panels, {text}", goal, found[key])

    def measure_size(self, storage: str, commits: int, each: int = 1) -> None:
        """Measure `add`, `find` and the index with so many commits stored."""
        finds, fulls, adds = (1, 2, 6) if self.quick else (20, 21, 100)
        versions = f"{1 + (commits - 1) * each:,}"
        kind = "" if storage == "hdf5" else "zarr: "
        for name in self.pythons:
            full, tiny = {"place": f"{self.place}/full-{name}"}, {"place": f"{self.place}/tiny-{name}"}
            common = {"storage": storage, "commits": commits, "each": each}
            makes = [("make", {**tiny, **common, "shape": TINY}), ("make", {**full, **common, "shape": self.full})]
            tasks = [("measure_find", {**tiny, "rounds": finds})]
            if each == 1:
                tasks += [("measure_add", {**full, "rounds": fulls}), ("measure_add", {**tiny, "rounds": adds})]
            index = self.run(name, makes[: len(tasks)])[0]["index"]
            found, *added = self.run(name, tasks)
            self.note(name, f"{kind}open + find, {versions} versions", "≤ 5 ms" if not kind else "", found["find"])
            self.note(name, f"{kind}index, {versions} versions", "", index)
            if added:
                whole, book = added
                text = f"{commits:,} commits stored"
                goal = "≤ 1.25" if not kind else ""
                self.note(name, f"{kind}add of a full panel, {text} (ratio to write + fsync)", goal, whole["add"])
                self.note(name, f"{kind}write + fsync of a full panel, {text}", "", whole["bare"])
                self.note(name, f"{kind}add of a tiny panel, {text}", "", {"ms": book["add"]["ms"]})
                self.note(name, f"{kind}add of a tiny panel, {text}, worst of {adds}", "", book["worst"])
                self.note(name, f"{kind}open + find between these adds, {text}", "", book["find between"])
            for path in self.place.glob(f"*-{name}"):
                if not path.name.startswith("cache"):
                    shutil.rmtree(path)


def show(value: dict[str, float] | None) -> str:
    """Return a figure as text: a ratio with its time, a time, or a size."""
    if value is None:
        return ""
    if "bytes" in value:
        return f"{value['bytes'] / 1000:,.0f} kB"
    text = f"{value['ms']:.2f} ms"
    return f"{value['ratio']:.2f} ({text})" if "ratio" in value else text


def main_value(value: dict[str, float]) -> float:
    """Return the number of a figure that is compared."""
    return next(value[key] for key in ("ratio", "ms", "bytes") if key in value)


def write_table(out: Path, measuring: Measuring, release: str, load: str) -> None:
    """Write the table, with what is known of the machine."""
    model = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    kind = read_output("stat", "-f", "-c", "%T", str(measuring.place))
    commit = read_output("git", "rev-parse", "--short", "HEAD")
    dirty = " with changes" if read_output("git", "status", "--porcelain", "--untracked-files=no") else ""
    lines = [
        "# How jfstore scales",
        "",
        *ABOUT.splitlines(),
        "",
        f"- Machine: {model[0] if model else platform.machine()}, {os.cpu_count()} cores, file system {kind}",
        f"- Kernel {platform.release()}, Python {platform.python_version()}, load average {load}",
        f"- Before: {release or 'not measured'}. Now: commit {commit}{dirty}, {datetime.now(UTC):%Y-%m-%d}",
        "",
        "| what | goal | before | now | now / before |",
        "|---|---|---|---|---|",
    ]
    for (what, goal), values in sort_rows(measuring.rows):
        before, now = (values.get(name) for name in NAMES)
        ratio = main_value(now) / main_value(before) if now and before and main_value(before) else None
        shown = "" if ratio is None else f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}"
        lines.append(f"| {what} | {goal} | {show(before)} | {show(now)} | {shown} |")
    for name in PLOTS:
        lines += ["", f"![{PLOTS[name][0]}]({out.name}-{name}.svg)"]
    out.with_suffix(".md").write_text("\n".join(lines) + "\n")


def sort_rows(rows: dict[tuple[str, str], Figures]) -> list[tuple[tuple[str, str], Figures]]:
    """Return the rows with those together that differ in numbers alone; otherwise in the order of measuring."""
    kinds = {row: re.sub(r"\d[\d,]*", "N", row[0]) for row in rows}
    order = list(dict.fromkeys(kinds.values()))
    return sorted(rows.items(), key=lambda item: order.index(kinds[item[0]]))


def write_plots(out: Path, measuring: Measuring, sizes: list[int]) -> None:
    """Draw some rows of the table against the number of stored commits."""
    figures = {what: values for (what, _), values in measuring.rows.items()}
    for plot, (title, row) in PLOTS.items():
        lines: dict[str, Line] = {name: [] for name in NAMES}
        for size in sizes:
            for name, value in figures[row.format(f"{size:,}")].items():
                lines[name].append((size, value["ms"] if "ms" in value else value["bytes"] / 1000))
        path = out.with_name(f"{out.name}-{plot}.svg")
        path.write_text(draw(title, "stored commits of one version each", {k: v for k, v in lines.items() if v}))


def read_output(*command: str) -> str:
    """Return what a command prints, empty if it fails."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def read_load() -> str:
    """Return the load average of the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def measure(args: argparse.Namespace) -> None:
    """Measure everything, and write the table and the plots."""
    sizes = sorted({int(size) for size in args.sizes.split(",")})
    pythons = {"before": args.before, "now": sys.executable}
    load = read_load()
    with tempfile.TemporaryDirectory(prefix="jfstore-scaling-") as place:
        measuring = Measuring({name: path for name, path in pythons.items() if path}, Path(place), args.quick)
        release = f"jfstore {next(iter(measuring.run('before', [('tell_version', {})])[0]))}" if args.before else ""
        measuring.measure_reading()
        for storage, limit in (("hdf5", max(sizes)), ("zarr", min(sizes) if args.quick else ZARR_LIMIT)):
            for size in sizes:
                if size <= limit:
                    measuring.measure_size(storage, size)
        if args.million:
            measuring.measure_size("hdf5", 10_001, each=100)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_table(args.out, measuring, release, f"{load} at the start and {read_load()} at the end")
        write_plots(args.out, measuring, sizes)


def main() -> None:
    """Read the options, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", metavar="PYTHON", help="also measure the jfstore that this interpreter imports")
    parser.add_argument("--sizes", default="10,1000,10000,100000", help="numbers of commits (default: %(default)s)")
    parser.add_argument("--million", action="store_true", help="also find among 1,000,000 versions in 10,001 commits")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/scaling", help="the start of the names of the output")
    parser.add_argument("--quick", action="store_true", help="one round with small panels, to test this program")
    args = parser.parse_args()
    if args.before:
        python = shutil.which(args.before) or parser.error(f"--before: {args.before} is not a program")
        args.before = os.path.abspath(python)  # The tasks run in another directory.
    measure(args)


if __name__ == "__main__":
    main()
