"""One product over all its connections: its minutes are written when nothing more can change them."""

from __future__ import annotations

from feeds.market import Market
from sentinel.pipeline import Pipeline
from tests.sentinel.pipeline.venue import MS, START, SYMBOL, Connection, S, Told, pipeline, plan

GRID = 100 * MS
MINUTE = 60 * S
BEGUN = START - START % MINUTE + MINUTE


def live(pipe: Pipeline, wire: Connection, first: int, last: int) -> None:
    for tenth in range(first, last + 1):
        pipe.receive(0, wire.beat(), BEGUN + tenth * GRID + MS)
        pipe.tick(BEGUN + tenth * GRID + 2 * MS)


def begun() -> tuple[Pipeline, Connection, Told]:
    pipe, wire, told = pipeline(plan(0, "book")), Connection(), Told()
    pipe.opened(0, BEGUN)
    pipe.receive(0, wire.snapshot(99.0, 101.0), BEGUN + 10 * MS)
    return pipe, wire, told


def samples(told: Told) -> dict[int, list[object]]:
    names = "samples_due", "samples_written", "samples_withheld"
    return {point.time_ns: [dict(point.fields)[name] for name in names] for point in told.coverage.values()}


def test_a_minute_is_written_once_its_last_instant_is_settled() -> None:
    pipe, wire, told = begun()
    live(pipe, wire, 1, 598)
    told.take(pipe)
    assert samples(told) == {}
    pipe.tick(BEGUN + MINUTE + S)  # the minute is over, its last instant is not proved
    told.take(pipe)
    assert samples(told) == {}
    live(pipe, wire, 620, 620)
    told.take(pipe)
    assert samples(told) == {BEGUN: [599, 599, 0]}


def test_a_stop_writes_the_minute_under_way_and_the_next_run_goes_on_in_it() -> None:
    pipe, wire, told = begun()
    live(pipe, wire, 1, 100)
    pipe.stop(BEGUN + 100 * GRID + 3 * MS)
    told.take(pipe)
    assert samples(told) == {BEGUN: [100, 100, 0]}
    again, wire = pipeline(plan(0, "book"), checkpoint=pipe.checkpoint()), Connection()
    again.start(BEGUN + 200 * GRID + MS)
    again.opened(0, BEGUN + 200 * GRID + 2 * MS)
    again.receive(0, wire.snapshot(99.0, 101.0), BEGUN + 200 * GRID + 3 * MS)
    live(again, wire, 201, 300)
    again.stop(BEGUN + 300 * GRID + 3 * MS)
    told.take(again)
    # the instants in between are those of nobody's account: a gap with the cause `stopped`
    assert samples(told) == {BEGUN: [200, 200, 0]}
    (gap,) = told.gap_list("book")
    assert (gap["cause"], gap["missing_count"]) == ("stopped", 100)


def test_frames_that_connections_share_are_on_the_account_of_each_product() -> None:
    products = ("BTC-USD", "ETH-USD")
    pipe, wire, told = pipeline(plan(0, "book", products=products)), Connection(), Told()
    pipe.opened(0, BEGUN)
    for symbol in products:
        pipe.receive(0, wire.snapshot(99.0, 101.0, product=symbol), BEGUN + 10 * MS)
    pipe.receive(0, wire.update(("bid", 99.0, 2.0)), BEGUN + 20 * MS)
    live(pipe, wire, 1, 3)
    pipe.stop(BEGUN + 3 * GRID + 3 * MS)
    told.take(pipe)
    frames = "frames_applied", "frames_control"
    assert {symbol: [told.total(name, symbol) for name in frames] for symbol in products} == {
        "BTC-USD": [2, 3],
        "ETH-USD": [1, 3],
    }


def test_its_state_is_that_of_its_market() -> None:
    pipe, _, _ = begun()
    (product,) = pipe.products.values()
    state = product.state()
    assert Market(state.exchange, state.symbol) == product.market == Market("coinbase", SYMBOL)
    assert (state.collector, state.integrity) == ("tester", product.integrity)
