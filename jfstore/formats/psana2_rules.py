"""Know which document of its calibration database psana2 takes.

There are two rules, in MDBWebUtils.py and CalibDoc.py of psana/pscalib/calib in lcls2 (version of August 2026).
"""

from __future__ import annotations

from collections.abc import Iterable

from jfstore.formats.psana2 import LAST_RUN, Document


def choose_for_run(documents: Iterable[Document], run: int) -> Document | None:
    """Return which of an experiment's documents of one type psana2's DataSource takes for a run.

    Of those whose range holds the run, it takes the one that starts with the last run; of these the one that ends
    first, and of these the one inserted last.
    """
    fitting = [one for one in documents if one.run <= run <= min(one.run_end, LAST_RUN) and one.run_end <= LAST_RUN]
    return max(enumerate(fitting), key=lambda pair: _rank(*pair), default=(0, None))[1]


def _rank(place: int, document: Document) -> tuple[int, int, int, int]:
    return document.run, -document.run_end, document.inserted, place


def choose_newest(
    documents: Iterable[Document], run: int = LAST_RUN, time: int | None = None, version: str | None = None
) -> Document | None:
    """Return which document of one type ``cdb get`` and ``calib_constants`` take: the one inserted last.

    Only those that start with run `run` or before count, and at `time` or before and with that `version`, if these
    are given. Where their ranges end does not matter. DataSource takes this one of the detector's database, for every
    run, for types of which it found nothing in the experiment's.
    """
    fitting = [
        one
        for one in documents
        if one.run <= run and (time is None or one.time <= time) and version in (None, one.version)
    ]
    return max(fitting, key=lambda one: one.inserted, default=None)


def choose_as_data_source(
    of_experiment: Iterable[Document], of_detector: Iterable[Document], run: int
) -> dict[str, Document]:
    """Return by type what psana2's DataSource takes for a run, from the documents of two databases."""
    chosen = {}
    for choose, documents in (
        (lambda found: choose_for_run(found, run), of_experiment),
        (choose_newest, of_detector),
    ):
        by_type: dict[str, list[Document]] = {}
        for document in documents:
            by_type.setdefault(document.type, []).append(document)
        for name, found in by_type.items():
            if name not in chosen and (one := choose(found)):
                chosen[name] = one
    return chosen


def find_disorder(documents: Iterable[Document]) -> tuple[Document, Document] | None:
    """Return two documents of one type of an experiment, of which the one with the earlier run starts later in time.

    psana2's DataSource goes by runs and jfstore by times; where the order differs, they choose different constants.
    """
    last: dict[str, Document] = {}
    for document in sorted(documents, key=lambda one: (one.run, one.inserted)):
        before = last.get(document.type)
        if before and before.run < document.run and before.time > document.time:
            return before, document
        last[document.type] = document if not before or document.time >= before.time else before
    return None
