"""Deploy constants up to the run before the next start of validity, as ``<run>-<last run>.data``.

psana takes for a run, of the files whose range holds it, the one that starts last. So a range that ends leaves the next
run to an older file that covers it, if there is one, and that would be worse than constants that are valid too long. It
is written only if the next run has a file of its own, deployed in the same call, or no file at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jfstore.core.calib_types import psana1_dtype
from jfstore.core.instants import stamp_at
from jfstore.deployment.calibdir import CalibFile, find_covering
from jfstore.deployment.constants import Constants, Place, constants_of
from jfstore.deployment.generate import Generated, Output, find_calibration_directory, write_constants
from jfstore.errors import BadValue, Refused
from jfstore.formats.calibdir import LAST_RUN
from jfstore.fs.owner import Rights
from jfstore.runs.dataset import parse_dataset
from jfstore.runs.listing import list_runs
from jfstore.runs.records import Run
from jfstore.runs.tree import Tree

if TYPE_CHECKING:
    from jfstore.core.lock import Lock

Ask = Callable[[Sequence[Generated]], bool]


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What is deployed for a run: constants of some types, and the last run of each file, None for ``end``."""

    constants: Constants
    last_runs: Mapping[str, int | None]


def deploy_until_next(
    dataset: str | None = None,
    *,
    types: Sequence[str] | str | None = None,
    source: str | None = None,
    repo: Place | None = None,
    as_of: int | str | None = None,
    locked: Lock | str | os.PathLike[str] | None = None,
    calibdir: str | os.PathLike[str] | None = None,
    replace: bool = False,
    from_test: bool = False,
    fmt: str | None = None,
    rights: Rights = Rights(),
    dry_run: bool = False,
) -> tuple[Generated, ...]:
    """Deploy the constants of runs, each up to the run before other constants of its type become valid.

    Parameters
    ----------
    dataset : str, optional
        One or more runs, ``exp=EXP:run=1,12``. A run that a file of an earlier one covers gets no file of its own.
    types, source, repo, as_of, locked, calibdir, replace, from_test, fmt, rights, dry_run
        As for `jfstore.deploy`.

    Returns
    -------
    tuple of Generated
        What was deployed for each run, in their order.

    Raises
    ------
    Refused
        If the next run is not known, or psana would take an older file for it; nothing is deployed then.
    JfstoreError
        As `jfstore.deploy`.
    """
    options: dict[str, Any] = {"types": types, "source": source, "repo": repo, "as_of": as_of, "locked": locked}
    plans = plan_runs(dataset, **options)
    output = Output(
        deploy=True, calibdir=calibdir, replace_deployed=replace, from_test=from_test, fmt=fmt, rights=rights
    )
    return write_plans(plans, output, dry_run=dry_run)


def plan_runs(dataset: str | None, **options: Any) -> tuple[RunPlan, ...]:
    """Return what is to be deployed for each run of a dataset, or of a lock; see `deploy_until_next`."""
    labels = [dataset] if dataset is None else _split_runs(dataset)
    every = [constants_of(label, psana1=True, **options) for label in labels]
    runs: tuple[Run, ...] | None = None
    plans: list[RunPlan] = []
    covered: dict[str, tuple[int, Any]] = {}
    for constants in every:
        _check_can_end(constants)
        number = constants.run.run
        # A file that covers the run will do only if it is of the same panels, and of the same first gain range.
        wanted = [
            name
            for name, panels in constants.panels.items()
            if name not in covered or covered[name][0] < number or covered[name][1] != panels
        ]
        if runs is None and any(name in constants.ends for name in wanted):
            runs = list_runs(constants.run.experiment).runs
        last_runs = {name: _find_last_run(constants, name, runs or ()) for name in wanted}
        covered |= {n: (LAST_RUN if last is None else last, constants.panels[n]) for n, last in last_runs.items()}
        plans.append(RunPlan(_select(constants, wanted), last_runs))
    return tuple(plans)


def _split_runs(dataset: str) -> list[str]:
    """Return a dataset for each run of `dataset`, in ascending order."""
    parsed = parse_dataset(dataset)
    if parsed.file or parsed.directory:
        raise BadValue(f"{dataset}: the run after it is sought under SIT_PSDM_DATA: exp=EXP:run=RUN, without dir=")
    numbers = [files.run for files in Tree.from_environment().find(parsed)]
    return [re.sub(r"(?<=:run=)[^:]*|(?<=^run=)[^:]*", str(number), dataset) for number in numbers]


def _check_can_end(constants: Constants) -> None:
    if "gains" in constants.origin:
        raise BadValue(f"{constants.origin_text} does not say until when constants are valid: leave out --until-next")
    if constants.time.ns != constants.run.start:
        raise BadValue("--until-next is about the start of the run: leave out the time")


def _select(constants: Constants, names: Sequence[str]) -> Constants:
    arrays = {name: constants.arrays[name] for name in names}
    return replace(constants, arrays=arrays, panels={name: constants.panels[name] for name in names})


def _find_last_run(constants: Constants, name: str, runs: Sequence[Run]) -> int | None:
    """Return the last run before other constants of a type become valid, None if there are no others.

    Refused if no later run is known, or the start of one that is needed is not.
    """
    end = constants.ends.get(name)
    if end is None:
        return None
    run, stamp = constants.run, stamp_at(end, constants.zone)
    why = f"{name} of {run.label}: it is valid until {stamp}"
    for later in sorted((one for one in runs if one.run > run.run), key=lambda one: one.run):
        if later.start is None:
            raise Refused(f"{why}, and the start of {later.label} is not known, so the last run is not; {_HINT}")
        if later.start >= end:
            return None if later.run > LAST_RUN else later.run - 1
    raise Refused(f"{why}, and there is no run that starts later, so more runs may come before that; {_HINT}")


_HINT = "without --until-next, the file is for all later runs"


def write_plans(
    plans: Sequence[RunPlan], output: Output, *, dry_run: bool = False, ask: Ask | None = None
) -> tuple[Generated, ...]:
    """Deploy what was planned, the last run first; everything is checked before the first file is written.

    If the call is stopped, the files that exist then hold for the later runs, and the earlier runs have those from
    before. `ask` is called if constants of a test repository go to the experiment's own directory, and returns whether
    they may.
    """
    _check_gaps(plans, output)
    outputs = [replace(output, last_runs=plan.last_runs) for plan in plans]
    pairs = [(plan.constants, one) for plan, one in zip(plans, outputs, strict=True) if plan.last_runs]
    planned = [write_constants(constants, one, dry_run=True) for constants, one in pairs]
    if dry_run:
        return tuple(planned)
    if ask and any(one.needs_confirmation for one in planned) and ask(planned):
        pairs = [(constants, replace(one, from_test=True)) for constants, one in pairs]
    done = [write_constants(constants, one) for constants, one in reversed(pairs)]
    return tuple(reversed(done))


def _check_gaps(plans: Sequence[RunPlan], output: Output) -> None:
    """Refuse a range after which psana would take an older file."""
    own = {(plan.constants.run.run, name) for plan in plans for name in plan.last_runs}
    for plan in plans:
        calibdir = find_calibration_directory(plan.constants, output)[0]
        for name, last in plan.last_runs.items():
            if calibdir and last is not None and (last + 1, name) not in own and psana1_dtype(name):
                _check_gap(plan.constants, name, last, calibdir)


def _check_gap(constants: Constants, name: str, last: int, calibdir: Path) -> None:
    file = CalibFile(calibdir, constants.jungfrau.source, name, constants.run.run, last)
    if other := find_covering(file, last + 1):
        raise Refused(
            f"{file.path} would leave run {last + 1}, which needs other constants, to {other.path}: deploy both runs "
            f"in one call, exp={constants.run.experiment}:run={file.run},{last + 1}, or move that file away"
        )
