"""Pass messages to a listener where the work returns no record that could hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[str], None]] = []


def report(text: str) -> None:
    """Pass a message to the listener that was added last; without a listener it is dropped."""
    if _listeners:
        _listeners[-1](text)


@contextmanager
def listen(listener: Callable[[str], None]) -> Iterator[None]:
    """Pass all messages of this process to `listener` while the context is open."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
