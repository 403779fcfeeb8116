"""Use what the log states about the panels of runs whose configurations have no Ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jfstore.core.ids import parse_panel
from jfstore.core.records import RunPanels
from jfstore.core.table import Table
from jfstore.errors import NotFound

if TYPE_CHECKING:
    from jfstore.runs.run import Jungfrau, Run

RunStatements = Sequence[tuple[int, RunPanels]]
"""Statements about runs, each with its commit, in order."""


def find_run_panels(table: Table, as_of: int | None = None) -> RunStatements:
    """Return the statements about the panels of runs that commits up to `as_of` made."""
    last = table.seq if as_of is None else as_of
    return [
        (seq, statement) for seq, _, statement in table.statements if isinstance(statement, RunPanels) and seq <= last
    ]


def fill_panels(run: Run, jungfrau: Jungfrau, stated: RunStatements) -> tuple[Jungfrau, tuple[str, ...]]:
    """Return a Jungfrau with the panels that the last statement about its run says, and a note that says so.

    A Jungfrau whose configuration has Ids, or about which nothing is stated, is returned as it is.

    Raises
    ------
    NotFound
        If the statement cannot be right: another number of panels, or a run with several Jungfraus and no source.
    """
    if jungfrau.panels:
        return jungfrau, ()
    about = [(seq, statement) for seq, statement in stated if _is_about(statement, run, jungfrau)]
    if not about:
        return jungfrau, ()
    seq, statement = about[-1]
    panels = tuple(map(parse_panel, statement.detector.split("_")))
    where = f"{run.label}: {jungfrau.source} has no panel Ids (psana.Jungfrau.ConfigV{jungfrau.version})"
    if statement.source is None and len(run.jungfraus) > 1:
        raise NotFound(f"{where}, and commit {seq} does not say which of the run's {len(run.jungfraus)} it is about")
    if len(panels) != jungfrau.count:
        raise NotFound(f"{where}, it has {jungfrau.count} panels, and commit {seq} states {len(panels)}")
    note = f"{where}; commit {seq} states that it had {statement.detector}"
    return replace(jungfrau, panels=panels), (note,)


def _is_about(statement: RunPanels, run: Run, jungfrau: Jungfrau) -> bool:
    if statement.experiment != run.experiment or not statement.first <= run.run <= statement.last:
        return False
    from jfstore.runs.run import is_part  # slow to load, and loaded wherever there is a run

    source = statement.source
    return source is None or source in (jungfrau.source, jungfrau.alias) or is_part(source, jungfrau.source)
