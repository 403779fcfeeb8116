"""Who is at work, and where: for the log of a repository and for what is written beside it."""

from __future__ import annotations

import os
import pwd
import socket


def user() -> str:
    """Return the name of the user, the number of one without a name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def host() -> str:
    """Return the name of the machine."""
    return socket.gethostname()
