"""Commands run in this process and what is wrong with how they end; a directory in which hostile input is tried."""

from __future__ import annotations

import io
import sys
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jfstore.cli.app import main
from tests.makers.gains import make_gain_tree
from tests.makers.repositories import SHAPE, constants, story

CODES = {0, 1, 2, 3, 4, 5, 6, 75}
Found = tuple[Counter[str], dict[str, Any]]
"""How often each complaint was heard, and an example of it."""


def run(argv: list[str]) -> tuple[int, bytes, str]:
    """Run the command as a process would: bytes out, messages."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", newline="\n")
    with redirect_stdout(out), redirect_stderr(err):
        code = main(argv)
        sys.stdout.flush()
    err.flush()
    return code, out.buffer.getvalue(), err.buffer.getvalue().decode()


def complaint(argv: list[str]) -> str | None:
    """Return what is wrong with how a command ended, None if nothing is."""
    try:
        code, _, err = run(argv)
    except BaseException as error:
        trace = error.__traceback__
        place = ""
        while trace:
            name = trace.tb_frame.f_code.co_filename
            place = f"{Path(name).name}:{trace.tb_lineno}" if "jfstore" in Path(name).parts[-3:] else place
            trace = trace.tb_next
        return f"{type(error).__name__} at {place}: {str(error)[:24]!r}"
    if code not in CODES:
        return f"exit code {code}"
    errors = [line for line in err.splitlines() if line.startswith("jfstore: error: ")]
    # verify and an import that skips names say what they found as data.
    told = argv[0] in ("verify", "import") and code in (1, 4)
    if "Traceback" in err or (len(errors) != (code != 0) and not (told and not errors)):
        return f"exit code {code} with {err[:200]!r}"
    return None


def snapshot(place: Path) -> dict[str, Any]:
    """Return all names below `place`, and the bytes of what is a small regular file."""
    return {
        str(path): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in sorted(place.rglob("*"))
    }


def said(bad: Counter[str], examples: dict[str, Any]) -> str:
    return "\n".join(f"{count} x {text}\n    such as {str(examples[text])[:300]}" for text, count in bad.most_common())


class World:
    """A directory with a repository, files to give, and things that nobody may change."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.inside = top / "world" / "a" / "b"
        self.inside.mkdir(parents=True)
        (top / "world" / "victim").write_text("not to be changed")
        self.repository = self.inside / "R"
        story(self.repository)
        other = story(self.inside / "S")
        assert other.identity.role == "test"
        make_gain_tree(self.inside / "gains", shape=SHAPE)
        np.save(self.inside / "gain.npy", constants(7))

    def outside(self) -> dict[str, Any]:
        """Return everything but the repository."""
        return {name: what for name, what in snapshot(self.top).items() if not self.within(name)}

    def within(self, name: str) -> bool:
        return name.startswith(f"{self.repository}/")

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> World:
        """Go there for as long as a test takes."""
        monkeypatch.chdir(self.inside)
        monkeypatch.setenv("JFSTORE_TEST", str(self.repository))
        return self
