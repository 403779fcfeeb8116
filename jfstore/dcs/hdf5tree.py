"""Foreign HDF5 files: what groups and datasets they hold and where the bytes lie, as a child process found out.

libhdf5 never sees such a file in this process, see `hdf5walk`. Only plain files are read: hard links, and datasets
of numbers or text that lie in one piece as they are.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from jfstore.dcs.hdf5child import ask
from jfstore.errors import Damaged
from jfstore.fs.files import opened, read_into

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BYTES = 1 << 30
_DTYPE = re.compile(r"\|S[1-9][0-9]{0,8}|[<>|][biuf][1248]", re.ASCII)

Tree: TypeAlias = Mapping[str, "Tree | Dataset"]
"""What a group holds, by name."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset: dtype and shape, and where its bytes begin; None if none were ever written."""

    dtype: str
    shape: tuple[int, ...]
    offset: int | None

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def is_hdf5(path: Path) -> bool:
    """Whether a regular file begins as HDF5 files do."""
    with opened(path, follow=True) as fd:
        return os.pread(fd, len(_SIGNATURE), 0) == _SIGNATURE


def read_tree(fd: int, where: str) -> Tree:
    """Return what the HDF5 file `fd` holds.

    Raises
    ------
    Damaged
        If it is none, or is not plain.
    Failed
        If that could not be found out.
    """
    if os.pread(fd, len(_SIGNATURE), 0) != _SIGNATURE:
        raise Damaged(f"{where} is not an HDF5 file")
    size = os.fstat(fd).st_size
    answer = ask(fd, where)
    if "refused" in answer:
        raise Damaged(f"{where} is not read: {str(answer['refused'])[:300]}")
    sizes: list[int] = []
    try:
        tree = _tree(answer["tree"], size, sizes)
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{where} is damaged: {error}") from None
    if sum(sizes) > size:
        raise Damaged(f"{where} is damaged: its datasets have more bytes than the file")
    return tree


def read_array(fd: int, dataset: Dataset, where: str) -> NDArray[Any]:
    """Return the array of a dataset of the file `fd`, without libhdf5; Damaged if the file ends before that."""
    array = np.empty(dataset.shape, dataset.dtype)
    if array.size:
        if dataset.offset is None:
            raise Damaged(f"{where} was never written")
        read_into(fd, array.reshape(-1).view("u1").data, dataset.offset, where)
    return array


def _tree(found: Mapping[str, Any], size: int, sizes: list[int]) -> Tree:
    """Return what the child found as records; ValueError if a dataset does not fit into `size` bytes."""
    return {
        name: _tree(value, size, sizes) if isinstance(value, dict) else _dataset(name, value, size, sizes)
        for name, value in found.items()
    }


def _dataset(name: str, value: Any, size: int, sizes: list[int]) -> Dataset:
    dtype, shape, offset = value
    if not _DTYPE.fullmatch(dtype):
        raise ValueError(f"{name} has the dtype {dtype!r}")
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"{name} has the shape {shape!r}")
    dataset = Dataset(dtype, tuple(shape), None if offset is None else int(offset))
    if dataset.nbytes > _BYTES:
        raise ValueError(f"{name} has {dataset.nbytes} bytes, more than the {_BYTES} that constants may have")
    if dataset.offset is not None and not 0 <= dataset.offset <= size - dataset.nbytes:
        raise ValueError(f"{name} does not lie in the file")
    sizes.append(dataset.nbytes if dataset.offset is not None else 0)
    return dataset
