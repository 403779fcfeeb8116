"""Messages about work that goes on, for which no record is returned: a listener takes them, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[str], None]] = []


def report(text: str) -> None:
    """Hand a message to the listener that was added last; without one it is dropped."""
    if _listeners:
        _listeners[-1](text)


@contextmanager
def listen(listener: Callable[[str], None]) -> Iterator[None]:
    """Let `listener` take all messages of this process for a while."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
