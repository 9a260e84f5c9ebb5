"""What was given is not given again, and what is not remembered any more is not given at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from feeds.market import Market
from sentinel.cluster.given import SPAN_NS, Given, Turn

MARKETS = [Market("coinbase", "BTC-USD"), Market("kraken", "BTC/USD")]
POINTS = st.lists(
    st.tuples(st.sampled_from(MARKETS), st.integers(0, 4), st.integers(1, 12)), max_size=120
)  # market, span, id


def turns(points: list[tuple[Market, int, int]], remembered: Given) -> list[Turn]:
    return [remembered.enter(market, span * SPAN_NS + number, number) for market, span, number in points]


@given(POINTS)
def test_with_room_it_is_a_set(points: list[tuple[Market, int, int]]) -> None:
    seen: set[tuple[Market, int, int]] = set()
    expected = []
    for point in points:
        expected.append(Turn.AGAIN if point in seen else Turn.NEW)
        seen.add(point)
    assert turns(points, Given()) == expected


@given(POINTS, st.integers(1, 12))
def test_without_room_nothing_comes_twice_and_what_is_kept_back_is_told(
    points: list[tuple[Market, int, int]], room: int
) -> None:
    seen: set[tuple[Market, int, int]] = set()
    newest = -1
    for point, turn in zip(points, turns(points, Given(room)), strict=True):
        newest = max(newest, point[1])
        if turn is Turn.NEW:
            assert point not in seen
        elif turn is Turn.AGAIN:
            assert point in seen
        else:
            assert point[1] < newest, "the newest is always remembered"
        seen.add(point)


def test_a_market_without_holes_takes_one_interval_however_long() -> None:
    remembered = Given(most_intervals=2)
    for number in range(1, 10_000):
        assert remembered.enter(MARKETS[0], number, number) is Turn.NEW
    assert remembered.enter(MARKETS[0], SPAN_NS, 10_000) is Turn.NEW
    assert remembered.enter(MARKETS[0], 5, 5) is Turn.AGAIN
    assert remembered.enter(MARKETS[0], 2 * SPAN_NS, 10_001) is Turn.NEW
    assert remembered.enter(MARKETS[0], 5, 5) is Turn.LATE
