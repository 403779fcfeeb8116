"""Panels as three generators imagine them: two to set the thresholds of the guard, the third one to test them.

Each generator has panels that differ from each other and last, measurements of a panel that differ a little, and bad
pixels. They share no structure, so that thresholds that were set with the first two are not made to fit the third.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

Shape = tuple[int, int]
Array = np.ndarray

LEVELS = {"pixel_gain": (41.5, -1.39, -0.11), "pixel_offset": (0.01, 300.0, 50.0)}


class Panel(ABC):
    """One panel and its constants of a calibration type; the same seed is the same panel."""

    def __init__(self, seed: int, calib_type: str, shape: Shape) -> None:
        self.seed, self.calib_type, self.shape = seed, calib_type, shape
        self.truth = self._make(np.random.default_rng([seed, len(calib_type)]))

    @abstractmethod
    def _make(self, random: np.random.Generator) -> Array:
        """Return the constants without noise, float32 of shape (gain, row, column)."""

    @abstractmethod
    def measure(self, number: int) -> Array:
        """Return measurement `number` of the panel, float32 of shape (gain, row, column)."""

    def _random(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, len(self.calib_type), 1, number])


class AsicPanel(Panel):
    """Levels of ASICs, slopes and columns along them that all panels share in part, and normal noise."""

    def _make(self, random: np.random.Generator) -> Array:
        rows, columns = self.shape
        common = np.random.default_rng(7).normal(0, 1, columns).astype("<f4")
        out = np.empty((3, rows, columns), "<f4")
        for gain, level in enumerate(LEVELS[self.calib_type]):
            pixels = random.uniform(0.005, 0.03)
            asics = random.normal(0, random.uniform(0.2, 2) * pixels, (rows // 256, columns // 256))
            slope = np.linspace(-1, 1, 256) * pixels * random.uniform(-1, 1)
            field = np.kron(asics, np.ones((256, 256))) + np.tile(slope, columns // 256)
            field += pixels * (0.3 * common + 0.3 * random.normal(0, 1, columns))
            field = field + pixels * random.standard_normal((rows, columns), "f4")
            spread = 1.0 if self.calib_type == "pixel_gain" else random.uniform(1, 10)
            out[gain] = level * random.normal(1, 0.03) * (1 + spread * field)
        self.pixels = pixels
        return out

    def measure(self, number: int) -> Array:
        random, (rows, columns) = self._random(number), self.shape
        out = self.truth.copy()
        for gain in out:
            drift = random.normal(random.normal(0, 0.01), 0.01, (rows // 256, columns // 256))
            noise = random.uniform(0.05, 0.7) * _spread_of(gain)
            gain *= 1 + np.kron(drift, np.ones((256, 256))).astype("<f4")
            gain += noise * random.standard_normal(gain.shape, "f4")
            bad = random.random(gain.shape) < random.uniform(0, 0.004)
            gain[bad] *= random.choice(np.array([1e-3, -1, 3, 100], "<f4"), int(bad.sum()))
        return _without_zeros(out)


class WavePanel(Panel):
    """Smooth waves over the panel, distance from a centre, rows, and pixels with long tails."""

    def _make(self, random: np.random.Generator) -> Array:
        rows, columns = self.shape
        y, x = np.mgrid[-1 : 1 : rows * 1j, -2 : 2 : columns * 1j].astype("f4")
        out = np.empty((3, rows, columns), "<f4")
        for gain, level in enumerate(LEVELS[self.calib_type]):
            waves = np.zeros(self.shape, "f4")
            for _ in range(4):
                a, b, phase = random.normal(0, 4), random.normal(0, 4), random.uniform(0, 6.28)
                waves += np.sin(a * x + b * y + phase, dtype="f4")
            centre = random.uniform(-0.5, 0.5, 2)
            radius = np.hypot(y - centre[0], x - centre[1])
            lines = np.repeat(random.laplace(0, 1, (rows, max(columns // 512, 1))), 512, axis=1)[:, :columns]
            tails = random.standard_t(4, self.shape).astype("f4") if gain else random.gamma(4, 0.5, self.shape)
            weight = random.uniform(0.1, 1.5, 3)
            field = weight[0] * waves + weight[1] * radius + 0.4 * weight[2] * lines + tails
            width = random.lognormal(-4.4, 0.5) * (1 if self.calib_type == "pixel_gain" else random.uniform(1, 8))
            out[gain] = level * random.uniform(0.93, 1.07) * (1 + width * field)
        return out

    def measure(self, number: int) -> Array:
        random = self._random(number)
        rows, columns = self.shape
        out = self.truth.copy()
        for gain in out:
            own = _spread_of(gain)
            tilt = np.linspace(-1, 1, rows, dtype="f4")[:, None] * np.float32(random.normal(0, 0.015))
            gain *= np.float32(random.uniform(0.97, 1.03)) * (1 + tilt)
            size = own * random.uniform(0.1, 0.5)
            gain += (size * random.laplace(0, 0.7, gain.shape)).astype("f4")
            gain += (0.3 * size * random.standard_normal((rows, 1))).astype("f4")
            count = int(gain.size * random.uniform(0, 0.003))
            places = random.integers(0, gain.size, count)
            gain.reshape(-1)[places] = random.normal(0, 1000, count)
            if random.random() < 0.3:  # a dead column, as long as an ASIC
                column = int(random.integers(columns))
                gain[: min(256, rows), column] = random.normal(0, 0.01)
        return _without_zeros(out)


class ClusterPanel(Panel):
    """Noise of all wavelengths, rows times columns, quarters of their own levels, and clusters of bad pixels."""

    def _make(self, random: np.random.Generator) -> Array:
        rows, columns = self.shape
        frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
        frequency[0, 0] = np.inf
        out = np.empty((3, rows, columns), "<f4")
        for gain, level in enumerate(LEVELS[self.calib_type]):
            white = random.standard_normal((rows, columns), "f4")
            colour = np.fft.irfft2(np.fft.rfft2(white) / frequency ** random.uniform(0.1, 0.6), s=(rows, columns))
            product = 1 + 0.5 * np.outer(random.normal(0, 1, rows), random.normal(0, 1, columns))
            field = colour / colour.std() + random.uniform(0, 0.4) * product
            quarter = np.kron(random.exponential(1.0, (2, 4)), np.ones((rows // 2, columns // 4)))
            width = 10 ** random.uniform(-2.3, -1.6) * (1 if self.calib_type == "pixel_gain" else random.uniform(1, 6))
            out[gain] = level * (1 + width * (field + random.uniform(0, 2) * quarter))
        return out

    def measure(self, number: int) -> Array:
        random = self._random(number)
        rows, columns = self.shape
        out = self.truth.copy()
        temperature = random.normal(0, 0.02)
        for gain in out:
            size = _spread_of(gain) * random.uniform(0.05, 0.6)
            gain *= np.float32(1 + temperature * random.uniform(0.5, 1.5))
            gain *= (1 + random.normal(0, 0.004, (1, columns))).astype("f4")
            gain += (size * random.uniform(-1.7, 1.7, gain.shape)).astype("f4")
            for _ in range(int(random.integers(0, 12))):
                row, column = int(random.integers(rows - 8)), int(random.integers(columns - 8))
                gain[row : row + 8, column : column + 8] *= np.float32(random.choice([-5.0, 0.01, 40.0]))
            places = random.integers(0, gain.size, gain.size // 1000)
            gain.reshape(-1)[places] = gain.reshape(-1)[::-1][places] * random.standard_cauchy(len(places)).astype("f4")
        return _without_zeros(out)


def _spread_of(values: Array) -> float:
    """Return the robust deviation of neighbouring pixels from each other."""
    steps = np.diff(values.reshape(-1)[::7])
    return float(np.median(np.abs(steps))) / 0.6745 / 2**0.5


def _without_zeros(values: Array) -> Array:
    values[values == 0] = 1e-6
    return values
