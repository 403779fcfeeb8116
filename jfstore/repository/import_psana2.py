"""Import the constants of a Jungfrau from psana2's calibration database."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.arrays import Checked, check_array
from jfstore.core.calib_types import CALIB_TYPES, panel_shape_of, type_for_run
from jfstore.core.ids import is_id, split_detector
from jfstore.core.instants import SECOND, Instant, instant_at, iso, start_of_validity
from jfstore.core.slabs import panel_of
from jfstore.errors import BadValue, NotFound
from jfstore.formats.psana2 import (
    DETECTOR_TYPE,
    LAST_RUN,
    PREFIX,
    UNKNOWN_TIME,
    Document,
    explain_refusal,
    find_places,
    has_no_constants,
    name_document,
    parse_document,
    parse_long_name,
    read_layout,
)
from jfstore.formats.psana2_rules import find_disorder
from jfstore.formats.psana2_service import CalibService, check_service_name, find_url
from jfstore.fs.web import AnswerTooLong, WebServer
from jfstore.repository.adding import Added, Entry, require_about
from jfstore.repository.asked_types import check_types
from jfstore.repository.dark_runs import DarkRuns

if TYPE_CHECKING:
    from jfstore.repository.exchanging import ExchangingRepository

KIND = "psana2"
"""The ``kind`` in the origin of versions that come from the database, and the start of its names."""

Progress = Callable[[int, int], None]
_ABOUT = 1000


@dataclass(frozen=True, slots=True)
class _Found:
    """A document that can be imported, if its array can."""

    document: Document
    panels: tuple[str, ...]
    start: Instant

    @property
    def places(self) -> set[tuple[str, str, str]]:
        return {(panel, self.start.stamp, self.document.type) for panel in self.panels}


def import_psana2(
    repository: ExchangingRepository,
    name: str,
    message: str,
    *,
    url: str | None = None,
    experiment: str | None = None,
    types: Sequence[str] | str | None = None,
    about: Mapping[str, str] | None = None,
    accept: Sequence[str] | str = (),
    request: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> Added:
    """Import the constants of a Jungfrau from psana2's calibration database, in one commit.

    Every document of the detector becomes a version of each of its panels, with one calibration type, valid from the
    document's ``time_sec`` on. Documents of one panel, start and type are numbered in the order in which they were
    inserted, so that the last one is valid. Each document is imported once, from whichever database. Places of absent
    segments are left out. One array is in memory at a time.

    Parameters
    ----------
    name : str
        The detector's short name, such as ``jungfrau_000003``, or its Id. ``EXP/`` before it names the experiment, and
        ``psana2:`` may be before all.
    message : str
        Why, for the log.
    url : str, optional
        URL of the service; default what ``LCLS_CALIB_HTTP`` says, else that of psana2.
    experiment : str, optional
        Take the documents of an experiment's database in place of the detector's.
    types : sequence of str, optional
        Calibration types to import; default all.
    about, accept, request, dry_run
        As for `Repository.add`.
    progress : callable
        Called with the number of documents read and their total.

    Returns
    -------
    Added
        With the documents, or panels of documents, that were skipped, each with the reason.

    Raises
    ------
    BadValue
        If a name, a type or the URL is not acceptable.
    NotFound
        If the service has no such database or detector.
    Failed
        If the service does not answer, or something else than its documents and arrays.
    JfstoreError
        As for `Repository.add_entries`.
    """
    texts = require_about(about)
    wanted = _choose_types(types)
    place, is_given = find_url(url, os.environ)
    service = CalibService(WebServer(place, insecure=is_given))
    detector, experiment = _split_name(name, experiment)
    short = service.find_short_name(detector) if _is_long(detector) else check_service_name(detector)
    database = PREFIX + check_service_name(short if experiment is None else experiment)
    service.require_collection(database, short)
    importer = _Importer(repository, service, database, short, texts)
    importer.find_documents(wanted)
    options: dict[str, Any] = {"accept": accept, "request": request, "dry_run": dry_run}
    added = repository.add_entries(importer.make_entries(progress), message, by_origin=True, **options)
    return replace(
        added,
        unchanged=(*importer.unchanged, *added.unchanged),
        skipped=(*added.skipped, *importer.skipped.items()),
        notes=(*importer.make_notes(experiment is not None), *added.notes),
    )


def _choose_types(types: Sequence[str] | str | None) -> tuple[str, ...]:
    """Return the types that are asked for, empty for all."""
    names = check_types(types) or ()
    for name in names:
        if CALIB_TYPES[name].normal:
            raise BadValue(
                f"psana2 has no type {name}: it does not tell apart whether the first gain range is the high one"
            )
    return names


def _split_name(name: str, experiment: str | None) -> tuple[str, str | None]:
    """Return the detector and the experiment of ``psana2:EXP/DETECTOR``."""
    before, slash, detector = name.removeprefix(f"{KIND}:").rpartition("/")
    if slash and experiment not in (None, before):
        raise BadValue(f"{name} names the experiment {before}, and not {experiment}")
    if _is_long(detector):
        detector = f"{DETECTOR_TYPE}_{'_'.join(split_detector(detector))}"
    return detector, before if slash else experiment


def _is_long(detector: str) -> bool:
    return all(map(is_id, split_detector(detector)))


class _Importer:
    """Reads the documents of one detector and makes entries of them."""

    def __init__(
        self,
        repository: ExchangingRepository,
        service: CalibService,
        database: str,
        short: str,
        texts: Mapping[str, str],
    ) -> None:
        self._repository, self._service, self._texts = repository, service, texts
        self._database, self._short = database, short
        self._found: list[_Found] = []
        self._long_name: str | None = None
        self._segments: dict[tuple[Any, ...], tuple[int, ...]] = {}
        self._rounded: set[str] = set()
        self._lists_all = True
        self._dark_runs = DarkRuns()
        self.skipped: dict[str, str] = {}
        self.unchanged: list[tuple[str, str]] = []

    # -- documents ---------------------------------------------------------------------------------

    def find_documents(self, wanted: Sequence[str]) -> None:
        """Read and check all documents, in the order in which they were inserted."""
        documents: list[Document] = []
        for value in self._list(wanted):
            try:
                documents.append(parse_document(value))
            except BadValue as error:
                self._skip(name_document(value), error.message)
        seen: set[str] = set()
        for document in sorted(documents, key=lambda one: one.inserted):
            try:
                if document.id in seen:
                    raise BadValue("another document has the same id")
                seen.add(document.id)
                self._found.append(self._check(document))
            except BadValue as error:
                self._skip(f"{document.id} {document.type}", error.message)

    def _list(self, wanted: Sequence[str]) -> Iterable[Any]:
        """Yield the documents of the detector: all at once, or type by type if that are too many."""
        if not wanted:
            try:
                yield from self._service.list_documents(self._database, self._short)
                return
            except AnswerTooLong:
                self._lists_all = False
                wanted = [name for name, meaning in CALIB_TYPES.items() if not meaning.normal]
        for name in wanted:
            yield from self._service.list_documents(self._database, self._short, {"ctype": name})

    def _check(self, document: Document) -> _Found:
        """Return a document with its panels and its start; BadValue if it cannot be imported."""
        if reason := explain_refusal(document.type):
            raise BadValue(reason)
        if document.detector != self._short:
            raise BadValue(f"its detector is {document.detector!r}, so that psana2 does not find it")
        if document.time == UNKNOWN_TIME:
            raise BadValue(f"time_sec is {UNKNOWN_TIME}, which stands for a time that is not known")
        read_layout(document, self._panel_shape(document.type))
        zone = self._repository.zone
        start = start_of_validity(instant_at(document.time * SECOND, zone), zone)
        return _Found(document, self._find_panels(document), start)

    def _find_panels(self, document: Document) -> tuple[str, ...]:
        if document.longname not in ("", self._short):
            return parse_long_name(document.longname)
        if self._long_name is None:
            self._long_name = self._service.find_long_name(self._short) or ""
        if not self._long_name:
            raise BadValue(f"neither it nor the names of detectors say which panels {self._short} has")
        return parse_long_name(self._long_name)

    def _panel_shape(self, name: str) -> tuple[int, ...]:
        return panel_shape_of(name, self._repository.panel_shape)

    def _skip(self, name: str, reason: str) -> None:
        self.skipped[f"{KIND}:{self._database}/{self._short}/{name}"] = reason

    # -- arrays ------------------------------------------------------------------------------------

    def make_entries(self, progress: Progress) -> Iterator[Entry]:
        """Yield the entries of the documents that are not imported yet; the array of one is in memory at a time."""
        stored = self._find_versions()
        fresh: set[tuple[str, str, str]] = set()
        for done, found in enumerate(self._found):
            progress(done, len(self._found))
            # After a document that is new, later ones of the same place are added again, so that the last one is valid.
            known = stored.get((found.document.key, found.start.stamp, found.document.type))
            if known and fresh.isdisjoint(found.places):
                self.unchanged.append((self._name(found.document), known))
                continue
            fresh |= found.places
            try:
                yield from self._read(found)
            except (BadValue, NotFound) as error:
                self._skip(f"{found.document.id} {found.document.type}", error.message)
        progress(len(self._found), len(self._found))

    def _find_versions(self) -> dict[tuple[str, str, str], str]:
        """Return which versions came from a document, by its id, the stamp and the type."""
        table = self._repository.log.table()
        places = {(panel, found.start.stamp) for found in self._found for panel in found.panels}
        seqs: set[int] = set()
        for place in places:
            seqs.update(table.take(table.rows_at(*place))["seq"].tolist())
        versions = (version for seq in sorted(seqs) for version in self._repository.commit(seq).versions)
        return {
            (str(version.origin.get("document")), version.stamp, type_for_run(array.type, False)): version.name
            for version in versions
            if version.origin and version.origin.get("kind") == KIND
            for array in version.arrays
        }

    def _read(self, found: _Found) -> Iterator[Entry]:
        document = found.document
        layout = read_layout(document, self._panel_shape(document.type))
        array = self._service.read_array(self._database, document, layout)
        run = (document.longname, document.experiment, document.run_orig, document.time, layout.shape[-3])
        places = find_places(array, document, len(found.panels), self._segments.get(run))
        self._segments.setdefault(run, places)
        origin, texts = self._describe_origin(document), self._describe(document)
        for panel, place in zip(found.panels, places, strict=True):
            try:
                checked = self._check_panel(panel_of(array, place), document)
            except BadValue as error:
                self._skip(f"{document.id} {document.type} of {panel}", error.message)
                continue
            number = document.run_orig or document.run
            arrays = self._dark_runs.name_types({document.type: checked}, document.experiment, number, panel)
            yield Entry(panel, found.start, arrays, self._name(document), origin, texts)

    def _check_panel(self, panel: NDArray[Any], document: Document) -> Checked:
        if has_no_constants(panel, document):
            raise BadValue("it is zero everywhere, as psana2 fills what it does not have; earlier constants stay valid")
        checked = check_array(panel, document.type, self._panel_shape(document.type), "its array")
        if checked.converted_from is not None and np.dtype(checked.converted_from).kind == "f":
            self._rounded.add(document.id)
        return checked

    # -- what is said ------------------------------------------------------------------------------

    def _name(self, document: Document) -> str:
        return f"{KIND}:{self._database}/{self._short}/{document.id}"

    def _describe_origin(self, document: Document) -> dict[str, Any]:
        return {
            "kind": KIND,
            # The same in both databases, so that the constants are imported once.
            "version": f"{self._short}/{document.key}",
            "document": document.key,
            "service": self._service.web.base,
            "database": self._database,
            "collection": self._short,
            "id": document.id,
            "data": document.data,
            "inserted": iso(document.inserted * SECOND),
            "experiment": document.experiment,
            "run": document.run,
            "run_end": "end" if document.run_end == LAST_RUN else document.run_end,
            "run_orig": document.run_orig,
            "time_sec": document.time,
            "uid": document.uid,
            "label": document.version,
            "comment": document.comment,
        }

    def _describe(self, document: Document) -> dict[str, str]:
        end = "end" if document.run_end == LAST_RUN else document.run_end
        texts = {
            "experiment": document.experiment,
            "run": str(document.run_orig or document.run),
            "runs": f"{document.run}-{end}",
            "document": document.id,
            "inserted": iso(document.inserted * SECOND),
            "uid": document.uid,
            "label": document.version,
            "comment": "" if document.comment == "no comment" else document.comment,
        }
        cut = {key: text.encode()[:_ABOUT].decode("utf-8", "ignore") for key, text in texts.items() if text}
        return {**cut, **self._texts}

    def make_notes(self, is_of_experiment: bool) -> Iterator[str]:
        """Yield what the user should know about all documents together."""
        if not self._service.web.is_protected:
            yield f"{self._service.web.base} is not https: anybody between could have changed what was read"
        if not self._lists_all:
            yield f"{self._database} has too many documents for one list: those of other types are not reported"
        documents = [found.document for found in self._found]
        if not documents and not self.skipped:
            yield f"{self._database} has no constants of {self._short}"
        if ended := [one for one in documents if one.run_end < LAST_RUN]:
            first = f"the first is {ended[0].id}, {ended[0].type} of runs {ended[0].run}-{ended[0].run_end}"
            yield f"{_count(ended)} a last run, after which the constants stay valid here; {first}"
        yield from self._dark_runs.make_notes()
        if self._rounded:
            yield f"{_count(self._rounded)} values of float64, which were rounded to float32"
        if is_of_experiment and (pair := find_disorder(documents)):
            one, other = pair
            yield (
                f"{one.type}: document {other.id} is of a later run than {one.id} ({other.run}, {one.run}) and starts "
                "earlier in time; psana2 goes by runs, and jfstore by times"
            )


def _count(documents: Collection[object]) -> str:
    return f"{len(documents)} document{'s have' if len(documents) > 1 else ' has'}"
