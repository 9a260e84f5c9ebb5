"""Derived metrics against independent numpy on the real recording, and CVD exact to the last digit over restarts."""

from __future__ import annotations

from decimal import Decimal

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given

from feeds.coinbase_advanced.protocol import CoinbaseAdvancedFeed
from feeds.protocol import Subscription
from sentinel.contract.line_protocol import Point, decode
from sentinel.pipeline import LanePlan, Pipeline, Settings
from sentinel.pipeline.flow import DAY_NS, GRACE_NS, FlowState, ProductFlow, imbalance, order_flow, volatility
from tests.captures import ADVANCED, lines_of
from tests.sentinel.pipeline.venue import START, Connection, pipeline

S = 1_000_000_000
MS = 1_000_000
DAY = 1_786_233_600 * S
"""2026-08-09T00:00:00Z, the day of the recording."""


@pytest.fixture(scope="module")
def points() -> list[Point]:
    """Everything the pipeline makes of the Advanced recording at its own receive times."""
    plan = LanePlan(0, "coinbase_advanced", Subscription(frozenset({"book", "trades"}), ("BTC-USD", "ETH-USD")))
    pipeline = Pipeline(Settings("me"), [plan], lambda lane: CoinbaseAdvancedFeed(lane.subscription))
    received = [int(float(stamp) * 1e9) for stamp in lines_of(f"{ADVANCED}/raw.recv_ts.txt.zst")]
    pipeline.start(received[0])
    pipeline.opened(0, received[0])
    for frame, received_ns in zip(lines_of(f"{ADVANCED}/raw.jsonl.zst"), received, strict=True):
        pipeline.receive(0, frame, received_ns)
        pipeline.tick(received_ns)
    pipeline.tick(received[-1] + 2 * S)
    pipeline.tick(received[-1] + 2 * S + GRACE_NS)
    output = pipeline.take()
    blocks = [lines.text for lines in (*output.trades, *output.book)]
    return [decode(line) for block in blocks for line in block.split(b"\n")]


def of(points: list[Point], measurement: str, symbol: str) -> list[Point]:
    chosen = [p for p in points if p.measurement == measurement and dict(p.tags)["symbol"] == symbol]
    return sorted(chosen, key=lambda point: (point.time_ns, point.tags))


@pytest.mark.parametrize("symbol", ["BTC-USD", "ETH-USD"])
def test_the_recordings_flow_is_numpys(points: list[Point], symbol: str) -> None:
    flow = {point.time_ns: dict(point.fields) for point in of(points, "flow", symbol)}
    assert len(flow) > 15
    live = [point for point in of(points, "trades", symbol) if "recv_ns" in dict(point.fields)]
    times = np.array([point.time_ns // S * S for point in live])
    sizes = np.array([dict(point.fields)["size"] for point in live])
    prices = np.array([dict(point.fields)["price"] for point in live])
    is_buy = np.array([dict(point.tags)["side"] == "buy" for point in live])
    tops = {point.time_ns: dict(point.fields) for point in of(points, "top", symbol)}
    running = 0.0
    for second_ns, row in flow.items():
        here = times == second_ns
        assert row["buy_volume"] == pytest.approx(sizes[here & is_buy].sum())
        assert row["sell_volume"] == pytest.approx(sizes[here & ~is_buy].sum())
        assert (row["buy_count"], row["sell_count"]) == ((here & is_buy).sum(), (here & ~is_buy).sum())
        running += float(row["buy_volume"]) - float(row["sell_volume"])
        assert row["cvd"] == pytest.approx(running)
        if here.any():
            assert row["vwap"] == pytest.approx(np.average(prices[here], weights=sizes[here]))
        instants = [second_ns + step * 100 * MS for step in range(10)]
        seen = [tops[instant] for instant in instants if instant in tops]
        assert row["samples"] == len(seen)
        if len(seen) < 10:
            assert "ofi" not in row
            continue
        spreads = np.array([top["spread_bps"] for top in seen])
        figures = row["spread_mean_bps"], row["spread_min_bps"], row["spread_max_bps"]
        assert figures == pytest.approx((spreads.mean(), spreads.min(), spreads.max()))
        before = [tops.get(instants[0] - 100 * MS), *seen[:-1]]
        steps = [cont(old, new) for old, new in zip(before, seen, strict=True) if old is not None]
        assert row["ofi"] == pytest.approx(sum(steps))
        book = {
            (dict(p.tags)["side"], dict(p.tags)["bps"]): dict(p.fields)["volume"]
            for p in of(points, "book", symbol)
            if p.time_ns == instants[-1]
        }
        for bps in ("1", "10", "100"):
            bids, asks = book["bid", bps], book["ask", bps]
            if bids + asks:
                assert row[f"imbalance_{bps}"] == pytest.approx((bids - asks) / (bids + asks))


def cont(old: dict[str, float], new: dict[str, float]) -> float:
    """The paper's formula, term by term."""
    return (
        (new["bid"] >= old["bid"]) * new["bid_size"]
        - (new["bid"] <= old["bid"]) * old["bid_size"]
        - (new["ask"] <= old["ask"]) * new["ask_size"]
        + (new["ask"] >= old["ask"]) * old["ask_size"]
    )


def test_volatility_is_numpys_and_needs_every_second() -> None:
    rng = np.random.default_rng(1)
    prices = 100 * np.exp(np.cumsum(rng.normal(0, 1e-4, 61)))
    mids = [(second * S, float(price)) for second, price in enumerate(prices)]
    assert volatility(mids, 60) == pytest.approx(np.sqrt((np.diff(np.log(prices)) ** 2).sum()))
    assert volatility(mids[1:], 60) is None
    assert volatility([*mids[:30], *((ns + S, mid) for ns, mid in mids[30:])], 60) is None


def test_small_things() -> None:
    assert imbalance(3, 1) == 0.5
    assert imbalance(0, 0) is None
    assert order_flow((10, 5, 11, 5), (10, 5, 11, 5)) == 0
    assert order_flow((10, 5, 11, 5), (10.5, 2, 11, 5)) == 2


trades = st.lists(
    st.tuples(st.integers(0, 30), st.decimals("0.00000001", "100000", places=8), st.booleans()), max_size=60
)


@given(trades, st.integers(0, 60))
def test_cvd_is_exact_over_restarts(given_trades: list[tuple[int, Decimal, bool]], restart_at: int) -> None:
    settings = Settings("me")
    flow = ProductFlow(settings, ())
    expected = Decimal(0)
    rows = []
    for number, (second, size, is_buy) in enumerate(sorted(given_trades)):
        if number == restart_at:
            kept = msgspec.msgpack.encode(flow.state)
            flow = ProductFlow(settings, (), msgspec.msgpack.decode(kept, type=FlowState))
        flow.trade(DAY + second * S, 1.5, float(size), is_buy=is_buy)
        expected += size if is_buy else -size
        rows += flow.advance(DAY + second * S)
    rows += flow.advance(DAY + 100 * S)
    assert [second_ns for second_ns, _ in rows] == sorted({DAY + second * S for second, _, _ in given_trades})
    if rows:
        assert dict(rows[-1][1])["cvd"] == float(expected)


def test_a_trade_that_comes_late_counts_in_the_next_second_and_the_day_begins_at_zero() -> None:
    flow = ProductFlow(Settings("me"), ())
    end = DAY + DAY_NS
    flow.trade(end - 5 * S, 1.0, 2.0, is_buy=True)
    assert dict(flow.advance(end)[0][1])["cvd"] == 2.0
    flow.trade(end - 5 * S, 1.0, 0.5, is_buy=True)
    flow.trade(end - 1 * S, 1.0, 1.0, is_buy=False)
    flow.trade(end + 1 * S, 1.0, 4.0, is_buy=True)
    rows = flow.advance(end + 10 * S)
    assert [dict(fields)["cvd"] for _, fields in rows] == [1.5, 4.0]


def test_seconds_of_a_run_that_was_ahead_are_told_anew() -> None:
    """Its clock was an hour ahead: samples lay in the future, and trades, which bear the venue's time, were late."""
    ahead = DAY + 3600 * S
    flow = ProductFlow(Settings("me"), [], FlowState(next_ns=ahead, day_ns=DAY))
    flow.take_back(DAY + 10 * S + 300 * MS)
    flow.trade(DAY + 10 * S + 400 * MS, 100.0, 2.0, is_buy=True)
    ((second_ns, fields),) = flow.advance(DAY + 11 * S + GRACE_NS + S)
    assert second_ns == DAY + 10 * S
    assert dict(fields)["buy_count"] == 1


def test_a_second_waits_until_its_samples_are_resolved() -> None:
    """The process stands still for 2.5 s: what the next frame proves belongs to a second that is long over."""
    pipe, wire = pipeline(), Connection()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(100.0, 101.0), START + 50 * MS)
    for tenth in range(1, 16):
        pipe.receive(0, wire.update(("bid", 100.0, 1.0 + tenth)), START + 50 * MS + tenth * 100 * MS)
    pipe.tick(START + 4_020 * MS)
    pipe.receive(0, wire.beat(), START + 4_030 * MS)
    pipe.tick(START + 6_100 * MS)
    lines = [line for block in pipe.take().book for line in block.text.split(b"\n")]
    flow = [point for point in map(decode, lines) if point.measurement == "flow"]
    seconds = [point.time_ns for point in flow]
    assert seconds == sorted(set(seconds))
    assert [dict(point.fields)["samples"] for point in flow if point.time_ns in (START + S, START + 2 * S)] == [10, 10]


def test_a_venue_whose_clock_is_a_day_ahead_fills_no_checkpoint() -> None:
    """Each of its seconds would have waited for a day, in every checkpoint; what comes early counts as what is late."""
    flow = ProductFlow(Settings("me"), (), FlowState(day_ns=DAY))
    for second in range(1000):
        now_ns = DAY + second * S
        flow.trade(now_ns + DAY_NS, 1.5, 1.0, is_buy=True, received_ns=now_ns)
        flow.trade(now_ns + 30 * S, 1.5, 1.0, is_buy=True, received_ns=now_ns)
        flow.advance(now_ns)
    assert len(flow.state.seconds) < 200
    *_, (last_ns, fields) = flow.advance(DAY + 1000 * S + GRACE_NS)
    assert last_ns == DAY + 999 * S
    assert dict(fields)["cvd"] == 1000 + 970
