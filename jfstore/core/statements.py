"""Encode what commits without versions say, and decode it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from jfstore.core.fields import (
    check_detector,
    check_panel,
    check_stamp,
    read_field,
    read_natural,
    read_start,
    read_texts,
)
from jfstore.core.ids import parse_version, version_name
from jfstore.core.names import check_name, kind_of_id
from jfstore.core.records import Freeze, Naming, RunPanels, SamePanel, Statement, Tag, Withdrawal


def encode_statement(statement: Statement) -> dict[str, Any]:
    """Return what a commit without versions says, as JSON has it; what is None is left out."""
    body = asdict(statement)
    if isinstance(statement, Freeze):
        body["begin"] = body.pop("start")
    if isinstance(statement, Tag):
        body["commit"] = body.pop("seq")
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in body.items() if value is not None
    }


def decode_statement(op: str, body: Any) -> Statement:
    """Return what a commit of operation `op` without versions says; ValueError, TypeError, KeyError if it is odd."""
    if op in ("withdraw", "restore"):
        names = read_texts(body, "versions")
        if not names:
            raise ValueError("it names no versions")
        for name in names:
            panel, stamp, number = parse_version(name)
            if version_name(str(panel), stamp, number) != name:
                raise ValueError(f"it names the version {name!r}")
        return Withdrawal(names, read_field(body, "origin", dict) if "origin" in body else None)
    if op in ("same_panel", "not_same_panel"):
        one, other = (check_panel(text) for text in read_field(body, "panels", list))
        if one == other:
            raise ValueError("it names one panel twice")
        return SamePanel((one, other))
    if op == "name":
        named = check_detector(read_field(body, "id", str))
        return Naming(named, check_name(read_field(body, "name", str), kind_of_id(named)))
    if op == "run_panels":
        source = read_field(body, "source", str) if "source" in body else None
        detector = check_detector(read_field(body, "detector", str))
        first, last = read_natural(body, "first"), read_natural(body, "last")
        return RunPanels(detector, read_field(body, "experiment", str), first, last, source)
    if op == "tag":
        return Tag(check_name(read_field(body, "name", str), "tag"), read_natural(body, "commit"))
    types = read_texts(body, "types") if "types" in body else None
    return Freeze(check_stamp(read_field(body, "stamp", str)), read_start(body), types)


def subjects_of(statement: Statement) -> tuple[str, ...]:
    """Return the names of what a statement is about."""
    match statement:
        case Withdrawal():
            return statement.versions
        case SamePanel():
            return statement.panels
        case Naming():
            return statement.name, statement.id
        case Tag():
            return (statement.name,)
        case RunPanels():
            return name_runs(statement), statement.detector
        case Freeze():
            return statement.stamp, *(statement.types or ())


def name_runs(statement: RunPanels) -> str:
    """Return the runs that a statement is about, as a dataset."""
    last = f"-{statement.last}" if statement.last > statement.first else ""
    return f"exp={statement.experiment}:run={statement.first}{last}"
