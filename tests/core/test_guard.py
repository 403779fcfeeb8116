"""The rules of levels: what an array of any shape shows alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from jfstore.core.calib_types import CALIB_TYPES
from jfstore.core.guard import FINDINGS, check_accepted, judge_levels
from jfstore.core.records import Array
from jfstore.core.sketch import make_sketch
from jfstore.errors import BadValue
from tests.makers.arrays import GAINS, constants, darks

SHAPE = (3, 16, 32)
Change = Callable[[np.ndarray], np.ndarray]


def names_of(array: np.ndarray, calib_type: str) -> list[str]:
    """Return the findings about an array."""
    array = np.ascontiguousarray(array, "<f4")
    return [name for name, _ in judge_levels(Array(calib_type, "<f4", array.shape, "0" * 64, None, make_sketch(array)))]


def made(calib_type: str, seed: int = 0) -> np.ndarray:
    return constants(SHAPE, seed)[calib_type]


@pytest.mark.parametrize("calib_type", ["pixel_gain", "pixel_offset"])
@pytest.mark.parametrize("seed", range(20))
def test_plausible_constants_have_no_finding(calib_type: str, seed: int) -> None:
    assert names_of(made(calib_type, seed), calib_type) == []


FAULTS: dict[str, tuple[str, Change]] = {
    "every sign": ("sign", lambda gain: -gain),
    "positive gains": ("sign", abs),
    "one sign": ("sign", lambda gain: gain * np.array([1, 1, -1])[:, None, None]),
    "a tenth has the wrong sign": ("sign", lambda gain: np.where(np.arange(32) < 4, -gain, gain)),
    "in ADU/eV": ("magnitude", lambda gain: gain / 1000),
    "times 1000": ("magnitude", lambda gain: gain * 1000),
    "g0 and g1": ("ranges", lambda gain: gain[[1, 0, 2]]),
    "g0 and g2": ("ranges", lambda gain: gain[[2, 1, 0]]),
    "g1 and g2": ("ranges", lambda gain: gain[[0, 2, 1]]),
    "turned round": ("ranges", lambda gain: gain[[1, 2, 0]]),
    "offsets": ("kind", lambda gain: made("pixel_offset")),
    "one value": ("constant", lambda gain: np.full_like(gain, 41.5)),
    "the nominal gains": ("constant", lambda gain: np.ones_like(gain) * np.array(GAINS)[:, None, None]),
    "one range is one value": ("constant", lambda gain: np.stack([gain[0], gain[1], np.full_like(gain[2], -0.11)])),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_gains_are_found(fault: str) -> None:
    name, change = FAULTS[fault]
    assert names_of(change(made("pixel_gain")), "pixel_gain") == [name]


@pytest.mark.parametrize("factor", [3, 8, 1 / 8])
def test_unusual_gains_are_plausible(factor: float) -> None:
    """Gains of the high gain mode are about 100 ADU/keV and up."""
    assert names_of(made("pixel_gain") * factor, "pixel_gain") == []


def test_dead_and_hot_pixels_are_plausible() -> None:
    gain = constants((3, 64, 128))["pixel_gain"]
    gain.reshape(-1)[::300] *= -1000
    assert names_of(gain, "pixel_gain") == []


@pytest.mark.parametrize(
    ("array", "names"),
    [
        (made("pixel_gain"), ["kind"]),
        (made("pixel_offset") * 1000, ["magnitude"]),
        (np.zeros(SHAPE), ["constant"]),
        (-made("pixel_offset"), []),
        (made("pixel_offset") / 1000, []),
        (made("pixel_offset")[[0, 2, 1]], []),
        (made("pixel_offset") * np.array([0, 1, 1])[:, None, None], []),
    ],
)
def test_faults_of_offsets(array: np.ndarray, names: list[str]) -> None:
    """Without a history, offsets of either sign and of any small size are plausible."""
    assert names_of(array, "pixel_offset") == names


def test_few_pixels_are_not_constant() -> None:
    assert names_of(made("pixel_gain")[:, :1, :1], "pixel_gain") == []


def test_other_numbers_of_ranges_are_judged_by_their_limit() -> None:
    assert names_of(made("pixel_gain")[:1], "pixel_gain") == []


def test_accepted_names_are_checked() -> None:
    assert check_accepted("sign") == ("sign",)
    assert check_accepted(list(FINDINGS)) == tuple(FINDINGS)
    with pytest.raises(BadValue, match=r"'signs' is not a finding of the guard; nearest: sign"):
        check_accepted(["signs"])


# -- what a dark run gives


def judged(array: np.ndarray, calib_type: str) -> list[str]:
    """Return the findings about an array of the dtype of its type."""
    array = np.ascontiguousarray(array, CALIB_TYPES[calib_type].dtype)
    made = Array(calib_type, array.dtype.str, array.shape, "0" * 64, None, make_sketch(array))
    return [name for name, _ in judge_levels(made)]


@pytest.mark.parametrize("calib_type", ["pedestals", "pixel_rms", "pixel_status"])
@pytest.mark.parametrize("suffix", ["", "_hg0"])
@pytest.mark.parametrize("seed", range(20))
def test_plausible_darks_have_no_finding(calib_type: str, suffix: str, seed: int) -> None:
    assert judged(darks(SHAPE, seed)[calib_type], calib_type + suffix) == []


@pytest.mark.parametrize(
    ("calib_type", "array", "finding"),
    [
        ("pedestals", darks()["pixel_rms"], "kind"),
        ("pedestals", made("pixel_gain"), "kind"),
        ("pedestals", darks()["pedestals"] * 1000, "magnitude"),
        ("pedestals", darks()["pedestals"] * np.array([1, 1, 0.001], "<f4")[:, None, None], "magnitude"),
        ("pedestals", -darks()["pedestals"], "magnitude"),
        ("pedestals", np.zeros(SHAPE), "constant"),
        ("pixel_rms", darks()["pedestals"], "kind"),
        ("pixel_rms", darks()["pixel_rms"] * 1000, "kind"),
        ("pixel_rms", -darks()["pixel_rms"], "magnitude"),
        ("pixel_rms", np.zeros(SHAPE), "constant"),
        ("pixel_status", np.full(SHAPE, 2), "bad-pixels"),
        ("pixel_status", np.where(np.arange(32) < 28, 64, 0) * np.ones(SHAPE), "bad-pixels"),
        ("pixel_mask", np.zeros(SHAPE[1:]), "bad-pixels"),
    ],
)
def test_faults_of_darks_are_found(calib_type: str, array: np.ndarray, finding: str) -> None:
    assert judged(array, calib_type) == [finding]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.7])
def test_a_mask_may_leave_out_many_pixels(share: float) -> None:
    mask = np.random.default_rng(0).random(SHAPE[1:]) >= share
    assert judged(mask, "pixel_mask") == []
    assert judged(~mask * 4 * np.ones(SHAPE), "pixel_status") == []
