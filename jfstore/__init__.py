"""Versioned store of Jungfrau detector calibration constants.

Open a repository and ask for what is valid::

    import jfstore

    repo = jfstore.open()                                 # the real repository; or a name, a path, a URL
    gain = repo.get("exp=xcsls3716:run=631", "pixel_gain")            # (gain, panel, row, column) float32
    gain = repo.get("171113-154920171025-3d00fb", "pixel_gain", "20180401000000")
    answer = repo.find("exp=xcsls3716:run=631")           # which versions, from when to when; answer["pixel_gain"]

Add and promote constants::

    test = jfstore.open("test")
    test.add("171113-154920171025-3d00fb", "20180306000000", {"pixel_gain": gain}, "measured again")
    repo.promote(["171113-154920171025-3d00fb/20180306000000/v1"], "checked with run 689", source=test)

Functions
    open, init                     open a repository, make a new one
    run, runs                      what the XTC files say of a run, or of all runs of an experiment
    run_ranges                     in which ranges of runs a Jungfrau has the same panels
    runs_with_constants            which runs of an experiment have constants in a repository
    generate, deploy, undo_deploy  write the constants of a run to files, and to where psana reads them
    deploy_until_next              deploy up to the last run before other constants become valid
    calibconst                     return the constants of a run as psana2's detectors take them
    deploy_generic, undo_generic, audit_generic  the same for psana1's generic repository, the DCS file of a detector
    replay                         find again, with the same bits, what a lock file pins
    audit                          check deployed files against a repository
    impact                         find the runs and deployed files that a write concerns, and by how much
    mirror, verify, repair         copy a repository, check every stored byte, restore what is damaged from a copy
    diff                           compare two repositories
    identify                       tell which stored version a file holds
    check_array                    check an array before it is stored

Classes
    Repository                     find, get, read, replay, explain, diff, identify, timeline, list, history, show, add,
                                   import_gains, import_dcs, import_calibdir, import_panel_repository, import_psi,
                                   import_swissfel, promote, withdraw, restore, close, tag, freeze, join_panels,
                                   separate_panels, propose_panels, name_panel, panel_history, run_panels, export_dcs,
                                   export_bundle, export_tree
    Answer, Selection, Timeline    what is valid
    Explanation                    why it is
    Lock                           what pins an answer
    Added, Entry, Change           what was added, and which answers it changes
    Difference                     what differs between versions, answers or repositories
    Identified                     what a file holds
    Stated                         what was withdrawn, restored, closed, tagged, frozen, joined or named
    Promoted                       what was promoted
    PanelHistory                   Ids, names, versions and runs of one physical panel
    Impact                         whom changes concern
    PanelId, Instant               identity of a panel; a time

Errors are one tree below `JfstoreError`: BadValue, NotFound, Damaged, Refused, Busy, InDoubt, Failed.
"""

from __future__ import annotations

from jfstore._version import __version__

TYPE_CHECKING = False  # the one of typing, which takes 10 ms to load
if TYPE_CHECKING:
    from typing import Any

    from jfstore.core.arrays import check_array
    from jfstore.core.changes import Change
    from jfstore.core.explaining import Explanation
    from jfstore.core.ids import PanelId
    from jfstore.core.instants import Instant
    from jfstore.core.lock import Lock
    from jfstore.core.validity import Selection, Timeline
    from jfstore.deployment.audit import Audit, Finding, audit
    from jfstore.deployment.calibconst import calibconst
    from jfstore.deployment.constants import runs_with_constants
    from jfstore.deployment.generate import deploy, generate
    from jfstore.deployment.generic import deploy_generic
    from jfstore.deployment.generic_audit import audit_generic
    from jfstore.deployment.generic_undo import undo_generic
    from jfstore.deployment.impact import Impact
    from jfstore.deployment.impact import find_impact as impact
    from jfstore.deployment.ranges import deploy_until_next
    from jfstore.deployment.undo import undo_deploy
    from jfstore.errors import (
        BadValue,
        Busy,
        Damaged,
        Failed,
        InDoubt,
        JfstoreError,
        NotFound,
        Refused,
    )
    from jfstore.repository.adding import Added, Entry
    from jfstore.repository.answer import Answer
    from jfstore.repository.catalogue import make_repository as init
    from jfstore.repository.catalogue import open_repository as open
    from jfstore.repository.diffing import Difference, diff
    from jfstore.repository.governing import Stated
    from jfstore.repository.identifying import Identified, identify
    from jfstore.repository.joining import PanelHistory
    from jfstore.repository.locking import replay
    from jfstore.repository.mirror import mirror
    from jfstore.repository.promoted import Promoted
    from jfstore.repository.repair import repair
    from jfstore.repository.repository import Repository
    from jfstore.repository.verify import verify
    from jfstore.runs.listing import list_runs as runs
    from jfstore.runs.ranges import find_ranges as run_ranges
    from jfstore.runs.run import find_run as run

_PLACES = {
    "core.arrays": "check_array",
    "core.ids": "PanelId",
    "core.instants": "Instant",
    "core.lock": "Lock",
    "core.changes": "Change",
    "core.explaining": "Explanation",
    "core.validity": "Selection Timeline",
    "deployment.generate": "deploy generate",
    "deployment.generic": "deploy_generic",
    "deployment.generic_audit": "audit_generic",
    "deployment.generic_undo": "undo_generic",
    "deployment.ranges": "deploy_until_next",
    "deployment.impact": "Impact impact:find_impact",
    "deployment.undo": "undo_deploy",
    "errors": "BadValue Busy Damaged Failed InDoubt JfstoreError NotFound Refused",
    "repository.adding": "Added Entry",
    "repository.diffing": "Difference diff",
    "repository.governing": "Stated",
    "repository.identifying": "Identified identify",
    "repository.joining": "PanelHistory",
    "repository.answer": "Answer",
    "repository.catalogue": "open:open_repository init:make_repository",
    "repository.locking": "replay",
    "repository.mirror": "mirror",
    "repository.promoted": "Promoted",
    "repository.repair": "repair",
    "repository.repository": "Repository",
    "repository.verify": "verify",
    "deployment.audit": "audit Audit Finding",
    "deployment.calibconst": "calibconst",
    "deployment.constants": "runs_with_constants",
    "runs.listing": "runs:list_runs",
    "runs.ranges": "run_ranges:find_ranges",
    "runs.run": "run:find_run",
}
"""Public names by module; ``name:other`` is called `other` in its module."""

_NAMES = {
    name.partition(":")[0]: (f"jfstore.{module}", name.rpartition(":")[2])
    for module, names in _PLACES.items()
    for name in names.split()
}

__all__ = [
    "Added",
    "Answer",
    "Audit",
    "BadValue",
    "Busy",
    "Change",
    "Damaged",
    "Difference",
    "Entry",
    "Explanation",
    "Failed",
    "Finding",
    "Identified",
    "Impact",
    "InDoubt",
    "Instant",
    "JfstoreError",
    "Lock",
    "NotFound",
    "PanelHistory",
    "PanelId",
    "Promoted",
    "Refused",
    "Repository",
    "Selection",
    "Stated",
    "Timeline",
    "__version__",
    "audit",
    "audit_generic",
    "calibconst",
    "check_array",
    "deploy",
    "deploy_generic",
    "deploy_until_next",
    "diff",
    "generate",
    "identify",
    "impact",
    "init",
    "mirror",
    "open",
    "repair",
    "replay",
    "run",
    "run_ranges",
    "runs",
    "runs_with_constants",
    "undo_deploy",
    "undo_generic",
    "verify",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use (PEP 562): --help, --version and the man pages need neither numpy nor h5py.
    if name not in _NAMES:
        raise AttributeError(f"module 'jfstore' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _NAMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
