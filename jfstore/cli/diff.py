"""``jfstore diff``: compare two versions, two answers, or two repositories."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jfstore.cli.identify import relation_value
from jfstore.cli.options import Once, Parser, add_json, add_repo, add_types
from jfstore.cli.output import count, emit, note, progress
from jfstore.cli.writing import open_to_read
from jfstore.errors import BadValue

if TYPE_CHECKING:
    from jfstore.core.comparing import RangeDifference
    from jfstore.repository.diffing import Difference, OnlyOne, PairDifference

EPILOG = """\
Two names of versions are compared with each other. Two other names are repositories, whose versions are compared for
each panel, stamp and type; withdrawn and superseded ones do not count. A single name is a panel or detector Id, or a
run: its answers at two times (-T T1 -T T2), or as of two commits (--as-of 3..7), are compared. Without a name, --as-of
3..7 compares the repository with itself.

The table has a row for each gain range of each pair that differs: how many values, the median of the differences
(second less first), what 95 % of them do not exceed, the same relative to the first for gains, and the ASIC that
differs most, as row.column of 2 x 4. The last column says whether the second array is a copy of the first: rounded,
multiplied, sign turned, reversed, with exchanged gain ranges, or a copy of another panel's.

The exit code is 0 whether anything differs or not; with --exit-code it is 1 if something differs.

examples:
  jfstore diff 171113-154920171025-3d00fb/20180306000000/v1 171113-154920171025-3d00fb/20180306000000/v2
  jfstore diff 171113-154920171025-3d00fb -T 20180401000000 -T 20190401000000
  jfstore diff exp=xcsls3716:run=631 --as-of 3..7
  jfstore diff test real
"""

_COLUMNS = (
    *("panel", "type", "gain", "different", "median", "within_95", "copy"),
    *("relative", "relative_95", "asic", "first", "second", "copy_of"),
)


def add_options(parser: Parser) -> None:
    text = "versions, repositories, or a panel Id, a detector Id or a run"
    parser.add_argument("names", metavar="A [B]", nargs="*", help=text)
    text = "a time of the answers; given twice, these two are compared"
    parser.add_argument("-T", "--time", metavar="TIME", dest="times", action="append", help=text)
    text = "compare as of two commits, tags or times (A..B), or both as of one"
    parser.add_argument("--as-of", metavar="A..B", action=Once, help=text)
    add_types(parser, "only this calibration type; may be repeated")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 if something differs")
    add_repo(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    with progress("comparing") as show:
        found = _compare(args, show)
    emit(args, _value_of(found), list(_rows_of(found)), _COLUMNS)
    for pair in found.pairs:
        if pair.relation is not None:
            note(f"{pair.type} of {pair.second} is that of {pair.original}: {pair.relation}")
    note(f"compared {found.first} (first) with {found.second} (second)")
    different = count(len(found.pairs), "array")
    only = f"{count(len(found.only_first), 'version')} only in the first, {len(found.only_second)} only in the second"
    note(f"{different} {'differs' if len(found.pairs) == 1 else 'differ'}, {found.equal} equal; {only}")
    return 1 if args.exit_code and found.is_different else 0


def _compare(args: argparse.Namespace, show: Any) -> Difference:
    from jfstore.repository.diffing import diff

    names, as_of = args.names, _split_as_of(args.as_of)
    if len(names) > 2:
        raise BadValue(f"{names[2]} is superfluous: two things are compared")
    options = {"types": args.types, "progress": show}
    if len(names) == 1:
        return _compare_answers(args, names[0], as_of, options)
    if args.times:
        raise BadValue("a time (-T) is for the answers of one panel Id, detector Id or run")
    if not names:
        if args.as_of is None or as_of[0] == as_of[1]:
            raise BadValue("what is to be compared is missing: two names, or --as-of A..B")
        repository = open_to_read(args)
        return diff(repository, repository, as_of=as_of, **options)
    are_versions = [_is_version(name) for name in names]
    if are_versions == [True, True]:
        if args.as_of is not None:
            raise BadValue("a version never changes: leave out --as-of")
        return open_to_read(args).diff(names[0], names[1], **options)
    if any(are_versions):
        raise BadValue(f"{names[are_versions.index(False)]} is not a version, and the other name is one")
    if hasattr(args, "repo"):
        raise BadValue(f"--repo {args.repo} is superfluous: {names[0]} and {names[1]} are the repositories")
    return diff(names[0], names[1], as_of=as_of, **options)


def _is_version(name: str) -> bool:
    """Return whether a name has the form of a version's, and is neither a path nor the name of a repository."""
    from jfstore.core.ids import is_name
    from jfstore.repository.catalogue import read_names

    return is_name(name) and not os.path.exists(name) and name not in read_names()


def _split_as_of(text: str | None) -> tuple[str | None, str | None]:
    """Return both commits of ``A..B``; the last one if B is empty."""
    if text is None or ".." not in text:
        return text, text
    first, _, second = text.partition("..")
    if not first:
        raise BadValue(f"--as-of {text}: the first commit is missing")
    return first, second or None


def _compare_answers(
    args: argparse.Namespace, target: str, as_of: tuple[str | None, str | None], options: dict[str, Any]
) -> Difference:
    times = args.times or [None]
    if len(times) > 2:
        raise BadValue(f"-T was given {len(times)} times: two answers are compared")
    if len(times) == 1 and as_of[0] == as_of[1]:
        raise BadValue("two answers are compared: -T T1 -T T2, or --as-of A..B; or name two versions or repositories")
    repository = open_to_read(args)
    found = [
        repository.find(target, args.types, time, as_of=moment)
        for time, moment in zip((times[0], times[-1]), as_of, strict=True)
    ]
    return repository.diff(found[0], found[1], **options)


def _rows_of(found: Difference) -> Iterator[dict[str, Any]]:
    for pair in found.pairs:
        panel = pair.second.partition("/")[0]
        row = {"panel": panel, "type": pair.type, "first": _short(pair.first), "second": _short(pair.second)}
        if not pair.ranges:
            yield {**row, "copy": "has another shape"}
        for one in pair.ranges:
            yield {**row, **_numbers(one), "copy": _describe_copy(pair), "copy_of": pair.original or "-"}
    for place, which, others in (("first", "first", found.only_first), ("second", "second", found.only_second)):
        for only in others:
            panel, _, name = only.version.partition("/")
            yield {"panel": panel, "type": list(only.types), place: name, "copy": f"only in the {which}"}


def _short(name: str) -> str:
    return name.partition("/")[2]


def _numbers(one: RangeDifference) -> dict[str, Any]:
    relative = one.relative_median, one.relative_within_95
    return {
        "gain": one.gain,
        "different": one.different,
        "median": f"{one.median:.4g}",
        "within_95": f"{one.within_95:.4g}",
        "relative": None if relative[0] is None else f"{relative[0]:.4g}",
        "relative_95": None if relative[1] is None else f"{relative[1]:.4g}",
        "asic": f"{one.worst.row}.{one.worst.column}" if one.worst else "-",
    }


def _describe_copy(pair: PairDifference) -> str:
    if pair.relation is None:
        return "-"
    return f"exchanged, {pair.relation}" if pair.is_exchanged else str(pair.relation)


def _value_of(found: Difference) -> dict[str, Any]:
    """Return a difference as printed with ``--json``."""
    return {
        "first": found.first,
        "second": found.second,
        "different": found.is_different,
        "only_first": _only_values(found.only_first),
        "only_second": _only_values(found.only_second),
        "equal": found.equal,
        "pairs": [
            {
                "type": pair.type,
                "first": pair.first,
                "second": pair.second,
                "ranges": [_range_value(one) for one in pair.ranges],
                "copy_of": pair.original,
                "relation": relation_value(pair.relation),
            }
            for pair in found.pairs
        ],
    }


def _only_values(others: Sequence[OnlyOne]) -> list[dict[str, Any]]:
    return [{"version": only.version, "types": list(only.types)} for only in others]


def _range_value(one: RangeDifference) -> dict[str, Any]:
    names = ("gain", "total", "different", "median", "within_95", "relative_median", "relative_within_95")
    worst = one.worst
    asic = None if worst is None else {"row": worst.row, "column": worst.column, "mean": worst.mean}
    return {**{name: getattr(one, name) for name in names}, "worst_asic": asic}
