"""Make HDF5 files in memory, whose bytes depend on their contents only."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any


def hdf5_bytes(fill: Callable[[Any], None], image: bytes | None = None, **options: Any) -> bytes:
    """Return the bytes of an HDF5 file.

    Parameters
    ----------
    fill : callable
        Called with the opened h5py.File, to put something into it.
    image : bytes, optional
        The file to start from; an empty one if not given.
    options
        Further arguments of h5py.File.
    """
    import h5py

    # Not the core driver: the gaps in its images hold whatever the memory held before.
    memory = io.BytesIO(image or b"")
    with h5py.File(memory, "r+" if image else "w", libver=("v110", "v110"), **options) as file:
        fill(file)
        file.flush()
        size = file.id.get_filesize()
    # What is allocated at the end but was never written is in the file too, as zeros.
    return memory.getvalue().ljust(size, b"\0")
