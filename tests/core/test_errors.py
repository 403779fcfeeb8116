"""The tree of errors: every class has its own exit code and kind."""

from __future__ import annotations

import pytest

from jfstore import errors
from jfstore.errors import BadValue, InDoubt, JfstoreError, NotFound, nearest

CONTRACT = {
    "Failed": (1, "failed"),
    "BadValue": (2, "bad_value"),
    "NotFound": (3, "not_found"),
    "Damaged": (4, "damaged"),
    "Refused": (5, "refused"),
    "Busy": (6, "busy"),
    "InDoubt": (75, "in_doubt"),
}


def tree(root: type[JfstoreError]) -> list[type[JfstoreError]]:
    return [found for child in root.__subclasses__() for found in (child, *tree(child))]


def make(kind: type[JfstoreError]) -> JfstoreError:
    return kind("no luck", "0" * 32) if kind is InDoubt else kind("no luck")


def test_the_tree_is_the_contract() -> None:
    found = {
        kind.__name__: (kind.exit_code, kind.kind) for kind in tree(JfstoreError) if kind.__module__ == "jfstore.errors"
    }
    assert found == CONTRACT


def test_classes_made_elsewhere_keep_a_code_and_kind_of_the_contract() -> None:
    import jfstore.repository.catalogue  # noqa: F401  (loads every room below the commands)

    assert {(kind.exit_code, kind.kind) for kind in tree(JfstoreError)} == set(CONTRACT.values())


@pytest.mark.parametrize("name", CONTRACT)
def test_each_class_says_its_message_and_nothing_else(name: str) -> None:
    error = make(getattr(errors, name))
    assert str(error) == error.message == "no luck"
    assert isinstance(error, JfstoreError)


@pytest.mark.parametrize("name", ["JfstoreError", *CONTRACT])
def test_each_class_is_reached_from_the_package(name: str) -> None:
    import jfstore

    assert getattr(jfstore, name) is getattr(errors, name)
    assert name in jfstore.__all__


def test_each_class_tells_what_to_do() -> None:
    assert all(kind.__doc__ for kind in tree(JfstoreError))


def test_the_nearest_names_follow_the_message() -> None:
    error = NotFound("no such panel", ["a", "b"])
    assert error.nearest == ("a", "b")
    assert str(error) == "no such panel; nearest: a, b"


def test_python_users_can_catch_the_usual_classes() -> None:
    assert issubclass(BadValue, ValueError)
    assert issubclass(NotFound, LookupError)


def test_in_doubt_carries_the_request_to_repeat() -> None:
    assert InDoubt("perhaps", "ab" * 16).request == "ab" * 16


@pytest.mark.parametrize(
    ("word", "expected"), [("pixel_gian", ["pixel_gain"]), ("zzz", []), ("pixel_offset", ["pixel_offset"])]
)
def test_nearest_gives_what_is_spelled_alike(word: str, expected: list[str]) -> None:
    assert nearest(word, iter(["pixel_gain", "pixel_offset"]), count=1) == expected
