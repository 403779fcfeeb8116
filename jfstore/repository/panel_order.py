"""Describe the order of the panels in an array whose panels are identified."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jfstore.core.records import Commit, Version


def describe_order(
    found: Sequence[Sequence[Version]], expected: Sequence[str], commit_of: Callable[[int], Commit]
) -> tuple[str, int | None]:
    """Return what is odd about the order of the panels of an array, and the commit that tells the order.

    Parameters
    ----------
    found : sequence of sequence of Version
        For each panel of the array the versions that it may be, the most likely first.
    expected : sequence of str
        The panel Ids that the array should hold, in order; empty if that is not known. A commit that added versions of
        exactly these panels then tells the order.
    commit_of : callable
        Returns a commit.

    Returns
    -------
    str
        The oddity in words; empty if there is none.
    int or None
        The commit; None if there is none, or the order is expected.
    """
    if len(found) < 2 or not all(found):
        return "", None
    if expected:
        return _describe(_place_panels(found, expected), "the detector Id"), None
    common = set.intersection(*({version.seq for version in versions} for versions in found))
    orders: dict[int, str] = {}
    for seq in sorted(common, reverse=True):
        added = [version.panel for version in commit_of(seq).versions]
        places = _place_panels([[v for v in versions if v.seq == seq] for versions in found], added)
        if len(added) == len(found) and None not in places:
            orders[seq] = _describe(places, f"commit {seq}")
    # An array that has the order of one commit is not odd because another one added the same arrays in another order.
    best = min(orders, key=lambda seq: bool(orders[seq]), default=None)
    return ("", None) if best is None else (orders[best], best)


def _place_panels(found: Sequence[Sequence[Version]], expected: Sequence[str]) -> list[int | None]:
    """Return for each panel of the array where it should be, None if it should not be in the array."""
    places: list[int | None] = []
    for number, versions in enumerate(found):
        known = [expected.index(version.panel) for version in versions if version.panel in expected]
        places.append(number if number in known else next(iter(known), None))
    return places


def _describe(places: Sequence[int | None], where: str) -> str:
    wrong = [number for number, place in enumerate(places) if place != number]
    if not wrong:
        return ""
    foreign = [number for number in wrong if places[number] is None]
    if foreign:
        return (
            f"panel {_join(foreign)} is not the one of {where}"
            if len(foreign) == 1
            else (f"panels {_join(foreign)} are not those of {where}")
        )
    if len(wrong) == 2:
        return f"panels {_join(wrong)} are exchanged, compared with {where}"
    return f"the panels are those at {', '.join(map(str, places))} of {where}"


def _join(numbers: Sequence[int]) -> str:
    *others, last = map(str, numbers)
    return f"{', '.join(others)} and {last}" if others else last
