"""Define the lock: a record that pins an answer by the hashes of all that it consists of (docs/design.md, "Locks").

Its text is JSON. The last field is the BLAKE3 of the others, so that a change of any field is noticed; a replay
compares what the fields say with the repository.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jfstore.core.fields import (
    check_detector,
    check_panel,
    damage_if_odd,
    read_array_shape,
    read_field,
    read_hash_field,
    read_natural,
)
from jfstore.core.hashing import digest
from jfstore.core.ids import parse_version, version_name
from jfstore.core.instants import BEGINNING, iso, parse_iso
from jfstore.core.records import DTYPES, ROLES, Array
from jfstore.errors import BadValue, Damaged, Refused, nearest

LOCK_FORMAT = 1
LOCK_LIMIT = 16 << 20
"""Size of a lock file in bytes that is read at most; one of 32 panels and ten types has 150 kB."""
_FORMAT = "jfstore_lock"


@dataclass(frozen=True, slots=True)
class LockedArray:
    """The array of one panel and calibration type in a lock.

    Attributes
    ----------
    panel : str
        The panel Id that was asked for.
    version : str
        Name of the version that holds the array, perhaps of another Id of the same panel.
    valid_from, valid_to : int
        The interval of validity in nanoseconds UTC; `valid_to` is None if nothing ended it.
    seq, commit : int and str
        The commit that added the version, and its hash.
    array : Array
        Calibration type, dtype, shape and BLAKE3.
    """

    panel: str
    version: str
    valid_from: int
    valid_to: int | None
    seq: int
    commit: str
    array: Array


@dataclass(frozen=True, slots=True)
class LockedRun:
    """The run of a lock and its Jungfrau, so that a replay needs no XTC files; the panels are those of the lock.

    ``start`` is in nanoseconds UTC, None if it is not known. ``file`` is the XTC file that was read, ``config`` the
    version of the Jungfrau's configuration object, 0 in LCLS-II. ``segments`` has the segment number of each panel.
    ``gain_mode`` is as the configuration calls it, and ``has_high_g0`` says whether the first gain range is the high
    one. A run may not say these, nor its ``end`` in nanoseconds UTC: None.
    """

    experiment: str
    run: int
    start: int | None
    file: str
    source: str
    alias: str | None
    config: int
    segments: tuple[int, ...]
    has_high_g0: bool | None = None
    gain_mode: str | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Lock:
    """What pins an answer: the same bits can be had again with it, or its replay fails.

    Attributes
    ----------
    repository, identity, role : str
        Id of the repository, hash of its ``repository.json``, and its role.
    seq, commit : int and str
        The commit that the answer is as of, and its hash.
    panels : tuple of str
        The panel Ids that were asked for, in the order of the detector.
    time : int
        The time that was asked for, or the start of the run, in nanoseconds UTC.
    arrays : tuple of LockedArray
        The array of each panel, type by type.
    run : LockedRun or None
        The run that the panels and the time come from.
    """

    repository: str
    identity: str
    role: str
    seq: int
    commit: str
    panels: tuple[str, ...]
    time: int
    arrays: tuple[LockedArray, ...]
    run: LockedRun | None = None

    def __repr__(self) -> str:
        what = f"panel {self.panels[0]}" if len(self.panels) == 1 else f"{len(self.panels)} panels"
        return f"<jfstore lock: {', '.join(self.types)} of {what} at {iso(self.time)}, as of commit {self.seq}>"

    @property
    def detector(self) -> str:
        """The detector Id."""
        return "_".join(self.panels)

    @property
    def types(self) -> tuple[str, ...]:
        """The calibration types."""
        return tuple(dict.fromkeys(locked.array.type for locked in self.arrays))

    @property
    def commits(self) -> dict[int, str]:
        """The hash of each commit that the lock refers to, by number."""
        return {locked.seq: locked.commit for locked in self.arrays} | {self.seq: self.commit}

    @property
    def hash(self) -> str:
        """The BLAKE3 of what the lock says."""
        return str(lock_value(self)["hash"])

    @property
    def text(self) -> str:
        """The text of a lock file; equal for equal answers."""
        return encode_lock(self)

    def of(self, type: str) -> tuple[LockedArray, ...]:
        """Return the arrays of one calibration type, in the order of the panels; BadValue if the lock has none."""
        arrays = tuple(locked for locked in self.arrays if locked.array.type == type)
        if not arrays:
            raise BadValue(f"the lock has no {type!r}", nearest(str(type), self.types) or self.types)
        return arrays

    def select_types(self, types: Sequence[str]) -> Lock:
        """Return the lock of these calibration types only; BadValue if it has none of one of them."""
        return replace(self, arrays=tuple(locked for name in dict.fromkeys(types) for locked in self.of(name)))


def encode_lock(lock: Lock) -> str:
    """Return the text of a lock file: a line for each field, and for each array."""
    value = lock_value(lock)
    arrays = ",\n".join(f"  {json.dumps(array)}" for array in value["arrays"])
    texts = {name: json.dumps(field) for name, field in value.items()} | {"arrays": f"[\n{arrays}\n ]"}
    return "{\n" + ",\n".join(f" {json.dumps(name)}: {text}" for name, text in texts.items()) + "\n}\n"


def lock_value(lock: Lock) -> dict[str, Any]:
    """Return a lock as JSON has it."""
    body: dict[str, Any] = {
        _FORMAT: LOCK_FORMAT,
        "repository": {"id": lock.repository, "hash": lock.identity, "role": lock.role},
        "commit": {"seq": lock.seq, "hash": lock.commit},
        "detector": lock.detector,
        "time": iso(lock.time),
        "run": None if lock.run is None else _run_value(lock.run),
        "arrays": [_array_value(locked) for locked in lock.arrays],
    }
    return {**body, "hash": _hash_body(body)}


def _run_value(run: LockedRun) -> dict[str, Any]:
    return {
        "experiment": run.experiment,
        "run": run.run,
        "start": None if run.start is None else iso(run.start),
        "file": run.file,
        "source": run.source,
        "alias": run.alias,
        "config_version": run.config,
        "segments": list(run.segments),
        **({} if run.has_high_g0 is None else {"high_g0": run.has_high_g0}),
        **({} if run.gain_mode is None else {"gain_mode": run.gain_mode}),
        **({} if run.end is None else {"end": iso(run.end)}),
    }


def _array_value(locked: LockedArray) -> dict[str, Any]:
    array = locked.array
    return {
        "type": array.type,
        "panel": locked.panel,
        "version": locked.version,
        "valid_from": iso(locked.valid_from),
        "valid_to": None if locked.valid_to is None else iso(locked.valid_to),
        "commit": {"seq": locked.seq, "hash": locked.commit},
        "dtype": array.dtype,
        "shape": list(array.shape),
        "blake3": array.blake3,
    }


def _hash_body(body: Any) -> str:
    """Return the BLAKE3 of the fields as JSON without blanks and line breaks, in ASCII."""
    return digest(json.dumps(body, separators=(",", ":")).encode())


def decode_lock(text: str | bytes, where: str) -> Lock:
    """Return the lock that a text holds; `where` names the text in errors.

    The text may be that of the note beside a deployed file, which holds the lock of each deployment: the last counts.

    Raises
    ------
    BadValue
        If it is not the text of a lock.
    Refused
        If a newer jfstore wrote it.
    Damaged
        If its fields are not those that were written.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise BadValue(f"{where} is not a lock file of jfstore: it is not JSON") from None
    if type(value) is dict and type(notes := value.get("deployments")) is list and notes:
        value = notes[0].get("lock") if type(notes[0]) is dict else None
        if value is None:
            raise BadValue(f"{where} notes a deployment without a lock, from a gain tree or before jfstore 0.2.0")
    return read_lock_value(value, where)


def read_lock_value(value: Any, where: str) -> Lock:
    """Return the lock that `lock_value` returned as `value`; errors as for `decode_lock`."""
    if type(value) is not dict or type(value.get(_FORMAT)) is not int:
        raise BadValue(f"{where} is not a lock file of jfstore: it has no field {_FORMAT}")
    if value[_FORMAT] > LOCK_FORMAT:
        raise Refused(f"{where} was made by a newer jfstore (format {value[_FORMAT]})")
    if value.get("hash") != _hash_body({name: field for name, field in value.items() if name != "hash"}):
        raise Damaged(f"{where} is damaged: its fields do not match its hash; make the lock file again")
    with damage_if_odd(where):
        lock = _read_lock(value)
        if lock_value(lock) != value:
            raise ValueError("it has fields that no lock has")
        return lock


def _read_lock(value: Any) -> Lock:
    repository, commit = value["repository"], value["commit"]
    if repository["role"] not in ROLES:
        raise ValueError(f"the role is {repository['role']!r}")
    lock = Lock(
        repository=read_field(repository, "id", str),
        identity=read_hash_field(repository, "hash"),
        role=repository["role"],
        seq=read_natural(commit, "seq"),
        commit=read_hash_field(commit, "hash"),
        panels=tuple(check_detector(read_field(value, "detector", str)).split("_")),
        time=_read_time(value, "time"),
        arrays=tuple(map(_read_array, read_field(value, "arrays", list))),
        run=None if value["run"] is None else _read_run(value["run"]),
    )
    _check_consistent(lock)
    return lock


def _read_run(value: Any) -> LockedRun:
    segments = read_field(value, "segments", list)
    if not all(type(segment) is int and 0 <= segment < 1 << 16 for segment in segments):
        raise ValueError(f"the segments are {segments!r}")
    if segments != sorted(set(segments)):
        raise ValueError("the segments are not in ascending order")
    return LockedRun(
        experiment=read_field(value, "experiment", str),
        run=read_field(value, "run", int),
        start=None if value["start"] is None else _read_time(value, "start"),
        file=read_field(value, "file", str),
        source=read_field(value, "source", str),
        alias=None if value["alias"] is None else read_field(value, "alias", str),
        config=read_natural(value, "config_version"),
        segments=tuple(segments),
        has_high_g0=read_field(value, "high_g0", bool) if "high_g0" in value else None,
        gain_mode=read_field(value, "gain_mode", str) if "gain_mode" in value else None,
        end=_read_time(value, "end") if "end" in value else None,
    )


def _read_array(value: Any) -> LockedArray:
    name, commit = read_field(value, "version", str), value["commit"]
    panel, stamp, number = parse_version(name)
    if version_name(str(panel), stamp, number) != name:
        raise ValueError(f"a version is {name!r}")
    dtype = read_field(value, "dtype", str)
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}")
    return LockedArray(
        panel=check_panel(value["panel"]),
        version=name,
        valid_from=_read_time(value, "valid_from"),
        valid_to=None if value["valid_to"] is None else _read_time(value, "valid_to"),
        seq=read_natural(commit, "seq"),
        commit=read_hash_field(commit, "hash"),
        array=Array(
            read_field(value, "type", str), dtype, read_array_shape(value["shape"]), read_hash_field(value, "blake3")
        ),
    )


def _read_time(value: Any, name: str) -> int:
    text = read_field(value, name, str)
    return BEGINNING if text == iso(BEGINNING) else parse_iso(text)


def _check_consistent(lock: Lock) -> None:
    """Raise ValueError if the arrays are not those of one answer."""
    if not lock.arrays:
        raise ValueError("it has no arrays")
    for name in lock.types:
        arrays = lock.of(name)
        if tuple(locked.panel for locked in arrays) != lock.panels:
            raise ValueError(f"the {name} are not those of the detector's panels")
        if len({(locked.array.dtype, locked.array.shape) for locked in arrays}) > 1:
            raise ValueError(f"the {name} differ in dtype or shape")
    commits = lock.commits
    for locked in lock.arrays:
        if not locked.valid_from <= lock.time < (2**63 if locked.valid_to is None else locked.valid_to):
            raise ValueError(f"{locked.version} is not valid at {iso(lock.time)}")
        if locked.seq > lock.seq:
            raise ValueError(f"{locked.version} was added after commit {lock.seq}")
        if commits[locked.seq] != locked.commit:
            raise ValueError(f"it has two hashes of commit {locked.seq}")
    if lock.run and len(lock.run.segments) != len(lock.panels):
        raise ValueError("the run does not have a segment for each panel")
