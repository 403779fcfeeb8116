"""jfstore: the versioned store of Jungfrau detector calibration constants.

Examples
--------
>>> import jfstore
>>> repo = jfstore.open("real")                                              # doctest: +SKIP
>>> gain = repo.get("171113-154920171025-3d00fb", "pixel_gain", "now")       # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jfstore._version import __version__

if TYPE_CHECKING:
    from jfstore.core.arrays import check_array
    from jfstore.core.ids import PanelId
    from jfstore.core.validity import Selection
    from jfstore.errors import (
        BadValue,
        Busy,
        Damaged,
        Failed,
        InDoubt,
        JfstoreError,
        JfstoreWarning,
        NotFound,
        Refused,
    )
    from jfstore.repository import Added, Answer, Entry, Repository
    from jfstore.repository.catalogue import make_repository as init
    from jfstore.repository.catalogue import open_repository as open
    from jfstore.repository.verify import verify

_ERRORS = "BadValue Busy Damaged Failed InDoubt JfstoreError JfstoreWarning NotFound Refused"
_PLACES = {
    "open": ("jfstore.repository.catalogue", "open_repository"),
    "init": ("jfstore.repository.catalogue", "make_repository"),
    "check_array": ("jfstore.core.arrays", "check_array"),
    "PanelId": ("jfstore.core.ids", "PanelId"),
    "Selection": ("jfstore.core.validity", "Selection"),
    "verify": ("jfstore.repository.verify", "verify"),
    **{name: ("jfstore.repository", name) for name in ("Added", "Answer", "Entry", "Repository")},
    **{name: ("jfstore.errors", name) for name in _ERRORS.split()},
}

__all__ = [
    "Added",
    "Answer",
    "BadValue",
    "Busy",
    "Damaged",
    "Entry",
    "Failed",
    "InDoubt",
    "JfstoreError",
    "JfstoreWarning",
    "NotFound",
    "PanelId",
    "Refused",
    "Repository",
    "Selection",
    "__version__",
    "check_array",
    "init",
    "open",
    "verify",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use (PEP 562): --help, --version and the man pages need neither numpy nor h5py.
    if name not in _PLACES:
        raise AttributeError(f"module 'jfstore' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
