"""A calibration database of psana2 in memory, and its read service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from tests.makers.arrays import plausible_of
from tests.makers.web import Handler, Served, serve

SHORT = "jungfrau_000003"
PANELS = ("8000000020000-230920-20004002c", "8000000020000-230920-200040031", "9000000000000-230921-3007f0217")
EXPERIMENT = "mfxl1033223"
START = 1_750_000_000
INSERTED = 1_760_000_000


def long_name(panels: Sequence[str] = PANELS) -> str:
    return "_".join(["jungfrau", *panels])


@dataclass
class Database:
    """Documents by database and collection, and bytes by database and id.

    Attributes
    ----------
    documents, data : dict
        What is stored.
    now : int
        When the next document is inserted.
    """

    documents: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    data: dict[str, dict[str, bytes]] = field(default_factory=dict)
    now: int = INSERTED
    _count: int = 0

    def new_id(self) -> str:
        self._count += 1
        return f"{self.now:08x}{'5eed' * 2}{self._count:08x}"

    def insert(self, database: str, collection: str, array: np.ndarray | bytes, **fields: Any) -> dict[str, Any]:
        """Insert an array and its document, as psana's docdic makes it; `fields` replace what it would say."""
        raw = array if isinstance(array, bytes) else array.tobytes()
        data, identity = self.new_id(), self.new_id()
        self.data.setdefault(database, {})[data] = raw
        document = {
            "experiment": EXPERIMENT,
            "run": 7,
            "run_end": "end",
            "detector": collection,
            "ctype": "pedestals",
            "dtype": "ndarray",
            "time_sec": START,
            "time_stamp": "2025-06-15T08:06:40-0700",
            "version": "V2026-03-10",
            "comment": "no comment",
            "uid": "anna",
            "host": "sdfiana001",
            "cwd": "/sdf",
            "id_data": data,
            "id_doc_exp": 0,
            "id_data_exp": 0,
            "detname": "jungfrau",
            "longname": long_name(),
            "shortname": collection,
            "dettype": "jungfrau",
            "run_orig": 7,
            "tstamp_orig": "2025-06-15T08:06:40-0700",
            "iofname": "",
            "extpars": "{}",
            "_id": identity,
        }
        if isinstance(array, np.ndarray):
            document |= {
                "data_type": "ndarray",
                "data_dtype": str(array.dtype),
                "data_size": str(array.size),
                "data_ndim": str(array.ndim),
                "data_shape": str(array.shape),
            }
        document |= fields
        self.documents.setdefault(database, {}).setdefault(collection, []).append(document)
        return document

    def deploy(self, array: np.ndarray, short: str = SHORT, **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Insert an array twice, as psana does: for the experiment and, a second later, for the detector."""
        experiment = str(fields.get("experiment", EXPERIMENT))
        first = self.insert(f"cdb_{experiment}", short, array, **fields)
        self.now += 1
        twin = {"id_doc_exp": first["_id"], "id_data_exp": first["id_data"]}
        second = self.insert(f"cdb_{short}", short, array, **fields, **twin)
        self.now += 1
        return first, second

    def name(self, long: str, short: str) -> None:
        """Insert the document that says the short name of a detector."""
        document = {"_id": self.new_id(), "long": long, "short": short, "seqnumber": 3, "time_sec": 1.5}
        self.documents.setdefault("cdb_detnames", {}).setdefault("jungfrau", []).append(document)

    def answer(self, handler: Handler) -> None:
        """Answer a request as the service does."""
        parts = urlsplit(handler.path)
        names = [unquote(name) for name in parts.path.removeprefix("/ws/").split("/") if name]
        value: Any
        if not names:
            value = list(self.documents)
        elif len(names) == 1:
            value = [*self.documents.get(names[0], {}), "fs.files", "fs.chunks"]
        elif names[1] == "gridfs":
            raw = self.data.get(names[0], {}).get(names[2])
            handler.give(b"", 404) if raw is None else handler.give(raw, Content_Type="application/octet-stream")
            return
        else:
            found = self.documents.get(names[0], {}).get(names[1], [])
            query = json.loads(parse_qs(parts.query).get("query_string", ["{}"])[0])
            value = [document for document in found if fits(document, query)]
        handler.give(json.dumps(value).encode(), Content_Type="application/json")


def fits(document: Any, query: Mapping[str, Any]) -> bool:
    """Return whether a document fits a query of equal values and ``$lte``, which are all that psana2 uses."""
    if not isinstance(document, dict):
        return not query
    for key, wanted in query.items():
        if isinstance(wanted, dict):
            (operation,) = wanted
            assert operation == "$lte"
            if not document.get(key, 0) <= wanted[operation]:
                return False
        elif document.get(key) != wanted:
            return False
    return True


@contextmanager
def serve_database(database: Database) -> Iterator[Served]:
    """Run the service of a database."""
    with serve(database.answer) as served:
        yield served


def detector_array(
    name: str, shape: tuple[int, int, int], seeds: Sequence[int | None], dtype: str | None = None
) -> np.ndarray:
    """Return a detector's array with one place for each seed, zeros where there is None."""
    empty = np.zeros_like(plausible_of(name, shape))
    made = [empty if seed is None else plausible_of(name, shape, seed) for seed in seeds]
    array = np.stack(made, axis=-3)
    return array if dtype is None else array.astype(dtype)
