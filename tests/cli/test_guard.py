"""The guard at ``add``, ``import`` and ``promote``: what it refuses, and how a finding is accepted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import jfstore
from jfstore.cli.app import main
from jfstore.repository import Repository
from tests.makers.arrays import GAINS
from tests.makers.gains import make_gain_directory
from tests.makers.repositories import SHAPE, STAMP, A, B, C, constants, log_names, new_repository, tree

TURNED = -constants(1)
NOMINAL = np.ones(SHAPE, "<f4") * np.array(GAINS, "<f4")[:, None, None]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    np.save("turned.npy", TURNED)
    np.save("both.npy", np.stack([TURNED, TURNED], axis=1))
    np.save("half.npy", np.stack([constants(1), TURNED], axis=1))
    return new_repository(tmp_path / "R")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    return (code, *capsys.readouterr())


def add(detector: str, file: str, *more: str) -> list[str]:
    return ["add", detector, "-T", STAMP, "-t", "pixel_gain", "-f", file, "-m", "why", "--repo", "./R", *more]


def test_a_finding_refuses_and_says_what_to_type(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(Path("R"))
    code, out, err = run(capsys, *add(A, "turned.npy"))
    assert (code, out, tree(Path("R"))) == (5, "", before)
    assert err.startswith("jfstore: error: the guard refuses this: sign (values of a gain range have the wrong sign): ")
    assert f"pixel_gain of {A}: medians are -" in err
    assert err.endswith("If it is right, add --accept sign\n")
    assert run(capsys, *add(A, "turned.npy", "--dry-run"))[0] == 5
    code, out, _ = run(capsys, *add(A, "turned.npy", "--json"))
    (finding,) = json.loads(out)["error"]["findings"]
    assert (finding["name"], finding["panel"], finding["type"]) == ("sign", A, "pixel_gain")
    assert tree(Path("R")) == before


def test_an_accepted_finding_is_in_the_commit(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, *add(A, "turned.npy", "--accept", "magnitude"))[0] == 5
    assert run(capsys, *add(A, "turned.npy", "--accept", "magnitude", "--accept", "sign"))[0] == 0
    assert repository.commit(1).accepted == ("sign",)
    # What holds already is not judged again.
    code, out, _ = run(capsys, *add(A, "turned.npy"))
    assert (code, out.splitlines()[1].split("\t")[0]) == (0, "unchanged")


def test_an_unknown_finding_is_a_bad_value(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, *add(A, "turned.npy", "--accept", "signs"))
    assert (code, "nearest: sign" in err) == (2, True)


def test_findings_of_all_panels_are_reported_at_once(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, err = run(capsys, *add(f"{B}_{C}", "both.npy"))
    assert err.count("sign (") == err.count(B) == err.count(C) == 1
    code, _, err = run(capsys, *add(f"{B}_{C}", "half.npy"))
    assert (code, B in err, C in err) == (5, False, True)
    assert log_names(repository) == []
    # The panel before the first finding may be stored as a file, but no version refers to it.
    assert jfstore.verify(repository).problems == ()


def test_import_and_promotion(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{A}-{STAMP}"
    Path("T").mkdir()
    for gain, values in enumerate(make_gain_directory(Path(f"T/{name}"), SHAPE)["pixel_gain"]):
        np.save(f"T/{name}/g{gain}_gain.npy", -values)
    words = ["import", "T", "-m", "why", "--repo", "./R"]
    code, _, err = run(capsys, *words)
    assert (code, "sign (" in err, log_names(repository)) == (5, True, [])
    assert run(capsys, *words, "--accept", "sign")[0] == 0
    assert run(capsys, *words)[0] == 0
    # What was accepted in the test repository is accepted in the real one.
    new_repository(Path("S").absolute(), "real")
    words = ["promote", f"{A}/{STAMP}/v1", "--from", "./R", "--repo", "./S", "-m", "checked", "--yes"]
    assert run(capsys, *words)[0] == 0
    assert jfstore.open("./S").commit(1).accepted == ("sign",)


def test_a_filled_array_needs_one_accepted_finding(repository: Repository) -> None:
    for values in (NOMINAL, np.ones(SHAPE, "<f4")):
        with pytest.raises(jfstore.Refused, match=r"constant .*: all values of each range are equal") as caught:
            repository.add(A, STAMP, {"pixel_gain": values}, "fill")
        assert "--accept constant" in str(caught.value)
        repository.add(A, STAMP, {"pixel_gain": values, "pixel_offset": 0 * values}, "fill", accept="constant")
    assert repository.commit(2).accepted == ("constant",)


def test_a_withdrawn_mistake_is_judged_again(repository: Repository) -> None:
    repository.add(A, STAMP, {"pixel_gain": TURNED}, "wrong", accept=["sign"])
    repository.withdraw(f"{A}/{STAMP}/v1", "signs")
    with pytest.raises(jfstore.Refused, match="sign"):
        repository.add(A, STAMP, {"pixel_gain": TURNED}, "again")


def test_a_repeated_request_is_not_judged(repository: Repository) -> None:
    request = "0" * 32
    repository.add(A, STAMP, {"pixel_gain": TURNED}, "wrong", accept=["sign"], request=request)
    assert repository.add(A, STAMP, {"pixel_gain": TURNED}, "wrong", request=request).seq == 1
