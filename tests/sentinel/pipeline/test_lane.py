"""What is acknowledged, what is served, what is refused: a book pays for its own channel only, and alone."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from feeds.market import Market
from sentinel.pipeline import Pipeline, Reconnect
from tests.sentinel.pipeline.venue import MS, START, Connection, S, Told, heartbeat, pipeline, plan, sent

GRID = 100 * MS
EXCHANGE = {"type": "snapshot", "product_id": "BTC-USD", "bids": [["99", "1"]], "asks": [["101", "1"]]}


def acknowledged(wire: Connection, **channels: list[str]) -> bytes:
    return wire.frame("subscriptions", [{"subscriptions": channels}])


def live(pipe: Pipeline, wire: Connection, first: int, last: int) -> None:
    for tenth in range(first, last + 1):
        pipe.receive(0, wire.beat(), START + tenth * GRID + MS)
        pipe.tick(START + tenth * GRID + 2 * MS)


@pytest.mark.parametrize("lacking", ["trades", "quotes"])
def test_a_channel_that_is_not_acknowledged_leaves_the_book_alone(lacking: str) -> None:
    pipe, wire, told = pipeline(plan(0, "book", "trades", "quotes")), Connection(), Told()
    pipe.opened(0, START)
    theirs = {"book": "level2", "trades": "market_trades", "quotes": "ticker"}
    served = {name: ["BTC-USD"] for ours, name in theirs.items() if ours != lacking}
    pipe.receive(0, acknowledged(wire, **served), START + 5 * MS)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    live(pipe, wire, 1, 1300)
    output = told.take(pipe)
    assert told.gap_list("book") == []
    assert told.instants() == [START + tenth * GRID for tenth in range(1, 1301)]
    assert "refused" in {note.event for note in output.notes}  # it is said, and asked for again
    assert not any(isinstance(command, Reconnect) for command in pipe.commands)


def test_an_exchange_book_is_served_while_its_ticker_and_matches_are_not() -> None:
    pipe, told = pipeline(plan(0, "book", "trades", "quotes", venue="coinbase_exchange")), Told()
    pipe.opened(0, START)
    pipe.receive(0, json.dumps(EXCHANGE).encode(), START + 10 * MS)
    for tenth in range(1, 1300):
        pipe.receive(0, heartbeat(0), START + tenth * GRID + MS)
        pipe.tick(START + tenth * GRID + 2 * MS)
    told.take(pipe)
    assert told.gap_list("book") == []
    assert len(told.instants()) == 1299


def test_a_late_acknowledgement_costs_a_served_book_nothing() -> None:
    pipe, wire, told = pipeline(plan(0, "book", "trades")), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    live(pipe, wire, 1, 60)
    pipe.receive(0, acknowledged(wire, level2=["BTC-USD"], market_trades=["BTC-USD"]), START + 6 * S + 20 * MS)
    live(pipe, wire, 61, 100)
    told.take(pipe)
    assert told.gap_list() == []
    assert len(told.instants()) == 100
    assert not any(pipe.lanes[0].unserved.values())


def test_a_late_acknowledgement_and_snapshot_end_the_refusal() -> None:
    pipe, wire, told = pipeline(plan(0, "book")), Connection(), Told()
    pipe.opened(0, START)
    live(pipe, wire, 1, 60)
    pipe.receive(0, acknowledged(wire, level2=["BTC-USD"]), START + 6 * S + 20 * MS)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 6 * S + 30 * MS)
    live(pipe, wire, 61, 200)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["end_ns"]) == ("refused", START + 6 * S + 30 * MS)
    assert len(told.instants()) == 140


def test_an_error_that_names_a_served_product_is_about_something_else() -> None:
    pipe, told = pipeline(plan(0, "book", "trades", venue="coinbase_exchange")), Told()
    pipe.opened(0, START)
    pipe.receive(0, json.dumps(EXCHANGE).encode(), START + 10 * MS)
    pipe.receive(0, heartbeat(0), START + 1 * S)
    refusal = {"type": "error", "message": "Failed to subscribe", "reason": "BTC-USD is not a valid product"}
    pipe.receive(0, json.dumps(refusal).encode(), START + 2 * S)
    pipe.receive(0, heartbeat(0), START + 3 * S)
    told.take(pipe)
    assert told.gap_list("book") == []
    assert len(told.instants()) == 29


def test_quotes_are_as_good_as_an_acknowledgement() -> None:
    pipe, wire = pipeline(plan(0, "book", "quotes")), Connection()
    pipe.opened(0, START)
    ticker = {"type": "ticker", "product_id": "BTC-USD", "price": "1", "best_bid": "99", "best_ask": "101"}
    pipe.receive(0, wire.frame("ticker", [{"type": "update", "tickers": [ticker]}]), START + 10 * MS)
    assert pipe.lanes[0].unserved["quotes"] == set()


PRODUCTS = ("BTC-USD", "ETH-USD")


def test_a_snapshot_that_never_comes_costs_its_own_product_only_and_is_asked_for_ever_more_rarely() -> None:
    pipe, wire, told = pipeline(plan(0, "book", products=PRODUCTS)), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, acknowledged(wire, level2=list(PRODUCTS)), START + 5 * MS)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    sent(pipe)
    asked = []
    for second in range(1, 1301):
        for tenth in range(10):
            at_ns = START + second * S + tenth * GRID
            pipe.receive(0, wire.beat(), at_ns + MS)
        pipe.tick(at_ns + 2 * MS)
        assert not any(isinstance(command, Reconnect) for command in pipe.commands)
        for message in sent(pipe):
            assert message["product_ids"] == ["ETH-USD"]
            asked += [second] if message["type"] == "subscribe" else []
    told.take(pipe)
    assert [gap for gap in told.gap_list() if gap["symbol"] == "BTC-USD"] == []
    pauses = [later - earlier for earlier, later in zip([0, *asked], asked, strict=False)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 10
    assert 6 <= len(asked) <= 8
    pipe.receive(0, wire.snapshot(9.0, 11.0, product="ETH-USD"), at_ns + 10 * MS)
    assert pipe.products[Market.parse("ETH-USD")].books.is_proved


def test_a_connection_that_brings_no_book_at_all_is_given_up_ever_more_rarely() -> None:
    pipe, wire, told = pipeline(plan(0, "book", products=PRODUCTS)), Connection(), Told()
    pipe.opened(0, START)
    given_up = []
    for second in range(1, 3601):
        pipe.receive(0, acknowledged(wire, level2=list(PRODUCTS)), START + second * S)
        pipe.tick(START + second * S + MS)
        if any(isinstance(command, Reconnect) for command in pipe.commands):
            given_up.append(second)
            pipe.closed(0, "silence", START + second * S + 2 * MS)
            wire = Connection()
            pipe.opened(0, START + second * S + 3 * MS)
        pipe.commands.clear()
    told.take(pipe)
    pauses = [later - earlier for earlier, later in zip([0, *given_up], given_up, strict=False)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 60
    assert 4 <= len(given_up) <= 12
    for symbol in PRODUCTS:
        pipe.receive(0, wire.snapshot(99.0, 101.0, product=symbol), START + 3601 * S)
    assert all(product.books.is_proved for product in pipe.products.values())


def test_a_refused_product_is_asked_for_ever_more_rarely_but_never_given_up() -> None:
    pipe, wire = pipeline(plan(0, "book", "trades", products=("BTC-USD", "XYZ-USD"))), Connection()
    pipe.opened(0, START)
    pipe.receive(0, acknowledged(wire, level2=["BTC-USD"], market_trades=["BTC-USD"]), START + 5 * MS)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    asked: list[int] = []
    for second in range(1, 3600):
        pipe.receive(0, wire.beat(), START + second * S)
        pipe.commands.clear()
        pipe.tick(START + second * S + MS)
        if any(message["product_ids"] == ["XYZ-USD"] for message in sent(pipe) if "product_ids" in message):
            asked.append(second)
    assert asked == [5, 65, 185, 425, 905, 1505, 2105, 2705, 3305]


def ask_times(losses_ns: list[int], until_ns: int) -> list[int]:
    """When the book is asked for anew, in ms since the start, where its frames are lost at ``losses_ns`` and each
    request is answered within 100 ms."""
    pipe, wire = pipeline(plan(0, "book")), Connection()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    sent(pipe)
    asked: list[int] = []
    for at_ns in range(100 * MS, until_ns, 100 * MS):
        if at_ns in losses_ns:
            wire.beat()
        pipe.receive(0, wire.beat(), START + at_ns)
        pipe.tick(START + at_ns + MS)
        if sent(pipe):
            asked.append(at_ns // MS)
            pipe.receive(0, wire.snapshot(99.0, 101.0), START + at_ns + 50 * MS)
    return asked


@pytest.mark.parametrize("every_s", [5, 15, 30])
def test_a_loss_now_and_then_is_healed_at_once_however_many_there_were_before(every_s: int) -> None:
    losses = [number * every_s * S for number in range(1, 21)]
    assert ask_times(losses, 21 * every_s * S) == [loss // MS for loss in losses]


def test_losses_without_end_are_asked_about_ever_more_rarely_until_there_was_calm() -> None:
    storm = list(range(S, 60 * S, 100 * MS))
    asked = ask_times([*storm, 200 * S], 201 * S)
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses[:-1] == sorted(pauses[:-1])
    assert len(asked) < 12
    assert asked[-1] == 200_000
