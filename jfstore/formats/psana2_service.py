"""Read psana2's calibration database through its web service, as psana/pscalib/calib/MDBWebUtils.py of lcls2 does.

The service has no login for readers. It answers GET requests with JSON, and with the bytes of arrays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from jfstore.core.urls import shorten_url
from jfstore.errors import BadValue, Failed, NotFound, nearest
from jfstore.formats.psana2 import DETECTOR_TYPE, NAMES, Document, Layout
from jfstore.fs.web import WebServer, WrongLength

INSIDE = "https://psdmint.sdf.slac.stanford.edu/calib_ws/"
"""The service inside SLAC's S3DF."""

OUTSIDE = "https://psextapi.slac.stanford.edu/calib_ws/"
"""The service elsewhere."""

JSON_LIMIT = 64 << 20
"""Most bytes of a list of documents; one document has about 2 kB."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}", re.ASCII)


class CalibService:
    """The service at one URL.

    Parameters
    ----------
    web : WebServer
        The server, with the URL below which the service is.
    """

    def __init__(self, web: WebServer) -> None:
        self.web = web

    def require_collection(self, database: str, collection: str) -> None:
        """Raise NotFound, with the nearest names, unless a database has a collection."""
        self._require(check_service_name(database), "database", self._list_names())
        self._require(check_service_name(collection), f"detector in {database}", self._list_names(database))

    def _require(self, name: str, kind: str, names: list[str]) -> None:
        if name not in names:
            raise NotFound(f"{self.web.base} has no {kind} called {name}", nearest(name, names))

    def _list_names(self, *names: str) -> list[str]:
        url, value = self._read_json(*names)
        if not isinstance(value, list):
            raise Failed(f"{url}: expected a list of names")
        return [name for name in value if isinstance(name, str)]

    def list_documents(self, database: str, collection: str, query: Mapping[str, Any] | None = None) -> list[Any]:
        """Return the documents of a collection that fit a query in MongoDB's language; they are not checked.

        Raises
        ------
        AnswerTooLong
            If they have more than `JSON_LIMIT` bytes.
        NotFound, Failed
            If there is no such collection, or the service fails.
        """
        text = orjson.dumps(dict(query or {})).decode()
        url, value = self._read_json(database, collection, query={"query_string": text})
        if not isinstance(value, list):
            raise Failed(f"{url}: expected a list of documents")
        return value

    def find_short_name(self, long: str) -> str:
        """Return the short name of a Jungfrau whose long one is `long`, exactly; NotFound if it has none.

        psana2 also takes any detector whose long name contains all the panel Ids, which may be another one.
        """
        documents = self.list_documents(NAMES, DETECTOR_TYPE, {"long": long})
        shorts = dict.fromkeys(
            str(one["short"])
            for one in documents
            if isinstance(one, dict) and one.get("long") == long and "short" in one
        )
        if len(shorts) != 1:
            what = f"several short names, {', '.join(shorts)}" if shorts else "no short name"
            raise NotFound(f"{self.web.base}: {shorten_url(long)} has {what}, in {NAMES}")
        return check_service_name(next(iter(shorts)))

    def find_long_name(self, short: str) -> str | None:
        """Return the long name of the Jungfrau with a short one; None if there is not exactly one."""
        try:
            documents = self.list_documents(NAMES, DETECTOR_TYPE, {"short": short})
        except NotFound:
            return None
        found = dict.fromkeys(
            one.get("long") for one in documents if isinstance(one, dict) and one.get("short") == short
        )
        names = [name for name in found if isinstance(name, str)]
        return names[0] if len(names) == 1 else None

    def read_array(self, database: str, document: Document, layout: Layout) -> NDArray[Any]:
        """Return the array of a document.

        Raises
        ------
        NotFound
            If the bytes are not in the database.
        BadValue
            If they are not as many as the document says.
        Failed
            If the service fails.
        """
        try:
            data = self.web.get(database, "gridfs", document.data, limit=layout.size, size=layout.size)
        except WrongLength as error:
            raise BadValue(error.message) from None
        is_flag = layout.dtype.kind == "b"
        array: NDArray[Any] = np.frombuffer(data, "u1" if is_flag else layout.dtype).reshape(layout.shape)
        return array != 0 if is_flag else array

    def _read_json(self, *names: str, query: Mapping[str, str] | None = None) -> tuple[str, Any]:
        data = self.web.get(*names, query=query, limit=JSON_LIMIT)
        url = shorten_url(self.web.url(*names))
        try:
            return url, orjson.loads(data)
        except ValueError:
            what = "a web page" if data.lstrip()[:1] == b"<" else "other bytes"
            raise Failed(
                f"{url}: the service returns {what} in place of JSON; is this the URL of the service?"
            ) from None


def check_service_name(name: str) -> str:
    """Return `name` if a database or a detector may be called so; BadValue otherwise."""
    if not _NAME.fullmatch(name):
        raise BadValue(f"{name!r} cannot be the name of a detector or an experiment in psana2's database")
    return name


def find_url(given: str | None, environment: Mapping[str, str]) -> tuple[str, bool]:
    """Return the URL of the service, and whether somebody gave it.

    psana2 has the same order, but for `given`: ``SIT_PSDM_OFFSITE`` means the service outside whatever
    ``LCLS_CALIB_HTTP`` says. Here what is said explicitly goes first.
    """
    if given:
        return given, True
    if url := environment.get("LCLS_CALIB_HTTP"):
        return url, True
    return (OUTSIDE if "SIT_PSDM_OFFSITE" in environment else INSIDE), False
