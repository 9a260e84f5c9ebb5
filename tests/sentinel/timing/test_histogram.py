"""Buckets, quantiles and what is recent."""

from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st

from sentinel.timing.histogram import NS_PER_MS, Durations, Quantiles, quantiles

NS = st.integers(0, 10**13)


@given(st.lists(NS, min_size=1))
def test_a_quantile_is_right_to_a_factor_of_two(ns: list[int]) -> None:
    durations = Durations()
    for each in ns:
        durations.add(each)
    found = quantiles(durations.counts)
    exact_ms = statistics.median_low(ns) / NS_PER_MS
    assert exact_ms < found.p50_ms <= max(2 * exact_ms, 1024 / NS_PER_MS)
    assert max(ns) / NS_PER_MS < found.most_ms <= max(2 * max(ns) / NS_PER_MS, 1024 / NS_PER_MS)
    assert found.p50_ms <= found.p99_ms <= found.most_ms


def test_nothing_lasted_no_time() -> None:
    assert quantiles(Durations().counts) == Quantiles(0.0, 0.0, 0.0)


def test_one_in_a_hundred_does_not_move_the_99th() -> None:
    durations = Durations()
    for ns in [1_000_000] * 99 + [10**9]:
        durations.add(ns)
    found = quantiles(durations.counts)
    assert found.p99_ms < 2.1
    assert found.most_ms > 1000
