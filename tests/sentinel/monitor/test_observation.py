"""What a collector tells of its process, wherever it runs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sentinel.monitor import observation
from sentinel.monitor.observation import _added, _memory_and_threads
from sentinel.timing.histogram import Durations, quantiles


def test_memory_and_threads_are_those_of_the_system() -> None:
    memory_bytes, threads = _memory_and_threads()
    assert 10_000_000 < memory_bytes < 10_000_000_000
    assert threads >= threading.active_count()


def test_without_proc_there_is_the_most_memory_there_ever_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now_bytes, _ = _memory_and_threads()
    monkeypatch.setattr(observation, "STATUS", tmp_path / "none")
    memory_bytes, threads = _memory_and_threads()
    assert memory_bytes > now_bytes // 2
    assert threads == threading.active_count()


def test_durations_of_several_add_up() -> None:
    one, two = Durations(), Durations()
    for ns in (1_000_000, 2_000_000):
        one.add(ns)
    two.add(50_000_000)
    added = _added([one, two])
    assert sum(added) == 3
    assert quantiles(added).most_ms == pytest.approx(50, rel=0.15)
    assert sum(_added([])) == 0
