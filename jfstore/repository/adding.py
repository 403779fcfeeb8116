"""Add versions: check the arrays, publish them as files, number the versions, commit."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from numpy.typing import NDArray

from jfstore.core.arrays import Checked
from jfstore.core.calib_types import PAIRS, calib_type, panel_shape_of
from jfstore.core.changes import Change, changes, changes_by
from jfstore.core.fields import check_about
from jfstore.core.freezing import check_commit
from jfstore.core.guard import check_accepted
from jfstore.core.hashing import digest
from jfstore.core.ids import parse_panel
from jfstore.core.instants import Instant, exact_stamp, find_zone
from jfstore.core.records import Array, Commit, Identity, StoredFile, Version
from jfstore.core.sizes import take_sample
from jfstore.core.sketch import make_sketch
from jfstore.core.table import Table
from jfstore.core.validity import find_joined_panels
from jfstore.errors import BadValue, Refused
from jfstore.repository.guarding import Guard
from jfstore.repository.log import Appended
from jfstore.repository.numbering import Known, content_rule, number_versions, origin_rule
from jfstore.storage.base import Storage

if TYPE_CHECKING:
    from jfstore.repository.exchanging import ExchangingRepository
    from jfstore.repository.governing import Stated
    from jfstore.repository.reading import ReadableRepository
    from jfstore.runs.run import Run

_MESSAGE_LIMIT = 1 << 16
_MOST_SAMPLES = 2048
"""A dry run keeps samples of at most this many arrays, 100 kB each."""
_REQUEST = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """Arrays of one panel to add.

    Attributes
    ----------
    panel : str
        Panel Id in its normal form.
    start : Instant
        Start of validity, in whole seconds.
    arrays : mapping of str to Checked
        Arrays by calibration type, as `check_array` returned them.
    source : str or None
        The file or directory that they came from.
    origin : mapping or None
        The version of another repository or file that they came from.
    about : mapping of str to str
        Short texts by key, such as the dark run or a report, to show and to filter by.
    accepted : sequence of str
        Findings of the guard that were accepted in another repository.
    """

    panel: str
    start: Instant
    arrays: Mapping[str, Checked]
    source: str | None = None
    origin: Mapping[str, Any] | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    accepted: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Added:
    """What a method that adds versions did.

    Attributes
    ----------
    seq : int
        The commit, or the last one there is if nothing was committed.
    versions : tuple of Version
        The versions that were added, or with `dry_run` would be.
    unchanged : tuple of (str, str)
        For each entry that the repository has already, its source or name, and the version that holds it.
    changes : tuple of Change
        For which intervals the answers change, and from which version to which.
    skipped : tuple of (str, str)
        Names that could not be imported, each with the reason.
    targets : tuple of str
        Directories of a gain tree that the names lead to.
    notes : tuple of str
        What the user should know.
    dry_run : bool
        Whether nothing was stored.
    run : Run or None
        The run that the panels and the start of validity come from.
    samples : mapping of str to ndarray
        With `dry_run`, values of arrays that would be stored for known panels, by BLAKE3, as `take_sample` returns
        them: `jfstore.impact` compares them with what is valid.
    stated : tuple of Stated
        What was closed by the same import, in a commit of its own.
    """

    seq: int
    versions: tuple[Version, ...]
    unchanged: tuple[tuple[str, str], ...]
    changes: tuple[Change, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    targets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dry_run: bool = False
    run: Run | None = None
    samples: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)
    stated: tuple[Stated, ...] = ()

    @property
    def commits(self) -> tuple[int, ...]:
        """The commits that were made; with `dry_run` not empty if one would be."""
        seqs = {version.seq for version in self.versions} | {one.seq for one in self.stated if one.names}
        return tuple(sorted(seqs))


def add_entries(
    repository: ExchangingRepository,
    entries: Iterable[Entry],
    message: str,
    *,
    request: str | None = None,
    once: bool = False,
    by_origin: bool = False,
    rule: Callable[[Table], Known] | None = None,
    dry_run: bool = False,
    accept: Sequence[str] | str = (),
) -> Added:
    """Add versions in one commit; see `Repository.add_entries`.

    With `rule`, it says of the present table which versions are needless, in place of `once` and `by_origin`.
    """
    check_message(message)
    request = check_request(request)
    accept = check_accepted(accept)
    storage, identity, log = repository.storage, repository.identity, repository.log
    refuse_mirror(repository)
    before = log.table()
    if done := before.find_request(request):
        return _repeat(repository, done, entries, before, request)
    storage.check_writable()
    log.make_sure()
    samples: dict[str, NDArray[Any]] = {}
    guard = Guard(repository, before, accept, skips_known=once or by_origin)
    pending = list(_publish_arrays(storage, identity, entries, before, dry_run, samples, guard))
    guard.refuse_findings()
    accepted = tuple(sorted(guard.accepted))
    unchanged: list[tuple[str, str]] = []

    def versions_for(table: Table, seq: int) -> list[Version]:
        unchanged.clear()
        if rule:
            known = rule(table)
        else:
            known = origin_rule(table, repository.commit, pending) if by_origin else content_rule(table, once)
        return list(number_versions(pending, table, seq, known, unchanged))

    def check(table: Table, commit: Commit) -> None:
        check_commit(table, commit, repository.zone)

    if dry_run:
        versions = tuple(versions_for(before, before.seq + 1))
        dry = Commit(before.seq + 1, "", 0, 0, "", "", "", message, request, "add", versions, hash="0" * 64)
        check(before, dry)
        after = before.extend([dry])
        appended = Appended(before.seq, versions, before, after)
    else:
        appended = log.append("add", message, request, versions_for, accepted=accepted, check=check)
    changed = changes(appended.before, appended.after, appended.versions, repository.zone)
    return Added(
        appended.seq,
        appended.versions,
        tuple(unchanged),
        changed,
        notes=(*guard.notes, *appended.notes),
        dry_run=dry_run,
        samples=samples,
    )


def refuse_mirror(repository: ReadableRepository) -> None:
    """Raise Refused if nothing may be committed here, because the repository is a mirror."""
    mirror_of = repository.identity.mirror_of
    if mirror_of is not None:
        raise Refused(
            f"{repository.location} is a mirror of {mirror_of}: add to that one, "
            "or make this one a repository of its own with jfstore mirror --detach"
        )


def missing_type_notes(versions: Iterable[Version]) -> Iterator[str]:
    """Yield a note on versions that lack one type of a pair, which will then come from another version."""
    lacking: dict[str, list[str]] = {}
    for version in versions:
        for pair in PAIRS:
            absent = [name for name in pair if name not in version.content]
            if len(absent) == 1:
                lacking.setdefault(absent[0], []).append(version.name)
    for missing, names in lacking.items():
        verb, their = ("has", "that") if len(names) == 1 else ("have", "those")
        yield f"{', '.join(names)} {verb} no {missing}: {their} will come from another version"


def _repeat(repository: ExchangingRepository, seq: int, entries: Iterable[Entry], table: Table, request: str) -> Added:
    """Return what commit `seq` added, made sure to survive; Refused if `request` was for something else."""
    pending = _publish_arrays(repository.storage, repository.identity, entries, table, True, {})
    asked = [(v.panel, v.stamp, v.content) for v in pending]
    commit = repository.commit(seq)
    if not all((version.panel, version.stamp, version.content) in asked for version in commit.versions):
        raise Refused(f"request {request} was for another change, commit {seq}")
    repository.log.append("add", "repeated", request, lambda _table, _seq: ())
    return Added(seq, commit.versions, (), changes_by(repository.log.table(), commit, repository.zone))


def _publish_arrays(
    storage: Storage,
    identity: Identity,
    entries: Iterable[Entry],
    table: Table,
    dry_run: bool,
    samples: dict[str, NDArray[Any]],
    guard: Guard | None = None,
) -> Iterator[Version]:
    """Publish the arrays of `entries` that are not stored yet; yield versions without a number.

    Entries are taken one by one, so that the arrays of one are freed before the next. A dry run puts some values of
    the arrays of known panels into `samples`. From the first finding of the guard on nothing is published.
    """
    zone = find_zone(identity.zone)
    known = table.panel_names.keys()
    files: dict[tuple[tuple[str, str], ...], StoredFile] = {}
    for entry in entries:
        _check_entry(entry, zone)
        ids = find_joined_panels(table, entry.panel) if table.are_joined else [entry.panel]
        is_known = dry_run and not known.isdisjoint(ids)
        arrays = []
        for name, checked in sorted(entry.arrays.items()):
            if checked.array.dtype.str != calib_type(name).dtype or not checked.array.flags.c_contiguous:
                raise BadValue(f"{name} of {entry.panel} was not made by check_array: dtype {checked.array.dtype}")
            if checked.array.shape != (expected := panel_shape_of(name, identity.panel_shape)):
                raise BadValue(
                    f"{name} of {entry.panel} has shape {checked.array.shape}, "
                    f"panels of this repository have {expected}"
                )
            values = checked.array
            blake3, sketch = digest(values.reshape(-1).view("u1")), make_sketch(values)
            arrays.append(Array(name, values.dtype.str, values.shape, blake3, checked.converted_from, sketch))
            if is_known and len(samples) < _MOST_SAMPLES:
                samples[blake3] = take_sample(values)
        key = tuple((array.type, array.blake3) for array in arrays)
        if guard:
            guard.judge(entry, arrays)
        if key not in files:
            is_refused = guard is not None and bool(guard.findings)
            files[key] = _publish_file(storage, entry, arrays, table, dry_run or is_refused)
        yield Version(
            panel=entry.panel,
            stamp=entry.start.stamp,
            start=entry.start.ns,
            number=0,
            arrays=tuple(arrays),
            file=files[key],
            seq=0,
            source=_printable_source(entry.source),
            origin=entry.origin,
            about=dict(entry.about),
        )


def _publish_file(storage: Storage, entry: Entry, arrays: Sequence[Array], table: Table, dry_run: bool) -> StoredFile:
    known = table.find_content({array.type: array.blake3 for array in arrays})
    if known and (dry_run or storage.check(known, arrays, quick=False) is None):
        return known
    if dry_run:
        # A path of its own, so that the table of a dry run tells the contents apart.
        return StoredFile(
            f"dry-run/{digest(*(a.blake3.encode() for a in arrays))}",
            0,
            "0" * 64,
            dict.fromkeys((a.type for a in arrays), 0),
        )
    return storage.store(entry.panel, entry.start.stamp, {name: c.array for name, c in entry.arrays.items()})


def _printable_source(source: str | None) -> str | None:
    """Return the name of a file as text that any commit may carry."""
    return None if source is None else source.encode("utf-8", "backslashreplace").decode()


def _check_entry(entry: Entry, zone: ZoneInfo) -> None:
    if not isinstance(entry, Entry):
        raise BadValue(f"an entry is a jfstore.Entry, not {type(entry).__name__}; repository.add takes plain arrays")
    if not entry.arrays:
        raise BadValue(f"{entry.panel}: there are no arrays to add")
    if str(parse_panel(entry.panel)) != entry.panel:
        raise BadValue(f"{entry.panel!r} is not the normal form of a panel Id, {parse_panel(entry.panel)}")
    require_about(entry.about)
    if exact_stamp(entry.start.ns, zone) != entry.start.stamp:
        raise BadValue(
            f"stamp {entry.start.stamp!r} is not that of {entry.start.iso}, {exact_stamp(entry.start.ns, zone)}"
        )


def require_about(about: Mapping[str, str] | None) -> dict[str, str]:
    """Return the texts that a version is to carry; BadValue if they are not short texts by key."""
    try:
        return check_about({} if about is None else about)
    except (TypeError, ValueError) as error:
        raise BadValue(str(error)) from None


def note_lost_texts(
    repository: ExchangingRepository, about: Mapping[str, str] | None, unchanged: Iterable[tuple[str, str]]
) -> Iterator[str]:
    """Yield a note on each version that holds what was to be added, but not the texts that it was to carry."""
    texts = set((about or {}).items())
    for name in dict.fromkeys(name for _, name in unchanged) if texts else ():
        if lost := sorted(key for key, _ in texts - set(repository.version(name).about.items())):
            yield f"{', '.join(lost)} not recorded: {name} has the same constants, and a version never changes"


def check_message(message: str) -> None:
    """Raise BadValue unless a commit may carry `message`: clean text of at most 64 KiB, not empty."""
    if not isinstance(message, str):
        raise BadValue(f"a message is text, not {type(message).__name__}")
    if not message.strip():
        raise BadValue("a commit needs a message that says why: -m MESSAGE")
    try:
        size = len(message.encode())
    except UnicodeEncodeError:
        raise BadValue("the message is not UTF-8") from None
    if size > _MESSAGE_LIMIT or "\0" in message:
        raise BadValue("the message has a NUL or more than 64 KiB")


def check_request(request: str | None) -> str:
    """Return `request`, or a new random one if it is None."""
    if request is None:
        return secrets.token_hex(16)
    if not _REQUEST.fullmatch(request):
        raise BadValue(f"request {request!r} is not 32 hexadecimal digits")
    return request
