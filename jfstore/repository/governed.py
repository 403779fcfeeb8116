"""Define the part of a repository that says which Ids are one panel, gives names, and freezes answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from jfstore.core.ids import PanelId
from jfstore.repository.finding import Time
from jfstore.repository.reading import ReadableRepository

if TYPE_CHECKING:
    from jfstore.repository.governing import Stated
    from jfstore.repository.joining import PanelHistory
    from jfstore.repository.proposing import Proposal
    from jfstore.runs.run import Run


class GovernedRepository(ReadableRepository):
    """The part of a `Repository` that makes statements about panels, runs and times."""

    def join_panels(
        self,
        panel: str | PanelId,
        other: str | PanelId,
        message: str,
        *,
        request: str | None = None,
        dry_run: bool = False,
    ) -> Stated:
        """State that two Ids are one physical panel: the versions under each are candidates for both.

        Parameters
        ----------
        panel, other : str or PanelId
            The two panel Ids, or names of them. Either may have no constants yet.
        message : str
            Why, for the log.
        request : str, optional
            32 hexadecimal digits; a repetition with the same request never commits twice.
        dry_run : bool
            Check everything and return what would change, but commit nothing.

        Returns
        -------
        Stated
            Which answers change.

        Raises
        ------
        BadValue
            If both are the same Id.
        Refused
            If both hold a type with one stamp but not with the same content, the change is frozen, or this is a mirror.
        """
        from jfstore.repository.joining import join_panels

        return join_panels(self, str(panel), str(other), message, request=request, dry_run=dry_run)

    def separate_panels(
        self,
        panel: str | PanelId,
        other: str | PanelId,
        message: str,
        *,
        request: str | None = None,
        dry_run: bool = False,
    ) -> Stated:
        """Take back that two Ids are one panel; parameters and result as for `join_panels`.

        Raises
        ------
        Refused
            If they are one panel only through another Id, the change is frozen, or this is a mirror.
        """
        from jfstore.repository.joining import join_panels

        return join_panels(self, str(panel), str(other), message, separate=True, request=request, dry_run=dry_run)

    def name_panel(
        self,
        target: str | PanelId,
        name: str,
        message: str,
        *,
        request: str | None = None,
        dry_run: bool = False,
    ) -> Stated:
        """Give a panel or a detector a name for ever, which is accepted wherever an Id is.

        Parameters
        ----------
        target : str or PanelId
            Panel or detector Id.
        name : str
            A letter, then letters, digits and ``.+-``, for a detector also ``_``. It must not read as an Id.
        message, request, dry_run
            As for `join_panels`.

        Raises
        ------
        BadValue
            If it cannot be a name.
        Refused
            If the name is used for something else, or this is a mirror.
        """
        from jfstore.repository.joining import name_panel

        return name_panel(self, str(target), name, message, request=request, dry_run=dry_run)

    def panel_history(
        self, panel: str | PanelId, *, runs: Iterable[Run] = (), as_of: int | str | None = None
    ) -> PanelHistory:
        """Return what is known of a physical panel: its Ids, names, versions, and the runs it was seen in.

        Parameters
        ----------
        panel : str or PanelId
            Panel Id, or the name of a panel.
        runs : iterable of Run, optional
            Runs to look for the panel in, such as ``jfstore.runs("XCS").runs``.
        as_of : int or str, optional
            As the repository was then, as for `get`.

        Raises
        ------
        NotFound
            If the repository knows nothing of the panel.
        """
        from jfstore.repository.joining import tell_history

        return tell_history(self, str(panel), runs=runs, as_of=as_of)

    def propose_panels(
        self, panel: str | PanelId | None = None, *, runs: Iterable[Run] = (), as_of: int | str | None = None
    ) -> tuple[Proposal, ...]:
        """Propose which Ids may be one physical panel, with the evidence; only `join_panels` states it.

        They have the same serial number; or, in Ids of LCLS-II, the same module number and another software version,
        firmware or board. A panel with the name M044 may be the module with number 44, which is a weak reason. What
        was declared the same or not the same is left out.

        Parameters
        ----------
        panel : str or PanelId, optional
            Only proposals about this panel; default all.
        runs : iterable of Run, optional
            Runs whose panels are looked at, too, also those without constants, such as ``jfstore.runs("MFX").runs``.
        as_of : int or str, optional
            As the repository was then, as for `get`.
        """
        from jfstore.repository.proposing import propose_panels

        asked = None if panel is None else str(panel)
        return propose_panels(self, asked, runs=runs, as_of=as_of)

    def run_panels(
        self,
        detector: str | PanelId,
        runs: str,
        message: str,
        *,
        source: str | None = None,
        request: str | None = None,
        dry_run: bool = False,
    ) -> Stated:
        """State which panels runs had whose configurations have no panel Ids; of a run the last statement counts.

        Parameters
        ----------
        detector : str or PanelId
            The panels, in order: panel or detector Id.
        runs : str
            A range of runs of one experiment, such as ``exp=xcsls3716:run=600-640``.
        source : str, optional
            Of which Jungfrau of these runs: its source, alias or a part of the source.
        message, request, dry_run
            As for `join_panels`.

        Raises
        ------
        BadValue
            If the runs or the source are not understood.
        Refused
            If this is a mirror.
        """
        from jfstore.repository.stating import state_run_panels

        return state_run_panels(self, str(detector), runs, message, source=source, request=request, dry_run=dry_run)

    def freeze(
        self,
        time: Time,
        message: str,
        *,
        types: Sequence[str] | str | None = None,
        request: str | None = None,
        dry_run: bool = False,
    ) -> Stated:
        """State that answers for times before a stamp do not change any more: a write that would is refused.

        Of each calibration type the last freeze holds; one with an earlier stamp thaws.

        Parameters
        ----------
        time : str, datetime or Instant
            The stamp, in whole seconds; ``now`` is floored.
        types : sequence of str, optional
            Only these calibration types; default all.
        message, request, dry_run
            As for `join_panels`.

        Raises
        ------
        Refused
            If the time is in the future, or this is a mirror.
        """
        from jfstore.repository.stating import freeze

        return freeze(self, time, message, types=types, request=request, dry_run=dry_run)
