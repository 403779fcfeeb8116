"""Check whether the files of a calibration directory still match a repository.

A file is recognised by its own hash, which the note beside it holds; else by the hash of each panel's array; else by
its values, which psana's commands rounded: gains to ``%.4f``, offsets to ``%.1f``, pedestals and noise to ``%.3f``. It
is current if it holds what is valid for its run. The run's XTC files say when the run started and with which panels;
without them, the note.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

from jfstore.core.calib_types import CALIB_TYPES, type_for_run
from jfstore.core.hashing import digest_of_pieces
from jfstore.core.instants import SECOND, iso, iso_second, stamp_at
from jfstore.core.records import Version
from jfstore.deployment.calibdir import GROUP, CalibFile, find_files
from jfstore.deployment.compare import Likeness, Recogniser, find_decimals, read_values
from jfstore.deployment.note import Deployment, read_note
from jfstore.errors import BadValue, Damaged, Failed, JfstoreError, NotFound, Refused
from jfstore.formats.text import read_text
from jfstore.fs.files import pieces_of
from jfstore.repository import Repository
from jfstore.repository.catalogue import open_repository
from jfstore.repository.run_panels import RunStatements, fill_panels, find_run_panels
from jfstore.runs.run import read_runs

STATES = ("current", "stale", "edited", "rounded copy", "unknown", "unreadable")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a deployed file is; of a directory that cannot be read, only state, path and detail."""

    state: str  # one of STATES
    path: str
    source: str | None
    type: str | None
    run: int | None
    versions: tuple[str, ...]  # for each panel the version that the file holds or resembles
    detail: str  # the reasons


@dataclass(frozen=True, slots=True, repr=False)
class Audit:
    """Findings on the files of calibration directories, the repository, and notes on files that psana ignores."""

    findings: tuple[Finding, ...]
    repository: Repository
    notes: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """The number of files in each state that occurs."""
        states = [finding.state for finding in self.findings]
        return {state: states.count(state) for state in STATES if state in states}

    def __repr__(self) -> str:
        counts = ", ".join(f"{number} {state}" for state, number in self.counts.items())
        return f"<jfstore audit of {len(self.findings)} files: {counts}>"


def audit(
    directories: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    experiment: str | None = None,
    repo: str | os.PathLike[str] | Repository = "real",
    as_of: int | str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Check whether deployed files still match a repository.

    Parameters
    ----------
    directories : path or sequence of paths
        Calibration directories.
    experiment : str, optional
        Experiment of the runs; default the name of the directory above each calibration directory.
    repo : str or Repository
        Name or path of the repository, or the repository.
    as_of : int or str, optional
        Compare with what was valid then, as for `Repository.get`.
    progress : callable
        Called with the number of files checked and their total.

    Raises
    ------
    BadValue
        If one of `directories` does not exist.
    NotFound
        If no directory holds a deployed file.
    """
    repository = repo if isinstance(repo, Repository) else open_repository(repo)
    paths = [directories] if isinstance(directories, (str, os.PathLike)) else directories
    found, closed, notes = _scan(paths)
    stated = find_run_panels(repository.log.table())
    read = cache(partial(_read_expectation, stated))

    def expectation_of(file: CalibFile) -> Expectation | None:
        return read(experiment or Path(os.path.abspath(file.calibdir)).parent.name, file.source, file.run)

    auditor = Auditor(repository, expectation_of, repository.seq_of(as_of))
    checked = []
    for done, file in enumerate(found):
        progress(done, len(found))
        checked.append(auditor.examine(file))
    progress(len(found), len(found))
    return Audit((*checked, *closed), repository, tuple(notes))


def _scan(directories: Sequence[str | os.PathLike[str]]) -> tuple[list[CalibFile], list[Finding], list[str]]:
    """Return the files of calibration directories, a finding for each directory that is closed, and notes."""
    found: list[CalibFile] = []
    findings: list[Finding] = []
    notes: list[str] = []
    unique: dict[str, str | os.PathLike[str]] = {}  # a directory that is named twice counts once
    for path in directories:
        unique.setdefault(os.path.realpath(path), path)
    for directory in unique.values():
        listing = find_files(Path(directory))
        found += listing.files
        findings += [Finding("unreadable", name, None, None, None, (), why) for name, why in listing.problems]
        notes += [f"{name}: psana does not read a file of that name" for name in listing.ignored]
        if not listing.files and not listing.problems:
            read = [name for name, known in CALIB_TYPES.items() if known.psana1]
            notes.append(f"{directory} holds no deployed file of {' or '.join(read)}")
        for file, other in pairwise(listing.files):
            if (file.source, file.type, file.run) == (other.source, other.type, other.run):
                notes.append(f"{other.path}: psana reads {file.name} instead for run {file.run}")
    if not found and not findings:
        raise NotFound("; ".join([*notes, f"psana reads CALIBDIR/{GROUP}/<source>/<type>/<run>-end.data"]))
    return found, findings, notes


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a file should hold constants for: panel Ids in order, and the start of its run in nanoseconds UTC.

    `has_high_g0` says whether the first gain range of the run is the high one; None if that is not known.
    """

    panels: tuple[str, ...]
    t: int
    has_high_g0: bool | None = None


def _read_expectation(stated: RunStatements, experiment: str, source: str, number: int) -> Expectation | None:
    """Return panels and start of a run as its XTC files or the log say, None if they do not."""
    try:
        for run in read_runs(f"exp={experiment}:run={number}"):
            for bare in run.jungfraus:
                panels = fill_panels(run, bare, stated)[0].panels if bare.source == source else ()
                if panels and run.start is not None:
                    return Expectation(tuple(map(str, panels)), run.start, bare.has_high_g0)
    except JfstoreError:
        pass  # the XTC files may not be on this machine
    return None


class Auditor:
    """Compares files with one repository; `expectation_of` returns None for a file whose run is not readable."""

    def __init__(
        self,
        repository: Repository,
        expectation_of: Callable[[CalibFile], Expectation | None],
        as_of: int | None = None,
    ) -> None:
        self._repository = repository
        self._expectation_of = expectation_of
        self._timeline = cache(partial(repository.timeline, as_of=as_of))
        self._recogniser = Recogniser(repository)

    def examine(self, file: CalibFile) -> Finding:
        """Return what `file` is."""
        try:
            blake3 = digest_of_pieces(pieces_of(file.path, follow=True))
        except OSError as error:
            return _report(file, "unreadable", (), error.strerror or "")
        except Damaged as error:
            return _report(file, "unreadable", (), error.message)
        remark, noted = "", []
        try:
            noted = [d for d in read_note(file) if (d.source, d.type, d.run) == (file.source, file.type, file.run)]
        except (Damaged, Failed, Refused) as error:
            remark = f"; {error.message}"
        if noted and noted[0].replaced and noted[0].replaced.blake3 == blake3:
            del noted[0]  # that deployment was stopped before it renamed its file
        expected = self._expectation_of(file) or (_expect_from_note(noted[0]) if noted else None)
        deployment = next((entry for entry in noted if entry.blake3 == blake3), None)
        if deployment is not None:
            return self._judge_unchanged(file, deployment, expected)
        stored = find_stored_type(file.type, expected, noted[0] if noted else None)
        finding = self._judge_other(file, stored, expected, bool(noted))
        return replace(finding, detail=finding.detail + remark)

    # -- a file that jfstore wrote and nobody changed

    def _judge_unchanged(self, file: CalibFile, deployment: Deployment, expected: Expectation | None) -> Finding:
        names = tuple(panel.version for panel in deployment.panels)
        stored = find_stored_type(file.type, expected, deployment)
        state, detail = self._judge(file, stored, [panel.blake3 for panel in deployment.panels], names, expected)
        if deployment.start not in (None, deployment.valid_at):
            detail += f"; deployed as valid at {self._format_time(deployment.valid_at)}"
        if deployment.fmt is not None:
            return _report(file, "rounded copy", names, f"deployed with --format {deployment.fmt}; {state}: {detail}")
        return _report(file, state, names, detail)

    # -- any other file

    def _judge_other(self, file: CalibFile, stored: str, expected: Expectation | None, is_noted: bool) -> Finding:
        """Recognise the versions of a file by its values, and judge them."""
        try:
            text = read_text(file.path)
        except (BadValue, Failed) as error:
            return _report(file, "unreadable", (), error.message.removeprefix(f"{file.path}, "))
        parts = self._recogniser.split(text, stored)
        if parts is None:
            why = "" if read_values(text, stored) is not None else f", or its values are not those of {stored}"
            return _report(file, "unknown", (), f"its shape is not that of panels of this repository{why}")
        decimals, likes = find_decimals(parts, stored), []
        run = expected.panels if expected else ()
        problems = self._recogniser.problems
        problems.clear()
        for part, panel in zip(parts, run if len(run) == len(parts) else [None] * len(parts), strict=True):
            valid = self._find_valid(panel, stored, expected.t)[0] if expected and panel else None
            likes.append(self._recogniser.recognise(stored, part, decimals, valid, panel, run))
        if None in likes:
            numbers = ", ".join(str(number) for number, like in enumerate(likes) if like is None)
            detail = "; ".join([f"its values of panel {numbers} match no stored version", *sorted(problems)])
            return _report(file, "unknown", (), ("changed after jfstore deployed it; " if is_noted else "") + detail)
        return self._judge_values(file, stored, [like for like in likes if like], expected, is_noted)

    def _judge_values(
        self, file: CalibFile, stored: str, likes: Sequence[Likeness], expected: Expectation | None, is_noted: bool
    ) -> Finding:
        names = tuple(like.version.name for like in likes)
        state, detail = self._judge(file, stored, [like.version.content[stored] for like in likes], names, expected)
        if all(like.is_equal for like in likes):
            return _report(file, state, names, ("only its header was changed; " if is_noted else "") + detail)
        if all(like.is_rounded or (like.is_equal and not is_noted) for like in likes):
            remark = "changed after jfstore deployed it; " if is_noted else ""
            return _report(file, "rounded copy", names, f"{remark}{state}: {detail}")
        different = sum(like.different for like in likes)
        total = sum(like.total for like in likes)
        return _report(file, "edited", names, f"{different} of {total} values differ; {state}: {detail}")

    # -- is it what is valid?

    def _judge(
        self, file: CalibFile, stored: str, hashes: Sequence[str], names: Sequence[str], expected: Expectation | None
    ) -> tuple[str, str]:
        """Return whether constants with these hashes, of the versions called `names`, are current, and why."""
        if expected is None:
            return self._judge_without_run(file, stored, names)
        if len(expected.panels) != len(hashes):
            return "unknown", f"it has {len(hashes)} panels, the detector of its run has {len(expected.panels)}"
        when = self._format_time(expected.t)
        reasons, ends = [], []
        for panel, blake3, name in zip(expected.panels, hashes, names, strict=True):
            valid, end = self._find_valid(panel, stored, expected.t)
            if valid is None:
                reasons.append(f"{name} was deployed, but nothing is valid for panel {panel} at {when}")
            elif valid.content[stored] != blake3:
                old = self._recogniser.versions.get(name)
                is_newer = old and old.panel == panel and old.seq < valid.seq
                verb = "was replaced by" if is_newer else f"was deployed, but the valid version at {when} is"
                reasons.append(f"{name} {verb} {self._describe(valid)}")
            elif end is not None:
                ends.append(end)
        if reasons:
            return "stale", "; ".join(reasons)
        until = f" and until {stamp_at(min(ends), self._repository.zone)}" if ends else ""
        return "current", f"valid at {when}{until}"

    def _judge_without_run(self, file: CalibFile, stored: str, names: Iterable[str]) -> tuple[str, str]:
        """Judge without the start of the run: a version that another one replaced is stale, no other is known."""
        reasons, ranges = [], []
        for name in names:
            version = self._recogniser.versions[name]
            valid, end = self._find_valid(version.panel, stored, version.start)
            if valid and valid.name != name:
                reasons.append(f"{name} was replaced by {self._describe(valid)}")
            until = "" if end is None else f" until {stamp_at(end, self._repository.zone)}"
            ranges.append(f"{name} is valid from {version.stamp}{until}")
        if reasons:
            return "stale", "; ".join(reasons)
        return "unknown", "; ".join([*ranges, f"the start of run {file.run} is not known (-e EXP)"])

    def _find_valid(self, panel: str, calib_type: str, t: int) -> tuple[Version | None, int | None]:
        """Return the version that is valid, and the end of its validity; None for what there is not."""
        try:
            line = self._timeline(panel, calib_type)
        except BadValue:  # a note holds any text
            return None, None
        return line.at(t), line.end(line.place(t))

    def _format_time(self, t: int) -> str:
        return f"{stamp_at(t, self._repository.zone)} ({iso_second(t)})"

    def _describe(self, version: Version) -> str:
        summary = self._repository.summary(version.seq)
        return f"{version.name} (commit {version.seq}, {iso(summary.time - summary.time % SECOND)}, {summary.user})"


def _report(file: CalibFile, state: str, versions: tuple[str, ...], detail: str) -> Finding:
    return Finding(state, str(file.path), file.source, file.type, file.run, versions, detail)


def _expect_from_note(deployment: Deployment) -> Expectation:
    t = deployment.valid_at if deployment.start is None else deployment.start
    return Expectation(tuple(panel.panel for panel in deployment.panels), t)


def find_stored_type(calib_type: str, expected: Expectation | None, deployment: Deployment | None) -> str:
    """Return the stored type that a file should hold, whose directory has the name of a type that psana knows.

    The run says whether it needs the type of the high first gain range, else the note on the file.
    """
    if expected is not None and expected.has_high_g0 is not None:
        return type_for_run(calib_type, expected.has_high_g0)
    noted = deployment.stored_type if deployment else None
    return noted if noted in CALIB_TYPES else calib_type
