"""A repository as it should be, as lists and dicts: what the machine of random steps compares jfstore with."""

from __future__ import annotations

from dataclasses import dataclass, field

from jfstore.core.instants import SECOND

START = 1_600_000_000 * SECOND
"""When the repository was made."""


@dataclass
class Held:
    """One version: what each of its types holds is named by a seed; or a close of some types."""

    panel: str
    stamp: str
    number: int
    seq: int
    content: dict[str, int]
    closes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.panel}/{self.stamp}/v{self.number}"


@dataclass
class Model:
    """One repository as it should be: versions in order, the time of each commit, what was withdrawn, older indices."""

    held: list[Held] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    said: list[tuple[int, str, str]] = field(default_factory=list)
    """Commit, "withdraw" or "restore", and the name of a version."""
    tags: dict[str, int] = field(default_factory=dict)
    indices: list[bytes] = field(default_factory=list)

    def gone(self, as_of: int | None = None) -> set[str]:
        """Return the names of the versions that are withdrawn."""
        found: set[str] = set()
        for seq, op, name in self.said:
            if as_of is None or seq <= as_of:
                (found.add if op == "withdraw" else found.discard)(name)
        return found

    def holds(self, panel: str, stamp: str, content: dict[str, int], ever: bool, new: list[Held]) -> bool:
        at_stamp = [held for held in [*self.held, *new] if (held.panel, held.stamp) == (panel, stamp)]
        if ever and any(content.items() <= held.content.items() for held in at_stamp):
            return True
        gone = set() if ever else self.gone()
        for name, seed in content.items():
            seen = [h for h in at_stamp if name in (*h.content, *h.closes) and h.name not in gone]
            if not seen or seen[-1].content.get(name) != seed:
                return False
        return True

    def added(self, wanted: list[tuple[str, str, dict[str, int]]], ever: bool = False) -> list[Held]:
        """Return the versions that a commit of `wanted` adds."""
        new: list[Held] = []
        for panel, stamp, content in wanted:
            if not self.holds(panel, stamp, content, ever, new):
                new.append(Held(panel, stamp, self._next_number(panel, stamp, new), len(self.times) + 1, content))
        return new

    def _next_number(self, panel: str, stamp: str, new: list[Held]) -> int:
        return 1 + sum((held.panel, held.stamp) == (panel, stamp) for held in [*self.held, *new])

    def closed(self, panel: str, stamp: str, types: tuple[str, ...] | None) -> list[Held]:
        """Return the close that a commit adds, if one is needed."""
        has = {name for held in self.held if held.panel == panel for name in held.content}
        last = len(self.times)
        todo = []
        for name in sorted(has) if types is None else types:
            holder = self.holder(panel, name, stamp, last)
            if holder is None or not (holder.closes and holder.stamp == stamp):
                todo.append(name)
        number = self._next_number(panel, stamp, [])
        return [Held(panel, stamp, number, last + 1, {}, tuple(todo))] if todo else []

    def is_replaced(self, held: Held, others: list[Held], target: Model) -> bool:
        """Whether others hold all of its types at its stamp, not all of them promoted too, and `target` lacks it."""
        holders = [self.holder(held.panel, name, held.stamp, len(self.times)) for name in held.content]
        if held in holders or all(holder in others for holder in holders):
            return False
        return not target.holds(held.panel, held.stamp, held.content, False, [])

    def commit(self, new: list[Held], clock: int) -> None:
        if new:
            self.held += new
            self.take_time(clock)

    def state(self, op: str, names: list[str], clock: int) -> None:
        """Withdraw or restore versions."""
        if names:
            self.take_time(clock)
            self.said += [(len(self.times), op, name) for name in names]

    def take_time(self, clock: int) -> None:
        self.times.append(max([clock, START, *self.times[-1:]]))

    def holder(self, panel: str, name: str, moment: str, as_of: int) -> Held | None:
        """Return the version or close that holds at a time."""
        gone = self.gone(as_of)
        held = [
            held
            for held in self.held
            if held.panel == panel and name in (*held.content, *held.closes) and held.name not in gone
        ]
        held = [one for one in held if one.stamp <= moment and one.seq <= as_of]
        return max(held, key=lambda held: (held.stamp, held.number), default=None)

    def valid(self, panel: str, name: str, moment: str, as_of: int) -> Held | None:
        holder = self.holder(panel, name, moment, as_of)
        return None if holder is None or holder.closes else holder
