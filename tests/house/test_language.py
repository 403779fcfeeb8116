"""The project is written in plain technical English: words that are not used, verbs first, verbs for functions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jfstore.cli.app import COMMANDS
from tests.conftest import ROOT

SOURCES = sorted((ROOT / "jfstore").rglob("*.py"))
TEXTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "man").glob("*.inc")])

UNWANTED = re.compile(
    r"\b(?:anew|thereof|wherein|as ever|of old|are none|of so many|one too many|(?:is|are) not there"
    r"|(?:the|its|at|a) begin|(?<!there )is no (?!longer\b|more\b|wider\b|newer\b)[a-z]+"
    r"|what is (?:there|left|given|kept)|such a one|made afresh)\b",
    re.IGNORECASE,
)
NOT_VERBS = {
    *("a", "an", "the", "what", "whether", "where", "which", "who", "how", "why", "of", "if", "as", "one", "all"),
    *("every", "each", "everything", "something", "nothing", "not", "no", "when", "that", "this", "these", "for"),
}
PARTICIPLES = {
    *("stored", "numbered", "linked", "noted", "merged", "copied", "given", "opened", "reframe", "named", "told"),
    *("said", "held", "kept", "taken", "made", "begun", "broken", "found", "known", "seen", "shown", "written"),
}
NOT_PARTICIPLES = {"need", "feed", "seed", "embed", "exceed", "proceed"}


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the comments and the string literals of a source, with their lines."""
    text = path.read_text()
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.search(r"(?:^|\s)# (.*)", line):
            yield number, match[1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("path", [*SOURCES, *TEXTS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_unwanted_words(path: Path) -> None:
    lines = texts_of(path) if path.suffix == ".py" else enumerate(path.read_text().splitlines(), 1)
    hits = [
        f"{number}: {match[0]}: {text.strip()[:100]}" for number, text in lines for match in UNWANTED.finditer(text)
    ]
    assert hits == []


def functions_of(path: Path) -> Iterator[tuple[ast.FunctionDef, bool]]:
    """Yield the functions of a source, and whether each is a property."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            yield node, bool(decorators & {"property", "cached_property"})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_summaries_of_functions_start_with_a_verb(path: Path) -> None:
    hits = []
    for function, is_property in functions_of(path):
        first = (ast.get_docstring(function) or "Return").split()[0].strip(",.:;`*").lower()
        if not is_property and (first in NOT_VERBS or (first not in ("bring",) and first.endswith(("ed", "ing")))):
            hits.append(f"{function.lineno}: {function.name}: {first}")
    assert hits == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_functions_are_not_named_by_participles(path: Path) -> None:
    hits = []
    for function, is_property in functions_of(path):
        words = function.name.strip("_").split("_")
        ends = words[-1] in PARTICIPLES or words[0] in PARTICIPLES or words[0].endswith("ed")
        if not is_property and ends and words[0] not in NOT_PARTICIPLES and words[0] not in ("is", "has", "check"):
            hits.append(f"{function.lineno}: {function.name}")
    assert hits == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_summary_of_a_command_starts_with_a_verb(command: str) -> None:
    summary = COMMANDS[command]
    assert summary.split()[0].lower() not in NOT_VERBS
    assert summary.endswith(".")
