"""A repository as it should be, as lists and dicts: what the machine of random steps compares jfstore with."""

from __future__ import annotations

from dataclasses import dataclass, field

from jfstore.core.instants import SECOND

START = 1_600_000_000 * SECOND
"""When the repository was made."""


@dataclass
class Held:
    """One version: what each of its types holds is named by a seed."""

    panel: str
    stamp: str
    number: int
    seq: int
    content: dict[str, int]

    @property
    def name(self) -> str:
        return f"{self.panel}/{self.stamp}/v{self.number}"


@dataclass
class Model:
    """One repository as it should be: versions in order, the time of each commit, older indices."""

    held: list[Held] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    indices: list[bytes] = field(default_factory=list)

    def holds(self, panel: str, stamp: str, content: dict[str, int], ever: bool, new: list[Held]) -> bool:
        at_stamp = [held for held in [*self.held, *new] if (held.panel, held.stamp) == (panel, stamp)]
        for name, seed in content.items():
            seen = [held.content[name] for held in at_stamp if name in held.content]
            if seed not in (seen if ever else seen[-1:]):
                return False
        return True

    def added(self, wanted: list[tuple[str, str, dict[str, int]]], ever: bool = False) -> list[Held]:
        """Return the versions that a commit of `wanted` adds."""
        new: list[Held] = []
        for panel, stamp, content in wanted:
            if not self.holds(panel, stamp, content, ever, new):
                before = [held for held in [*self.held, *new] if (held.panel, held.stamp) == (panel, stamp)]
                new.append(Held(panel, stamp, len(before) + 1, len(self.times) + 1, content))
        return new

    def is_replaced(self, held: Held, others: list[Held], target: Model) -> bool:
        """Whether a higher number replaced `held`, which is not among `others`, and `target` does not hold it."""
        better = [
            other
            for other in self.held
            if (other.panel, other.stamp) == (held.panel, held.stamp)
            and other.number > held.number
            and other.content.keys() >= held.content.keys()
        ]
        if not better or any(other in others for other in better):
            return False
        return not target.holds(held.panel, held.stamp, held.content, False, [])

    def commit(self, new: list[Held], clock: int) -> None:
        if new:
            self.held += new
            self.times.append(max([clock, START, *self.times[-1:]]))

    def valid(self, panel: str, name: str, moment: str, as_of: int) -> Held | None:
        held = [
            held
            for held in self.held
            if held.panel == panel and name in held.content and held.stamp <= moment and held.seq <= as_of
        ]
        return max(held, key=lambda held: (held.stamp, held.number), default=None)
