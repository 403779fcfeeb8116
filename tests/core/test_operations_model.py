"""Random histories of all operations: the rule of validity and a plain model, which knows nothing of jfstore, agree."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jfstore.core import validity
from jfstore.core.records import NO_FILE, Commit, SamePanel, Tag, Version, Withdrawal
from jfstore.core.table import Table
from jfstore.errors import NotFound
from tests.makers import PANELS, begin_of, make_commit, make_version

UTC = ZoneInfo("UTC")
TYPES = ("pixel_gain", "pixel_offset")
STAMPS = ("0" * 14, "20180101000000", "20180601000000", "20190101000000", "20200101000000")
TIMES = tuple(
    begin_of(f"{year}{month}01000000") for year in (2017, 2018, 2019, 2020, 2021) for month in ("01", "03", "08")
)


KINDS = ("add", "close", "withdraw", "restore", "same", "not same", "tag")
WEIGHTS = (8, 2, 3, 2, 1, 1, 1)


@dataclass
class Entry:
    """A version or a close of the model."""

    panel: str
    start: int
    number: int
    types: tuple[str, ...]
    closes: bool
    seq: int
    place: int


@dataclass
class Model:
    """What was done, in order, and the rule in its plainest form."""

    entries: list[Entry] = field(default_factory=list)
    said: list[tuple[int, str, Any]] = field(default_factory=list)

    def answer(self, panel: str, calib_type: str, t: int, as_of: int) -> tuple[str, int, int] | None:
        """Return panel, start and number of what is valid; None if nothing is."""
        joined: list[set[str]] = []
        gone: list[tuple[str, int, int]] = []
        for seq, op, what in self.said:
            if seq > as_of:
                continue
            if op == "same":
                joined = [pair for pair in joined if pair != what] + [what]
            elif op == "not same":
                joined = [pair for pair in joined if pair != what]
            elif op == "withdraw":
                gone.append(what)
            else:
                gone = [name for name in gone if name != what]
        family = {panel}
        while more := {name for pair in joined if pair & family for name in pair} - family:
            family |= more
        best: Entry | None = None
        for entry in self.entries:
            if entry.seq > as_of or entry.panel not in family or calib_type not in entry.types or entry.start > t:
                continue
            if (entry.panel, entry.start, entry.number) in gone:
                continue
            if best is None or (entry.start, entry.seq, entry.place) > (best.start, best.seq, best.place):
                best = entry
        return None if best is None or best.closes else (best.panel, best.start, best.number)


def history(chance: random.Random, length: int) -> tuple[Model, list[Commit]]:
    """Return a random history, for the model and as commits."""
    model, log = Model(), []
    for seq in range(1, length + 1):
        kind = chance.choices(
            ["add", "close", "withdraw", "restore", "same", "not same", "tag"], [8, 2, 3, 2, 1, 1, 1]
        )[0]
        if kind in ("withdraw", "restore") and not model.entries:
            kind = "add"
        if kind in ("add", "close"):
            versions: list[Version] = []
            panels = chance.sample(PANELS, chance.randint(1, 2))
            for place, panel in enumerate(panels):
                stamp = chance.choice(STAMPS)
                types = tuple(sorted(chance.sample(TYPES, chance.randint(1, 2))))
                start = begin_of(stamp)
                number = 1 + sum((e.panel, e.start) == (panel, start) for e in model.entries)
                model.entries.append(Entry(panel, start, number, types, kind == "close", seq, place))
                if kind == "close":
                    versions.append(Version(panel, stamp, start, number, (), NO_FILE, seq, closes=types))
                else:
                    content = {name: f"{panel} {seq} {name}" for name in types}
                    versions.append(make_version(panel, stamp, number, content, seq))
            log.append(make_commit(seq, versions, op=kind))
            continue
        if kind in ("withdraw", "restore"):
            entry = chance.choice(model.entries)
            stamp = next(stamp for stamp in STAMPS if begin_of(stamp) == entry.start)
            statement: Any = Withdrawal((f"{entry.panel}/{stamp}/v{entry.number}",))
            model.said.append((seq, kind, (entry.panel, entry.start, entry.number)))
        elif kind == "tag":
            statement = Tag(f"tag{seq}", seq - 1)
        else:
            one, other = chance.sample(PANELS, 2)
            statement = SamePanel((one, other))
            model.said.append((seq, kind, {one, other}))
        op = {"same": "same_panel", "not same": "not_same_panel"}.get(kind, kind)
        log.append(make_commit(seq, (), op=op, statement=statement))
    return model, log


def disagreements(seed: int, histories: int, questions: int) -> list[str]:
    """Return where the rule and the model differ."""
    chance, found = random.Random(seed), []
    for number in range(histories):
        model, log = history(chance, chance.randint(1, 40))
        cut = chance.randint(0, len(log))
        table = Table.empty().extend(log[:cut]).extend(log[cut:])
        for _ in range(questions):
            panel, name, t = chance.choice(PANELS), chance.choice(TYPES), chance.choice(TIMES)
            as_of = chance.randint(0, len(log))
            try:
                version = validity.select(table, panel, t, name, UTC, as_of).version
                answer: Any = version.panel, version.start, version.number
            except NotFound:
                answer = None
            expected = model.answer(panel, name, t, as_of)
            if answer != expected:
                found.append(f"history {number}: {panel} {name} at {t} as of {as_of}: {answer}, not {expected}")
    return found


def test_the_rule_and_the_model_agree() -> None:
    assert disagreements(1, 60, 50) == []


@pytest.mark.full
def test_the_rule_and_the_model_agree_on_100_000_questions() -> None:
    assert disagreements(2, 1000, 100) == []


def wrong(name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(validity, name, value)


def no_tie_with_a_close(patch: pytest.MonkeyPatch) -> None:
    candidates = validity.candidates

    def without_closes(*asked: Any) -> Any:
        rows, columns = candidates(*asked)
        return rows[columns["file"] != 0xFFFFFFFF], columns[columns["file"] != 0xFFFFFFFF]

    patch.setattr(validity, "candidates", without_closes)


def as_of_off_by_one(patch: pytest.MonkeyPatch) -> None:
    statements = validity._statements_until
    patch.setattr(validity, "_statements_until", lambda table, as_of: statements(table, as_of + 1))


def first_restore_only(said: Any) -> set[str]:
    return {name for op, statement in said if op == "withdraw" for name in statement.versions}


def no_chains_of_panels(panel: str, said: Any) -> list[str]:
    found = [panel]
    for op, statement in said:
        if isinstance(statement, SamePanel) and op == "same_panel" and panel in statement.panels:
            found += [name for name in statement.panels if name not in found]
    return found


MUTANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "withdrawals do not count": wrong("_withdrawn", lambda said: set()),
    "restoring does not count": wrong("_withdrawn", first_restore_only),
    "panels are never the same": wrong("_same_panels", lambda panel, said: [panel]),
    "panels are the same for ever, and not in chains": wrong("_same_panels", no_chains_of_panels),
    "closes do not count": no_tie_with_a_close,
    "statements count one commit early": as_of_off_by_one,
    "of joined panels the highest number wins": lambda patch: patch.setattr(Table, "are_joined", False),
    "a time before a start is in its interval": wrong("find_interval", lambda starts, t: int((starts <= t).sum()) - 2),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_rule_disagrees_with_the_model(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[mutant](monkeypatch)
    assert disagreements(3, 60, 50)
