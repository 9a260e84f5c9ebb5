"""How much a store is asked for at once follows what it answers in time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.influx.capacity import Capacity

TIMEOUT_S = 10.0


def store(capacity: Capacity, *, line_s: float, request_s: float = 0.0) -> int:
    """Asks a store that works on one request at a time once with each request there may be; lines it answered."""
    requests, lines = capacity.requests, capacity.lines
    answered = 0
    for place in range(1, requests + 1):
        took_s = place * (request_s + line_s * lines)
        if took_s > TIMEOUT_S:
            capacity.unanswered(lines, requests)
        else:
            capacity.answered(lines, took_s)
            answered += lines
    return answered


@pytest.mark.parametrize(("line_s", "request_s"), [(0.01, 0.0), (0.5, 0.0), (9.0, 0.0), (0.0, 9.0), (0.001, 3.0)])
@pytest.mark.parametrize("requests", [1, 2, 32])
def test_a_slow_store_is_soon_asked_for_what_it_can_answer(line_s: float, request_s: float, requests: int) -> None:
    capacity = Capacity(5000, requests, TIMEOUT_S)
    rounds = [store(capacity, line_s=line_s, request_s=request_s) for _ in range(60)]
    assert all(rounds[15:])


def test_it_is_soon_asked_for_everything_again() -> None:
    capacity = Capacity(5000, 8, TIMEOUT_S)
    for _ in range(500):
        capacity.unanswered(capacity.lines, capacity.requests)
    assert (capacity.lines, capacity.requests) == (1, 1)
    for _ in range(20):
        capacity.answered(capacity.lines, 0.01)
    assert capacity.is_full


def test_requests_that_fail_together_halve_it_once() -> None:
    capacity = Capacity(5000, 8, TIMEOUT_S)
    for _ in range(8):
        capacity.unanswered(5000, 8)
    assert (capacity.lines, capacity.requests) == (2500, 4)


def test_a_limit_on_bytes_is_not_met_again_and_again() -> None:
    capacity = Capacity(5000, 1, TIMEOUT_S)
    refused = 0
    for _ in range(200):
        if capacity.lines > 1000:
            capacity.too_large(capacity.lines)
            refused += 1
        else:
            capacity.answered(capacity.lines, 0.01)
    assert refused < 25


@given(st.lists(st.tuples(st.integers(1, 9000), st.floats(0, 20), st.sampled_from("aul"))))
def test_it_stays_within_what_was_configured(events: list[tuple[int, float, str]]) -> None:
    capacity = Capacity(5000, 4, TIMEOUT_S)
    for lines, took_s, kind in events:
        if kind == "a":
            capacity.answered(lines, took_s)
        elif kind == "u":
            capacity.unanswered(lines, capacity.requests)
        else:
            capacity.too_large(lines)
        assert 1 <= capacity.lines <= 5000
        assert 1 <= capacity.requests <= 4
