"""Create the identity of a repository, and read it."""

from __future__ import annotations

import uuid
from contextlib import suppress

from jfstore.core.encoding import decode_identity, encode_identity
from jfstore.core.instants import DEFAULT_ZONE, check_zone, now
from jfstore.core.records import ROLES, Identity
from jfstore.errors import BadValue, Damaged, Refused
from jfstore.repository.commits import IDENTITY_NAME
from jfstore.repository.repository import Repository
from jfstore.storage.base import Storage

PANEL_SHAPE = (3, 512, 1024)


def create(
    storage: Storage,
    role: str,
    *,
    panel_shape: tuple[int, int, int] = PANEL_SHAPE,
    zone: str = DEFAULT_ZONE,
    detector: str = "jungfrau",
) -> Repository:
    """Make a repository in `storage` and return it.

    Raises
    ------
    Refused
        If there is one already, or the place cannot publish: a file system without hard links, or an object
        store that creates a name twice.
    BadValue
        If role, shape or zone are not acceptable.
    """
    if role not in ROLES:
        raise BadValue(f"role {role!r} is not {' or '.join(ROLES)}")
    if len(panel_shape) != 3 or not all(0 < size <= 1 << 16 for size in panel_shape):
        raise BadValue(f"panel shape {panel_shape} is not gain x row x column")
    identity = Identity(str(uuid.uuid4()), role, detector, panel_shape, check_zone(zone), now(), storage.kind)
    if _is_there(storage):
        storage.settle(IDENTITY_NAME)  # who made it may have been stopped before
        raise Refused(f"{storage.location} is a repository already; it is left as it is")
    if wrong := storage.in_the_way():
        raise Refused(wrong)
    storage.prepare()
    try:
        storage.publish(IDENTITY_NAME, encode_identity(identity))
    except FileExistsError:
        storage.settle(IDENTITY_NAME)
        raise Refused(f"{storage.location} is a repository already; it is left as it is") from None
    try:
        storage.make_sure(IDENTITY_NAME)
    except Refused:
        with suppress(OSError):  # a writer need not have the right to
            storage.objects.remove(IDENTITY_NAME)
        raise
    repository = open_storage(storage)
    repository.log.save_index()
    return repository


def _is_there(storage: Storage) -> bool:
    try:
        storage.read(IDENTITY_NAME)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except Damaged:
        return True
    return True


def _has_log(storage: Storage) -> bool:
    try:
        return bool(storage.commits())
    except Damaged:
        return False


def read_identity(storage: Storage) -> Identity:
    """Return the identity of the repository in `storage`.

    Raises
    ------
    Refused
        If there is none, or a newer jfstore made it.
    Damaged
        If it is not what was written.
    """
    try:
        raw = storage.read(IDENTITY_NAME)
    except (FileNotFoundError, NotADirectoryError):
        hint = "jfstore init makes one"
        if _has_log(storage):
            hint = f"but it has a log: restore {IDENTITY_NAME} from a copy"
        raise Refused(f"{storage.location} is not a repository: it has no {IDENTITY_NAME}; {hint}") from None
    return decode_identity(raw, f"{storage.location}/{IDENTITY_NAME}")


def open_storage(storage: Storage) -> Repository:
    """Return the repository in `storage`; raises as `read_identity`."""
    return Repository(storage, read_identity(storage))
