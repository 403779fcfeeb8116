"""Identify files of unknown origin: which version of which panel each array holds, and how it was changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.comparing import Relation, check_guess
from jfstore.core.hashing import digest
from jfstore.core.ids import resolve_detector
from jfstore.core.layout import Layout, find_panels
from jfstore.core.likeness import Guess
from jfstore.core.records import DTYPES, Version
from jfstore.core.sketch import find_block_means
from jfstore.core.validity import find_withdrawn
from jfstore.errors import BadValue, JfstoreError, NotFound
from jfstore.formats.any_file import FileArray, read_any
from jfstore.repository.panel_order import describe_order
from jfstore.repository.sketches import StoredSketches

if TYPE_CHECKING:
    from jfstore.repository.reading import ReadableRepository
    from jfstore.repository.repository import Repository

_KEEP = 5
_WORTH_READING = 0.9
_RESEMBLES = 0.7
_WITHOUT_LIMIT = 64
"""So many arrays without a sketch are read for each array that no sketch resembles."""

Hit = tuple[Version, str, Relation]
"""A version, the calibration type of its array, and how an array follows from that."""


@dataclass(frozen=True, slots=True)
class IdentifiedPanel:
    """What one panel of an array is.

    Attributes
    ----------
    number : int
        The panel's place in the array, from 0.
    type : str or None
        Calibration type of the stored array; None if nothing stored is like it.
    versions : tuple of str
        Names of the versions that hold it, the most likely first; empty if nothing stored is like it.
    relation : Relation or None
        How the values follow from the stored ones; ``str`` of it says so in words.
    nearest : str or None
        Of an array that is not a copy, the version that it resembles most, if it resembles one at all.
    explained : float
        How much of the variation of the array that version explains, from 0 to 1.
    """

    number: int
    type: str | None = None
    versions: tuple[str, ...] = ()
    relation: Relation | None = None
    nearest: str | None = None
    explained: float = 0.0


@dataclass(frozen=True, slots=True)
class IdentifiedArray:
    """What an array of a file is.

    Attributes
    ----------
    name : str
        Path of the dataset in an HDF5 file; empty if the file is one array.
    shape : tuple of int
        Its shape as the file has it.
    panels : tuple of IdentifiedPanel
        Its panels; empty if its shape is not that of panels of the repository.
    order : str
        What is odd about the order of the panels; empty if nothing is.
    left_out : int
        Maps of the high gain that were not compared.
    """

    name: str
    shape: tuple[int, ...]
    panels: tuple[IdentifiedPanel, ...]
    order: str = ""
    left_out: int = 0

    @property
    def is_identified(self) -> bool:
        """Whether a version is known for every panel."""
        return bool(self.panels) and all(panel.versions for panel in self.panels)


@dataclass(frozen=True, slots=True)
class Identified:
    """What a file is: its arrays, and notes on what could not be compared."""

    path: str
    arrays: tuple[IdentifiedArray, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_identified(self) -> bool:
        """Whether a version is known for every panel of every array."""
        return all(array.is_identified for array in self.arrays)


def identify(
    path: str | os.PathLike[str],
    *,
    repo: str | os.PathLike[str] | Repository = "real",
    detector: str | None = None,
) -> Identified:
    """Identify a file: which version of which panel it holds, exactly, rounded, multiplied, or in another order.

    Parameters
    ----------
    path : path
        An .npy file, a text of psana, an HDF5 file, or the plain values of PSI's gain maps.
    repo : str or Repository
        Name or path of the repository, or the repository.
    detector : str, optional
        Detector Id that the file should hold, to check the order of its panels.

    Raises
    ------
    BadValue
        If the file is not one of arrays, or the detector Id is not one.
    """
    from jfstore.repository.catalogue import open_repository
    from jfstore.repository.repository import Repository

    repository = repo if isinstance(repo, Repository) else open_repository(repo)
    return repository.identify(path, detector=detector)


class Identifier:
    """Identifies files with one repository, whose sketches are read once, when the first file needs them."""

    def __init__(self, repository: ReadableRepository) -> None:
        self._repository = repository
        self._table = repository.log.table()
        self._withdrawn = find_withdrawn(self._table)
        self._notes: dict[str, None] = {}

    @cached_property
    def _sketches(self) -> StoredSketches:
        return StoredSketches(self._repository)

    def identify(self, path: str | os.PathLike[str], detector: str | None = None) -> Identified:
        """Identify a file; parameters and errors as for `jfstore.identify`."""
        expected = () if detector is None else self._resolve(detector)
        arrays = read_any(Path(path), self._repository.panel_shape)
        self._notes.clear()
        found = [(array, find_panels(array.values, self._repository.panel_shape)) for array in arrays]
        if any(layout for _, layout in found):
            # Of an HDF5 file, what is not of panels is not what was asked about.
            found = [(array, layout) for array, layout in found if layout]
        identified = tuple(self._identify_array(array, layout, expected) for array, layout in found)
        return Identified(os.fspath(path), identified, tuple(self._notes))

    def _resolve(self, detector: str) -> tuple[str, ...]:
        return tuple(map(str, resolve_detector(detector, self._table.panel_names)))

    def _identify_array(self, array: FileArray, layout: Layout | None, expected: Sequence[str]) -> IdentifiedArray:
        if layout is None:
            return IdentifiedArray(array.name, array.values.shape, ())
        try:
            named = self._resolve("_".join(array.panels)) if array.panels and not expected else expected
        except (BadValue, NotFound):
            named = ()
        if len(named) != len(layout.panels):
            if expected:
                what = f"an array of shape {array.values.shape} has {len(layout.panels)} panels"
                raise BadValue(f"{what}, and the detector Id {len(expected)}")
            named = ()
        matches = self._find(layout.panels)
        versions = [[hit[0] for hit in match.hits] for match in matches]
        order, seq = describe_order(versions, named, self._repository.commit)
        for number, match in enumerate(matches):
            match.hits.sort(key=partial(self._rank, named[number : number + 1], seq), reverse=True)
        panels = tuple(match.describe(number) for number, match in enumerate(matches))
        return IdentifiedArray(array.name, array.values.shape, panels, order, layout.left_out)

    def _rank(self, panel: Sequence[str], seq: int | None, hit: Hit) -> tuple[bool, bool, bool, int]:
        version = hit[0]
        return version.panel in panel, version.seq == seq, version.name not in self._withdrawn, version.seq

    def _find(self, panels: Sequence[NDArray[Any]]) -> list[_Match]:
        """Return what is found for each panel: by the hash of its array first, then by likeness."""
        matches = [_Match(list(self._find_equal(panel))) for panel in panels]
        means = {
            number: find_block_means(panel)
            for number, panel in enumerate(panels)
            if not matches[number].hits and self._can_be_like(panel)
        }
        for thorough in (False, True):
            left = [number for number in means if not matches[number].hits]
            if not left:
                return matches
            found = self._sketches.search([means[number] for number in left], _KEEP, thorough)
            for number, guesses in zip(left, found, strict=True):
                matches[number] = self._check(panels[number], guesses)
        for number in left:
            if not matches[number].hits:
                matches[number].hits += self._check_without_sketch(panels[number])
        return matches

    def _can_be_like(self, panel: NDArray[Any]) -> bool:
        if not np.all(np.isfinite(panel)):
            self._notes["values that are not finite are not compared"] = None
        elif panel.max() == panel.min():
            self._notes["a panel in which all values are the same is like every other one"] = None
        else:
            return True
        return False

    def _find_equal(self, panel: NDArray[Any]) -> Iterator[Hit]:
        """Yield the versions that hold exactly this array."""
        equal = Relation((1.0,) * len(panel), "", tuple(range(len(panel))), None, None, 0, panel.size, len(panel))
        for dtype in DTYPES:
            with np.errstate(all="ignore"):
                stored = np.ascontiguousarray(panel, dtype)
            if np.dtype(dtype).kind == "u" and not np.array_equal(stored, panel):
                continue
            blake3 = digest(stored.reshape(-1).view("u1"))
            for version in self._table.version_list(self._table.rows_with_array(blake3)):
                yield from ((version, array.type, equal) for array in version.arrays if array.blake3 == blake3)

    def _check(self, panel: NDArray[Any], guesses: Sequence[tuple[str, Guess]]) -> _Match:
        """Compare an array with the stored arrays that it resembles; all that explain it equally well are hits."""
        found: list[tuple[tuple[Any, ...], str, Relation]] = []
        for blake3, guess in guesses:
            if guess.misfit < _WORTH_READING and (relation := self._compare(panel, blake3, guess)):
                found.append((_cost(relation), blake3, relation))
        if not found:
            return _Match([], self._holders(guesses[0][0])[-1] if guesses else None, guesses[0][1] if guesses else None)
        least = min(cost for cost, _, _ in found)
        return _Match(
            [
                (version, calib_type, relation)
                for cost, blake3, relation in found
                if cost == least
                for version in self._holders(blake3)
                for calib_type in _types_of(version, blake3)
            ]
        )

    def _holders(self, blake3: str) -> list[Version]:
        return self._sketches.holders(blake3)

    def _check_without_sketch(self, panel: NDArray[Any]) -> list[Hit]:
        """Compare an array with the arrays that have no sketch, of which only some are read."""
        without = self._sketches.without
        if self._sketches.unreadable:
            self._notes[
                f"{self._sketches.unreadable} commits cannot be read, so that what they added may be missed"
            ] = None
        if without:
            count = min(len(without), _WITHOUT_LIMIT)
            text = f"{len(without)} arrays have no sketch, as those of release 0.1.0; {count} of them were compared"
            self._notes[text] = None
        single = [(gain,) for gain in range(self._repository.panel_shape[0])]
        orders: list[tuple[int, ...]] = [tuple(range(len(panel)))] if len(panel) > 1 else [*single]
        guesses = [(blake3, Guess(0.0, 0, "", order)) for blake3 in without[:_WITHOUT_LIMIT] for order in orders]
        return self._check(panel, guesses).hits

    def _compare(self, panel: NDArray[Any], blake3: str, guess: Guess) -> Relation | None:
        version = self._holders(blake3)[-1]
        try:
            stored = self._repository.panel_array(version, _types_of(version, blake3)[0], verify=False)
        except JfstoreError:
            self._notes[f"{version.name} cannot be read and was not compared"] = None
            return None
        maps = stored.reshape(-1, *stored.shape[-2:])
        if maps.shape[1:] != panel.shape[1:] or max(guess.ranges) >= len(maps):
            return None
        return check_guess(panel, maps, guess)


@dataclass(slots=True)
class _Match:
    """What was found for a panel: hits, the most likely first; or else the version that it resembles most."""

    hits: list[Hit]
    nearest: Version | None = None
    guess: Guess | None = None

    def describe(self, number: int) -> IdentifiedPanel:
        """Return the record of panel `number`."""
        if self.hits:
            _, calib_type, relation = self.hits[0]
            return IdentifiedPanel(number, calib_type, tuple(dict.fromkeys(v.name for v, _, _ in self.hits)), relation)
        if self.nearest is None or self.guess is None or self.guess.misfit > _RESEMBLES:
            return IdentifiedPanel(number)
        return IdentifiedPanel(number, nearest=self.nearest.name, explained=1 - self.guess.misfit**2)


def _cost(relation: Relation) -> tuple[Any, ...]:
    """Return by how much an array departs from its original: the least is the best explanation."""
    factors = sum(factor != 1 for factor in relation.factors)
    is_moved = bool(relation.flip) or (len(relation.ranges) > 1 and relation.ranges != tuple(sorted(relation.ranges)))
    return relation.different > 0, is_moved, factors, len(set(relation.factors)), relation.different


def _types_of(version: Version, blake3: str) -> list[str]:
    return [array.type for array in version.arrays if array.blake3 == blake3]
