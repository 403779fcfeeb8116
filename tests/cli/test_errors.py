"""Wrong arguments of every kind: one line, the right exit code, nothing on stdout, nothing changed."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.core.encoding import encode_identity
from tests.makers.gains import make_gain_directory
from tests.makers.repositories import SHAPE, STAMP, A, B, C, constants, entry, new_repository, put, story, tree

ADD = f"add {A} -T {STAMP} -m why --repo test"
ADD_GAIN = f"{ADD} -t pixel_gain"
GET = f"get {A} -T {STAMP} --repo test"
GET_GAIN = f"{GET} -t pixel_gain"
ADD_AT = f"add {A} -t pixel_gain -f gain.npy -m why --repo test -T"
GET_AT = f"get {A} --repo test -T"
PROMOTE = f"promote {A}/{STAMP}/v2 -m why"
IMPORT = "import gains -m why --repo"

USAGE = [
    "gte",
    "-x",
    "--bogus list",
    "list --bogus",
    "list --jso",
    "list --version",
    "list --repo",
    "--repo",
    "get",
    "get -T",
    f"get {A} -T",
    f"{GET} -t",
    f"{GET} -f",
    f"{GET} -v",
    f"{GET} --as-of",
    f"get {A} --repo test",
    f"get {A} {B} -T {STAMP} --repo test",
    f"get {A} -d {A} -T {STAMP} --repo test",
    f"get -T {STAMP} --repo test",
    "init",
    "init a b --role test",
    "init x --role",
    "init x --role tset",
    "show",
    f"show {A}/{STAMP}/v1 {A}/{STAMP}/v2 --repo test",
    "history extra --repo test",
    "verify test",
    "promote -m why --from test --repo real",
    f"{PROMOTE} --repo real --yes",
    f"promote {A}/{STAMP}/v2 --from test --repo real",
    "import -m why --repo test",
    "import gains --repo test",
    f"import gains {A} -m x --repo test",
    f"add {A} -T {STAMP} -f M --repo test",
    f"add {A} -T {STAMP} -m why --repo test",
    f"add {A} -f M -m why --repo test",
    f"add -T {STAMP} -f M -m why --repo test",
    "demo a b",
]
"""Commands and options that are unknown, missing, twice or without their value: exit code 2."""

TABLE = [
    # Times.
    (2, f"{GET_AT} 2018030600000", "13 digits"),
    (2, f"{ADD_AT} 2018030600000", "13 digits"),
    (2, f"{GET_AT} 201803060000000", "15 digits"),
    (2, f"{GET_AT} 20180306", "20180306000000"),
    (2, f"{GET_AT} 2018-03-06", "20180306000000"),
    (2, f"{GET_AT} 2018-03-06T00:00:00", "zone"),
    (2, f"{GET_AT} 20181306000000", "not a date"),
    (2, f"{GET_AT} 20180231000000", "not a date"),
    (2, f"{ADD_AT} 20180306240000", "not a date"),
    (2, f"{ADD_AT} 20180306006000", "not a date"),
    (2, f"{GET_AT} 2018-02-30T00:00:00Z", "not a date"),
    (2, f"{GET_AT} 2018-03-06T00:00:00+99:00", "not a date"),
    (2, f"{ADD_AT} 20180311023000", "skipped"),
    (2, f"{GET_AT} 20180311023000", "skipped"),
    (2, f"{GET_AT} 19690101000000", "1970"),
    (2, f"{GET_AT} 22620101000000", "2261"),
    (2, f"{GET_AT} yesterday", "not a time"),
    (2, f"{GET_AT} ''", "not a time"),
    (2, f"{GET_AT} 1520323200000", "13 digits"),
    (2, f"{GET_AT} ' 20180306000000'", "not a time"),
    (2, f"{GET_AT} \uff12\uff10\uff11\uff18\uff10\uff13\uff10\uff16\uff10\uff10\uff10\uff10\uff10\uff10", "not a time"),
    (2, f"{GET_AT} -20180306000000", ""),
    (2, f"{ADD_AT} 2018-03-06T00:00:00.5-08:00", "whole seconds"),
    (2, "list -T 2018030600000 --repo test", "13 digits"),
    # Values of another option.
    (2, f"get {A} --repo test -t {STAMP} -T pixel_gain", f"-T {STAMP}"),
    (2, f"get {A} --repo test -T pixel_gain", "-t pixel_gain"),
    (2, f"add {A} -t {STAMP} -f gain.npy -m why --repo test -T {STAMP}", f"-T {STAMP}"),
    (2, f"{GET} -v {STAMP}", f"-T {STAMP}"),
    (2, f"get {A}-{STAMP} -T {STAMP} --repo test", f"{A} -T {STAMP}"),
    # Types and numbers.
    (2, f"{GET} -t pixel_gian", "pixel_gain"),
    (2, f"{GET} -t PIXEL_GAIN", "pixel_gain"),
    (2, f"{GET} -t ''", "pixel_gain"),
    (2, "list -t gain --repo test", "pixel_gain"),
    (2, f"{GET} -v 0", "not a version number"),
    (2, f"{GET} -v -1", ""),
    (2, f"{GET} -v one", "not a version number"),
    (2, f"{GET} -v 1.0", "not a version number"),
    (3, f"{GET_GAIN} -v 3", "v1, v2"),
    (2, f"get {B}_{C} -T {STAMP} -t pixel_gain -v 1 --repo test", "one panel"),
    # Panels and detectors.
    (2, f"get M044 -T {STAMP} --repo test", "not a panel Id"),
    (2, f"get '' -T {STAMP} --repo test", "panel Id"),
    (2, f"get -- --- -T {STAMP} --repo test", ""),
    (2, f"get 171113-154920171025-xyz -T {STAMP} --repo test", "not a hexadecimal number"),
    (2, f"get 1-2-10000000000000000 -T {STAMP} --repo test", "64 bits"),
    (2, f"get 1-2-3-4 -T {STAMP} --repo test", "not a panel Id"),
    (2, f"get {A}_ -T {STAMP} --repo test", "panel Id"),
    (2, f"get {A}__{B} -T {STAMP} --repo test", "panel Id"),
    (2, f"get {A}_{A} -T {STAMP} --repo test", "twice"),
    (2, f"get {A}_{A.upper()} -T {STAMP} --repo test", "twice"),
    (2, f"add {B}_{B} -T {STAMP} -t pixel_gain -f pair.npy -m why --repo test", "twice"),
    (2, f"get 154920171025-3d0038 -T {STAMP} --repo ambiguous", "1-154920171025-3d0038, 2-154920171025-3d0038"),
    (3, f"get 2-3d00fb -T {STAMP} --repo test", "2-3d00fb"),
    (3, f"get {A[:-1]}c -T {STAMP} --repo test", A),
    (3, f"get {A}_1-2-3 -T {STAMP} --repo test", "1-2-3"),
    (3, f"{GET_AT} 20180305235959", STAMP),
    (3, f"{GET_AT} 00000000000000", STAMP),
    # As of.
    (2, f"{GET} --as-of 5", "beyond the last commit, 4"),
    (2, f"{GET} --as-of 2099-01-01T00:00:00Z", "future"),
    (2, f"{GET} --as-of -1", ""),
    (2, f"{GET} --as-of first", "not a time"),
    (3, f"{GET} --as-of 0", A),
    (3, f"get {B} -T {STAMP} --repo test --as-of 1", B),
    # Output.
    (5, f"{GET_GAIN} -f there.npy", "--force"),
    (2, f"{GET_GAIN} -f plain/", ".npy"),
    (5, f"{GET_GAIN} -f directory.npy", "--force"),
    (1, f"{GET_GAIN} -f nowhere/out.npy", "nowhere"),
    (1, f"{GET_GAIN} -f directory.npy --force", "directory.npy"),
    (1, f"{GET_GAIN} -f file.txt/out.npy", "file.txt"),
    (2, f"{GET} -f out.npy", "-t"),
    (2, f"{GET} -f -", "-t"),
    (2, f"{GET_GAIN} -t pixel_offset -f out.npy", "-t"),
    (2, f"{GET_GAIN} -f out.csv", ".npy"),
    (2, f"{GET} -f out.txt", "-t"),
    (2, f"{GET_GAIN} -f out.npy --format %.4f", "text"),
    (2, f"{GET_GAIN} -f out.txt --format %s", "%.4f"),
    (2, f"{GET_GAIN} -f ''", ""),
    # Files to add.
    (2, f"{ADD} -f nowhere", "nowhere"),
    (2, f"{ADD} -f file.txt", "file.txt"),
    (2, f"{ADD} -f gain.npy", "-t"),
    (2, f"{ADD_GAIN} -f nowhere.npy", "nowhere.npy"),
    (2, f"{ADD_GAIN} -f M", "directory"),
    (2, f"{ADD_GAIN} -f ''", ""),
    (2, f"{ADD_GAIN} -f file.txt", "file.txt"),
    (2, f"{ADD_GAIN} -f empty.npy", "not an .npy file"),
    (2, f"{ADD_GAIN} -f pickle.npy", "pickle.npy"),
    (2, f"{ADD_GAIN} -f short.npy", "promises"),
    (2, f"{ADD_GAIN} -f long.npy", "promises"),
    (2, f"{ADD_GAIN} -f integers.npy", "int32"),
    (2, f"{ADD_GAIN} -f complex.npy", "complex64"),
    (2, f"{ADD_GAIN} -f half.npy", "float16"),
    (2, f"{ADD_GAIN} -f nan.npy", "finite"),
    (2, f"{ADD_GAIN} -f infinite.npy", "finite"),
    (2, f"{ADD_GAIN} -f huge.npy", "finite"),
    (2, f"{ADD_GAIN} -f zero.npy", "zero"),
    (2, f"{ADD_GAIN} -f flat.npy", "(96,)"),
    (2, f"{ADD_GAIN} -f turned.npy", "(3, 8, 4)"),
    (2, f"{ADD_GAIN} -f pair.npy", "(3, 2, 4, 8)"),
    (2, f"add {B}_{C} -T {STAMP} -t pixel_gain -f gain.npy -m why --repo test", "(3, 4, 8)"),
    (2, f"add {B}_{C} -T {STAMP} -f M -m why --repo test", "one panel"),
    (2, f"{ADD} -f incomplete", "g1_gain.npy"),
    (2, f"{ADD} -f M -f M", "-t"),
    (2, f"{ADD_GAIN} -t pixel_gain -f gain.npy -f gain.npy", "twice"),
    (2, f"{ADD_GAIN} -t pixel_offset -f gain.npy", "-t"),
    # Messages and requests.
    (2, f"add {A} -T {STAMP} -f M --repo test -m ''", "message"),
    (2, f"add {A} -T {STAMP} -f M --repo test -m '  '", "message"),
    (2, f"{ADD} -f M --request 123", "32 hexadecimal"),
    (2, f"{ADD} -f M --request {'Z' * 32}", "32 hexadecimal"),
    # Repositories.
    (2, f"add {A} -T {STAMP} -f M -m why", "--repo"),
    (2, "import gains -m why", "--repo"),
    (2, f"{PROMOTE} --from test --yes", "--repo"),
    (2, f"add {A} -T {STAMP} -f M -m why --repo ''", "--repo"),
    (2, "list --repo ''", "--repo"),
    (2, f"get {A} -T {STAMP} --repo ''", "--repo"),
    (2, "history --repo tset", "test"),
    (2, "history --repo https://example.org/R", "s3://"),
    (1, "history --repo ./nowhere", "nowhere"),
    (1, "history --repo ./file.txt", "file.txt"),
    (5, "history --repo ./plain", "init"),
    (5, "verify --repo ./plain", "init"),
    (5, "history --repo ./newer", "newer"),
    (5, f"{ADD} -f M --repo real", "--yes"),
    (5, f"{IMPORT} real", "--yes"),
    (5, f"{PROMOTE} --from test --repo real", "--yes"),
    (5, f"{PROMOTE} --from test --repo test", "same repository"),
    (5, f"{PROMOTE} --from test --repo ./utc", "zone"),
    (5, f"{PROMOTE} --from test --repo ./small", "panel_shape"),
    (1, f"{PROMOTE} --from ./nowhere --repo real --yes", "nowhere"),
    (2, f"{PROMOTE} --from '' --repo real --yes", ""),
    # Names of versions.
    (2, f"show {A} --repo test", "not a version"),
    (2, f"show {A}/{STAMP} --repo test", "not a version"),
    (2, f"show {A}/{STAMP}/2 --repo test", "not a version"),
    (2, f"show {A}/{STAMP}/v0 --repo test", "not a version"),
    (2, f"show {A}/2018030600000/v1 --repo test", "not a version"),
    (2, f"show {A}/{STAMP}/v1/ --repo test", "not a version"),
    (2, "show '' --repo test", "not a version"),
    (3, f"show {A}/{STAMP}/v9 --repo test", f"{A}/{STAMP}/v2"),
    (3, f"show {A}/20180307000000/v1 --repo test", f"{A}/{STAMP}/v1"),
    (3, f"promote {A}/{STAMP}/v9 -m why --from test --repo real --yes", f"{A}/{STAMP}/v2"),
    # Trees and new repositories.
    (2, "import nowhere -m why --repo test", "nowhere"),
    (4, "import file.txt -m why --repo test", "file.txt"),
    (2, "init new", "--role"),
    (2, "init test --role real", "role"),
    (2, "init new --role test --shape 512x1024", "3x512x1024"),
    (2, "init new --role test --shape 3x0x4", ""),
    (2, "init new --role test --shape 3x-1x4", "3x512x1024"),
    (2, "init new --role test --zone Mars/Olympus", "IANA"),
    (2, "init new --role test --detector ../x", "detector"),
    (5, "init test", "already"),
    (5, "init ./file.txt --role test", "not a directory"),
    (1, "init ./no/where --role test", "no"),
    (1, "demo no/where", "no"),
    (5, "demo plain", "another directory"),
]
"""Exit code, command, and what its error says."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("world")
    story(path / "test")
    new_repository(path / "real", "real")
    new_repository(path / "small", shape=(3, 2, 2))
    jfstore.init(str(path / "utc"), "test", panel_shape=SHAPE, zone="UTC")
    ambiguous = new_repository(path / "ambiguous")
    ambiguous.add_entries([entry(f"{module}-154920171025-3d0038") for module in (1, 2)], "two that end alike")
    newer = new_repository(path / "newer")
    put(path / "newer" / "repository.json", encode_identity(replace(newer.identity, format=2)))
    for name in ("plain", "directory.npy", "gains"):
        (path / name).mkdir()
    for name in ("file.txt", "there.npy", "plain/mine"):
        (path / name).write_text("text\n")
    (path / "empty.npy").touch()
    make_gain_directory(path / "M", SHAPE)
    make_gain_directory(path / "incomplete", SHAPE)
    (path / "incomplete" / "g1_gain.npy").unlink()
    gain = constants(1)
    bad = {"nan": np.nan, "infinite": np.inf, "zero": 0.0}
    arrays = {name: np.where(np.arange(gain.size).reshape(SHAPE) == 50, value, gain) for name, value in bad.items()}
    arrays |= {"gain": gain, "pair": np.stack([gain, gain], 1), "turned": gain.swapaxes(1, 2), "flat": gain.ravel()}
    arrays |= {"integers": gain.astype("<i4"), "complex": gain.astype("<c8"), "half": gain.astype("<f2")}
    arrays |= {"huge": gain.astype("<f8") * 1e39}
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array, allow_pickle=False)
    np.save(path / "pickle.npy", np.array([{}, None]), allow_pickle=True)
    whole = (path / "gain.npy").read_bytes()
    (path / "short.npy").write_bytes(whole[:-1])
    (path / "long.npy").write_bytes(whole + b"\0")
    return path


@pytest.fixture(autouse=True)
def read_names(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    for role in ("test", "real"):
        monkeypatch.setenv(f"JFSTORE_{role.upper()}", str(world / role))
    config = world.parent / "config" / "jfstore"
    config.mkdir(parents=True, exist_ok=True)
    (config / "config.toml").write_text(f'[repositories]\nambiguous = "{world / "ambiguous"}"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config.parent))


def files() -> dict[str, object]:
    """Return everything here but the times of directories, in which a temporary file may have come and gone."""
    return {name: state if state[2] is not None else state[0] for name, state in tree(Path()).items()}


def failure(capsys: pytest.CaptureFixture[str], words: list[str]) -> tuple[int, str, str]:
    """Run a command that must change nothing; return exit code, standard output and the line of the error."""
    before = files()
    code = main(words)
    out, err = capsys.readouterr()
    *warnings, line = err.splitlines()
    assert all(text.startswith("jfstore: warning: ") for text in warnings)
    assert line.startswith("jfstore: error: ")
    assert "Traceback" not in err
    assert files() == before
    return code, out, line


@pytest.mark.parametrize("command", USAGE)
def test_wrong_usage(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = failure(capsys, shlex.split(command))
    assert (code, out) == (2, "")


@pytest.mark.parametrize(("expected", "command", "said"), TABLE, ids=[command for _, command, _ in TABLE])
def test_wrong_value(expected: int, command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, line = failure(capsys, shlex.split(command))
    assert (code, out) == (expected, "")
    assert said in line


HOSTILE = ["\udcff", "\x1b[31mred", "two\nlines", "a\rb", "tab\tbed", "bell\a", "\x7f", "%s%n{0}", "x" * 300]
PLACES = {
    "command": ["{}"],
    "option": ["list", "--{}"],
    "panel": ["get", "{}", "-T", STAMP, "--repo", "test"],
    "time": ["get", A, "-T", "{}", "--repo", "test"],
    "type": ["get", A, "-T", STAMP, "-t", "{}", "--repo", "test"],
    "number": ["get", A, "-T", STAMP, "-v", "{}", "--repo", "test"],
    "as of": ["get", A, "-T", STAMP, "--as-of", "{}", "--repo", "test"],
    "output": ["get", A, "-T", STAMP, "-t", "pixel_gain", "-f", "no{}where/out.npy", "--repo", "test"],
    "name": ["history", "--repo", "{}"],
    "path": ["history", "--repo", "./{}"],
    "version": ["show", "{}", "--repo", "test"],
    "file": ["add", A, "-T", STAMP, "-t", "pixel_gain", "-f", "{}", "-m", "why", "--repo", "test"],
    "request": ["add", A, "-T", STAMP, "-f", "M", "-m", "why", "--request", "{}", "--repo", "test"],
    "tree": ["import", "./{}", "-m", "why", "--repo", "test"],
    "role": ["init", "new", "--role", "{}"],
    "zone": ["init", "new", "--role", "test", "--zone", "{}"],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_is_one_printable_line(place: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, line = failure(capsys, [word.replace("{}", text) for word in PLACES[place]])
    assert code in (1, 2)
    assert out == ""
    assert line.isprintable()


@pytest.mark.parametrize("message", ["\udcff", "nul\0", "x" * 70000], ids=["not UTF-8", "NUL", "too long"])
def test_a_message_must_be_clean_text(message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, line = failure(capsys, ["add", A, "-T", STAMP, "-f", "M", "--repo", "test", "-m", message])
    assert (code, out) == (2, "")
    assert "message" in line or "NUL" in line


@pytest.mark.parametrize(("role", "other"), [("test", "real"), ("real", "test")])
def test_a_name_refuses_a_repository_of_the_other_role(
    role: str, other: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"JFSTORE_{role.upper()}", other)
    for words in (f"history --repo {role}", f"{ADD} -f M --repo {role} --yes", "list"):
        code, out, line = failure(capsys, shlex.split(words))
        assert (code, out) == (5, "")
        assert f"that is a {other} repository" in line


@pytest.mark.parametrize("role", ["test", "real"])
def test_a_missing_directory_names_path_and_variable(
    role: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"JFSTORE_{role.upper()}", "/no/such/place")
    for command in (f"history --repo {role}", f"get {A} -T {STAMP} --repo {role}", f"{ADD} -f M --repo {role} --yes"):
        code, out, line = failure(capsys, shlex.split(command))
        assert (code, out) == (1, "")
        assert "/no/such/place" in line
        assert f"JFSTORE_{role.upper()}" in line


FAILURES = [(2, command) for command in USAGE if command != "demo a b"]
FAILURES += [(code, command) for code, command, _ in TABLE if not command.startswith(("demo", "get -- "))]


@pytest.mark.parametrize(("expected", "command"), FAILURES, ids=[command for _, command in FAILURES])
def test_a_failure_as_json(expected: int, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)
    if words and words[-1] in ("-T", "-t", "-f", "-v", "--as-of", "--repo", "--role"):
        words.insert(len(words) - 1, "--json")
    else:
        words.append("--json")
    code, out, line = failure(capsys, words)
    value = json.loads(out)
    kinds = {1: "failed", 2: "bad_value", 3: "not_found", 4: "damaged", 5: "refused"}
    assert code == expected
    assert list(value) == ["error"]
    assert list(value["error"]) == ["code", "kind", "message", "nearest"]
    assert (value["error"]["code"], value["error"]["kind"]) == (expected, kinds[expected])
    assert line.startswith(f"jfstore: error: {value['error']['message']}".split("\n")[0][:40])
    assert isinstance(value["error"]["nearest"], list)


def test_the_bare_command_prints_its_help_as_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0]) == (
        "",
        "usage: jfstore [-h] [--version] [--repo NAME|PATH|URL] [--json] COMMAND ...",
    )


@pytest.mark.parametrize("words", [["help"], ["--help"], ["help", "get"], ["get", "--help"], ["get", "x", "-t", "-h"]])
def test_help_is_printed_as_data(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("usage: jfstore get" if "get" in words else "usage: jfstore [-h]")


@pytest.mark.parametrize(("word", "hint"), [("delete", "ever deleted"), ("undo", "ever deleted"), ("compare", "list")])
def test_a_command_that_people_try_gets_an_honest_hint(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, line = failure(capsys, [word, "x"])
    assert code == 2
    assert hint in line
    assert "deploy" not in line


@pytest.mark.parametrize(
    "words",
    [
        ["mirror", "./nosuch", "--storage", "zarr", "DST"],
        ["list", A, "-t", "pixel_gain", B, "--repo", "./nosuch"],
        ["promote", f"{A}/20180306000000/v1", "--from", "./nosuch", f"{B}/20180306000000/v1", "-m", "x"],
        ["--repo", "./nosuch", "get", A, "-T", "now"],
        ["--repo=./nosuch", "--json", "verify"],
    ],
    ids=" ".join,
)
def test_options_may_stand_between_arguments_and_before_the_command(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(words)
    assert "nosuch" in capsys.readouterr().err
    assert code == 1
