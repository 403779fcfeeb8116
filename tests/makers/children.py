"""Work done in processes of its own, so that a crash or a hang is one more complaint."""

from __future__ import annotations

import multiprocessing
import pkgutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import jfstore
from jfstore.repository import commits

MODULES = [
    module.name
    for module in pkgutil.walk_packages(jfstore.__path__, "jfstore.")
    if not module.name.endswith("__main__")
]
"""All that a child could load, so that it is loaded once for all of them."""
CHILDREN = multiprocessing.get_context("forkserver")
AT_ONCE = 2
CHILDREN.set_forkserver_preload(["pytest", "h5py", "numpy.random", *MODULES, "tests.makers.repositories"])


def serve(work: Callable[..., list[str]], items: Sequence[Any], fixed: Sequence[Any], channel: Any) -> None:
    commits.VIEW_WAIT = 0.0  # nothing is behind here
    for item in items:
        try:
            wrong = work(item, *fixed)
        except Exception as error:
            trace = error.__traceback__
            while trace and trace.tb_next:
                trace = trace.tb_next
            where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
            wrong = [f"{type(error).__name__} at {where}: {error}"]
        channel.send(wrong)


def in_children(work: Callable[..., list[str]], items: Sequence[Any], *fixed: Any) -> dict[Any, list[str]]:
    """Return what `work` complains of, by item; a child that dies or hangs complains of the item it was at."""
    shares = [items[first::AT_ONCE] for first in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda share: _one_after_the_other(work, share, fixed), shares))
    return {item: wrong for share in found for item, wrong in share.items()}


def _one_after_the_other(
    work: Callable[..., list[str]], items: Sequence[Any], fixed: Sequence[Any]
) -> dict[Any, list[str]]:
    found: dict[Any, list[str]] = {}
    done = 0
    while done < len(items):
        ours, theirs = CHILDREN.Pipe()
        child = CHILDREN.Process(target=serve, args=(work, items[done:], fixed, theirs))
        child.start()
        theirs.close()
        try:
            while done < len(items):
                wrong = ours.recv() if ours.poll(120) else ["it hangs"]
                if wrong:
                    found[items[done]] = wrong
                done += 1
                if wrong == ["it hangs"]:
                    break
        except EOFError:
            child.join(10)
            found[items[done]] = [f"the process died: {child.exitcode}"]
            done += 1
        child.kill()
        child.join()
        ours.close()
    return found


def in_place(environment: dict[str, str], work: Callable[..., None], *arguments: Any) -> None:
    """Do `work` where the server of the tests is the object store."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        work(*arguments)
