"""Everything in the README is run, as it stands."""

from __future__ import annotations

import doctest
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, str]]:
    """Return each command of the console blocks with the output that the README promises."""
    found: list[tuple[str, str]] = []
    for line in "".join(blocks("console")).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + line + "\n")
    return found


def run_all(environment: dict[str, str], directory: Path) -> list[str]:
    """Run the commands in one shell, as a reader would; return what each printed."""
    mark = "--- end of a command ---"
    script = "exec 2>&1\n" + "".join(f"{command}\necho; echo '{mark}'\n" for command, _ in commands())
    done = subprocess.run(
        ["bash", "-c", script],
        env=environment,
        cwd=directory,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    return [text.strip("\n") for text in done.stdout.split(mark)][:-1]


def test_readme_holds(
    tmp_path: Path,
    command_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    outputs = run_all(command_environment, tmp_path)
    checker = doctest.OutputChecker()
    for (command, promised), got in zip(commands(), outputs, strict=True):
        assert checker.check_output(promised, got + "\n", FLAGS), f"$ {command}\n{got}\n--- promised:\n{promised}"
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest("".join(blocks("python")), {}, "README.md", "README.md", 0)
    results = doctest.DocTestRunner(optionflags=FLAGS).run(test)
    assert results.attempted > 5
    assert not results.failed, capsys.readouterr().out


def test_readme_opens_with_exactly_two_set_up_commands() -> None:
    set_up = "".join(blocks("sh")).splitlines()
    assert [line.split(" && ")[-1].split()[0] for line in set_up] == [".venv/bin/jfstore", ".venv-test/bin/pytest"]
    assert README.index(set_up[1]) < README.index("## ")
