"""BLAKE3 by as many threads as the process may use."""

from __future__ import annotations

import os

import pytest

from jfstore.core.hashing import cpu_count, digest


def test_threads_follow_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3})
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    assert cpu_count() == 1
    assert digest(bytes(1 << 23)) == digest(bytes(1 << 22), bytes(1 << 22))
