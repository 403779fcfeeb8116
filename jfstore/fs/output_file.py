"""Write a file that the user named: whole or not at all, and replacing an existing file only if asked to."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jfstore.errors import Failed, Refused
from jfstore.fs import durable

if TYPE_CHECKING:
    from numpy.typing import NDArray


def npy_pieces(array: NDArray[Any]) -> list[Any]:
    """Return the contents of an ``.npy`` file of `array`, which must be in C order."""
    import numpy as np

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return [header.getvalue(), array.reshape(-1).view("u1")]


def place_of_file(file: str) -> Path:
    """Return the path of the file to replace: the target, if `path` is a symbolic link.

    Raises
    ------
    Refused
        If there is something that is not a regular file, such as a device or a FIFO.
    """
    path = Path(os.path.realpath(file)) if os.path.islink(file) else Path(file)
    # A directory cannot be replaced anyway.
    if os.path.lexists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise Refused(f"{file} is not a regular file; it is left as it is")
    return path


def publish_file(file: str, pieces: Sequence[Any], *, replace: bool = False, hint: str = "") -> None:
    """Write `pieces` to `file`.

    Parameters
    ----------
    file : str
        The path.
    pieces : sequence of buffers
        The contents, in order; C-contiguous.
    replace : bool
        Whether a file of that name may be replaced.
    hint : str
        What to do about one, for the message.

    Raises
    ------
    Refused
        If there is one and it may not be replaced, or is not a regular file.
    Failed
        If it cannot be written.
    """
    path = place_of_file(file) if replace else Path(file)
    try:
        if replace:
            durable.overwrite(path, pieces, mode=None)
        else:
            durable.publish(path, pieces, mode=None)
    except FileExistsError:
        raise Refused(f"{path} exists{hint}") from None
    except Refused:
        # No hard links here (a memory stick, some shares): a file of the user's own may be renamed into place.
        if path.exists():
            raise
        durable.overwrite(path, pieces, mode=None)
    except OSError as error:
        where = f"{path.parent} does not exist" if error.errno == errno.ENOENT else f"{path}: {error.strerror}"
        raise Failed(where) from None
