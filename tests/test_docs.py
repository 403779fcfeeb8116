"""Every command has help with an example, a place in the README and in the man page; doctests hold."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import jfstore
from jfstore.cli.main import COMMANDS, get_parser, main
from tests.conftest import ROOT


@pytest.mark.parametrize("command", COMMANDS)
def test_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "example" in text
    assert f"jfstore {command}" in text or command == "init"


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_has_a_row_for_the_command(command: str) -> None:
    assert f"| `jfstore {command}` |" in (ROOT / "README.md").read_text()


def test_man_page_has_every_command_and_option() -> None:
    pytest.importorskip("build_manpages")
    page = subprocess.run(
        [
            Path(sys.executable).with_name("argparse-manpage"), "--pyfile", "bin/jfstore", "--function", "get_parser",
            "--include", "man/jfstore.inc", "--format", "single-commands-section", "--project-name", "jfstore",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert page.returncode == 0, page.stderr
    for command in COMMANDS:
        assert f"jfstore {command}" in page.stdout
    assert "JFSTORE_TEST" in page.stdout
    assert "EXIT STATUS" in page.stdout.upper()
    assert "\x1b" not in page.stdout


def test_help_and_version_load_neither_numpy_nor_hdf5() -> None:
    program = (
        "import sys; from jfstore.cli.main import main;"
        "codes = [main(['--help']), main(['get', '--help']), main(['--version'])];"
        "heavy = {'numpy', 'h5py', 'zarr', 'rich', 'blake3'} & set(sys.modules);"
        "assert not heavy, heavy; sys.exit(any(codes))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def test_docstring_examples_hold() -> None:
    attempted = 0
    for module in pkgutil.walk_packages(jfstore.__path__, "jfstore."):
        if module.name != "jfstore.__main__":
            results = doctest.testmod(importlib.import_module(module.name))
            assert not results.failed, module.name
            attempted += results.attempted
    assert attempted >= 3


def test_public_names_exist_and_have_docstrings() -> None:
    for name in jfstore.__all__:
        value = getattr(jfstore, name)
        assert isinstance(value, str) or value.__doc__, name
    assert get_parser().description
