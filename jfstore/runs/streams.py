"""Read the heads of all streams of an LCLS-I run, and merge what they say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from jfstore.core.instants import iso
from jfstore.errors import BadValue, Damaged
from jfstore.fs.files import open_checked
from jfstore.runs.begin import read_heads
from jfstore.runs.head import GAIN_MODES, HIGH_GAIN_0, Aliases, Head, JungfrauConfig, read_head
from jfstore.runs.records import Jungfrau, Run
from jfstore.runs.tree import LOWEST_CONTROL_STREAM, RunFiles
from jfstore.runs.xtc import Source, XtcBytes, read_datagrams


def read_run1(files: RunFiles) -> Run:
    """Read the heads of a run's streams; if they disagree, the lowest stream decides, and `notes` says so.

    Damaged or Failed is raised if no stream can be read, and BadValue if two files have the name of the same chunk,
    or a file without the name of an XTC file is not one.
    """
    heads, failures = read_heads(files, read_head)
    if not heads:
        _check_is_xtc(files.files[0].path)
        raise failures[0]
    notes = [note for _, head in heads.values() for note in head.notes]
    configs = _merge_configs(heads, notes)
    start, number = _find_start(heads, notes)
    if files.run >= 0 and number and number != files.run:
        notes.append(f"{files.label}: its BeginRun has the run number {number}")
    aliases = Aliases()
    for _, head in heads.values():
        aliases.add(head.aliases)
    sources = dict.fromkeys(source for _, head in heads.values() for source in head.sources)
    return Run(
        files.experiment,
        files.run if files.run >= 0 else (number or -1),
        start,
        next(iter(heads.values()))[0],
        tuple(_make_jungfrau(source, aliases.of.get(source), config) for source, config in configs.items()),
        tuple((source.name, aliases.of.get(source)) for source in sources if source not in configs),
        tuple(notes),
        (*map(str, failures), *note_unknown_begin([head.problem for _, head in heads.values()], start)),
        next(iter(heads)) == next(iter(files.streams())),
    )


def note_unknown_begin(problems: Iterable[str], start: int | None) -> Iterator[str]:
    """Yield the problem of each file that ends after its Configure."""
    for problem in filter(None, problems):
        yield f"{problem}; the start of the run is {'in other streams only' if start else 'not known'}"


def _make_jungfrau(source: Source, alias: str | None, config: JungfrauConfig) -> Jungfrau:
    is_known = config.gain_mode < len(GAIN_MODES)
    mode, is_high = (GAIN_MODES[config.gain_mode], config.gain_mode == HIGH_GAIN_0) if is_known else (None, None)
    return Jungfrau(
        source.name, alias, config.version, config.count, config.panels, gain_mode=mode, has_high_g0=is_high
    )


def _check_is_xtc(path: str) -> None:
    """Raise BadValue for a file without the name of an XTC file that does not start as one."""
    with suppress(OSError), open_checked(path, follow=True) as fd:
        try:
            next(read_datagrams(XtcBytes(fd, path)), None)
        except Damaged as error:
            if not path.endswith(".xtc"):
                raise BadValue(f"{path} is not an XTC file ({error.message.removeprefix(path).strip(': ')})") from None


def _merge_configs(heads: dict[int, tuple[str, Head]], notes: list[str]) -> dict[Source, JungfrauConfig]:
    configs: dict[Source, tuple[str, JungfrauConfig]] = {}
    for path, head in heads.values():
        for source, config in head.jungfraus.items():
            first_path, first_config = configs.setdefault(source, (path, config))
            if first_config != config:
                notes.append(f"{first_path} and {path} disagree on {source.name}; the first counts")
    return {source: configs[source][1] for source in sorted(configs, key=lambda source: source.order)}


def _find_start(heads: dict[int, tuple[str, Head]], notes: list[str]) -> tuple[int | None, int]:
    """Return start time (None if unknown) and run number (0 if unknown) of a run."""
    starts = [(stream, path, head.start) for stream, (path, head) in heads.items() if head.start is not None]
    number = next((head.run for _, head in heads.values() if head.start is not None and head.run), 0)
    if not starts:
        return None, number
    _, first_path, first_start = starts[0]
    for stream, path, start in starts[1:]:
        # The DAQ's streams have one clock; control streams may have another.
        if stream < LOWEST_CONTROL_STREAM and start != first_start:
            times = f"{iso(first_start)}, {iso(start)}"
            notes.append(f"{first_path} and {path} disagree on the start of the run: {times}; the first counts")
    return first_start, number
