"""Check the fields of the JSON in a repository, of which a hostile hand may have made a body with the right hash."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from jfstore.core.ids import parse_panel
from jfstore.core.instants import BEGINNING
from jfstore.errors import Damaged

T = TypeVar("T")

ABOUT_LIMIT = 64
"""How many texts a version carries at most."""
_ABOUT_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
_ABOUT_BYTES = 1024
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


@contextmanager
def damage_if_odd(where: str) -> Iterator[None]:
    """Turn what goes wrong with a body whose hash is right, but which no jfstore wrote, into Damaged."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Damaged(f"{where} is damaged, though its hash is right: {error!r}") from None


def read_field(body: Any, name: str, kind: type[T]) -> T:
    """Return a field of `body`; TypeError if it is of another kind."""
    value = body[name]
    if type(value) is not kind:
        raise TypeError(f"{name} is {value!r}")
    return value


def read_natural(body: Any, name: str, most: int = 2**62) -> int:
    value = read_field(body, name, int)
    if not 0 <= value <= most:
        raise ValueError(f"{name} is {value}")
    return value


def read_hash_field(body: Any, name: str, digits: int = 64) -> str:
    value = read_field(body, name, str)
    if not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value, re.ASCII):
        raise ValueError(f"{name} is {value!r}")
    return value


def read_shape(value: Any) -> tuple[int, int, int]:
    if type(value) is not list or len(value) != 3 or not all(type(n) is int and 0 < n <= 1 << 16 for n in value):
        raise ValueError(f"a shape is {value!r}")
    return value[0], value[1], value[2]


def read_array_shape(value: Any) -> tuple[int, ...]:
    """Return the shape of an array: (gain, row, column) or (row, column)."""
    return read_shape([1, *value])[1:] if type(value) is list and len(value) == 2 else read_shape(value)


def read_texts(body: Any, name: str) -> tuple[str, ...]:
    value = read_field(body, name, list)
    if not all(type(text) is str for text in value):
        raise TypeError(f"{name} is {value!r}")
    return tuple(value)


def check_about(value: Any) -> dict[str, str]:
    """Return the short texts that a version carries, by key; ValueError or TypeError if they are not that."""
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise TypeError(f"about is {value!r}, expected texts by key")
    if len(value) > ABOUT_LIMIT:
        raise ValueError(f"about has {len(value)} texts, expected at most {ABOUT_LIMIT}")
    for key, text in value.items():
        if not _ABOUT_KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not a key: expected a letter, then letters, digits and . _ -, at most 64")
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise ValueError(f"{key}: the text is not UTF-8") from None
        if not 0 < size <= _ABOUT_BYTES or _CONTROL.search(text):
            raise ValueError(f"{key}: expected one line of text, of at most {_ABOUT_BYTES} bytes")
    return dict(value)


def check_panel(text: Any) -> str:
    if type(text) is not str or str(parse_panel(text)) != text:
        raise ValueError(f"a panel is {text!r}")
    return text


def check_detector(text: str) -> str:
    for panel in text.split("_"):
        check_panel(panel)
    return text


def check_stamp(text: str) -> str:
    if not re.fullmatch(r"[0-9]{14}", text, re.ASCII):
        raise ValueError(f"a stamp is {text!r}")
    return text


def read_start(body: Any) -> int:
    start = read_field(body, "begin", int)
    if not BEGINNING <= start < 2**63:
        raise ValueError(f"begin is {start}")
    return start
