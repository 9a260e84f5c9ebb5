"""Shared by all suites: how a thing is timed, and what it is timed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.corpus import RECORDING, Corpus, recorded
from tests.captures import capture

ROUNDS = 10
"""For what needs everything anew each time."""


class Clock:
    """pytest-benchmark, told of how many things the time is, so that results are rates."""

    def __init__(self, benchmark: BenchmarkFixture) -> None:
        self._benchmark = benchmark

    def time(self, count: int, unit: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function`` does ``count`` things, again and again."""
        self._benchmark.extra_info |= {"count": count, "unit": unit}
        return self._benchmark(function, *arguments)

    def time_afresh(self, count: int, unit: str, function: Callable[..., Any], make: Callable[[], Any]) -> Any:
        """The same where each round needs a new argument, whose making is not timed."""
        self._benchmark.extra_info |= {"count": count, "unit": unit}
        return self._benchmark.pedantic(function, setup=lambda: ((make(),), {}), rounds=ROUNDS, warmup_rounds=1)


@pytest.fixture
def clock(benchmark: BenchmarkFixture) -> Clock:
    return Clock(benchmark)


@pytest.fixture
def recording() -> Corpus:
    """The Advanced Trade recording, once; skipped without it."""
    capture(RECORDING)
    return recorded(1)
