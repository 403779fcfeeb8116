"""Judge new constants before they are stored: gather what the rules of the guard need, and refuse findings.

An addition stays fast however much is stored. At most `OWN_VERSIONS` versions of the panel are read, usually one, and
other panels are looked at only if no version of the panel itself is like the new one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from jfstore.core.encoding import decode_sketches
from jfstore.core.guard import DEMO_FILE, FINDINGS, RULES, Finding, Named, check_accepted, judge_levels
from jfstore.core.guard_pixels import Past, is_rounded, judge_pixels, may_be_alike
from jfstore.core.ids import has_same_serial
from jfstore.core.pattern import Floats, Pattern, compare_blocks, has_pattern, make_pattern, rank_alike
from jfstore.core.records import Array, Version
from jfstore.core.sketch import Sketch
from jfstore.core.slabs import panel_of
from jfstore.core.table import Table
from jfstore.core.validity import find_holder, find_joined_panels, find_withdrawn
from jfstore.errors import Damaged, Refused
from jfstore.repository.assemble import assemble
from jfstore.repository.commits import commit_name

if TYPE_CHECKING:
    from jfstore.repository.adding import Entry
    from jfstore.repository.reading import ReadableRepository

OWN_VERSIONS = 3
"""Number of different earlier versions of the panel that are compared: the last added, of 16 that are looked at."""

OTHER_PANELS = 64
"""Number of other panels that are compared, by their last versions; those with the newest commits come first."""

OTHER_DOWNLOADS = 4
"""In a bucket, arrays of at most this number of other panels are downloaded: those with the most similar sketches."""

SKETCHES_ALIKE = 0.9
"""In a bucket an earlier version is downloaded only if the sketches are less alike; see docs/guard.md."""

_LOOKED_AT = 16
_REMEMBERED = 64
"""Patterns of a command's own entries that are kept in memory, 100 kB each."""


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


@dataclass
class Guard:
    """Judges the entries of one command, one after the other.

    Attributes
    ----------
    repository : ReadableRepository
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
    notes : dict of str to None
        What the user should know, in order.
    """

    repository: ReadableRepository
    table: Table
    accept: tuple[str, ...]
    skips_known: bool
    findings: list[Finding] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    notes: dict[str, None] = field(default_factory=dict)
    _judged: dict[tuple[str, str], Past] = field(default_factory=dict)
    _contents: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)

    def judge(self, entry: Entry, arrays: Sequence[Array]) -> None:
        """Judge the arrays of an entry, whose hashes and sketches are in `arrays`."""
        is_known = self._is_known(entry, {array.type: array.blake3 for array in arrays})
        allowed = {*self.accept, *check_accepted(entry.accepted)}
        for array in arrays:
            if array.type in RULES:
                if not is_known:
                    self._note_same_serial(entry.panel, array)
                    self._record(entry.panel, array.type, self._judge_array(entry, array), allowed)
                self._contents.setdefault((array.type, array.blake3), {})[entry.panel] = None

    def _record(self, panel: str, calib_type: str, found: Sequence[Named], allowed: set[str]) -> None:
        for name, text in dict(reversed(found)).items():  # of one name the first evidence counts
            if name in allowed:
                self.accepted.add(name)
            else:
                self.findings.append(Finding(name, panel, calib_type, text))

    def _is_known(self, entry: Entry, content: Mapping[str, str]) -> bool:
        """Return whether a panel and stamp has the content already, so that it will not be added."""
        holder = find_holder(self.table, entry.panel, entry.start.stamp, content, ever=True)
        return holder is not None and (self.skips_known or holder not in self._withdrawn)

    @cached_property
    def _withdrawn(self) -> set[str]:
        return find_withdrawn(self.table)

    def _judge_array(self, entry: Entry, array: Array) -> list[Named]:
        found = judge_levels(array)
        if not (RULES[array.type].has_pattern and has_pattern(array.shape)):
            return found
        values = entry.arrays[array.type].array
        pattern = make_pattern(values)
        own = self._find_own(entry.panel, array, pattern)
        more, unlike = judge_pixels(
            array.type, values, pattern, own, lambda: self._find_others(entry.panel, array, values, pattern)
        )
        found += [named for named in more if named[0] != "demo" or not self._is_demo]
        if unlike and not found:
            text = f"{array.type} of {entry.panel} is unlike its earlier versions ({unlike}), and like no other panel"
            self.notes[text] = None
        while len(self._judged) >= _REMEMBERED:
            del self._judged[next(iter(self._judged))]
        self._judged[entry.panel, array.type] = Past(f"{entry.panel}/{entry.start.stamp} of this command", pattern)
        return found

    @cached_property
    def _is_demo(self) -> bool:
        """Whether the repository is in the directory of a demo."""
        parent = os.path.dirname(os.path.abspath(self.repository.location))
        return os.path.exists(os.path.join(parent, DEMO_FILE))

    # -- earlier versions of the panel -------------------------------------------------------------

    def _find_own(self, panel: str, array: Array, pattern: Pattern) -> Iterator[Past]:
        """Yield earlier versions of a panel, the last added first; of a bucket none if the sketches are alike."""
        if (judged := self._judged.get((panel, array.type))) is not None:
            yield judged
        contents: set[str] = set()
        for version in self._list_own(panel, array.type):
            content = version.array(array.type).blake3
            if content in contents:
                continue
            contents.add(content)
            is_near = content == array.blake3
            if is_near or (self._is_remote and self._has_like_sketch(version, array) and not is_rounded(pattern)):
                yield Past(version.name, pattern)
            elif (stored := self._read_array(version, array)) is not None:
                yield Past(version.name, make_pattern(stored))
            if len(contents) == OWN_VERSIONS:
                return

    def _list_own(self, panel: str, calib_type: str) -> list[Version]:
        """Return the last versions of a panel that are not withdrawn, the last added first."""
        panels = find_joined_panels(self.table, panel) if self.table.are_joined else [panel]
        rows = [row for name in panels for row in self.table.rows(name, calib_type)[-_LOOKED_AT:].tolist()]
        versions = [v for v in self.table.version_list(rows) if not v.closes and v.name not in self._withdrawn]
        return sorted(versions, key=lambda version: (version.seq, version.number), reverse=True)

    @property
    def _is_remote(self) -> bool:
        return self.repository.storage.objects.at_once > 1

    def _has_like_sketch(self, version: Version, array: Array) -> bool:
        sketch = self._read_sketches([version], array.type).get(version.name)
        if sketch is None or array.sketch is None:
            return False
        return compare_blocks(sketch, array.sketch) >= SKETCHES_ALIKE

    def _read_array(self, version: Version, array: Array) -> Floats | None:
        """Return the stored values of a version, not verified; None if they cannot be read or have another shape."""
        if version.array(array.type).shape != array.shape:
            return None
        try:
            return panel_of(assemble(self.repository.storage, [version], array.type, verify=False), 0)
        except (Damaged, OSError):
            return None  # the business of `verify`

    # -- other panels ------------------------------------------------------------------------------

    def _find_others(self, panel: str, array: Array, values: Floats, pattern: Pattern) -> Iterator[Past]:
        """Yield versions of other panels that may be like the new one."""
        for other in self._contents.get((array.type, array.blake3), ()):
            if not has_same_serial(panel, other):
                yield Past(f"{other} of this command", pattern)
        versions = [version for version in self._list_others(panel, array.type) if version.panel != panel]
        equal = [version for version in versions if version.content[array.type] == array.blake3]
        if equal:
            yield Past(equal[0].name, pattern)
            return
        if self._is_remote and array.sketch is not None:
            by_name = {version.name: version for version in versions}
            names = rank_alike(array.sketch, self._read_sketches(versions, array.type), OTHER_DOWNLOADS)
            versions = [by_name[name] for name in names]
        quick = make_pattern(values, few=True)
        for version in versions:
            stored = self._read_array(version, array)
            if stored is not None and may_be_alike(quick, make_pattern(stored, few=True)):
                yield Past(version.name, make_pattern(stored))

    def _list_others(self, panel: str, calib_type: str) -> list[Version]:
        """Return the last version of each other panel, not of those that are the same panel or may be."""
        joined = find_joined_panels(self.table, panel)
        versions = self.table.version_list(self.table.last_rows(calib_type, OTHER_PANELS, joined))
        return [v for v in versions if v.name not in self._withdrawn and not has_same_serial(panel, v.panel)]

    def _read_sketches(self, versions: Sequence[Version], calib_type: str) -> dict[str, Sketch]:
        """Return the sketches of versions, which are in their commits; those of 0.1.0 have none."""
        storage, names = self.repository.storage, {version.name for version in versions}

        def read(seq: int) -> dict[str, Sketch]:
            name = commit_name(seq)
            try:
                return decode_sketches(storage.read(name), f"{storage.location}/{name}", names, calib_type)
            except (OSError, Damaged):
                return {}

        parts = storage.objects.each(read, dict.fromkeys(version.seq for version in versions))
        return {name: sketch for part in parts for name, sketch in part.items()}

    def _note_same_serial(self, panel: str, array: Array) -> None:
        """Note another Id with the same serial number that has the same values."""
        joined = find_joined_panels(self.table, panel)
        others = dict(self._contents.get((array.type, array.blake3), {}))
        for name in self.table.panel_names:
            if name not in joined and name not in others and has_same_serial(panel, name):
                stored = self._list_own(name, array.type)
                if any(version.content[array.type] == array.blake3 for version in stored):
                    others[name] = None
        for other in others:
            if other not in joined and has_same_serial(panel, other):
                text = (
                    f"{panel} has constants of {other}, which has the same serial number: "
                    f"if they are one panel, state it with jfstore panel {panel} --same-as {other}"
                )
                self.notes[text] = None

    # -- the end -----------------------------------------------------------------------------------

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
