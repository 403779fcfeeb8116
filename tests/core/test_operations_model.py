"""Random histories of all operations: the rule of validity and a plain model, which knows nothing of jfstore, agree."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jfstore.core import freezing, joining, names, validity
from jfstore.core.ids import detector_id, resolve_detector
from jfstore.core.records import NO_FILE, Commit, Freeze, Naming, SamePanel, Tag, Version, Withdrawal
from jfstore.core.table import Table
from jfstore.errors import BadValue, NotFound, Refused
from tests.makers import PANELS, begin_of, make_commit, make_version

UTC = ZoneInfo("UTC")
TYPES = ("pixel_gain", "pixel_offset")
STAMPS = ("0" * 14, "20180101000000", "20180601000000", "20190101000000", "20200101000000")
TIMES = tuple(
    begin_of(f"{year}{month}01000000") for year in (2017, 2018, 2019, 2020, 2021) for month in ("01", "03", "08")
)


KINDS = ("add", "close", "withdraw", "restore", "same", "not same", "tag", "name", "freeze")
WEIGHTS = (8, 2, 3, 2, 2, 1, 1, 1, 1)
NAMES = ("north", "south", "paper")


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
    content: str = ""


@dataclass
class Model:
    """What was done, in order, and the rules in their plainest form."""

    entries: list[Entry] = field(default_factory=list)
    said: list[tuple[int, str, Any]] = field(default_factory=list)
    frozen: dict[str, int] = field(default_factory=dict)
    names: dict[str, tuple[str, Any]] = field(default_factory=dict)

    def copy(self) -> Model:
        """Return a model that can be continued on its own."""
        return Model([*self.entries], [*self.said], {**self.frozen}, {**self.names})

    def answer(self, panel: str, calib_type: str, t: int, as_of: int) -> tuple[str, int, int] | None:
        """Return panel, start and number of what is valid; None if nothing is."""
        best = self.find(panel, calib_type, t, as_of)
        return None if best is None or best.closes else (best.panel, best.start, best.number)

    def content(self, panel: str, calib_type: str, t: int) -> str | None:
        """Return the content that is valid now."""
        best = self.find(panel, calib_type, t, 10**9)
        return None if best is None or best.closes else best.content

    def would_break_a_freeze(self, later: Model) -> bool:
        """Return whether an answer before a frozen stamp is another one in `later`."""
        return any(
            self.content(panel, calib_type, t) != later.content(panel, calib_type, t)
            for calib_type, end in self.frozen.items()
            for t in map(begin_of, STAMPS)
            if t < end
            for panel in PANELS
        )

    def differ_at_a_stamp(self, one: str, other: str) -> bool:
        """Return whether two panels, each by itself, hold one type with one stamp and not the same content."""
        for calib_type in TYPES:
            for t in map(begin_of, STAMPS):
                pair = [self.find(panel, calib_type, t, 10**9) for panel in (one, other)]
                held = [entry for entry in pair if entry is not None and entry.start == t]
                if len(held) == 2 and held[0] is not held[1]:
                    first, second = (None if entry.closes else entry.content for entry in held)
                    if first != second:
                        return True
        return False

    def find(self, panel: str, calib_type: str, t: int, as_of: int) -> Entry | None:
        """Return the version or close that decides."""
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
        return best


def propose(chance: random.Random, model: Model, seq: int) -> tuple[Commit, Model, bool]:
    """Return a random commit, the model after it, and whether the model refuses it."""
    kind = chance.choices(KINDS, WEIGHTS)[0]
    if kind in ("withdraw", "restore") and not model.entries:
        kind = "add"
    later = model.copy()
    if kind in ("add", "close"):
        versions = add_entries(chance, later, seq, kind == "close")
        return make_commit(seq, versions, op=kind), later, model.would_break_a_freeze(later)
    statement: Any
    is_refused = False
    if kind in ("withdraw", "restore"):
        entry = chance.choice(model.entries)
        stamp = next(stamp for stamp in STAMPS if begin_of(stamp) == entry.start)
        statement = Withdrawal((f"{entry.panel}/{stamp}/v{entry.number}",))
        later.said.append((seq, kind, (entry.panel, entry.start, entry.number)))
    elif kind in ("tag", "name"):
        name, panel = chance.choice(NAMES), chance.choice(PANELS)
        statement = Naming(panel, name) if kind == "name" else Tag(name, seq - 1)
        what = (kind, panel) if kind == "name" else (kind, seq - 1)
        is_refused = later.names.setdefault(name, what) != what
    elif kind == "freeze":
        stamp, types = chance.choice(STAMPS), chance.choice([None, *((name,) for name in TYPES)])
        statement = Freeze(stamp, begin_of(stamp), types)
        later.frozen.update(dict.fromkeys(types or TYPES, begin_of(stamp)))
    else:
        one, other = chance.sample(PANELS, 2)
        statement = SamePanel((one, other))
        later.said.append((seq, kind, {one, other}))
        is_refused = kind == "same" and model.differ_at_a_stamp(one, other)
    op = {"same": "same_panel", "not same": "not_same_panel"}.get(kind, kind)
    is_refused = is_refused or model.would_break_a_freeze(later)
    return make_commit(seq, (), op=op, statement=statement), later, is_refused


def add_entries(chance: random.Random, model: Model, seq: int, closes: bool) -> list[Version]:
    """Add to a model what it holds at a random stamp of one or two panels; return it as versions."""
    versions: list[Version] = []
    for place, panel in enumerate(chance.sample(PANELS, chance.randint(1, 2))):
        stamp = chance.choice(STAMPS)
        types = tuple(sorted(chance.sample(TYPES, chance.randint(1, 2))))
        start = begin_of(stamp)
        number = 1 + sum((e.panel, e.start) == (panel, start) for e in model.entries)
        content = chance.choice("xyz")
        model.entries.append(Entry(panel, start, number, types, closes, seq, place, content))
        if closes:
            versions.append(Version(panel, stamp, start, number, (), NO_FILE, seq, closes=types))
        else:
            held = {name: f"{content} {name}" for name in types}
            versions.append(make_version(panel, stamp, number, held, seq))
    return versions


def is_refused_by_the_rules(table: Table, commit: Commit) -> bool:
    """Return whether jfstore refuses to publish a commit."""
    statement = commit.statement
    try:
        if isinstance(statement, (Tag, Naming)):
            names.check_is_free([said for _, _, said in table.statements], statement)
        if commit.op == "same_panel":
            assert isinstance(statement, SamePanel)
            joining.check_can_join(table, *statement.panels)
        freezing.check_commit(table, commit, UTC)
    except Refused:
        return True
    return False


def history(chance: random.Random, length: int, found: list[str]) -> tuple[Model, list[Commit]]:
    """Return a random history, for the model and as commits; append to `found` where they differ in what they refuse.

    Some of what is refused is in the history all the same: a reader takes a log as it is.
    """
    model, log, table = Model(), list[Commit](), Table.empty()
    for _ in range(length):
        commit, later, expected = propose(chance, model, len(log) + 1)
        is_refused = is_refused_by_the_rules(table, commit)
        if is_refused != expected:
            found.append(f"commit {commit.seq}, {commit.op} {commit.statement or commit.versions}: {is_refused}")
        if not expected or (commit.op not in ("tag", "name") and chance.random() < 0.3):
            model, table = later, table.extend([commit])
            log.append(commit)
    return model, log


def disagreements(seed: int, histories: int, questions: int) -> Iterator[str]:
    """Yield where the rules and the model differ."""
    chance = random.Random(seed)
    for number in range(histories):
        found: list[str] = []
        model, log = history(chance, chance.randint(1, 40), found)
        yield from (f"history {number}: {text}" for text in found)
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
                yield f"history {number}: {panel} {name} at {t} as of {as_of}: {answer}, not {expected}"
        odd = [name for name in NAMES if stands_for_another(name, table, model)]
        yield from (f"history {number}: {name} stands for another panel" for name in odd)


def stands_for_another(name: str, table: Table, model: Model) -> bool:
    """Return whether a name stands for another panel than in the model."""
    kind, panel = model.names.get(name, ("", None))
    expected = panel if kind == "name" else None
    try:
        found = detector_id(resolve_detector(name, table.panel_names))
    except BadValue:
        found = None
    return bool(found != expected)


def test_the_rule_and_the_model_agree() -> None:
    assert [*disagreements(1, 60, 50)] == []


@pytest.mark.full
def test_the_rule_and_the_model_agree_on_100_000_questions() -> None:
    assert [*disagreements(2, 1000, 100)] == []


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


def a_freeze_is_for_every_type(freezes: freezing.Freezes, calib_type: str) -> freezing.Frozen | None:
    return freezes.get(None) or next(iter(freezes.values()), None)


def first_freeze_holds(patch: pytest.MonkeyPatch) -> None:
    find = freezing.find_freezes
    patch.setattr(freezing, "find_freezes", lambda said: find(reversed([*said])))


def only_what_starts_earlier_is_frozen(patch: pytest.MonkeyPatch) -> None:
    """Look at the end of a change, as if one that lasts beyond the stamp changed nothing before it."""
    check = freezing.check_freezes
    patch.setattr(freezing, "check_freezes", lambda table, found: check(table, [c for c in found if c.end]))


def additions_from_nothing_pass(patch: pytest.MonkeyPatch) -> None:
    check = freezing.check_freezes
    patch.setattr(freezing, "check_freezes", lambda table, found: check(table, [c for c in found if c.before]))


def refuse_nothing(*asked: Any) -> None:
    """Refuse nothing."""


def closes_hold_nothing_to_compare(patch: pytest.MonkeyPatch) -> None:
    find = joining._find_conflicts
    patch.setattr(
        joining,
        "_find_conflicts",
        lambda *asked: (one for one in find(*asked) if not one[1].closes and not one[2].closes),
    )


MUTANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "withdrawals do not count": wrong("_withdrawn", lambda said: set()),
    "restoring does not count": wrong("_withdrawn", first_restore_only),
    "panels are never the same": wrong("_same_panels", lambda panel, said: [panel]),
    "panels are the same for ever, and not in chains": wrong("_same_panels", no_chains_of_panels),
    "closes do not count": no_tie_with_a_close,
    "statements count one commit early": as_of_off_by_one,
    "of joined panels the highest number wins": lambda patch: patch.setattr(Table, "are_joined", False),
    "a freeze is for every type": lambda patch: patch.setattr(freezing, "find_freeze", a_freeze_is_for_every_type),
    "of several freezes the first holds": first_freeze_holds,
    "a change that lasts beyond a freeze passes": only_what_starts_earlier_is_frozen,
    "an addition where nothing was valid passes a freeze": additions_from_nothing_pass,
    "names can be moved": lambda patch: patch.setattr(names, "check_is_free", refuse_nothing),
    "panels that differ are joined": lambda patch: patch.setattr(joining, "check_can_join", refuse_nothing),
    "a close does not stop a join": closes_hold_nothing_to_compare,
    "a time before a start is in its interval": wrong("find_interval", lambda starts, t: int((starts <= t).sum()) - 2),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_rule_disagrees_with_the_model(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[mutant](monkeypatch)
    assert next(disagreements(3, 60, 50), None)
