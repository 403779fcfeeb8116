"""Every file and folder of the project that a document names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCUMENTS = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
ROOMS = r"(?:jfstore|tests|docs|man|tools|bin|\.ci)/[\w./-]*\w"
NAME = re.compile(rf"(?<![\w./-])(?:{ROOMS}|setup\.cfg|[A-Z]+\.(?:md|cff))(?!\w)")
LINK = re.compile(r"\]\(([^)#:]+)\)")


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_named_paths_exist(document: Path) -> None:
    text = document.read_text()
    missing = [name for name in NAME.findall(text) if not (ROOT / name).exists()]
    missing += [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    assert not missing


def test_documents_name_paths() -> None:
    assert len(NAME.findall((ROOT / "docs/architecture.md").read_text())) > 40
