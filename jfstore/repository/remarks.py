"""Say what a user should know of an answer: constants of another experiment, old ones, or ones that end too early."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from jfstore.core.ages import format_span, parse_age
from jfstore.core.calib_types import CALIB_TYPES, high_g0_type
from jfstore.core.instants import iso_second
from jfstore.core.validity import Selection
from jfstore.errors import BadValue, NotFound
from jfstore.repository.configuration import read_configuration

if TYPE_CHECKING:
    from jfstore.core.records import Provenance
    from jfstore.repository.finding import Target

ByType = Sequence[tuple[str, Sequence[Selection]]]
ReadProvenance = Callable[[Iterable[tuple[str, int]]], Mapping[str, "Provenance"]]
"""Returns where versions come from, by their names, from the names and the commits that added them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an answer must be, for types whose values change by run.

    Attributes
    ----------
    max_age : int or None
        Greatest age in nanoseconds; None if every age will do.
    same_experiment : bool
        Whether it must be of the experiment of the run.
    """

    max_age: int | None = None
    same_experiment: bool = False


def make_limits(max_age: str | timedelta | None, same_experiment: bool | None) -> Limits:
    """Return the limits that a question sets; what it leaves open is as the configuration says."""
    if same_experiment is not None and type(same_experiment) is not bool:
        raise BadValue(f"same_experiment is True or False, not {same_experiment!r}")
    if max_age is not None and same_experiment is not None:
        return Limits(parse_age(max_age), same_experiment)
    said = read_configuration()
    return Limits(
        said.max_age if max_age is None else parse_age(max_age),
        said.same_experiment if same_experiment is None else same_experiment,
    )


def remark_on(
    asked: Target, by_type: ByType, read_provenance: ReadProvenance, limits: Callable[[], Limits]
) -> tuple[str, ...]:
    """Return the notes on an answer.

    Parameters
    ----------
    asked : Target
        What was asked for.
    by_type : sequence of (str, sequence of Selection)
        The answer.
    read_provenance : callable
        Returns where versions come from; called only if a type changes by run.
    limits : callable
        Returns the limits; called only if a type changes by run.

    Raises
    ------
    NotFound
        If constants are older than the limit, or of another experiment, and that is not wanted.
    """
    notes = [*_note_gain_mode(asked, by_type), *_note_end(asked, by_type)]
    changing = [(name, chosen) for name, chosen in by_type if name in CALIB_TYPES and CALIB_TYPES[name].by_run]
    if changing:
        origins = read_provenance((one.version.name, one.version.seq) for _, chosen in changing for one in chosen)
        allowed = limits()
        notes += _judge_ages(asked, changing, allowed)
        notes += _judge_experiments(asked, changing, origins, allowed)
    return tuple(notes)


def _note_gain_mode(asked: Target, by_type: ByType) -> Iterator[str]:
    """Yield a note if a run needs the types of the high first gain range, or does not say whether it does."""
    if asked.run is None:
        return
    if asked.has_high_g0 is None and any(high_g0_type(name) for name, _ in by_type):
        yield f"{asked.run.label} does not say whether its first gain range is the high one: the normal one is assumed"
    if asked.has_high_g0 and (names := [name for name, _ in by_type if CALIB_TYPES[name].normal]):
        yield f"the first gain range of {asked.run.label} is the high one: the constants are {', '.join(names)}"


def _note_end(asked: Target, by_type: ByType) -> Iterator[str]:
    """Yield a note if constants are no longer valid at the end of the run."""
    if asked.run is not None and asked.run.end is not None:
        for stamp, names in find_early_ends(asked.run.end, by_type).items():
            when = iso_second(asked.run.end)
            yield f"{', '.join(names)} are valid until {stamp}, and {asked.run.label} ends later, at {when}"


def find_early_ends(end: int, by_type: ByType) -> dict[str, list[str]]:
    """Return the types that are no longer valid at an instant, by the stamps at which their validity ends."""
    ending: dict[str, list[str]] = {}
    for name, chosen in by_type:
        stamps = {one.valid_to.stamp for one in chosen if one.valid_to is not None and one.valid_to.ns <= end}
        for stamp in stamps:
            ending.setdefault(stamp, []).append(name)
    return dict(sorted(ending.items()))


def _judge_ages(asked: Target, by_type: ByType, limits: Limits) -> Iterator[str]:
    for name, chosen in by_type:
        usual = CALIB_TYPES[name].usual_age if limits.max_age is None else limits.max_age
        old: dict[tuple[int, str], list[str]] = {}
        for panel, selection in zip(map(str, asked.panels), chosen, strict=True):
            age = asked.time.ns - selection.valid_from.ns
            if usual is not None and age > usual:
                old.setdefault((age, selection.version.stamp), []).append(panel)
        for (age, stamp), panels in old.items():
            text = f"{name} of {_join(panels)} start at {stamp}, {format_span(age)} before"
            if limits.max_age is not None:
                raise NotFound(f"{text}: older than {format_span(limits.max_age)} (--max-age), so they are no answer")
            yield text


def _judge_experiments(
    asked: Target, by_type: ByType, origins: Mapping[str, Provenance], limits: Limits
) -> Iterator[str]:
    if asked.run is None or not asked.run.experiment:
        return
    wanted = asked.run.experiment
    for name, chosen in by_type:
        others: dict[str, list[str]] = {}
        for panel, selection in zip(map(str, asked.panels), chosen, strict=True):
            name_of = selection.version.name
            about = origins[name_of].about if name_of in origins else {}
            experiment = about.get("experiment")
            if experiment == wanted or (experiment is None and not limits.same_experiment):
                continue
            run = f":run={about['run']}" if "run" in about else ""
            text = "do not say their experiment" if experiment is None else f"are of exp={experiment}{run}"
            others.setdefault(text, []).append(panel)
        for text, panels in others.items():
            text = f"{name} of {_join(panels)} {text}"
            if limits.same_experiment:
                raise NotFound(f"{text}, not of {wanted} (--same-experiment), so they are no answer")
            yield f"{text}, not of {wanted}"


def _join(panels: Sequence[str]) -> str:
    return panels[0] if len(panels) == 1 else f"{len(panels)} panels ({panels[0]}, ...)"
