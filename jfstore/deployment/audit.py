"""Is what was deployed still right? Each file of a calibration directory against a repository.

A file is recognised by its own hash, which the note beside it has; else by the hash of each panel's array; else by
its values, which psana's old commands rounded to ``%.4f`` (gains) and ``%.1f`` (offsets). It is current if it holds
what is valid for its run: as the run itself says, or the note where the run is not there to say it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jfstore.core.hashing import digest, digest_of_pieces
from jfstore.core.instants import SECOND, instant_at, iso, iso_second, stamp_at
from jfstore.core.records import Version
from jfstore.core.validity import Selection
from jfstore.deployment.calibdir import CalibFile
from jfstore.deployment.likeness import Likeness, compare, decimals_of
from jfstore.deployment.note import Deployment, read_note
from jfstore.errors import BadValue, Damaged, Failed, JfstoreError, NotFound, Refused
from jfstore.formats.text import TextArray, read_text
from jfstore.fs.files import pieces_of
from jfstore.repository import Repository

STATES = ("current", "stale", "edited", "rounded copy", "unknown", "unreadable")
_SAMPLE = 61
_LIKE_ENOUGH = 0.9


@dataclass(frozen=True, slots=True)
class Moment:
    """For which detector and instant a file should hold constants: panel Ids in order, nanoseconds UTC."""

    panels: tuple[str, ...]
    t: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What a file is: one of `STATES`, the version that each panel's part is or is like, and the reasons."""

    file: CalibFile
    state: str
    versions: tuple[str, ...]
    detail: str


class Auditor:
    """Holds files against one repository.

    Parameters
    ----------
    repository : Repository
        Whose answers count.
    moment_of : callable
        Returns of a file for which detector and instant it should hold constants, as its run says; None if the
        run is not there to say it.
    """

    def __init__(self, repository: Repository, moment_of: Callable[[CalibFile], Moment | None]) -> None:
        self._repository = repository
        self._moment_of = moment_of
        self._not_compared: set[str] = set()

    @cached_property
    def _by_name(self) -> dict[str, Version]:
        return {version.name: version for version in self._repository.versions()}

    @cached_property
    def _by_content(self) -> dict[tuple[str, str], list[Version]]:
        index: dict[tuple[str, str], list[Version]] = {}
        for version in self._by_name.values():
            for name, blake3 in version.content.items():
                index.setdefault((name, blake3), []).append(version)
        return index

    def examine(self, file: CalibFile) -> Finding:
        """Return what `file` is."""
        remark = ""
        try:
            blake3 = digest_of_pieces(pieces_of(file.path, follow=True))
        except (OSError, Damaged) as error:
            return Finding(
                file, "unreadable", (), error.strerror or "" if isinstance(error, OSError) else error.message
            )
        try:
            noted = [entry for entry in read_note(file) if (entry.source, entry.type, entry.run) == _place(file)]
        except (Damaged, Failed, Refused) as error:
            noted, remark = [], f"; {error.message}"
        if noted and noted[0].replaced and noted[0].replaced.blake3 == blake3:
            del noted[0]  # it was stopped before it came
        moment = self._moment_of(file) or (_moment_of_note(noted[0]) if noted else None)
        ours = next((entry for entry in noted if entry.blake3 == blake3), None)
        if ours is not None:
            return self._of_ours(file, ours, moment)
        try:
            slabs = self._slabs(read_text(file.path))
        except (BadValue, Failed) as error:
            return Finding(file, "unreadable", (), error.message.removeprefix(f"{file.path}, ") + remark)
        if slabs is None:
            return Finding(file, "unknown", (), f"its shape is not that of panels of this repository{remark}")
        found = self._of_values(file, slabs, moment, bool(noted))
        return Finding(file, found.state, found.versions, found.detail + remark)

    # -- a file that jfstore wrote and nobody changed

    def _of_ours(self, file: CalibFile, ours: Deployment, moment: Moment | None) -> Finding:
        names = tuple(panel.version for panel in ours.panels)
        state, detail = self._judge(file, [panel.blake3 for panel in ours.panels], names, moment)
        if ours.start not in (None, ours.valid_at):
            detail += f"; deployed as valid at {self._when(ours.valid_at)}"
        if ours.fmt is not None:
            return Finding(file, "rounded copy", names, f"deployed with --format {ours.fmt}; {state}: {detail}")
        return Finding(file, state, names, detail)

    # -- any other

    def _slabs(self, text: TextArray) -> list[NDArray[np.float64]] | None:
        """Return the values of each panel, float64 (gain, row, column); None if they are not those of panels."""
        gains, rows, columns = self._repository.identity.panel_shape
        values = text.values
        count, rest = divmod(values.size, gains * rows * columns)
        if rest or not count or values.shape[-1] != columns:
            return None
        # Without metadata the values are rows.
        if text.has_shape and values.shape not in ((gains, count, rows, columns), (gains, rows, columns)):
            return None
        whole = values.reshape(gains, count, rows, columns)
        return [np.ascontiguousarray(whole[:, number]) for number in range(count)]

    def _of_values(
        self, file: CalibFile, slabs: list[NDArray[np.float64]], moment: Moment | None, is_ours: bool
    ) -> Finding:
        self._not_compared.clear()
        panels = moment.panels if moment and len(moment.panels) == len(slabs) else (None,) * len(slabs)
        decimals = decimals_of(slabs, file.type)
        likes = [
            self._likeness(file.type, slab, panel, moment, decimals) for slab, panel in zip(slabs, panels, strict=True)
        ]
        if any(like is None for like in likes):
            numbers = ", ".join(str(number) for number, like in enumerate(likes) if like is None)
            said = "not what jfstore deployed there; " if is_ours else ""
            damaged = ", ".join(sorted(self._not_compared))
            hint = f"; not compared, as it is damaged: {damaged}" if damaged else ""
            return Finding(
                file, "unknown", (), f"{said}its values of panel {numbers} are like nothing that is stored{hint}"
            )
        known = [like for like in likes if like is not None]
        names = tuple(like.version.name for like in known)
        hashes = [like.version.content[file.type] for like in known]
        state, detail = self._judge(file, hashes, names, moment)
        if all(like.is_equal for like in known):
            said = "only its header was changed; " if is_ours else ""
            return Finding(file, state, names, said + detail)
        if all(like.is_equal or like.is_rounded for like in known) and not is_ours:
            return Finding(file, "rounded copy", names, f"{state}: {detail}")
        if all(like.is_rounded for like in known):
            return Finding(file, "rounded copy", names, f"not what jfstore deployed there; {state}: {detail}")
        different = sum(like.different for like in known)
        total = sum(slab.size for slab in slabs)
        return Finding(file, "edited", names, f"{different} of {total} values differ from them; {state}: {detail}")

    def _likeness(
        self, calib_type: str, slab: NDArray[np.float64], panel: str | None, moment: Moment | None, decimals: int
    ) -> Likeness | None:
        """Return the stored version that a panel's values are or are like; of several the one that should be there."""
        with np.errstate(over="ignore"):
            blake3 = digest(slab.astype(np.float32).reshape(-1).view("u1"))
        valid = self._valid(calib_type, panel, moment.t) if moment and panel else None

        def should_be_there(version: Version) -> tuple[bool, bool, int]:
            return valid is not None and version.name == valid.version.name, version.panel == panel, version.seq

        if same := self._by_content.get((calib_type, blake3)):
            return Likeness(max(same, key=should_be_there), slab.size, 0, True, True)
        best: Likeness | None = None
        seen = set()
        for version in sorted(self._by_name.values(), key=should_be_there, reverse=True):
            content = version.content.get(calib_type)
            if content is None or content in seen:
                continue
            seen.add(content)
            try:
                stored = self._repository.panel_array(version, calib_type, verify=False)
            except JfstoreError:
                self._not_compared.add(version.name)
                continue
            like = self._compare(version, slab, stored, decimals)
            if like and (best is None or like.different < best.different):
                best = like
            if best and best.is_rounded:
                break
        return best

    @staticmethod
    def _compare(
        version: Version, slab: NDArray[np.float64], stored: NDArray[np.float32], decimals: int
    ) -> Likeness | None:
        """Return how like they are, None if they are not; a few values tell most that are not."""
        sample = np.linspace(0, slab.size - 1, _SAMPLE).astype(int)
        some = compare(version, slab.reshape(-1)[sample], stored.reshape(-1)[sample], decimals)
        if some.different > _SAMPLE // 2:
            return None
        like = compare(version, slab, stored, decimals)
        return like if like.different <= (1 - _LIKE_ENOUGH) * slab.size else None

    # -- is it what should be there?

    def _judge(
        self, file: CalibFile, hashes: Sequence[str], names: Sequence[str], moment: Moment | None
    ) -> tuple[str, str]:
        """Return whether constants with these hashes, of the versions called `names`, are current, and why."""
        if moment is None:
            return self._judge_versions(file, names)
        if len(moment.panels) != len(hashes):
            return "unknown", f"it has {len(hashes)} panels, the detector of its run {len(moment.panels)}"
        when = self._when(moment.t)
        lines: list[str] = []
        ends = []
        for panel, blake3, name in zip(moment.panels, hashes, names, strict=True):
            valid = self._valid(file.type, panel, moment.t)
            if valid is None:
                lines.append(f"nothing is valid for panel {panel} at {when}, and {name} is there")
            elif valid.version.content[file.type] != blake3:
                there = self._by_name.get(name)
                is_newer = there and there.panel == panel and there.seq < valid.version.seq
                how = "was replaced by" if is_newer else f"is there, but at {when} valid is"
                lines.append(f"{name} {how} {self._said(valid.version)}")
            elif valid.valid_to is not None:
                ends.append(valid.valid_to.ns)
        if lines:
            return "stale", "; ".join(lines)
        until = f" and until {stamp_at(min(ends), self._repository.zone)}" if ends else ""
        return "current", f"valid at {when}{until}"

    def _judge_versions(self, file: CalibFile, names: Iterable[str]) -> tuple[str, str]:
        """Judge without knowing for which instant: only that something is superseded is clear then."""
        lines, unclear = [], []
        for name in names:
            version = self._by_name[name]
            there = [v for v in self._by_name.values() if v.panel == version.panel and file.type in v.content]
            better = [v for v in there if v.start == version.start and v.number > version.number]
            later = [v for v in there if v.start > version.start]
            if better:
                lines.append(f"{name} was replaced by {self._said(max(better, key=lambda v: v.number))}")
            until = f" until {min(later, key=lambda v: v.start).stamp}" if later else ""
            unclear.append(f"{name} is valid from {version.stamp}{until}")
        if lines:
            return "stale", "; ".join(lines)
        return "unknown", "; ".join([*unclear, f"when run {file.run} began is not known (-e EXP)"])

    def _when(self, t: int) -> str:
        return f"{stamp_at(t, self._repository.zone)} ({iso_second(t)})"

    def _valid(self, calib_type: str, panel: str, t: int) -> Selection | None:
        try:
            answer = self._repository.find(panel, [calib_type], instant_at(t, self._repository.zone))
        except (NotFound, BadValue):
            return None
        return answer.selections[calib_type][0]

    def _said(self, version: Version) -> str:
        summary = self._repository.summary(version.seq)
        return f"{version.name} (commit {version.seq}, {iso(summary.time - summary.time % SECOND)}, {summary.user})"


def _place(file: CalibFile) -> tuple[str, str, int]:
    return file.source, file.type, file.run


def _moment_of_note(deployment: Deployment) -> Moment:
    t = deployment.valid_at if deployment.start is None else deployment.start
    return Moment(tuple(panel.panel for panel in deployment.panels), t)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return the exit code that findings call for: 4 if a file is unreadable, 1 if one is not current, else 0."""
    states = {finding.state for finding in findings}
    return Damaged.exit_code if "unreadable" in states else int(bool(states - {"current"}))
