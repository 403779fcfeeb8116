"""Copy versions from one repository to another with their content, stamps and origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from jfstore.core.arrays import Checked
from jfstore.core.records import Version
from jfstore.core.validity import find_holder, find_superseding, find_withdrawn
from jfstore.errors import Refused
from jfstore.repository.adding import Added, Entry, add_entries

if TYPE_CHECKING:
    from jfstore.repository.repository import Repository


def promote(
    source: Repository,
    target: Repository,
    names: Sequence[str],
    message: str,
    *,
    superseded: bool = False,
    request: str | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Added:
    """Copy versions from `source` to `target` in one commit; see `Repository.promote`."""
    for what in ("id", "panel_shape", "zone", "detector"):
        here, there = getattr(source.identity, what), getattr(target.identity, what)
        if (here == there) == (what == "id"):
            problem = "are the same repository" if what == "id" else f"differ in {what}: {here}, {there}"
            raise Refused(f"{source.location} and {target.location} {problem}")
    # Every name is looked up before the first array is read: all or nothing. The highest number goes last and wins.
    named = {version.name: version for version in map(source.version, names)}
    versions = sorted(named.values(), key=lambda version: (version.panel, version.start, version.number))
    withdrawn = find_withdrawn(source.log.table())
    for version in versions:
        if version.name in withdrawn:
            raise Refused(f"{version.name} is withdrawn in {source.location}: jfstore restore brings it back")
        if version.closes:
            raise Refused(f"{version.name} is a close: state it in {target.location} with jfstore close")
    if not superseded:
        _refuse_superseded(source, target, versions)

    def entries() -> Iterator[Entry]:
        for done, version in enumerate(versions):
            progress(done, len(versions))
            yield entry_of(source, version)
        progress(len(versions), len(versions))

    return add_entries(target, entries(), message, request=request, dry_run=dry_run)


def _refuse_superseded(source: Repository, target: Repository, versions: Sequence[Version]) -> None:
    """Refuse a version that its repository has superseded, unless the target holds it or gets the better one too."""
    table, there = source.log.table(), target.log.table()
    names = {version.name for version in versions}
    for version in versions:
        better = find_superseding(table, version)
        if not better or any(other.name in names for other in better):
            continue
        if not find_holder(there, version.panel, version.stamp, version.content, ever=False):
            raise Refused(
                f"{version.name} is superseded by {better[-1].name} in {source.location}; "
                "--superseded promotes it all the same"
            )


def entry_of(source: Repository, version: Version) -> Entry:
    """Return a version of `source` as an entry for another repository: same content, origin kept."""
    version = source.version(version.name)  # with what only its commit says
    arrays = {
        array.type: Checked(source.panel_array(version, array.type).copy(), array.converted_from)
        for array in version.arrays
    }
    origin = version.origin or {
        "repository": source.identity.id,
        "version": version.name,
        "seq": version.seq,
        "commit": source.summary(version.seq).hash,
    }
    return Entry(version.panel, version.valid_from, arrays, version.source, origin, version.about)
