"""A process that may not have the threads it needs ends with one line, before it begins."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from sentinel.errors import SentinelError
from sentinel.run import ending, threads


def few(most: int) -> Callable[..., int]:
    left, start = [most], threading._start_new_thread  # type: ignore[attr-defined]

    def start_new_thread(*arguments: object) -> int:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        return int(start(*arguments))

    return start_new_thread


@pytest.mark.parametrize("most", [0, 1, threads.NEEDED - 1])
def test_too_few_are_a_line(most: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    running = set(threading.enumerate())
    monkeypatch.setattr(threading, "_start_new_thread", few(most))
    assert ending.run(threads.check) == 1
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith(f"sentinel-ws: no more than {most} of the {threads.NEEDED} threads")
    assert set(threading.enumerate()) <= running


def test_enough_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "_start_new_thread", few(threads.NEEDED))
    threads.check()
    with pytest.raises(SentinelError, match="no more than 0 of"):
        threads.check()
