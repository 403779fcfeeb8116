"""Import gains and pedestals of SwissFEL's Jungfraus into a repository."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jfstore.core.ids import resolve_detector
from jfstore.errors import BadValue, NotFound
from jfstore.formats.psi import name_module
from jfstore.formats.swissfel import GAINS, SwissfelFile, read_swissfel
from jfstore.repository.adding import Added, Entry, missing_type_notes
from jfstore.repository.entries import rounding_notes
from jfstore.repository.import_psi import MODULE, Time, is_repeated, note_repeats, require_start, require_texts
from jfstore.repository.module_panels import ModulePanels, Panels, split_panels

if TYPE_CHECKING:
    from jfstore.repository.exchanging import ExchangingRepository

KIND = "swissfel"
"""The ``kind`` in the origin of versions that come from files of SwissFEL."""

Place = str | os.PathLike[str]
Progress = Callable[[int, int], None]

_TEXTS = ("creator", "date")
"""Attributes that the origin of a version keeps."""
_TEXT_LIMIT = 200


def import_swissfel(
    repository: ExchangingRepository,
    path: Place,
    message: str,
    *,
    panels: Panels | None = None,
    time: Time | None = None,
    contents: str | None = None,
    about: Mapping[str, str] | None = None,
    accept: Sequence[str] | str = (),
    request: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> Added:
    """Import a file of a Jungfrau at SwissFEL in one commit: ``gains.h5``, or pedestals ``*.res.h5``.

    Each module becomes a version of its panel: `pixel_gain` and `pixel_gain_hg0` of a file of gains; `pedestals`,
    `pixel_rms` and `pixel_mask`, and the first two also of the high gain mode, of a file of pedestals. Content that the
    panel and stamp ever held is skipped, so that an import can be repeated.

    Parameters
    ----------
    path : path
        The file.
    message, about, accept, request, dry_run
        As for `Repository.add`.
    panels : str or mapping of str to str, optional
        The detector Id, panels in the order of the modules; or for gains panels by module, ``{"M044": panel}``. A file
        of pedestals does not name its modules, so that the detector Id must be given. By default the module numbers in
        the attribute `original_filenames` of a file of gains must be names of panels, as ``M044`` or ``M44``.
    time : str, datetime or Instant
        Start of validity. It must be given: the file of gains says only when it was converted.
    contents : str, optional
        ``gains`` or ``pedestals``; by default the names of the file and of its datasets tell.
    progress : callable
        Called with the number of modules read and their total.

    Returns
    -------
    Added
        With what was skipped of the file and of its modules, each with the reason.

    Raises
    ------
    BadValue
        If it is not such a file, it is not clear what it holds, no time is given, or the panels are not plausible.
    JfstoreError
        As for `Repository.add_entries`.
    """
    place = Path(path)
    texts = require_texts(about)
    start = require_start(time, repository.zone, place)
    file = read_swissfel(place, repository.panel_shape, contents)
    found, skipped = _assign_panels(repository, place, file, panels)
    skipped |= file.problems
    notes: dict[str, None] = dict.fromkeys([start.note] if start.note else [])
    repeated: list[str] = []

    def entries() -> Iterator[Entry]:
        for done, (module, panel) in enumerate(found.items()):
            progress(done, len(found))
            arrays, faults = file.load(module)
            skipped.update({f"module {module}, {name}": reason for name, reason in faults.items()})
            if arrays:
                about_module = {MODULE: name_module(file.numbers[module])} if file.numbers else {}
                origin = _make_origin(place, file, module)
                entry = Entry(panel, start, arrays, os.path.abspath(place), origin, {**texts, **about_module})
                notes.update(dict.fromkeys(rounding_notes([entry])))
                if file.contents == GAINS and is_repeated(arrays, file.planes):
                    repeated.append(f"module {module}")
                yield entry
        progress(len(found), len(found))

    options: dict[str, Any] = {"accept": accept, "request": request, "dry_run": dry_run}
    added = repository.add_entries(entries(), message, once=True, **options)
    more = (*notes, *note_repeats(repeated), *missing_type_notes(added.versions))
    return replace(added, skipped=tuple(skipped.items()), notes=(*added.notes, *more))


def _assign_panels(
    repository: ExchangingRepository, path: Path, file: SwissfelFile, panels: Panels | None
) -> tuple[dict[int, str], dict[str, str]]:
    """Return the panel of each module, and the modules that have none, with the reason."""
    table = repository.log.table()
    single, stated = split_panels(panels)
    modules = ModulePanels(table, stated)
    if single is not None:
        ids = tuple(map(str, resolve_detector(single, table.panel_names)))
        if len(ids) != file.modules:
            raise BadValue(f"{path} has {file.modules} modules, and {len(ids)} panels are stated")
        for number, panel in zip(file.numbers, ids, strict=False):
            modules.check(number, panel)
        return dict(enumerate(ids)), {}
    if not file.numbers:
        what = "does not name the modules of the detector" if file.contents == GAINS else "has pedestals"
        raise BadValue(f"{path} {what}: state its {file.modules} panels, in the order of the modules, as a detector Id")
    modules.check_stated(set(file.numbers), str(path))
    return _find_panels(file, modules)


def _find_panels(file: SwissfelFile, modules: ModulePanels) -> tuple[dict[int, str], dict[str, str]]:
    found: dict[int, str] = {}
    skipped: dict[str, str] = {}
    places: dict[str, list[int]] = {}
    for place, number in enumerate(file.numbers):
        try:
            found[place] = modules.find(number)
        except (BadValue, NotFound) as error:
            skipped[f"module {place} ({name_module(number)})"] = error.message
        else:
            places.setdefault(modules.identify(found[place]), []).append(place)
    for several in places.values():
        for place in several if len(several) > 1 else ():
            others = " and ".join(f"module {other}" for other in several if other != place)
            label = f"module {place} ({name_module(file.numbers[place])})"
            skipped[label] = f"{others} is of panel {found.pop(place)}, too"
    return found, skipped


def _make_origin(path: Path, file: SwissfelFile, module: int) -> dict[str, Any]:
    """Return what a commit records about where a version comes from."""
    name = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    label = {"module": name_module(file.numbers[module])} if file.numbers else {}
    texts = {key: _clean_text(file.texts[key]) for key in _TEXTS if key in file.texts}
    return {
        "kind": KIND,
        "version": f"{name}/{module}",
        "contents": file.contents,
        "planes": file.planes,
        "size": file.size,
        "blake3": file.blake3,
        **label,
        **texts,
    }


def _clean_text(text: str) -> str:
    """Return a text of a foreign file as any commit may carry it."""
    clean = text[:_TEXT_LIMIT].encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in clean)
