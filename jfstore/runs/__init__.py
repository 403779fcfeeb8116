"""Runs: XTC files, datasets, and the panels and start times in them. The package is callable: `jfstore.runs`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jfstore.runs.run import RunList


class _Runs(ModuleType):
    # The package and the public function have one name, and importing the package binds it to the package.
    def __call__(self, *args: Any, **kwargs: Any) -> RunList:
        from jfstore.runs.listing import list_runs

        return list_runs(*args, **kwargs)


sys.modules[__name__].__class__ = _Runs
