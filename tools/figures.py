"""Print the figures of the house: size, complexity, start-up time, and with --venv the size of an installation.

Run it from a checkout, with the Python of the environment that has the test extra.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "jfstore"
REPEATS = 15


def count_lines(directory: Path) -> tuple[int, int]:
    """Return the number of lines and of files of Python below a directory."""
    files = sorted(directory.rglob("*.py"))
    return sum(len(path.read_text().splitlines()) for path in files), len(files)


def print_sizes() -> None:
    """Print lines and files of the package and of each room."""
    lines, files = count_lines(PACKAGE)
    print(f"jfstore: {lines} lines in {files} files")
    for room in sorted(path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"):
        in_room, number = count_lines(room)
        print(f"  {room.name:<11}{in_room:>6} lines {number:>3} files {100 * in_room / lines:5.1f} %")
    longest = max(PACKAGE.rglob("*.py"), key=lambda path: len(path.read_text().splitlines()))
    print(f"longest file: {longest.relative_to(ROOT)}, {len(longest.read_text().splitlines())} lines")


def print_complexity() -> None:
    """Print the cyclomatic complexity of the functions, as radon counts it."""
    from radon.complexity import cc_visit

    found = [
        (block.complexity, f"{path.relative_to(ROOT)}:{block.name}")
        for path in sorted(PACKAGE.rglob("*.py"))
        for block in cc_visit(path.read_text())
        if block.letter in "FM"
    ]
    worst = max(found)
    print(
        f"complexity: {statistics.mean(number for number, _ in found):.2f} on average, {worst[0]} at most ({worst[1]})"
    )


def print_linters() -> None:
    """Print whether each linter passes."""
    tools = {"ruff": ["check", "."], "mypy": [], "lint-imports": ["--no-cache"]}
    for tool, words in tools.items():
        done = subprocess.run(
            [Path(sys.executable).with_name(tool), *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        print(f"{tool}: {'clean' if done.returncode == 0 else done.stdout.strip().splitlines()[-1]}")


def measure(words: Sequence[str]) -> float:
    """Return the median time of a whole process in milliseconds."""
    # As after an installation: what is imported was compiled before.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": tempfile.gettempdir() + "/jfstore-pyc"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], env=environment, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def print_start_up() -> None:
    """Print what importing the package and printing the help cost above an empty program."""
    empty = measure(["-c", "pass"])
    for text, words in {
        "import jfstore": ["-c", "import jfstore"],
        "jfstore --help": ["-m", "jfstore", "--help"],
    }.items():
        print(f"{text}: {measure(words) - empty:.0f} ms above an empty program of {empty:.0f} ms")


def print_installation() -> None:
    """Print the size of a fresh virtual environment with jfstore, as the README makes it."""
    with tempfile.TemporaryDirectory() as place:
        venv = Path(place) / "venv"
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "-q", ROOT], check=True)
        size = sum(path.lstat().st_size for path in venv.rglob("*") if not path.is_symlink() and path.is_file())
    print(f"fresh virtual environment: {size / 1e6:.0f} MB")


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", action="store_true", help="also install into a fresh environment, and print its size")
    args = parser.parse_args()
    print_sizes()
    print_complexity()
    print_linters()
    print_start_up()
    if args.venv:
        print_installation()


if __name__ == "__main__":
    main()
