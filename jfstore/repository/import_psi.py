"""Import gain maps of PSI into a repository."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from jfstore.core.arrays import Checked
from jfstore.core.ids import resolve_panel
from jfstore.core.instants import BEGINNING_STAMP, Instant, start_of_validity
from jfstore.errors import BadValue, Failed, NotFound
from jfstore.formats.psi import NORMAL, name_module, parse_module_name, read_gain_maps, require_three_ranges
from jfstore.repository.adding import Added, Entry, missing_type_notes, require_about
from jfstore.repository.entries import rounding_notes
from jfstore.repository.module_panels import ModulePanels, Panels, split_panels

if TYPE_CHECKING:
    from jfstore.repository.exchanging import ExchangingRepository

KIND = "psi"
"""The ``kind`` in the origin of versions that come from gain maps of PSI."""

MODULE = "module"
"""The key in ``about`` that names the module."""

Place = str | os.PathLike[str]
Progress = Callable[[int, int], None]
Time = str | datetime | Instant


@dataclass(frozen=True, slots=True)
class _MapFile:
    """A file of gain maps, and the panel that it is of."""

    path: Path
    number: int | None
    panel: str

    @property
    def label(self) -> str:
        return "" if self.number is None else name_module(self.number)


def import_psi(
    repository: ExchangingRepository,
    path: Place,
    message: str,
    *,
    panels: Panels | None = None,
    time: Time | None = None,
    about: Mapping[str, str] | None = None,
    accept: Sequence[str] | str = (),
    request: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> Added:
    """Import gain maps of PSI in one commit: files ``gainMaps_M<number>*.bin``.

    A file becomes a version of one panel with `pixel_gain`, and `pixel_gain_hg0` if it has maps of the high gain mode:
    HG0, HG1, HG2, or HG0, G1, G2 if it has four maps. If HG0 is a copy of G0, it is left out. float64 is rounded to
    float32. Content that the panel and stamp ever held is skipped, so that an import can be repeated.

    Parameters
    ----------
    path : path
        A file, or a directory of them; its subdirectories are not read.
    message, about, accept, request, dry_run
        As for `Repository.add`.
    panels : str or mapping of str to str, optional
        The panel of a single file; or panels by module, ``{"M044": panel}`` or ``"M044=panel,M088=panel"``. By
        default the module number must be a name of the panel, as ``M044`` or ``M44``.
    time : str, datetime or Instant
        Start of validity. It must be given, because such files do not say it, and the time of a copy means nothing.
    progress : callable
        Called with the number of files read and their total.

    Returns
    -------
    Added
        With the files of a directory that were skipped, each with the reason.

    Raises
    ------
    BadValue
        If no time is given, nothing there is a file of gain maps, a single file is not acceptable, or a panel that is
        stated is not plausible.
    NotFound
        If no panel has the name of a single file's module.
    JfstoreError
        As for `Repository.add_entries`.
    """
    place = Path(path)
    texts = require_texts(about)
    require_three_ranges(repository.panel_shape)
    paths, skipped = _find_files(place)
    start = require_start(time, repository.zone, place)
    files = _assign_panels(repository, place, paths, panels, skipped)
    notes: dict[str, None] = dict.fromkeys([start.note] if start.note else [])
    repeated: list[str] = []

    def entries() -> Iterator[Entry]:
        for done, file in enumerate(files):
            progress(done, len(files))
            try:
                entry = _make_entry(file, start, texts, repository.panel_shape, file.path == place)
            except (BadValue, Failed) as error:
                if file.path == place:
                    raise
                skipped[file.path.name] = error.message
                continue
            notes.update(dict.fromkeys(rounding_notes([entry])))
            if is_repeated(entry.arrays, (entry.origin or {})["maps"]):
                repeated.append(file.path.name)
            yield entry
        progress(len(files), len(files))

    options: dict[str, Any] = {"accept": accept, "request": request, "dry_run": dry_run}
    added = repository.add_entries(entries(), message, once=True, **options)
    more = (*notes, *note_repeats(repeated), *missing_type_notes(added.versions))
    return replace(added, skipped=tuple(sorted(skipped.items())), notes=(*added.notes, *more))


def require_texts(about: Mapping[str, str] | None) -> dict[str, str]:
    """Return the texts that versions are to carry; BadValue if one is the name of the module."""
    texts = require_about(about)
    if MODULE in texts:
        raise BadValue(f"{MODULE}={texts[MODULE]}: the files say that, so it cannot be given")
    return texts


def require_start(time: Time | None, zone: ZoneInfo, path: Path) -> Instant:
    """Return the start of validity that a user gives; BadValue if none is given."""
    if time is None:
        raise BadValue(
            f"{path} does not say from when on its constants are valid: give the time, "
            f"or {BEGINNING_STAMP} if they are valid from the beginning"
        )
    return start_of_validity(time, zone, floor=time == "now")


def is_repeated(arrays: Mapping[str, Checked], maps: int) -> bool:
    """Return whether gains of the high gain mode were left out, because HG0 repeats G0."""
    return maps > len(NORMAL) and "pixel_gain_hg0" not in arrays


def note_repeats(names: Sequence[str]) -> Iterator[str]:
    """Yield a note on the files or modules whose gains of the high gain mode were left out."""
    if names:
        yield f"{', '.join(names)}: HG0 repeats G0, as PSI's converter fills it, and so is not stored as pixel_gain_hg0"


def _find_files(place: Path) -> tuple[list[Path], dict[str, str]]:
    """Return the files of gain maps at a place, and the files with other names ``*.bin``, with the reason."""
    if not place.is_dir():
        return [place], {}
    try:
        names = sorted(os.listdir(place))
    except OSError as error:
        raise Failed(f"{place}: {error.strerror}") from None
    skipped = {
        name: "its name does not say the module: gainMaps_M<number>*.bin"
        for name in names
        if name.endswith(".bin") and parse_module_name(name) is None
    }
    base, found = Path(os.path.realpath(place)), []
    for name in names:
        if parse_module_name(name) is None:
            continue
        real = Path(os.path.realpath(place / name))
        if base in real.parents:
            found.append(place / name)
        else:
            skipped[name] = f"leads out of the directory, to {real}"
    if not found and not skipped:
        raise BadValue(f"{place} has no file gainMaps_M<number>*.bin")
    return found, skipped


def _assign_panels(
    repository: ExchangingRepository,
    place: Path,
    paths: Sequence[Path],
    panels: Panels | None,
    skipped: dict[str, str],
) -> list[_MapFile]:
    """Return the files with their panels; put those of a directory that have none, or share one, into `skipped`."""
    table = repository.log.table()
    single, stated = split_panels(panels)
    modules = ModulePanels(table, stated)
    numbers = {path: parse_module_name(path.name) for path in paths}
    modules.check_stated({number for number in numbers.values() if number is not None}, str(place))
    if single is not None:
        return [_assign_single(place, numbers, str(resolve_panel(single, table.panel_names)), modules)]
    files: dict[str, list[_MapFile]] = {}
    for path, number in numbers.items():
        if number is None:
            raise BadValue(f"{path}: its name does not say the module; state the panel with this import")
        try:
            panel = modules.find(number)
        except (BadValue, NotFound) as error:
            if path == place:
                raise
            skipped[path.name] = error.message
            continue
        files.setdefault(modules.identify(panel), []).append(_MapFile(path, number, panel))
    for several in files.values():
        for file in several if len(several) > 1 else ():
            others = " and ".join(other.path.name for other in several if other is not file)
            skipped[file.path.name] = f"{others} is of panel {file.panel}, too; import the right file by its path"
    return [several[0] for several in files.values() if len(several) == 1]


def _assign_single(place: Path, numbers: Mapping[Path, int | None], panel: str, modules: ModulePanels) -> _MapFile:
    if len(numbers) != 1:
        raise BadValue(f"{place} has {len(numbers)} files, and one panel is stated: state MODULE=PANEL for each")
    ((path, number),) = numbers.items()
    if number is not None:
        modules.check(number, panel)
    return _MapFile(path, number, panel)


def _make_entry(
    file: _MapFile, start: Instant, texts: Mapping[str, str], shape: tuple[int, int, int], follow: bool
) -> Entry:
    path = file.path if follow else Path(os.path.realpath(file.path))
    maps = read_gain_maps(path, shape, follow)
    name = os.fsencode(file.path.name).decode("utf-8", "backslashreplace")
    module = {MODULE: file.label} if file.label else {}
    origin = {"kind": KIND, "version": name, "maps": maps.maps, "size": maps.size, "blake3": maps.blake3, **module}
    return Entry(file.panel, start, maps.arrays, os.path.abspath(file.path), origin, {**texts, **module})
