"""Define the repository that `jfstore.open` returns: reading, statements about panels, and adding."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from jfstore.core.ids import PanelId
from jfstore.core.instants import start_of_validity
from jfstore.repository.adding import Added, missing_type_notes, note_lost_texts, require_about
from jfstore.repository.exchanging import ExchangingRepository
from jfstore.repository.finding import Time, resolve_target
from jfstore.repository.run_panels import find_run_panels

if TYPE_CHECKING:
    from jfstore.repository.entries import Given
    from jfstore.repository.governing import Stated
    from jfstore.repository.promoted import Promoted

Progress = Callable[[int, int], None]


class Repository(ExchangingRepository):
    """An open repository; made by `jfstore.open` and `jfstore.init`.

    It may be shared by threads, used after a fork, and pickled.

    Attributes
    ----------
    identity : Identity
        Its id, role, panel shape (gain, row, column) and zone.
    storage : Storage
        Where its files are.
    zone : zoneinfo.ZoneInfo
        The zone in which stamps are read and written.
    """

    def add(
        self,
        target: str | PanelId,
        time: Time | None,
        arrays: Mapping[str, Given] | str | os.PathLike[str],
        message: str,
        *,
        source: str | None = None,
        provenance: str | None = None,
        about: Mapping[str, str] | None = None,
        accept: Sequence[str] | str = (),
        request: str | None = None,
        dry_run: bool = False,
    ) -> Added:
        """Add a version of a panel's constants, or of every panel of a detector, in one commit.

        Parameters
        ----------
        target, time, source
            The panels and the start of validity, as for `get`; the time of a run is floored to the second.
        arrays : mapping of str to ndarray or path, or path
            For each calibration type an array of shape (gain, panel, row, column), or (gain, row, column) of a
            single panel, an .npy or text file of one, or a number, or a tuple of one for each gain range, that fills
            the array; or the directory of the gain files of a single panel. float64 is rounded to float32; values that
            are not finite and gains of zero are refused.
        message : str
            Why, for the log.
        provenance : str, optional
            Where the arrays come from, for the record; default the paths of the files.
        about : mapping of str to str, optional
            Short texts by key that each version carries, such as the dark run or a report; shown, and filtered by.
        accept : sequence of str, optional
            Findings of the guard to accept, such as ``"constant"``; the commit records those that it found.
        request : str, optional
            32 hexadecimal digits; a repetition with the same request never adds twice.
        dry_run : bool
            Check everything and return what would be added, but store nothing.

        Raises
        ------
        BadValue
            If an argument or an array is not acceptable.
        JfstoreError
            As `find` for a run, and as `add_entries`.
        """
        from jfstore.repository.entries import (
            describe_filled,
            make_entries,
            refuse_normal_types,
            rounding_notes,
            start_of_run,
        )

        texts, table = require_about(about), self.log.table()
        asked = resolve_target(target, time, source, self.zone, table.panel_names, partial(find_run_panels, table))
        if asked.run:
            start, earlier = start_of_run(asked, asked.run, self.zone)
        else:
            start, earlier = start_of_validity(asked.time, self.zone, floor=time == "now"), ()
        segments = asked.jungfrau.segments if asked.jungfrau else ()
        refuse_normal_types(asked, arrays)
        entries = make_entries(asked.panels, start, arrays, self.panel_shape, provenance, segments)
        if asked.run:
            text = f"valid from {asked.run.label}"
            entries = [replace(e, source=f"{e.source}, {text}" if e.source else text) for e in entries]
        filled = describe_filled(arrays)
        entries = [replace(entry, about=texts, accepted=("constant",) if filled else ()) for entry in entries]
        added = self.add_entries(entries, message, accept=accept, request=request, dry_run=dry_run)
        remarks = (*rounding_notes(entries), *(f"{name} is filled with {text}" for name, text in filled.items()))
        lost = note_lost_texts(self, texts, added.unchanged)
        notes = (*asked.notes, *earlier, *remarks, *missing_type_notes(added.versions), *lost, *added.notes)
        return replace(added, notes=notes, run=asked.run)

    def promote(
        self,
        versions: Sequence[str] | str,
        message: str,
        *,
        source: Repository | str,
        commit: int | None = None,
        tag: str | None = None,
        new: bool = False,
        panel: str | None = None,
        superseded: bool = False,
        accept: Sequence[str] | str = (),
        request: str | None = None,
        dry_run: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> Promoted:
        """Copy versions, closes and withdrawals from `source`; panel, stamp, content and origin are kept.

        Select either `versions`, or with an empty sequence one of `commit`, `tag`, `new` and `panel`. There is one
        commit for each operation that is needed: same panels, additions, closes, withdrawals. All of it is checked
        before the first one, and what this repository has already is left out, so that a repetition does no harm.

        Parameters
        ----------
        versions : sequence of str
            Names ``<panel Id>/<stamp>/v<number>`` in `source`, of versions or closes; or panel and detector Ids, which
            mean all that is valid of them, and the withdrawals of what was promoted before.
        source : Repository or str
            The repository to copy from, or its name, path or URL.
        commit : int, optional
            What this commit of `source` says: its versions, closes, withdrawals, or statement of same panels. A
            withdrawal withdraws the version here that came from the one that it withdraws, else one with equal
            content.
        tag : str, optional
            All that `source` said at this tag.
        new : bool
            All that `source` says and this repository does not.
        panel : str, optional
            The statements in `source` that this panel is the same as another one, or is not.
        superseded : bool
            Also copy versions that a higher number of the same stamp has superseded there.
        accept : sequence of str, optional
            Findings of the guard to accept, besides those that were accepted in `source`.
        message, request, dry_run
            As for `add`.
        progress : callable
            Called with the number of versions read and their total.

        Raises
        ------
        BadValue
            If nothing is selected, or more than one kind.
        NotFound
            If there is no such version, panel, commit or tag.
        Refused
            If the repositories are the same or differ in zone or shape, a version is withdrawn or superseded, or a
            withdrawal has no version here that it withdraws.
        """
        from jfstore.repository.catalogue import open_repository
        from jfstore.repository.promoting import promote

        source = source if isinstance(source, Repository) else open_repository(source)
        names = [versions] if isinstance(versions, str) else list(versions)
        selection: dict[str, Any] = {"commit": commit, "tag": tag, "new": new, "panel": panel}
        options: dict[str, Any] = {"accept": accept, "request": request, "dry_run": dry_run, "progress": progress}
        return promote(source, self, names, message, superseded=superseded, **selection, **options)

    def withdraw(
        self, versions: Sequence[str] | str, message: str, *, request: str | None = None, dry_run: bool = False
    ) -> Stated:
        """Withdraw versions: from this commit on they are no candidates; their bytes and numbers stay.

        Parameters
        ----------
        versions : sequence of str
            Names ``<panel Id>/<stamp>/v<number>``.
        message, request, dry_run
            As for `add`.

        Returns
        -------
        Stated
            What was withdrawn, and which answers change. As of an earlier commit they are as before.

        Raises
        ------
        NotFound
            If there is no such version.
        Refused
            If this is a mirror.
        """
        from jfstore.repository.governing import withdraw

        return withdraw(self, versions, message, request=request, dry_run=dry_run)

    def restore(
        self, versions: Sequence[str] | str, message: str, *, request: str | None = None, dry_run: bool = False
    ) -> Stated:
        """Undo `withdraw`; parameters, result and errors as there. The order of versions does not change."""
        from jfstore.repository.governing import withdraw

        return withdraw(self, versions, message, restore=True, request=request, dry_run=dry_run)

    def close(
        self,
        target: str | PanelId,
        time: Time,
        message: str,
        *,
        types: Sequence[str] | str | None = None,
        request: str | None = None,
        dry_run: bool = False,
    ) -> Stated:
        """State that from a time to the next stamp nothing is valid for a panel, or for every panel of a detector.

        Parameters
        ----------
        target : str or PanelId
            Panel or detector Id.
        time : str, datetime or Instant
            The start, in whole seconds.
        types : sequence of str, optional
            Calibration types; default all that the panel has.
        message, request, dry_run
            As for `add`.

        Raises
        ------
        NotFound
            If a panel has no constants.
        Refused
            If this is a mirror.
        """
        from jfstore.repository.governing import close

        return close(self, str(target), time, message, types=types, request=request, dry_run=dry_run)

    def tag(
        self,
        name: str,
        message: str,
        *,
        as_of: int | str | None = None,
        request: str | None = None,
        dry_run: bool = False,
    ) -> Stated:
        """Give a commit a name for ever, which `as_of` accepts.

        Parameters
        ----------
        name : str
            The name: a letter, then letters, digits and ``.+=-``.
        as_of : int or str, optional
            The commit; default the last one.
        message, request, dry_run
            As for `add`.

        Raises
        ------
        Refused
            If the name is used for another commit.
        """
        from jfstore.repository.governing import tag

        return tag(self, name, message, as_of=as_of, request=request, dry_run=dry_run)

    def rebuild_index(self) -> None:
        """Rebuild the index from the log, whatever the present one says."""
        self.log.rebuild_index()
