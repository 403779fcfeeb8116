"""Read documents of psana2's calibration database.

A document is a JSON object that describes one array of constants of a whole detector; the array's bytes have an id of
their own. The fields are those that psana/pscalib/calib/MDBUtils.py of lcls2 writes (version of August 2026). Nothing
of a document is believed or executed: psana2 evaluates the text of a shape and unpickles data, jfstore does neither.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jfstore.core.calib_types import CALIB_TYPES, NOT_OF_PANELS
from jfstore.core.ids import parse_panel
from jfstore.core.slabs import panel_of
from jfstore.errors import BadValue

PREFIX = "cdb_"
"""Starts the name of every database."""

NAMES = "cdb_detnames"
"""The database of the short names of detectors, with a collection for each type of detector."""

DETECTOR_TYPE = "jungfrau"
LAST_RUN = 9999
"""psana2 takes no document with a larger run number."""

UNKNOWN_TIME = 1_000_000_000
"""The ``time_sec`` of a document that was made without one."""

_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
_SHAPE = re.compile(r"\(\s*[0-9]{1,6}\s*(?:,\s*[0-9]{1,6}\s*){0,5},?\s*\)", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_DTYPES = ("float32", "float64", "bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
_LATEST = 5_000_000_000
_TEXT = 1000
_MOST_PANELS = 64
_ZERO_IS_GOOD = ("pixel_status", "status_extra")


@dataclass(frozen=True, slots=True)
class Document:
    """What a document says about an array of constants.

    Attributes
    ----------
    id : str
        Id of the document, 24 hexadecimal digits.
    inserted : int
        When it was inserted, in Unix seconds: the first part of the id.
    twin : str or None
        Id of the document in the experiment's database that describes the same constants.
    data : str
        Id of the array's bytes.
    type : str
        psana's name of the calibration type.
    detector, longname : str
        Short name of the detector, and the long one with the Ids of its panels.
    experiment : str
        Experiment that the constants were made for; empty if it does not say.
    run, run_end, run_orig : int
        First and last run for which psana2 takes them, and the run that they were made from. The last run is `LAST_RUN`
        if there is no end.
    time : int
        Start of validity in Unix seconds.
    data_type, dtype, shape, size : str
        Kind of the data, and for an array its numpy dtype, shape and number of values, as the document has them.
    version, comment, uid : str
        What people wrote about it, and who inserted it.
    """

    id: str
    inserted: int
    twin: str | None
    data: str
    type: str
    detector: str
    longname: str
    experiment: str
    run: int
    run_end: int
    run_orig: int
    time: int
    data_type: str
    dtype: str
    shape: str
    size: str
    version: str
    comment: str
    uid: str

    @property
    def key(self) -> str:
        """Id that the constants have in whichever database they are found: that of the experiment's document."""
        return self.twin or self.id


@dataclass(frozen=True, slots=True)
class Layout:
    """The dtype and the shape of an array."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def parse_document(value: Any) -> Document:
    """Return what a document says.

    Raises
    ------
    BadValue
        With the reason, if it is not a document of constants.
    """
    if type(value) is not dict:
        raise BadValue("not a document but another JSON value")
    identity = read_id(value, "_id")
    run = _read_number(value, "run")
    return Document(
        id=identity,
        inserted=int(identity[:8], 16),
        twin=value["id_doc_exp"] if _is_id(value.get("id_doc_exp")) else None,
        data=read_id(value, "id_data"),
        type=_read_text(value, "ctype"),
        detector=_read_text(value, "detector"),
        longname=_read_text(value, "longname", 1 << 14),
        experiment=_read_text(value, "experiment").replace("undefined", ""),
        run=run,
        run_end=LAST_RUN if value.get("run_end", "end") == "end" else _read_number(value, "run_end"),
        run_orig=_read_number(value, "run_orig", run),
        time=_read_time(value),
        data_type=_read_text(value, "data_type"),
        dtype=_read_text(value, "data_dtype"),
        shape=_read_text(value, "data_shape"),
        size=_read_text(value, "data_size"),
        version=_read_text(value, "version"),
        comment=_read_text(value, "comment"),
        uid=_read_text(value, "uid"),
    )


def name_document(value: Any) -> str:
    """Return what to call a document that may be none: its id and type if it has them."""
    fields = value if type(value) is dict else {}
    identity = fields.get("_id")
    return f"{identity if _is_id(identity) else 'a document without an id'} {_read_text(fields, 'ctype')[:40]}".strip()


def _is_id(value: Any) -> bool:
    return type(value) is str and _ID.fullmatch(value) is not None


def read_id(value: Mapping[str, Any], key: str) -> str:
    """Return an id of a document; BadValue if it is not 24 hexadecimal digits."""
    found = value.get(key)
    if not _is_id(found):
        raise BadValue(f"{key} is {_show(found)}, not an id of 24 hexadecimal digits")
    assert type(found) is str
    return found


def _read_text(value: Mapping[str, Any], key: str, limit: int = _TEXT) -> str:
    """Return one line of text; empty if there is none."""
    found = value.get(key)
    if type(found) is not str:
        return ""
    text = "".join(char if char.isprintable() else " " for char in found[:limit])
    return text.encode("utf-8", "replace").decode().strip()


def _read_number(value: Mapping[str, Any], key: str, default: int | None = None) -> int:
    found = value.get(key, default)
    if type(found) is str and _NUMBER.fullmatch(found):
        return int(found)
    if type(found) is not int or not 0 <= found < 10**9:
        raise BadValue(f"{key} is {_show(found)}, not a number of a run")
    return found


def _read_time(value: Mapping[str, Any]) -> int:
    found: Any = value.get("time_sec")
    if type(found) not in (int, float) or not 0 < found < _LATEST:
        raise BadValue(f"time_sec is {_show(found)}, not a time in Unix seconds")
    return int(found)


def _show(value: Any) -> str:
    return repr(value)[:60]


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the shape that a document gives as the text of a tuple.

    Raises
    ------
    BadValue
        If it is not 1 to 6 whole numbers between parentheses.

    Examples
    --------
    >>> parse_shape("(3, 32, 512, 1024)"), parse_shape("(16,)")
    ((3, 32, 512, 1024), (16,))
    """
    if not _SHAPE.fullmatch(text):
        raise BadValue(f"data_shape is {_show(text)}, not a shape")
    return tuple(map(int, re.findall(r"[0-9]+", text)))


def read_layout(document: Document, panel_shape: Sequence[int]) -> Layout:
    """Return the layout of a document's array, which has a place for each panel.

    Parameters
    ----------
    document : Document
        The document.
    panel_shape : sequence of int
        Shape of one panel's array of the document's type.

    Raises
    ------
    BadValue
        If the data is not an array, or has another shape.
    """
    if document.data_type != "ndarray":
        is_pickle = document.data_type == "any"
        what = "a pickle, which is never read" if is_pickle else f"{_show(document.data_type)}, not an array"
        raise BadValue(f"its data is {what}")
    if document.dtype not in _DTYPES:
        raise BadValue(f"data_dtype is {_show(document.dtype)}, not a dtype of constants")
    shape = parse_shape(document.shape)
    if shape == tuple(panel_shape):
        shape = (*shape[:-2], 1, *shape[-2:])
    before, after = tuple(panel_shape[:-2]), tuple(panel_shape[-2:])
    if len(shape) != len(panel_shape) + 1 or shape[:-3] != before or shape[-2:] != after:
        expected = ", ".join(map(str, (*before, "panels", *after)))
        raise BadValue(f"shape {document.shape}, expected ({expected})")
    if not 0 < shape[-3] <= _MOST_PANELS:
        raise BadValue(f"shape {document.shape} has {shape[-3]} panels, expected 1 to {_MOST_PANELS}")
    if document.size not in ("", str(math.prod(shape))):
        raise BadValue(f"shape {document.shape} does not have {document.size} values")
    return Layout(np.dtype(document.dtype).newbyteorder("<"), shape)


def parse_long_name(text: str) -> tuple[str, ...]:
    """Return the panel Ids in the long name of a Jungfrau, in the order of the segments.

    Raises
    ------
    BadValue
        If it is not ``jungfrau_`` and panel Ids joined by underscores, or if one comes twice.

    Examples
    --------
    >>> parse_long_name("jungfrau_8000000020000-230920-20004002c_0-0-1")
    ('8000000020000-230920-20004002c', '0-0-1')
    """
    kind, _, rest = text.partition("_")
    if kind != DETECTOR_TYPE or not rest:
        raise BadValue(f"longname is {_show(text)}, which does not name the panels of a Jungfrau")
    panels = tuple(str(parse_panel(part)) for part in rest.split("_"))
    if len(set(panels)) < len(panels):
        raise BadValue(f"longname {_show(text)} has a panel twice")
    return panels


def explain_refusal(calib_type: str) -> str | None:
    """Return why constants of a type are not imported; None if they are."""
    if calib_type in NOT_OF_PANELS:
        return NOT_OF_PANELS[calib_type]
    if calib_type not in CALIB_TYPES or CALIB_TYPES[calib_type].normal:
        return f"{calib_type or 'nothing'} is not a calibration type that psana2 and jfstore have"
    return None


def is_empty(panel: NDArray[Any], calib_type: str) -> bool:
    """Return whether a place of an array has no constants: zeros, or for a status all bits, as jfstore fills it."""
    if not panel.any():
        return True
    is_status = calib_type in _ZERO_IS_GOOD and panel.dtype.kind == "u"
    return bool(is_status and np.all(panel == np.iinfo(panel.dtype).max))


def find_places(array: NDArray[Any], document: Document, count: int, usual: Sequence[int] | None) -> tuple[int, ...]:
    """Return at which places of a detector's array its panels are.

    The document names the panels, but not their segments. psana2 fills the places of absent segments with zeros.

    Parameters
    ----------
    array : ndarray
        (..., panel, row, column).
    document : Document
        Its document.
    count : int
        Number of panels that the document names.
    usual : sequence of int or None
        The places in another array of the same run, if they are known.

    Raises
    ------
    BadValue
        If they are not clear.
    """
    places = array.shape[-3]
    if count == places:
        return tuple(range(places))
    if count > places:
        raise BadValue(f"it names {count} panels, and its array has {places}")
    filled = [place for place in range(places) if not is_empty(panel_of(array, place), document.type)]
    if len(filled) == count:
        return tuple(filled)
    if usual is not None and document.type in _ZERO_IS_GOOD and set(filled) <= set(usual):
        return tuple(usual)
    raise BadValue(
        f"it names {count} panels, and {len(filled)} of the {places} places of its array have constants, "
        "so that it is not clear which place is which panel's"
    )


def has_no_constants(panel: NDArray[Any], document: Document) -> bool:
    """Return whether the place of a panel that is there has nothing in it; a status of zeros says that all is good."""
    return document.type not in _ZERO_IS_GOOD and not panel.any()
