"""Promote versions, closes, withdrawals and statements of same panels from one repository to another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jfstore.core.arrays import Checked
from jfstore.core.calib_types import CALIB_TYPES
from jfstore.core.changes import changes_between
from jfstore.core.guard import check_accepted
from jfstore.core.joining import are_joined, check_can_join
from jfstore.core.records import SamePanel, Statement, Version, Withdrawal
from jfstore.core.table import Table
from jfstore.core.validity import find_holder, find_joined_panels, find_superseding, find_withdrawn
from jfstore.errors import InDoubt, JfstoreError, Refused
from jfstore.repository.adding import (
    Added,
    Entry,
    add_entries,
    check_message,
    check_request,
    missing_type_notes,
    refuse_mirror,
)
from jfstore.repository.copying import (
    find_counterparts,
    is_closed,
    origin_of,
)
from jfstore.repository.governing import Stated, commit_statement
from jfstore.repository.numbering import content_rule, extend_table, make_numberer, number_closes
from jfstore.repository.promoted import Promoted
from jfstore.repository.selecting import Selected, group_of, select

if TYPE_CHECKING:
    from jfstore.repository.repository import Repository

Progress = Callable[[int, int], None]


def promote(
    source: Repository,
    target: Repository,
    names: Sequence[str],
    message: str,
    *,
    commit: int | None = None,
    tag: str | None = None,
    new: bool = False,
    panel: str | None = None,
    superseded: bool = False,
    accept: Sequence[str] | str = (),
    request: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> Promoted:
    """Copy versions and statements from `source` to `target`; see `Repository.promote`."""
    for what in ("id", "panel_shape", "zone", "detector"):
        here, there = getattr(source.identity, what), getattr(target.identity, what)
        if (here == there) == (what == "id"):
            problem = "are the same repository" if what == "id" else f"differ in {what}: {here}, {there}"
            raise Refused(f"{source.location} and {target.location} {problem}")
    check_message(message)
    request = check_request(request)
    refuse_mirror(target)
    # Everything is looked up before the first array is read.
    chosen = select(source, names, commit=commit, tag=tag, new=new, panel=panel, superseded=superseded)
    if not superseded:
        _refuse_superseded(source, target, chosen)
    return _Promoter(source, target, chosen, message, request, check_accepted(accept), progress).run(dry_run)


def _refuse_superseded(source: Repository, target: Repository, chosen: Selected) -> None:
    """Refuse a version that its repository has superseded, unless the target holds it or gets the better one too."""
    table, there = source.log.table(), target.log.table()
    names = {version.name for version in chosen.versions}
    for version in chosen.versions:
        if version.name not in chosen.named:
            continue
        better = find_superseding(table, version)
        if not better or names.issuperset(other.name for other in better):
            continue
        if version.closes or not find_holder(there, version.panel, version.stamp, version.content, ever=False):
            raise Refused(
                f"{version.name} is superseded by {better[-1].name} in {source.location}; "
                "--superseded promotes it all the same"
            )


@dataclass(frozen=True, slots=True)
class _Step:
    """One commit of a promotion: what makes it, given whether to commit nothing, and what it is planned to do."""

    do: Callable[[bool], Added | Stated]
    planned: Added | Stated


class _Promoter:
    """Plans the commits of one promotion and makes them.

    The order is that of the least harm: panels are joined, then versions and closes are added, then versions are
    withdrawn. Each commit has a request of its own, so that a repetition completes what was interrupted. Every step
    is planned on the table that the steps before it will leave.
    """

    def __init__(
        self,
        source: Repository,
        target: Repository,
        chosen: Selected,
        message: str,
        request: str,
        accept: tuple[str, ...],
        progress: Progress,
    ) -> None:
        self._source, self._target, self._chosen = source, target, chosen
        self._message, self._request, self._accept, self._progress = message, request, accept, progress
        self._before = self._after = target.log.table()
        self._touched: set[tuple[str, str]] = set()
        self._withdrawn, self._restored = (
            self._find_counterparts(op, versions)
            for op, versions in (("withdraw", chosen.withdrawn), ("restore", chosen.restored))
        )

    def run(self, dry_run: bool) -> Promoted:
        """Make the commits, or with `dry_run` return what they would be."""
        steps = list(self._plan_steps())
        done: list[Added | Stated] = []
        if dry_run or len(steps) > 1:
            # A part of a promotion would be worse than none: all of it is checked before the first commit.
            done = [_as_planned(step.do(True), step.planned) for step in steps]
        if not dry_run:
            done = []
            try:
                for step in steps:
                    done.append(step.do(False))
            except InDoubt as error:
                raise InDoubt(error.message, self._request) from error
            except JfstoreError as error:
                if seqs := [str(one.seq) for one in done if _is_done(one)]:
                    error.add_note(f"commit {', '.join(seqs)} was made before; a repetition completes it")
                raise
        return self._collect(done, dry_run)

    # -- which commits

    def _plan_steps(self) -> Iterator[_Step]:
        for op, pair in self._chosen.panels:
            request = self._request_of(f"{op} {' '.join(sorted(pair.panels))}")
            if self._says_of_panels(pair) != op or self._is_made(request):
                yield self._step_of_panels(op, pair, request)
        for number, versions in enumerate(self._split_into_phases()):
            if versions:
                yield (self._step_of_closes if number % 2 else self._step_of_additions)(number, versions)
        for op, (names, unchanged) in (("withdraw", self._withdrawn), ("restore", self._restored)):
            request = self._request_of(op)
            if names or unchanged or self._is_made(request):
                yield self._step_of_withdrawal(op, names, unchanged, request)

    def _request_of(self, step: str) -> str:
        """Return the request of a step; that of the first additions is the user's."""
        if step == "add 0":
            return self._request
        return hashlib.sha256(f"{self._request} {step}".encode()).hexdigest()[:32]

    def _is_made(self, request: str) -> bool:
        """Return whether a step was made before, so that it must be repeated, whatever the target has by now."""
        return self._before.find_request(request) is not None

    def _split_into_phases(self) -> list[list[Version]]:
        """Return additions, closes, additions, ... such that of one panel and start the order remains."""
        phases: list[list[Version]] = []
        last: dict[tuple[str, int], int] = {}
        for version in self._chosen.versions:
            key = group_of(self._source.log.table(), version.panel), version.start
            phase = last.get(key, 0)
            phase += phase % 2 != bool(version.closes)
            last[key] = phase
            while len(phases) <= phase:
                phases.append([])
            phases[phase].append(version)
        return phases

    # -- versions

    def _step_of_additions(self, number: int, versions: Sequence[Version]) -> _Step:
        request = self._request_of(f"add {number}")
        todo, numbered, unchanged = list[Version](), list[Version](), list[tuple[str, str]]()
        number_it = make_numberer(self._after, self._after.seq + 1)
        table = self._without_withdrawn(self._after)
        for version in versions:
            holder = None if self._is_made(request) else self._find_holder(table, version, numbered)
            if holder is None:
                todo.append(version)
                numbered.append(number_it(version))
            else:
                unchanged.append((version.name, holder))
        self._extend("add", numbered)
        self._touch(todo)

        def entries() -> Iterator[Entry]:
            for done, version in enumerate(todo):
                self._progress(done, len(todo))
                yield entry_of(self._source, version)
            self._progress(len(todo), len(todo))

        def add(dry_run: bool) -> Added:
            options: dict[str, Any] = {"accept": self._accept, "request": request, "dry_run": dry_run}
            # Another writer may have added the same meanwhile.
            options["rule"] = lambda table: content_rule(self._without_withdrawn(table), once=False)
            added = add_entries(self._target, entries(), self._message, **options)
            return replace(added, unchanged=(*unchanged, *added.unchanged))

        return _Step(add, Added(self._before.seq, tuple(numbered), tuple(unchanged), dry_run=True))

    def _find_holder(self, table: Table, version: Version, new: Sequence[Version]) -> str | None:
        """Return the version through which the target has what `version` is needed for, None if it has not."""
        place = table, version.panel, version.stamp
        if version.name in self._chosen.named:
            return find_holder(*place, version.content, ever=False, new=new)
        if types := self._chosen.current.get(version.name):
            return find_holder(*place, {name: version.content[name] for name in types}, ever=False, new=new)
        # It is superseded: that it was there is enough.
        return find_holder(*place, version.content, ever=True)

    def _step_of_closes(self, number: int, closes: Sequence[Version]) -> _Step:
        request = self._request_of(f"close {number}")
        table = self._without_withdrawn(self._after)
        todo = [
            replace(version, origin=origin_of(self._source, version))
            for version in closes
            if self._is_made(request) or not is_closed(table, version, self._chosen.current.get(version.name))
        ]
        numbered = number_closes(self._after, self._after.seq + 1, todo)
        self._extend("close", numbered)
        self._touch(todo)
        unchanged = tuple(version.name for version in closes if version.name not in {one.name for one in todo})
        names = tuple(version.name for version in numbered)

        def plan(now: Table, seq: int) -> list[Version]:
            left = self._without_withdrawn(now)
            return number_closes(now, seq, [version for version in todo if not is_closed(left, version)])

        def close(dry_run: bool) -> Stated:
            rest = (None, self._message, request, dry_run, names, unchanged)
            return commit_statement(self._target, "close", *rest, plan=plan)

        return _Step(close, Stated("close", self._before.seq, names, unchanged, dry_run=True))

    def _without_withdrawn(self, table: Table) -> Table:
        """Return a table of the target as the withdrawals of this promotion will leave it."""
        names = self._withdrawn[0]
        return extend_table(table, "withdraw", statement=Withdrawal(names)) if names else table

    # -- statements

    def _find_counterparts(self, op: str, versions: Sequence[Version]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of the target's versions to withdraw or restore, and of those for which it holds already."""
        gone = find_withdrawn(self._before)
        todo: dict[str, None] = {}
        unchanged: dict[str, None] = {}
        for version in versions:
            found = find_counterparts(self._source, self._target, version, self._chosen.is_state)
            if not found and not self._chosen.is_state:
                raise Refused(
                    f"{self._target.location} has no version that came from {version.name}, nor one with equal content "
                    f"at that stamp: there is nothing to {op}"
                )
            for other in found:
                (unchanged if (other.name in gone) == (op == "withdraw") else todo)[other.name] = None
            self._touch(found)
        if self._chosen.is_state:
            unchanged.clear()  # nothing to report: it was withdrawn before
        return tuple(todo), tuple(unchanged)

    def _step_of_withdrawal(self, op: str, names: tuple[str, ...], unchanged: tuple[str, ...], request: str) -> _Step:
        statement = Withdrawal(names, self._chosen.origin) if names else None
        if statement:
            self._extend(op, statement=statement)

        def withdraw(dry_run: bool) -> Stated:
            rest = (self._message, request, dry_run, names, unchanged)
            return commit_statement(self._target, op, statement, *rest)

        return _Step(withdraw, Stated(op, self._before.seq, names, unchanged, dry_run=True))

    def _says_of_panels(self, pair: SamePanel) -> str:
        """Return the operation that holds for a pair of panels in the target."""
        return "same_panel" if are_joined(self._after, *pair.panels) else "not_same_panel"

    def _step_of_panels(self, op: str, pair: SamePanel, request: str) -> _Step:
        if op == "same_panel":
            check_can_join(self._without_withdrawn(self._after), *pair.panels)
        self._extend(op, statement=pair)
        self._touched.update((panel, name) for panel in pair.panels for name in CALIB_TYPES)
        names = tuple(pair.panels)
        return _Step(
            lambda dry_run: commit_statement(self._target, op, pair, self._message, request, dry_run, names, ()),
            Stated(op, self._before.seq, names, dry_run=True),
        )

    # -- what it changes

    def _touch(self, versions: Iterable[Version]) -> None:
        self._touched.update((v.panel, name) for v in versions for name in (*v.content, *v.closes))

    def _extend(self, op: str, versions: Sequence[Version] = (), statement: Statement | None = None) -> None:
        """Let a step be planned after the next."""
        if versions or statement:
            self._after = extend_table(self._after, op, tuple(versions), statement)

    def _collect(self, done: Sequence[Added | Stated], dry_run: bool) -> Promoted:
        seqs = range(self._before.seq + 1, max((one.seq for one in done), default=0) + 1)
        # Not the present table of the log, whose rows need not be those of the table before.
        after = self._after if dry_run else self._before.extend([self._target.commit(seq) for seq in seqs])
        pairs = {(other, name) for panel, name in self._touched for other in find_joined_panels(after, panel)}
        changed = changes_between(self._before, after, sorted(pairs), self._target.zone)
        changed = tuple(sorted(changed, key=lambda change: (change.panel, change.type, change.start.ns)))
        additions = [one for one in done if isinstance(one, Added)]
        versions = tuple(version for one in additions for version in one.versions)
        unchanged = tuple(pair for one in additions for pair in one.unchanged)
        notes = tuple(dict.fromkeys((*(note for one in done for note in one.notes), *missing_type_notes(versions))))
        seq = max((one.seq for one in done), default=self._before.seq)
        samples = {key: sample for one in additions for key, sample in one.samples.items()}
        added = Added(seq, versions, unchanged, changed, notes=notes, dry_run=dry_run, samples=samples)
        stated = tuple(one for one in done if isinstance(one, Stated))
        return Promoted(seq, added, stated, changed, notes, dry_run)


def _as_planned(done: Added | Stated, planned: Added | Stated) -> Added | Stated:
    """Return what a dry run of one step said, as the steps before it leave the target."""
    if isinstance(done, Added) and isinstance(planned, Added):
        origins = {version.name.rpartition("/")[0]: version.origin for version in done.versions}
        versions = tuple(replace(v, origin=origins.get(v.name.rpartition("/")[0])) for v in planned.versions)
        return replace(done, versions=versions, unchanged=planned.unchanged)
    return replace(planned, notes=done.notes)


def _is_done(one: Added | Stated) -> bool:
    return bool(one.versions if isinstance(one, Added) else one.names)


def entry_of(source: Repository, version: Version) -> Entry:
    """Return a version of `source` as an entry for another repository: same content, origin kept."""
    version = source.version(version.name)  # with what only its commit says
    arrays = {
        array.type: Checked(source.panel_array(version, array.type).copy(), array.converted_from)
        for array in version.arrays
    }
    accepted = source.commit(version.seq).accepted
    origin = origin_of(source, version)
    return Entry(version.panel, version.valid_from, arrays, version.source, origin, version.about, accepted)
