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
from jfstore.cli.app import COMMANDS, get_parser, main
from tests.conftest import ROOT

PROGRAMS = ("jungfrau_id", "event_keys", "find_detector_runs", "jungfrau_gain_constants", "dcs")


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
    page = _man_page("jfstore", "single-commands-section")
    for command in COMMANDS:
        assert f"jfstore {command}" in page
    assert "JFSTORE_TEST" in page
    assert "EXIT STATUS" in page.upper()
    assert "\x1b" not in page


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_has_help_a_man_page_and_a_readme_row(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"jfstore.cli.programs.{program}")
    assert module.main(["--help"]) == 0
    assert f"examples:\n  {program} " in capsys.readouterr().out
    assert f"| `{program}` |" in (ROOT / "README.md").read_text()
    setup = (ROOT / "setup.cfg").read_text()
    assert f"{program} = jfstore.cli:run_{program}\n" in setup
    assert f"man/{program}.1:pyfile=bin/{program}:function=get_parser" in setup
    page = _man_page(program)
    assert "DIFFERENCES" in page
    assert "SIT_PSDM_DATA" in page


def _man_page(program: str, form: str = "pretty") -> str:
    pytest.importorskip("build_manpages")
    tool = Path(sys.executable).with_name("argparse-manpage")
    words = ["--pyfile", f"bin/{program}", "--function", "get_parser", "--include", f"man/{program}.inc"]
    words += ["--format", form, "--project-name", "jfstore"]
    made = subprocess.run([tool, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout


def test_help_version_and_id_load_neither_numpy_nor_hdf5() -> None:
    program = (
        "import sys; from jfstore.cli.app import main; from jfstore.cli.programs import dcs;"
        "words = ([], ['get'], ['import'], ['export'], ['deploy'], ['audit']);"
        "codes = [dcs.main(['--help']), *(main([*some, '--help']) for some in words)];"
        "codes += [main(['--version']), main(['id', sys.argv[1]])];"
        "heavy = {'numpy', 'h5py', 'zarr', 'rich', 'blake3', 'orjson'} & set(sys.modules);"
        "assert not heavy, heavy; sys.exit(any(codes))"
    )
    run = "tests/data/reference/xtc/XPP/xpptut15/xtc/xpptut15-r0430-s00-c00.xtc"
    subprocess.run([sys.executable, "-c", program, run], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def test_hdf5_repository_loads_neither_obstore_nor_zarr(tmp_path: Path) -> None:
    program = (
        "import sys; from tests.makers.repositories import A, LATER, story; from jfstore.cli.app import main;"
        "story(sys.argv[1]); codes = [main([*words, '--repo', sys.argv[1]]) for words in"
        " (['get', A, '-T', LATER], ['verify'], ['list'])];"
        "heavy = {'obstore', 'zarr', 'jfstore.storage.zarr', 'jfstore.storage.bucket'} & set(sys.modules);"
        "assert not heavy, heavy; sys.exit(any(codes))"
    )
    run = [sys.executable, "-c", program, str(tmp_path / "R")]
    subprocess.run(run, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


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


def test_entry_points_load_nothing_before_ctrl_c_is_handled() -> None:
    code = "import sys; before = {*sys.modules}; import jfstore.cli; print(*{*sys.modules} - before, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name for name in loaded.stdout.split() if name.startswith("jfstore")} == {
        "jfstore",
        "jfstore._version",
        "jfstore.cli",
    }


def test_help_loads_no_command() -> None:
    code = (
        "import sys; from jfstore.cli.app import main; main(['--help']);"
        "assert 'jfstore.cli.get' not in sys.modules and 'dataclasses' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
