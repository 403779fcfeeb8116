"""A machine of random steps against two repositories, and the same steps against a plain model of lists and dicts."""

from __future__ import annotations

import errno
import io
import os
import shutil
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import jfstore
from jfstore.cli.app import main
from jfstore.core.changes import Change
from jfstore.core.instants import BEGINNING_STAMP, DEFAULT_ZONE, SECOND, find_zone, iso, parse_time
from jfstore.fs import durable
from jfstore.repository import Entry, Repository
from jfstore.repository.verify import verify
from tests.makers.plain_model import START, Model
from tests.makers.repositories import SHAPE, TYPES, A, B, C, constants, entry, index_path, new_repository, put

PANELS = (A, B, C)
STAMPS = (BEGINNING_STAMP, "20170101000000", "20180306000000", "20180306000001", "20190101000000")
MOMENTS = (*STAMPS, "20161231235959", "20180305235959", "20180701120000", "20400101000000")
SEEDS = (1, 2, 3)
SUBSETS = (TYPES, TYPES[:1], TYPES[1:])
CLOCKS = (
    "jfstore.core.instants",
    "jfstore.repository.log",
    "jfstore.repository.finding",
    "jfstore.repository.making",
)
CALLS = [name for name in vars(durable.System) if not name.startswith("_")]
CODES = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.ESTALE)
BYTES = {(seed, name): constants(seed, name).tobytes() for seed in SEEDS for name in TYPES}
ZONE = find_zone(DEFAULT_ZONE)

panels = st.sampled_from(PANELS)
stamps = st.sampled_from(STAMPS)
seeds = st.sampled_from(SEEDS)
types = st.sampled_from(TYPES)
subsets = st.sampled_from(SUBSETS)
names = st.sampled_from(("test", "real"))
handles = st.integers(0, 1)
steps_done = [0]


class Faulty(durable.System):
    """Fails once, at the call with the given number."""

    def __init__(self, at: int, code: int) -> None:
        self.left = at
        for name in CALLS:
            setattr(self, name, self._counted(getattr(super(), name), code))

    def _counted(self, do: Any, code: int) -> Any:
        def call(*arguments: Any) -> Any:
            self.left -= 1
            if not self.left:
                raise OSError(code, os.strerror(code))
            return do(*arguments)

        return call


# -- the machine


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = START
        self.requests = 0
        self.patch = pytest.MonkeyPatch()
        for module in CLOCKS:
            self.patch.setattr(f"{module}.now", lambda: self.clock)
        self.place = Path(tempfile.mkdtemp(prefix="jfstore-machine-"))
        self.models = {"test": Model(), "real": Model()}
        self.opened: dict[str, list[Repository]] = {}

    @initialize()
    def make(self) -> None:
        for name in self.models:
            made = new_repository(self.place / name, name)
            self.opened[name] = [made, jfstore.open(str(self.place / name))]
            self.patch.setenv(f"JFSTORE_{name.upper()}", str(self.place / name))

    def teardown(self) -> None:
        try:
            for opened in self.opened.values():
                report = verify(opened[0])
                assert [
                    problem for problem in report.problems if "is missing; jfstore verify" not in problem.message
                ] == []
                # Content that is there in pieces is stored before it is known to be unchanged.
                assert all("nothing in the log refers to it" in text for _, text in report.notes)
        finally:
            self.patch.undo()
            shutil.rmtree(self.place)

    @invariant()
    def counted(self) -> None:
        steps_done[0] += 1

    def request(self) -> str:
        self.requests += 1
        return f"{self.requests:032x}"

    def notes_the_clock(self, name: str, notes: tuple[str, ...]) -> None:
        behind = max([START, *self.models[name].times[-1:]]) - self.clock > 60 * SECOND
        assert any("clock of this machine" in note for note in notes) == behind

    def add(self, name: str, handle: int, entries: list[Entry], wanted: list[tuple[str, str, dict[str, int]]]) -> None:
        model = self.models[name]
        new = model.added(wanted)
        done = self.opened[name][handle].add_entries(entries, "why", request=self.request())
        if new:
            self.notes_the_clock(name, done.notes)
        model.commit(new, self.clock)
        assert [version.name for version in done.versions] == [held.name for held in new]
        assert len(done.unchanged) == len(wanted) - len(new)
        assert done.seq == len(model.times)

    def command(self, *argv: str) -> tuple[int, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(argv)
        return code, out.getvalue() + err.getvalue()

    # -- steps that write

    @rule(name=names, handle=handles, panel=panels, stamp=stamps, seed=seeds, some=subsets)
    def add_panel(self, name: str, handle: int, panel: str, stamp: str, seed: int, some: tuple[str, ...]) -> None:
        wanted = [(panel, stamp, dict.fromkeys(some, seed))]
        self.add(name, handle, [entry(panel, stamp, seed, some)], wanted)

    @rule(name=names, handle=handles, stamp=stamps, of_each=st.lists(seeds, min_size=2, max_size=3))
    def add_detector(self, name: str, handle: int, stamp: str, of_each: list[int]) -> None:
        pairs = list(zip(PANELS, of_each, strict=False))
        wanted = [(panel, stamp, dict.fromkeys(TYPES, seed)) for panel, seed in pairs]
        self.add(name, handle, [entry(panel, stamp, seed) for panel, seed in pairs], wanted)

    @rule(name=names, links=st.dictionaries(st.tuples(panels, stamps), seeds, max_size=3))
    def import_tree(self, name: str, links: dict[tuple[str, str], int]) -> None:
        tree = self.place / "gains"
        shutil.rmtree(tree, ignore_errors=True)
        for seed in set(links.values()):
            write_gain_directory(tree / f"M{seed:03d}", seed)
        tree.mkdir(exist_ok=True)
        for (panel, stamp), seed in links.items():
            word = panel if stamp == BEGINNING_STAMP else f"{panel}-{stamp}"
            (tree / word).symlink_to(f"M{seed:03d}")
        ordered = sorted(links.items(), key=lambda link: (link[1], link[0]))
        model = self.models[name]
        new = model.added([(*where, dict.fromkeys(TYPES, seed)) for where, seed in ordered], ever=True)
        code, text = self.command(
            "import", str(tree), "-m", "gains", "--repo", name, "--yes", "--request", self.request()
        )
        # A tree in which nothing is to be imported is most likely not the one that was meant.
        assert code == (0 if links else 1), text
        model.commit(new, self.clock)

    @rule(
        way=st.sampled_from([("test", "real"), ("real", "test")]),
        picks=st.lists(st.integers(0, 99), min_size=1, max_size=3),
        superseded=st.booleans(),
    )
    def promote(self, way: tuple[str, str], picks: list[int], superseded: bool) -> None:
        source, target = (self.models[name] for name in way)
        stored = [held for held in source.held if not held.closes]
        if not stored:
            return
        chosen = list({held.name: held for held in (stored[pick % len(stored)] for pick in picks)}.values())
        # In the order in which the source has them: the higher number goes last and wins.
        chosen.sort(key=source.held.index)
        refused = not superseded and any(source.is_replaced(held, chosen, target) for held in chosen)
        refused = refused or any(held.name in source.gone() for held in chosen)
        new = target.added([(held.panel, held.stamp, held.content) for held in chosen])
        argv = [
            "promote",
            *(held.name for held in chosen),
            "--from",
            way[0],
            "--repo",
            way[1],
            "-m",
            "checked",
            "--yes",
            *(["--superseded"] if superseded else []),
        ]
        code, text = self.command(*argv, "--request", self.request())
        assert code == (5 if refused else 0), text
        if not refused:
            target.commit(new, self.clock)

    def check_changes(self, name: str, before: int, changes: tuple[Change, ...]) -> None:
        """Check what a commit said of the answers that it changes."""
        model = self.models[name]
        for panel, kind, moment in product(PANELS, TYPES, MOMENTS):
            was, now = (model.valid(panel, kind, moment, seq) for seq in (before, len(model.times)))
            found = [
                (change.before, change.after)
                for change in changes
                if (change.panel, change.type) == (panel, kind)
                and change.start.stamp <= moment
                and (change.end is None or moment < change.end.stamp)
            ]
            same = (was and was.content[kind]) == (now and now.content[kind])
            assert found == ([] if same else [(was and was.name, now and now.name)])

    @rule(name=names, handle=handles, op=st.sampled_from(["withdraw", "restore"]), picks=st.lists(st.integers(0, 99)))
    def withdraw_or_restore(self, name: str, handle: int, op: str, picks: list[int]) -> None:
        model, repository = self.models[name], self.opened[name][handle]
        if not model.held or not picks:
            return
        chosen = list(dict.fromkeys(model.held[pick % len(model.held)].name for pick in picks))
        todo = [one for one in chosen if (one in model.gone()) == (op == "restore")]
        before = len(model.times)
        done = getattr(repository, op)(chosen, "why", request=self.request())
        model.state(op, todo, self.clock)
        assert (list(done.names), done.seq) == (todo, len(model.times))
        self.check_changes(name, before, done.changes)

    @rule(name=names, handle=handles, panel=panels, stamp=stamps, some=st.none() | subsets)
    def close(self, name: str, handle: int, panel: str, stamp: str, some: tuple[str, ...] | None) -> None:
        model, repository = self.models[name], self.opened[name][handle]
        if not any(held.panel == panel for held in model.held):
            with pytest.raises(jfstore.NotFound):
                repository.close(panel, stamp, "why", types=some)
            return
        new, before = model.closed(panel, stamp, some), len(model.times)
        done = repository.close(panel, stamp, "why", types=some, request=self.request())
        model.commit(new, self.clock)
        assert (list(done.names), done.seq) == ([held.name for held in new], len(model.times))
        self.check_changes(name, before, done.changes)

    @rule(name=names, handle=handles, pick=st.integers(0, 99))
    def tag(self, name: str, handle: int, pick: int) -> None:
        model = self.models[name]
        if model.times:
            word, seq = f"t{len(model.tags)}", 1 + pick % len(model.times)
            self.opened[name][handle].tag(word, "why", as_of=seq, request=self.request())
            model.take_time(self.clock)
            model.tags[word] = seq

    @rule(name=names, handle=handles, panel=panels, kind=types, moment=st.sampled_from(MOMENTS), pick=st.integers(0, 9))
    def get_as_of_tag(self, name: str, handle: int, panel: str, kind: str, moment: str, pick: int) -> None:
        tags = self.models[name].tags
        if tags:
            word = sorted(tags)[pick % len(tags)]
            self.check(name, handle, [panel], kind, moment, word, tags[word])

    @rule(
        name=names,
        handle=handles,
        panel=panels,
        stamp=stamps,
        seed=seeds,
        at=st.integers(1, 32),
        code=st.sampled_from(CODES),
    )
    def add_with_a_fault(self, name: str, handle: int, panel: str, stamp: str, seed: int, at: int, code: int) -> None:
        """A call to the disk fails; the same request, repeated, adds once."""
        model, request = self.models[name], self.request()
        new = model.added([(panel, stamp, dict.fromkeys(TYPES, seed))])
        repository = self.opened[name][handle]
        self.patch.setattr(durable, "system", Faulty(at, code))
        try:
            repository.add_entries([entry(panel, stamp, seed)], "why", request=request)
        except (OSError, jfstore.InDoubt, jfstore.Failed, jfstore.Refused):
            self.patch.setattr(durable, "system", durable.System())
            seen = len(repository.history())
            assert seen in (len(model.times), len(model.times) + len(new))
            again = repository.add_entries([entry(panel, stamp, seed)], "why", request=request)
            assert [version.name for version in again.versions] == [held.name for held in new]
        finally:
            self.patch.setattr(durable, "system", durable.System())
        third = repository.add_entries([entry(panel, stamp, seed)], "why", request=request)
        model.commit(new, self.clock)
        assert [version.name for version in third.versions] == [held.name for held in new]
        # What a writer whose removal failed leaves behind is not a step of this machine.
        for left in [*(self.place / name).rglob(".tmp-*")]:
            left.unlink()

    # -- steps that read

    def check(self, name: str, handle: int, which: list[str], kind: str, moment: str, as_of: Any, seq: int) -> None:
        model, repository = self.models[name], self.opened[name][handle]
        right = [model.valid(panel, kind, moment, seq) for panel in which]
        try:
            array = repository.get("_".join(which), kind, moment, as_of=as_of)
        except jfstore.NotFound as error:
            named = [panel in error.message for panel in which]
            assert named == [held is None for held in right]
            assert any(named)
            return
        assert all(right)
        for place, held in enumerate(right):
            assert held is not None
            assert array[:, place].tobytes() == BYTES[held.content[kind], kind]
        answer = repository.find("_".join(which), [kind], moment, as_of=as_of)
        assert answer.as_of == seq
        assert [selection.version.name for selection in answer.selections[kind]] == [
            held.name for held in right if held
        ]

    @rule(
        name=names,
        handle=handles,
        which=st.permutations(PANELS),
        count=st.integers(1, 3),
        kind=types,
        moment=st.sampled_from(MOMENTS),
    )
    def get(self, name: str, handle: int, which: list[str], count: int, kind: str, moment: str) -> None:
        self.check(name, handle, which[:count], kind, moment, None, len(self.models[name].times))

    @rule(name=names, handle=handles, panel=panels, kind=types, moment=st.sampled_from(MOMENTS), seq=st.integers(0, 60))
    def get_as_of_commit(self, name: str, handle: int, panel: str, kind: str, moment: str, seq: int) -> None:
        last = len(self.models[name].times)
        if seq > last:
            seq = seq % (last + 2)
        if seq > last:
            with pytest.raises(jfstore.BadValue, match="beyond the last commit"):
                self.opened[name][handle].get(panel, kind, moment, as_of=seq)
            return
        self.check(name, handle, [panel], kind, moment, str(seq) if seq % 2 else seq, seq)

    @rule(
        name=names,
        handle=handles,
        panel=panels,
        kind=types,
        moment=st.sampled_from(MOMENTS),
        pick=st.integers(0, 99),
        shift=st.sampled_from([-1, 0, 1]),
    )
    def get_as_of_time(self, name: str, handle: int, panel: str, kind: str, moment: str, pick: int, shift: int) -> None:
        times = self.models[name].times
        instant = times[pick % len(times)] + shift if times else START
        if instant > self.clock:
            with pytest.raises(jfstore.BadValue, match="future"):
                self.opened[name][handle].get(panel, kind, moment, as_of=iso(instant))
            return
        seq = sum(time <= instant for time in times)
        self.check(name, handle, [panel], kind, moment, iso(instant), seq)

    @rule(name=names, handle=handles, seq=st.none() | st.integers(0, 60))
    def versions(self, name: str, handle: int, seq: int | None) -> None:
        model, repository = self.models[name], self.opened[name][handle]
        last = len(model.times)
        seq = None if seq is None else min(seq, last)
        held = [held for held in model.held if held.seq <= (last if seq is None else seq)]
        stored = repository.versions(seq)
        assert [(version.name, version.seq) for version in stored] == [(one.name, one.seq) for one in held]
        assert [sorted(version.content) for version in stored] == [sorted(one.content) for one in held]
        assert [version.start for version in stored] == [parse_time(one.stamp, ZONE) for one in held]
        assert [summary.time.ns for summary in repository.history()] == model.times

    @rule(name=names, handle=handles, pick=st.integers(0, 99))
    def one_version(self, name: str, handle: int, pick: int) -> None:
        model, repository = self.models[name], self.opened[name][handle]
        if model.held:
            held = model.held[pick % len(model.held)]
            version = repository.version(held.name)
            for kind, seed in held.content.items():
                assert repository.panel_array(version, kind).tobytes() == BYTES[seed, kind]

    # -- steps that change how it is seen

    @rule(name=names, handle=handles)
    def reopen(self, name: str, handle: int) -> None:
        self.opened[name][handle] = jfstore.open(str(self.place / name))

    @rule(name=names, handle=handles)
    def rebuild_index(self, name: str, handle: int) -> None:
        self.opened[name][handle].rebuild_index()

    @rule(name=names)
    def keep_index(self, name: str) -> None:
        path = index_path(self.opened[name][0])
        if path.exists():
            self.models[name].indices.append(path.read_bytes())

    @rule(name=names)
    def delete_index(self, name: str) -> None:
        index_path(self.opened[name][0]).unlink(missing_ok=True)

    @rule(name=names, pick=st.integers(0, 99))
    def put_older_index_back(self, name: str, pick: int) -> None:
        kept = self.models[name].indices
        if kept:
            put(index_path(self.opened[name][0]), kept[pick % len(kept)])

    @rule(seconds=st.sampled_from([1, 59, 61, 86400, -1, -59, -61, -86400]) | st.integers(-3000, 3000))
    def clock_jumps(self, seconds: int) -> None:
        self.clock += seconds * SECOND


def write_gain_directory(path: Path, seed: int) -> None:
    import numpy as np

    path.mkdir(parents=True)
    for name in TYPES:
        for gain in range(SHAPE[0]):
            word = name.removeprefix("pixel_")
            np.save(path / f"g{gain}_{word}.npy", constants(seed, name)[gain], allow_pickle=False)


def run(examples: int, steps: int, derandomize: bool) -> int:
    """Let the machine run; return the number of steps."""
    steps_done[0] = 0
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=derandomize,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
    return steps_done[0]


def test_some_steps() -> None:
    assert run(examples=20, steps=30, derandomize=True) >= 300


@pytest.mark.full
def test_many_steps() -> None:
    done = 0
    while done < 20_000:
        done += run(examples=100, steps=80, derandomize=False)
        print(f"{done} steps, no mismatch", flush=True)
