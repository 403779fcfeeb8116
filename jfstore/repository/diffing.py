"""Compare two versions, two answers or two repositories: what only one of them has, and how much the rest differs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from jfstore.core.arrays import CalibArray
from jfstore.core.calib_types import CALIB_TYPES, calib_type
from jfstore.core.comparing import RangeDifference, Relation, check_guess, compare_ranges, find_relation
from jfstore.core.ids import PanelId, file_id, merge_panels
from jfstore.core.likeness import rank_copies
from jfstore.core.records import Version
from jfstore.core.sketch import find_block_means
from jfstore.core.slabs import panel_of
from jfstore.core.validity import timeline
from jfstore.errors import BadValue
from jfstore.repository.answer import Answer
from jfstore.repository.asked_types import check_types
from jfstore.repository.filtering import find_panels

if TYPE_CHECKING:
    from jfstore.repository.reading import ReadableRepository
    from jfstore.repository.repository import Repository

Progress = Callable[[int, int], None]
AsOf = int | str | None
_WORTH_COMPARING = 0.9
_LABEL = 80
_OTHERS_LIMIT = 64
"""Arrays of other panels that are read to find out whether panels were exchanged."""


@dataclass(frozen=True, slots=True)
class OnlyOne:
    """A version, or close, that only one side has, and for which calibration types."""

    version: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PairDifference:
    """How the arrays of two versions differ.

    Attributes
    ----------
    type : str
        Calibration type.
    first, second : str
        Names of the versions.
    ranges : tuple of RangeDifference
        How much they differ in each gain range; empty if their shapes differ.
    relation : Relation or None
        How the second array follows from `original`; None if it does not. ``str`` of it says so in words.
    original : str or None
        Name of the version of the first side that the second array is a copy of: `first`, or of another panel if panels
        were exchanged; None if it is not a copy.
    """

    type: str
    first: str
    second: str
    ranges: tuple[RangeDifference, ...]
    relation: Relation | None = None
    original: str | None = None

    @property
    def is_exchanged(self) -> bool:
        """Whether the second array is a copy of one of another version of the first side."""
        return self.original not in (None, self.first)


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two versions, answers or repositories.

    Attributes
    ----------
    first, second : str
        What was compared, in words.
    only_first, only_second : tuple of OnlyOne
        What only one of them has.
    pairs : tuple of PairDifference
        The arrays that both have, with other values.
    equal : int
        Number of arrays that both have with the same values.
    """

    first: str
    second: str
    only_first: tuple[OnlyOne, ...]
    only_second: tuple[OnlyOne, ...]
    pairs: tuple[PairDifference, ...]
    equal: int

    @property
    def is_different(self) -> bool:
        """Whether there is any difference."""
        return bool(self.only_first or self.only_second or self.pairs)


@dataclass(frozen=True, slots=True)
class _Array:
    """An array of a version, or of a close that closes its type."""

    version: Version
    type: str
    read: Callable[[], Any]

    @property
    def blake3(self) -> str:
        """The hash of the array, empty for a close."""
        return self.version.content.get(self.type, "")


def _array_of(repository: ReadableRepository, version: Version, name: str) -> _Array:
    return _Array(version, name, partial(repository.panel_array, version, name))


_Side = Mapping[tuple[str, ...], _Array]
"""Arrays by what makes two of them a pair."""


def diff(
    first: str | os.PathLike[str] | Repository,
    second: str | os.PathLike[str] | Repository,
    *,
    panels: Sequence[str | PanelId] | str | PanelId | None = None,
    types: Sequence[str] | str | None = None,
    as_of: tuple[AsOf, AsOf] = (None, None),
    progress: Progress = lambda done, total: None,
) -> Difference:
    """Compare two repositories, or one at two commits: for each panel, stamp and type, what would be valid from there.

    Parameters
    ----------
    first, second : str or Repository
        Names, paths or URLs of the repositories, or the repositories.
    panels : panel or detector Ids, optional
        Only these panels.
    types : sequence of str, optional
        Only these calibration types.
    as_of : tuple of two of int, str or None
        Compare what they were then, as for `Repository.get`.
    progress : callable
        Called with the number of arrays compared and their total.

    Returns
    -------
    Difference
        Versions that are withdrawn or superseded do not count.

    Raises
    ------
    NotFound
        If no repository has one of `panels`.
    Damaged
        If an array that is compared is not what was written.
    """
    from jfstore.repository.catalogue import open_repository
    from jfstore.repository.repository import Repository

    opened = [place if isinstance(place, Repository) else open_repository(place) for place in (first, second)]
    names = check_types(types) or tuple(CALIB_TYPES)
    sides, labels = [], []
    known = merge_panels([repository.log.table().panel_names for repository in opened])
    wanted = find_panels(panels, known)
    for repository, moment in zip(opened, as_of, strict=True):
        seq = repository.seq_of(moment)
        sides.append(dict(_arrays_of_repository(repository, wanted, names, seq)))
        labels.append(repository.location + ("" if seq is None else f" as of commit {seq}"))
    return _compare(sides[0], sides[1], labels[0], labels[1], progress)


def _arrays_of_repository(
    repository: ReadableRepository, panels: Sequence[str] | None, types: Sequence[str], seq: int | None
) -> Iterator[tuple[tuple[str, ...], _Array]]:
    table = repository.log.table(seq)
    for panel in table.panel_names:
        for name in types if panels is None or panel in panels else ():
            line = timeline(table, panel, name, seq)
            for version in table.version_list(line.rows):
                yield (version.panel, version.stamp, name), _array_of(repository, version, name)


def diff_in_repository(
    repository: ReadableRepository,
    first: str | Version | Answer,
    second: str | Version | Answer,
    types: Sequence[str] | str | None,
    progress: Progress,
) -> Difference:
    """Compare two versions or two answers; see `Repository.diff`."""
    names = check_types(types) or tuple(CALIB_TYPES)
    if isinstance(first, Answer) and isinstance(second, Answer):
        sides = [dict(_arrays_of_answer(answer, names)) for answer in (first, second)]
        labels = [_describe_answer(answer) for answer in (first, second)]
        return _compare(sides[0], sides[1], labels[0], labels[1], progress)
    if isinstance(first, Answer) or isinstance(second, Answer):
        raise BadValue("an answer is compared with another answer, a version with another version")
    versions = [repository.version(one) if isinstance(one, str) else one for one in (first, second)]
    sides = [{(name,): _array_of(repository, v, name) for name in names if _has_type(v, name)} for v in versions]
    return _compare(sides[0], sides[1], versions[0].name, versions[1].name, progress)


def _has_type(version: Version, name: str) -> bool:
    return name in version.content or name in version.closes


def _arrays_of_answer(answer: Answer, types: Sequence[str]) -> Iterator[tuple[tuple[str, ...], _Array]]:
    for name, selections in answer.by_type:
        if name in types:
            whole = cache(partial(answer.__getitem__, name))
            for place, (panel, selection) in enumerate(zip(answer.panels, selections, strict=True)):
                yield (str(panel), name), _Array(selection.version, name, partial(_read_panel, whole, place))


def _read_panel(whole: Callable[[], CalibArray], place: int) -> CalibArray:
    return panel_of(whole(), place)


def _describe_answer(answer: Answer) -> str:
    return f"{file_id(answer.detector, _LABEL)} at {answer.time.stamp} as of commit {answer.as_of}"


def _compare(first: _Side, second: _Side, one: str, other: str, progress: Progress) -> Difference:
    """Compare two sides, array by array."""
    both = [key for key in first if key in second and (first[key].blake3 == "") == (second[key].blake3 == "")]
    different = [key for key in both if first[key].blake3 != second[key].blake3]
    pairs = []
    for done, key in enumerate(different):
        progress(done, len(different))
        pairs.append(_compare_arrays(first[key], second[key]))
    changed = [(key, pair) for key, pair in zip(different, pairs, strict=True) if pair.relation is None]
    exchanged = {
        key: found for key, pair in changed if (found := _find_exchanged(pair, key, first, second[key], changed))
    }
    progress(len(different), len(different))
    return Difference(
        one,
        other,
        _list_others(first, set(both)),
        _list_others(second, set(both)),
        tuple(exchanged.get(key, pair) for key, pair in zip(different, pairs, strict=True)),
        len(both) - len(different),
    )


def _list_others(side: _Side, both: set[tuple[str, ...]]) -> tuple[OnlyOne, ...]:
    types: dict[str, list[str]] = {}
    for key, array in side.items():
        if key not in both:
            types.setdefault(array.version.name, []).append(array.type)
    return tuple(OnlyOne(name, tuple(found)) for name, found in types.items())


def _compare_arrays(first: _Array, second: _Array) -> PairDifference:
    one, other = first.read(), second.read()
    names = first.type, first.version.name, second.version.name
    if one.shape != other.shape:
        return PairDifference(*names, ())
    ranges = compare_ranges(one, other, calib_type(first.type).divides)
    relation = find_relation(other, one)
    return PairDifference(*names, ranges, relation, first.version.name if relation else None)


def _find_exchanged(
    pair: PairDifference,
    key: tuple[str, ...],
    first: _Side,
    array: _Array,
    changed: Sequence[tuple[tuple[str, ...], PairDifference]],
) -> PairDifference | None:
    """Return the pair with the array of another panel of the first side that the second array is a copy of, if any."""
    # Of repositories only versions with one stamp can have been exchanged.
    others = [first[k] for k, p in changed if k != key and k[1:] == key[1:] and p.type == pair.type and p.ranges][
        :_OTHERS_LIMIT
    ]
    same = next((other for other in first.values() if other.blake3 == array.blake3 and other.type == array.type), None)
    if same is not None:
        others = [same]
    if not others or not pair.ranges:
        return None
    values, stored = array.read(), [other.read() for other in others]
    usable = [number for number, one in enumerate(stored) if one.shape == values.shape]
    if not usable:
        return None
    means = np.stack([find_block_means(stored[number]) for number in usable])
    (guess,) = rank_copies(find_block_means(values), means, 1)
    place = usable[guess.item]
    copy, original = (one.reshape(-1, *one.shape[-2:]) for one in (values, stored[place]))
    relation = check_guess(copy, original, guess) if guess.misfit < _WORTH_COMPARING else None
    if relation is None:
        return None
    return replace(pair, relation=relation, original=others[place].version.name)
