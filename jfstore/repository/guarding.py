"""Judge new constants before they are stored: gather what the rules of the guard need, and refuse findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jfstore.core.guard import FINDINGS, RULES, Finding, check_accepted, judge_levels
from jfstore.core.records import Array
from jfstore.core.table import Table
from jfstore.core.validity import find_holder, find_withdrawn
from jfstore.errors import Refused

if TYPE_CHECKING:
    from jfstore.repository.adding import Entry
    from jfstore.repository.repository import Repository


class Implausible(Refused):
    """Not stored, because the guard found something implausible: check the constants, or accept the findings.

    Attributes
    ----------
    findings : tuple of Finding
        What was found in all panels.
    """

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)


@dataclass(slots=True)
class Guard:
    """Judges the entries of one command, one after the other.

    Attributes
    ----------
    repository : Repository
        Where they are added.
    table : Table
        What it holds.
    accept : tuple of str
        Names of findings that the user accepts.
    skips_known : bool
        Whether content that a panel and stamp ever held is skipped, not added again.
    findings : list of Finding
        What was found and not accepted.
    accepted : set of str
        Names of findings that were found and accepted.
    notes : list of str
        What the user should know.
    """

    repository: Repository
    table: Table
    accept: tuple[str, ...]
    skips_known: bool
    findings: list[Finding] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def judge(self, entry: Entry, arrays: Sequence[Array]) -> None:
        """Judge the arrays of an entry, whose hashes and sketches are in `arrays`."""
        if self._is_known(entry, {array.type: array.blake3 for array in arrays}):
            return
        allowed = {*self.accept, *check_accepted(entry.accepted)}
        for array in arrays:
            for name, text in judge_levels(array) if array.type in RULES else ():
                if name in allowed:
                    self.accepted.add(name)
                else:
                    self.findings.append(Finding(name, entry.panel, array.type, text))

    def _is_known(self, entry: Entry, content: Mapping[str, str]) -> bool:
        """Return whether a panel and stamp has the content already, so that it will not be added."""
        holder = find_holder(self.table, entry.panel, entry.start.stamp, content, ever=True)
        return holder is not None and (self.skips_known or holder not in find_withdrawn(self.table))

    def refuse_findings(self) -> None:
        """Raise Implausible if something was found that is not accepted."""
        if self.findings:
            names = list(dict.fromkeys(finding.name for finding in self.findings))
            options = " ".join(f"--accept {name}" for name in names)
            text = "; ".join(_describe(name, self.findings) for name in names)
            raise Implausible(f"the guard refuses this: {text}. If it is right, add {options}", self.findings)


def _describe(name: str, findings: Sequence[Finding]) -> str:
    """Return the findings of one name as text; panels and types with the same evidence share it."""
    alike: dict[str, dict[str, dict[str, None]]] = {}
    for finding in findings:
        if finding.name == name:
            alike.setdefault(finding.text, {}).setdefault(finding.panel, {})[finding.type] = None
    parts = []
    for text, panels in alike.items():
        types = dict.fromkeys(calib_type for types in panels.values() for calib_type in types)
        parts.append(f"{' and '.join(types)} of {', '.join(panels)}: {text}")
    return f"{name} ({FINDINGS[name]}): {'; '.join(parts)}"
