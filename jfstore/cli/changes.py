"""Print which answers a write changes: on the terminal panels that change alike share a line, JSON has every change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jfstore.cli.output import count, note

if TYPE_CHECKING:
    from jfstore.core.changes import Change

_MOST_LINES = 12
_MOST_PANELS = 3


def change_values(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return changes as the JSON form has them."""
    return [
        {
            "panel": change.panel,
            "type": change.type,
            "from": change.start.stamp,
            "until": change.end.stamp if change.end else None,
            "now": change.before,
            "then": change.after,
        }
        for change in changes
    ]


def print_changes(changes: Sequence[Change], *, planned: bool) -> None:
    """Print for which times answers change, or with `planned` would change, from what to what."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    for change in changes:
        names = [name and name.removeprefix(f"{change.panel}/") for name in (change.before, change.after)]
        key = change.type, change.start.stamp, change.end and change.end.stamp, *names
        alike.setdefault(key, []).append(change.panel)
    verb = "would change" if planned else "changes"
    for (name, start, end, before, after), panels in list(alike.items())[:_MOST_LINES]:
        until = f"until {end}" if end else "on"
        answers = f"{after or 'nothing'} in place of {before or 'nothing'}"
        note(f"{name} of {name_panels(panels)} {verb} from {start} {until}: {answers}")
    if more := len(alike) - _MOST_LINES if len(alike) > _MOST_LINES else 0:
        note(f"and {count(more, 'more line')} of changes; --json lists all")
    if not changes:
        note(f"no answer {verb}")


def name_panels(panels: Sequence[str]) -> str:
    """Return the Ids of a few panels, or the first of many and how many more there are."""
    return ", ".join(panels) if len(panels) <= _MOST_PANELS else f"{panels[0]} and {len(panels) - 1} more panels"
