"""Find the current user and machine, and define the group and modes of files outside a repository."""

from __future__ import annotations

import grp
import os
import pwd
import re
import socket
from dataclasses import dataclass

from jfstore.errors import BadValue, nearest

_MODE = re.compile(r"(?:0o?)?([0-7]{3,4})", re.ASCII)


def user() -> str:
    """Return the name of the user, or the number if the user has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def host() -> str:
    """Return the name of the machine."""
    return socket.gethostname()


@dataclass(frozen=True, slots=True)
class Rights:
    """Modes of new directories and files, whatever the umask, and the number of their group; None: the directory's."""

    directory: int = 0o2775
    file: int = 0o664
    group: int | None = None


def parse_mode(text: str, needed: int) -> int:
    """Return the mode that `text` says in octal digits, as ``chmod`` takes them.

    Raises
    ------
    BadValue
        If it is not a mode, or the owner would not have the permissions `needed`.
    """
    match = _MODE.fullmatch(text)
    if not match:
        raise BadValue(f"{text!r} is not a mode in octal digits, such as 664")
    mode = int(match[1], 8)
    if mode & needed != needed:
        raise BadValue(f"with mode {text} its owner could not use it (modes are octal, such as 664 and 2775)")
    return mode


def group_number(name: str) -> int:
    """Return the number of the group called `name`; BadValue with the nearest names if there is none."""
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        raise BadValue(
            f"there is no group {name!r}", nearest(name, (group.gr_name for group in grp.getgrall()))
        ) from None
