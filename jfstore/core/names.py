"""Check the names of tags, panels and detectors, and whether a name is free."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jfstore.core.ids import is_id, split_detector
from jfstore.core.records import Naming, Statement, Tag
from jfstore.errors import BadValue, Refused

_NAMES = {
    "tag": re.compile(r"[A-Za-z](?:[A-Za-z0-9+=-]|\.(?!\.)){0,99}", re.ASCII),
    "panel": re.compile(r"[A-Za-z](?:[A-Za-z0-9+-]|\.(?!\.)){0,99}", re.ASCII),
    "detector": re.compile(r"[A-Za-z](?:[A-Za-z0-9+_-]|\.(?!\.)){0,99}", re.ASCII),
}
_MARKS = {"tag": "'.', '+', '=' and '-'", "panel": "'.', '+' and '-'", "detector": "'.', '+', '-' and '_'"}


def check_name(name: object, kind: str) -> str:
    """Return `name` if a ``tag``, a ``panel`` or a ``detector``, as `kind` says, may have it.

    Raises
    ------
    BadValue
        If it has another form, or means something else where an Id, a time or a commit is expected.
    """
    if not isinstance(name, str) or not _NAMES[kind].fullmatch(name):
        raise BadValue(
            f"{name!r} cannot be {_describe(kind)}: it starts with a letter "
            f"and has letters, digits, {_MARKS[kind]} only"
        )
    if name == "now":
        raise BadValue(f"{name!r} cannot be {_describe(kind)}: it is a time")
    # Every other time, every seq and every other version starts with a digit or has a slash.
    if re.search(r"-[0-9]{14}\Z", name, re.ASCII):
        raise BadValue(f"{name!r} cannot be {_describe(kind)}: it reads as a panel with a stamp")
    if all(map(is_id, split_detector(name))):
        raise BadValue(f"{name!r} cannot be {_describe(kind)}: it reads as a panel or detector Id")
    if kind != "tag" and re.fullmatch(r"[0-9A-Fa-f]+", name, re.ASCII):
        raise BadValue(f"{name!r} cannot be {_describe(kind)}: it reads as a part of a panel Id")
    if kind != "tag" and name.endswith(".xtc"):
        raise BadValue(f"{name!r} cannot be {_describe(kind)}: it reads as the path of a run")
    return name


def _describe(kind: str) -> str:
    return "a tag" if kind == "tag" else f"the name of a {kind}"


def kind_of_id(text: str) -> str:
    """Return whether an Id is that of a ``panel`` or of a ``detector`` of several panels."""
    return "detector" if "_" in text else "panel"


def check_is_free(statements: Iterable[Statement], new: Tag | Naming) -> None:
    """Raise Refused if one of `statements` gave the name of `new` to something else, or would become unclear by it."""
    names: dict[str, str] = {}
    for statement in statements:
        if isinstance(statement, Naming):
            names.setdefault(statement.name, statement.id)
        if isinstance(statement, (Tag, Naming)) and statement.name == new.name and statement != new:
            raise Refused(_explain_use(statement))
    if isinstance(new, Naming):
        names[new.name] = new.id
        for name in names:
            parts = split_detector(name)
            if len(parts) > 1 and all(part in names or is_id(part) for part in parts):
                raise Refused(f"name {new.name}: {name} would name a detector, and the panels {', '.join(parts)}, too")


def _explain_use(taken: Tag | Naming) -> str:
    if isinstance(taken, Tag):
        return f"tag {taken.name} is commit {taken.seq}: a tag is never moved, nor used again"
    return f"{taken.name} is the name of {kind_of_id(taken.id)} {taken.id}: a name is never moved, nor used again"
