"""Define the part of a repository that adds entries, and imports and exports files of other programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jfstore.repository.adding import Added, Entry, add_entries
from jfstore.repository.governed import GovernedRepository

if TYPE_CHECKING:
    from jfstore.core.instants import Instant
    from jfstore.core.lock import Lock
    from jfstore.repository.answer import Answer
    from jfstore.repository.bundle import ExportedBundle
    from jfstore.repository.exchange import Exported
    from jfstore.repository.export_tree import ExportedTree
    from jfstore.repository.module_panels import Panels

Progress = Callable[[int, int], None]


class ExchangingRepository(GovernedRepository):
    """The part of a `Repository` that adds entries, imports and exports."""

    def add_entries(
        self,
        entries: Iterable[Entry],
        message: str,
        *,
        request: str | None = None,
        once: bool = False,
        by_origin: bool = False,
        dry_run: bool = False,
        accept: Sequence[str] | str = (),
    ) -> Added:
        """Add versions, all in one commit; nothing is committed if nothing is new.

        Parameters
        ----------
        entries : iterable of Entry
            What to add; taken one by one, so that the arrays of only one need to be in memory.
        message : str
            Why, for the log.
        request : str, optional
            32 hexadecimal digits; a repetition with the same request never adds twice.
        once : bool
            Skip also content that the panel and stamp ever held, not only what they hold now.
        by_origin : bool
            Skip instead what came from the same origin before, and add all else, also content that is stored.
        dry_run : bool
            Check everything and return what would be added, but store nothing.
        accept : sequence of str, optional
            Findings of the guard to accept.

        Raises
        ------
        BadValue
            If the message, the request or an entry is not acceptable.
        Refused
            If this is a mirror, the place cannot publish, or the guard finds something implausible.
        Damaged, Busy, InDoubt
            If the log cannot be read to its end; as `Log.append`.
        """
        options: dict[str, Any] = {"request": request, "dry_run": dry_run, "accept": accept}
        return add_entries(self, entries, message, once=once, by_origin=by_origin, **options)

    def import_gains(
        self,
        path: str | os.PathLike[str],
        message: str,
        *,
        about: Mapping[str, str] | None = None,
        accept: Sequence[str] | str = (),
        request: str | None = None,
        dry_run: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> Added:
        """Import a gain tree in one commit; see `jfstore.repository.exchange.import_gains`."""
        from jfstore.repository.exchange import import_gains

        options: dict[str, Any] = {"about": about, "accept": accept, "request": request, "dry_run": dry_run}
        return import_gains(self, path, message, progress=progress, **options)

    def import_dcs(
        self,
        path: str | os.PathLike[str],
        message: str,
        *,
        recover: bool = False,
        about: Mapping[str, str] | None = None,
        accept: Sequence[str] | str = (),
        request: str | None = None,
        dry_run: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> Added:
        """Import a DCS file in one commit; see `jfstore.repository.exchange.import_dcs`."""
        from jfstore.repository.exchange import import_dcs

        options: dict[str, Any] = {"about": about, "accept": accept, "request": request, "dry_run": dry_run}
        return import_dcs(self, path, message, recover=recover, progress=progress, **options)

    def import_calibdir(
        self,
        path: str | os.PathLike[str],
        message: str,
        *,
        experiment: str | None = None,
        source: str | None = None,
        about: Mapping[str, str] | None = None,
        accept: Sequence[str] | str = (),
        request: str | None = None,
        dry_run: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> Added:
        """Import a calibration directory of psana1; see `jfstore.repository.import_calibdir.import_calibdir`."""
        from jfstore.repository.import_calibdir import import_calibdir

        options: dict[str, Any] = {"about": about, "accept": accept, "request": request, "dry_run": dry_run}
        options |= {"experiment": experiment, "source": source}
        return import_calibdir(self, path, message, progress=progress, **options)

    def import_psi(
        self,
        path: str | os.PathLike[str],
        message: str,
        *,
        panels: Panels | None = None,
        time: str | datetime | Instant | None = None,
        about: Mapping[str, str] | None = None,
        accept: Sequence[str] | str = (),
        request: str | None = None,
        dry_run: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> Added:
        """Import gain maps of PSI in one commit; see `jfstore.repository.import_psi.import_psi`."""
        from jfstore.repository.import_psi import import_psi

        options: dict[str, Any] = {"about": about, "accept": accept, "request": request, "dry_run": dry_run}
        return import_psi(self, path, message, panels=panels, time=time, progress=progress, **options)

    def import_panel_repository(
        self,
        path: str | os.PathLike[str],
        message: str,
        *,
        types: Sequence[str] | str | None = None,
        about: Mapping[str, str] | None = None,
        accept: Sequence[str] | str = (),
        request: str | None = None,
        dry_run: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> Added:
        """Import a panel repository of LCLS-II; see `jfstore.repository.import_panels.import_panel_repository`."""
        from jfstore.repository.import_panels import import_panel_repository

        options: dict[str, Any] = {"about": about, "accept": accept, "request": request, "dry_run": dry_run}
        return import_panel_repository(self, path, message, types=types, progress=progress, **options)

    def import_swissfel(
        self,
        path: str | os.PathLike[str],
        message: str,
        *,
        panels: Panels | None = None,
        time: str | datetime | Instant | None = None,
        contents: str | None = None,
        about: Mapping[str, str] | None = None,
        accept: Sequence[str] | str = (),
        request: str | None = None,
        dry_run: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> Added:
        """Import a file of SwissFEL in one commit; see `jfstore.repository.import_swissfel.import_swissfel`."""
        from jfstore.repository.import_swissfel import import_swissfel

        options: dict[str, Any] = {"about": about, "accept": accept, "request": request, "dry_run": dry_run}
        options |= {"panels": panels, "time": time, "contents": contents}
        return import_swissfel(self, path, message, progress=progress, **options)

    def import_psana2(
        self,
        name: str,
        message: str,
        *,
        url: str | None = None,
        experiment: str | None = None,
        types: Sequence[str] | str | None = None,
        about: Mapping[str, str] | None = None,
        accept: Sequence[str] | str = (),
        request: str | None = None,
        dry_run: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> Added:
        """Import from psana2's calibration database; see `jfstore.repository.import_psana2.import_psana2`."""
        from jfstore.repository.import_psana2 import import_psana2

        options: dict[str, Any] = {"about": about, "accept": accept, "request": request, "dry_run": dry_run}
        options |= {"url": url, "experiment": experiment, "types": types}
        return import_psana2(self, name, message, progress=progress, **options)

    def export_bundle(
        self,
        answer: Answer | Lock | str | os.PathLike[str],
        path: str | os.PathLike[str],
        *,
        replace: bool = False,
    ) -> ExportedBundle:
        """Write an answer to a bundle: one HDF5 file, from which `jfstore.replay` returns the same bits.

        It holds the arrays, the lock, ``repository.json`` and the commits of the versions, and opens on a picture.

        Parameters
        ----------
        answer : Answer, Lock or path
            What `find` or `replay` returned, or a lock, or the path of a lock file.
        path : path
            The file to write.
        replace : bool
            Whether an existing file is replaced.

        Raises
        ------
        Refused
            If the file exists and is not to be replaced.
        JfstoreError
            As `replay`, for every array is verified first.
        """
        from jfstore.repository.bundle import export_bundle

        return export_bundle(self, answer, path, replace=replace)

    def export_dcs(
        self,
        detector: str,
        path: str | os.PathLike[str],
        *,
        as_of: int | str | None = None,
        replace: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> Exported:
        """Export a detector's constants as a DCS file; see `jfstore.repository.exchange.export_dcs`."""
        from jfstore.repository.exchange import export_dcs

        return export_dcs(self, detector, path, as_of=as_of, replace=replace, progress=progress)

    def export_tree(
        self,
        panels: Sequence[str] | str | None,
        path: str | os.PathLike[str],
        *,
        types: Sequence[str] | str | None = None,
        as_of: int | str | None = None,
        progress: Progress = lambda done, total: None,
    ) -> ExportedTree:
        """Export panels to a gain tree, so that programs that read gain trees find what is valid.

        For each start of validity the tree gets a name ``<panel Id>-<stamp>``, ``<panel Id>`` if the constants are
        valid from the beginning, which links to a directory with everything that is valid then: `import_gains` of the
        tree gives the same answers. A directory is called by the panel's name (``M044``, ``M044-2``, ...) or by its Id
        (``<panel Id>.1``, ...). A repeated export writes what is new, and never changes a directory.

        Parameters
        ----------
        panels : sequence of str, optional
            Panel or detector Ids, or names; None for every panel.
        path : path
            The directory, which is made if its parent exists. What jfstore did not write there stays as it is.
        types : sequence of str, optional
            Only these calibration types; default all.
        as_of : int or str, optional
            As the repository was then, as for `get`.
        progress : callable
            Called with the number of directories written and their total.

        Returns
        -------
        ExportedTree
            With the `differences`: closes, after which readers of the tree take older constants, and names of others.

        Raises
        ------
        NotFound
            If a panel has no constants.
        Refused
            If a name exists that jfstore did not write and that holds other constants, the directory is a repository,
            or another repository was exported to it.
        Damaged
            If stored bytes that are needed are not what was written.
        """
        from jfstore.repository.export_tree import export_tree

        return export_tree(self, panels, path, types=types, as_of=as_of, progress=progress)
