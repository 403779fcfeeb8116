"""Parse datasets as psana's users write them: ``exp=E:run=N[:smd][:stream=S][:dir=D]``, or the path of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jfstore.errors import BadValue

_EXPERIMENT = re.compile(r"(?:([A-Za-z]{3})/)?([A-Za-z0-9_]{1,64})", re.ASCII)
_NUMBERS = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", re.ASCII)
_KEYS = ("exp", "run", "smd", "stream", "dir")
_FORM = "expected exp=<experiment>:run=<number>, such as exp=xpptut15:run=430, or the path of an .xtc or .xtc2 file"

ANY_JUNGFRAU = "Jungfrau"
"""The source that matches every Jungfrau; the default."""

Ranges = tuple[tuple[int, int], ...]
"""Ranges of numbers, ends included."""


def is_within(number: int, ranges: Ranges) -> bool:
    """Return whether `number` is in one of `ranges`, whose ends are included."""
    return any(first <= number <= last for first, last in ranges)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A parsed dataset; `text` is as the user wrote it."""

    text: str
    experiment: str = ""  # name or number; empty if `file` is set
    instrument: str | None = None  # if the dataset has it: exp=XPP/xpptut15
    runs: Ranges = ()
    streams: Ranges = ()  # empty for all
    smalldata: bool = False
    directory: str | None = None
    file: str | None = None  # the path of one file, instead of everything else


def is_dataset(text: str) -> bool:
    """Return whether `text` is meant as a dataset, not as a panel or detector Id."""
    return "=" in text or text.endswith((".xtc", ".xtc2"))


def _parse_ranges(key: str, value: str, text: str) -> Ranges:
    ranges = []
    for part in value.split(","):
        match = _NUMBERS.fullmatch(part)
        if not match:
            raise BadValue(f"dataset {text!r}: {key}={value} is not a number, a list (1,2) or a range (1-3)")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise BadValue(f"dataset {text!r}: the range {part} of {key} ends before it starts")
        ranges.append((first, last))
    return tuple(ranges)


def parse_dataset(text: str) -> Dataset:
    """Parse a dataset; text without ``=`` but with a dot or a slash is the path of a file.

    Raises
    ------
    BadValue
        If `text` has another form, lacks the experiment or the run, or has a key that is unknown or comes twice.

    Examples
    --------
    >>> parse_dataset("exp=xpptut15:run=0430").runs
    ((430, 430),)
    """
    if "=" not in text and ("/" in text or "." in text):
        return Dataset(text, file=text)
    values: dict[str, str] = {}
    for part in text.split(":"):
        key, equals, value = part.partition("=")
        if key not in _KEYS:
            looks_right = _EXPERIMENT.fullmatch(part) and text.startswith(f"{part}:run=")
            hint = f"did you mean exp={text}?" if looks_right else _FORM
            raise BadValue(f"dataset {text!r}: {part!r} is not understood; {hint}")
        if bool(equals and value) == (key == "smd"):
            raise BadValue(f"dataset {text!r}: {key} {'takes no value' if key == 'smd' else 'needs a value'}; {_FORM}")
        if key in values:
            raise BadValue(f"dataset {text!r}: {key} comes twice")
        values[key] = value
    for key in ("exp", "run"):
        if key not in values:
            raise BadValue(f"dataset {text!r} has no {key}=; {_FORM}")
    match = _EXPERIMENT.fullmatch(values["exp"])
    if not match:
        raise BadValue(f"dataset {text!r}: {values['exp']!r} is not the name of an experiment, such as xpptut15")
    return Dataset(
        text,
        experiment=match[2],
        instrument=match[1],
        runs=_parse_ranges("run", values["run"], text),
        streams=_parse_ranges("stream", values["stream"], text) if "stream" in values else (),
        smalldata="smd" in values,
        directory=values.get("dir"),
    )
