"""One odd record among good ones: it costs itself, and nobody else."""

from __future__ import annotations

import json

import pytest

from book.events import Trade, Unusable
from sentinel.pipeline import Pipeline, Reconnect, Repair, RepairAnswer
from tests.sentinel.pipeline.venue import (
    MS,
    START,
    SYMBOL,
    Connection,
    S,
    Told,
    heartbeat,
    match,
    pipeline,
    plan,
    sent,
)

GRID = 100 * MS
THREE = ("BTC-USD", "ETH-USD", "SOL-USD")


def opened(*products: str, **settings: object) -> tuple[Pipeline, Connection, Told]:
    """One numbered connection with a proved book of each product and trade 1 of the first."""
    pipe, wire, told = pipeline(plan(0, products=products), **settings), Connection(), Told()
    pipe.opened(0, START)
    sent(pipe)
    for number, product in enumerate(products):
        pipe.receive(0, wire.snapshot(99.0, 101.0, product=product), START + (number + 1) * MS)
    pipe.receive(0, wire.trades(1, product=products[0]), START + 10 * MS)
    return pipe, wire, told


def odd(frame: bytes, old: str, new: str) -> bytes:
    text = frame.decode()
    assert old in text
    return text.replace(old, new, 1).encode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"side": "BUY"', '"side": "UNKNOWN_ORDER_SIDE"'),
        ('"size": "0.25"', '"size": "0"'),
        ('"price": "100.5"', '"price": null'),
        ('"time": "2026', '"time": "0001'),
    ],
)
def test_a_trade_that_cannot_be_used_costs_no_book_and_no_other_trade(old: str, new: str) -> None:
    pipe, wire, told = opened(*THREE)
    for tenth in range(1, 21):
        frame = odd(wire.trades(2 * tenth, 2 * tenth + 1), old, new)  # newest first: the odd one is 2 x tenth + 1
        pipe.receive(0, frame, START + tenth * GRID + MS)
    output = told.take(pipe)
    assert told.gap_list() == []
    assert all(len(told.instants(product)) == 20 for product in THREE)
    assert [dict(trade.fields)["trade_id"] for trade in told.trades] == [1, *range(2, 42, 2)]
    named = [note.facts for note in output.notes if note.event == "unusable"]
    assert [facts["trade_id"] for facts in named] == list(range(3, 43, 2))
    assert {facts["symbol"] for facts in named} == {SYMBOL}
    counts = pipe.lanes[0].counts
    assert (counts.lost, counts.undecodable, counts.residue) == (0, 0, 0)


def test_the_newest_trade_is_missing_and_named_even_if_no_other_shows_it() -> None:
    pipe, wire, told = opened(SYMBOL)
    pipe.receive(0, odd(wire.trades(2), '"side": "BUY"', '"side": ""'), START + GRID)
    for tenth in range(2, 30):
        pipe.receive(0, wire.beat(), START + tenth * GRID)
        pipe.tick(START + tenth * GRID)
    told.take(pipe)
    assert [(g["channel"], g["start_seq"], g["end_seq"]) for g in told.gap_list()] == [("trades", 2, 2)]
    assert [command for command in pipe.commands if isinstance(command, Repair)] == [Repair(SYMBOL, 2, 2)]
    counts = pipe.lanes[0].counts
    assert (counts.undecodable, counts.lost, counts.residue) == (1, 0, 0)


@pytest.mark.parametrize(
    "event",
    [
        {
            "type": "update",
            "product_id": "ETH-USD",
            "updates": [{"side": "hold", "price_level": "9", "new_quantity": "1"}],
        },
        {
            "type": "update",
            "product_id": "ETH-USD",
            "updates": [{"side": "bid", "price_level": "x", "new_quantity": "1"}],
        },
        {
            "type": "patch",
            "product_id": "ETH-USD",
            "updates": [{"side": "bid", "price_level": "9", "new_quantity": "1"}],
        },
        {"type": "update", "product_id": "ETH-USD", "updates": 7},
        {"type": "snapshot", "product_id": "ETH-USD", "updates": [{"side": "bid"}]},
    ],
)
def test_a_book_event_that_cannot_be_used_costs_that_book(event: dict[str, object]) -> None:
    pipe, wire, told = opened(*THREE)
    pipe.receive(0, wire.frame("l2_data", [event]), START + 210 * MS)
    assert [m["product_ids"] for m in sent(pipe)] == [["ETH-USD"], ["ETH-USD"]]
    pipe.receive(0, wire.beat(), START + 310 * MS)
    pipe.receive(0, wire.snapshot(99.0, 101.0, product="ETH-USD"), START + 320 * MS)
    pipe.receive(0, wire.beat(), START + 510 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["symbol"], gap["cause"]) == ("ETH-USD", "undecodable")
    assert (gap["start_ns"], gap["end_ns"]) == (START + 210 * MS, START + 320 * MS)
    assert told.instants("ETH-USD") == [START + tenth * GRID for tenth in (1, 2, 4, 5)]
    assert told.instants("BTC-USD") == told.instants("SOL-USD") == [START + tenth * GRID for tenth in range(1, 6)]
    assert pipe.lanes[0].counts.lost == 0


def test_a_book_event_of_no_product_costs_all_books_of_the_connection() -> None:
    pipe, wire, told = opened(*THREE)
    updates = [{"side": "bid", "price_level": "9", "new_quantity": "1"}]
    pipe.receive(0, wire.frame("l2_data", [{"type": "update", "product_id": None, "updates": updates}]), START + GRID)
    told.take(pipe)
    assert {(gap["symbol"], gap["cause"]) for gap in told.gap_list()} == {(p, "undecodable") for p in THREE}


@pytest.mark.parametrize(
    ("side", "price", "size"), [("bid", "0", "1"), ("offer", "1e16", "1"), ("offer", "101.5", "2e15")]
)
def test_a_level_that_no_order_can_have_refuses_no_snapshot(side: str, price: str, size: str) -> None:
    pipe, wire, told = pipeline(plan(0, products=THREE)), Connection(), Told()
    pipe.opened(0, START)
    sent(pipe)
    for number, product in enumerate(THREE):
        frame = json.loads(wire.snapshot(99.0, 101.0, product=product))
        if product == "ETH-USD":
            frame["events"][0]["updates"].append({"side": side, "price_level": price, "new_quantity": size})
        pipe.receive(0, json.dumps(frame).encode(), START + (number + 1) * MS)
    pipe.receive(0, wire.update((side, float(price), 0.0), product="ETH-USD"), START + 150 * MS)
    pipe.receive(0, wire.beat(), START + 310 * MS)
    output = told.take(pipe)
    assert told.gap_list() == []
    assert all(len(told.instants(product)) == 3 for product in THREE)
    assert [f.facts["symbol"] for f in output.notes if f.event == "unusable"][:1] == ["ETH-USD"]
    assert sent(pipe) == []


def test_a_snapshot_that_is_never_to_be_used_costs_its_neighbours_nothing() -> None:
    pipe, wire, told = pipeline(plan(0, "book", products=THREE)), Connection(), Told()
    pipe.opened(0, START)
    sent(pipe)
    bad = {
        "type": "snapshot",
        "product_id": "ETH-USD",
        "updates": [{"side": "bid", "price_level": "", "new_quantity": "1"}],
    }
    for product in ("BTC-USD", "SOL-USD"):
        pipe.receive(0, wire.snapshot(99.0, 101.0, product=product), START + MS)
    pipe.receive(0, wire.frame("l2_data", [bad]), START + 2 * MS)
    asked = 0
    for tenth in range(1, 1200):
        now_ns = START + tenth * GRID
        pipe.receive(0, wire.beat(), now_ns + MS)
        pipe.tick(now_ns + 2 * MS)
        messages = sent(pipe)
        if messages:
            assert {tuple(message["product_ids"]) for message in messages} == {("ETH-USD",)}
            asked += 1
            pipe.receive(0, wire.frame("l2_data", [bad]), now_ns + 3 * MS)
    told.take(pipe)
    assert [command for command in pipe.commands if isinstance(command, Reconnect)] == []
    assert {(gap["symbol"], gap["cause"]) for gap in told.gap_list()} == {("ETH-USD", "undecodable")}
    assert len(told.instants("BTC-USD")) == len(told.instants("SOL-USD")) == 1199
    assert 5 < asked < 15


def exchange(*products: str) -> tuple[Pipeline, Told]:
    """One connection without numbers, with a proved book of each product."""
    pipe, told = pipeline(plan(0, "book", "trades", venue="coinbase_exchange", products=products)), Told()
    pipe.opened(0, START)
    for product in products:
        pipe.receive(0, level2("snapshot", product, bids=[["99", "1"]], asks=[["101", "1"]]), START + MS)
    sent(pipe)
    return pipe, told


def level2(kind: str, product: str, **parts: object) -> bytes:
    return json.dumps({"type": kind, "product_id": product, **parts}).encode()


@pytest.mark.parametrize(
    "frame",
    [
        match(7)[:-20],
        heartbeat(7)[:-20],
        odd(match(7), '"side": "buy"', '"side": ""'),
        odd(match(7, "last_match"), '"trade_id": 7', '"trade_id": 0'),
        b'{"type":"error","message":"Failed to subscribe","reason":null}',
        b'{"type":"ticker","product_id":"BTC-USD","best_bid":"","best_ask":""}',
        b'{"type":"subscriptions","channels":[{"name":null}]}',
    ],
)
def test_a_frame_without_numbers_that_is_of_no_book_costs_no_book(frame: bytes) -> None:
    pipe, told = exchange(*THREE)
    pipe.receive(0, frame, START + 110 * MS)
    pipe.receive(0, heartbeat(6), START + 310 * MS)
    told.take(pipe)
    assert told.gap_list("book") == []
    assert all(len(told.instants(product)) == 3 for product in THREE)
    assert sent(pipe) == []
    assert pipe.lanes[0].counts.residue == 0


@pytest.mark.parametrize(
    ("frame", "lost"),
    [
        (level2("l2update", "ETH-USD", changes=[["buy", "99", "2"]])[:-9], {"ETH-USD"}),
        (level2("l2update", "ETH-USD", changes=[["hold", "99", "2"]]), {"ETH-USD"}),
        (level2("l2update", "ETH-USE", changes=[["buy", "99", "2"]])[:-9], set(THREE)),  # damaged in two places
        (b"Disconnected from the target VM", set(THREE)),
    ],
)
def test_a_frame_without_numbers_costs_the_books_it_may_have_been_of(frame: bytes, lost: set[str]) -> None:
    pipe, told = exchange(*THREE)
    pipe.receive(0, frame, START + 110 * MS)
    told.take(pipe)
    assert {(gap["symbol"], gap["cause"]) for gap in told.gap_list()} == {(product, "undecodable") for product in lost}


def test_what_nobody_asked_for_is_counted_as_what_it_is() -> None:
    pipe, wire, _ = opened(SYMBOL)
    pipe.receive(0, wire.snapshot(1.0, 2.0, product="DOGE-USD"), START + 20 * MS)
    pipe.receive(0, wire.update(("bid", 1.0, 2.0), product="DOGE-USD"), START + 30 * MS)
    pipe.receive(0, wire.trades(5, product="DOGE-USD"), START + 40 * MS)
    counts = pipe.lanes[0].counts
    assert (counts.received, counts.applied, counts.control, counts.undecodable) == (5, 2, 0, 0)
    assert counts.received - counts.applied == 3
    assert counts.residue == 0
    assert counts.unasked == 3
    assert set(pipe.lanes[0].skipped.counts) == {"unasked book DOGE-USD", "unasked trades DOGE-USD"}


def test_frames_nobody_asked_for_do_not_make_a_connection_live() -> None:
    pipe, wire = pipeline(plan(0)), Connection()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(1.0, 2.0, product="DOGE-USD"), START + MS)
    assert not pipe.lanes[0].is_live


def test_a_product_sent_by_another_name_is_collected_by_the_name_that_was_asked_for() -> None:
    pipe, wire, told = pipeline(plan(0, products=("BTC-USDC",))), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + MS)
    pipe.receive(0, wire.trades(1), START + 110 * MS)
    pipe.receive(0, wire.update(("bid", 99.5, 1.0)), START + 210 * MS)
    pipe.receive(0, wire.beat(), START + 310 * MS)
    output = told.take(pipe)
    assert told.gap_list() == []
    assert len(told.instants("BTC-USDC")) == 3
    assert [dict(trade.tags)["symbol"] for trade in told.trades] == ["BTC-USDC"]
    assert dict(told.tops[-1].fields)["bid"] == 99.5
    assert [note.facts for note in output.notes if note.event == "alias"] == [
        {"lane": 0, "symbol": "BTC-USDC", "sent_as": "BTC-USD"}
    ]
    assert pipe.lanes[0].counts.unasked == 0


def test_the_venues_words_do_not_fill_the_memory() -> None:
    pipe, wire, _ = opened(SYMBOL)
    for number in range(1000):
        pipe.receive(0, wire.frame(f"tomorrow {number} " + "x" * 10_000, []), START + 20 * MS + number)
        pipe.receive(0, wire.trades(5, product=f"X{number}-USD"), START + 20 * MS + number)
        pipe.take()
    counts = pipe.lanes[0].skipped.counts
    assert len(counts) <= 33
    assert max(map(len, counts)) <= 48
    assert sum(counts.values()) == 2000


def test_what_rest_has_and_nobody_can_use_is_named_and_the_rest_is_repaired() -> None:
    pipe, wire, told = opened(SYMBOL)
    pipe.receive(0, wire.trades(5), START + GRID)
    pipe.tick(START + 2 * S)
    record = Unusable(SYMBOL, "trades", "no time", b'{"trade_id":3}', 3)
    trades = tuple(Trade(SYMBOL, i, 1.0, 1.0, "buy", START // 1000 * 1000, is_live=False) for i in (4, 2))
    pipe.repaired(RepairAnswer(SYMBOL, 2, 4, trades, is_complete=True, unusable=(record,)), START + 3 * S)
    output = told.take(pipe)
    gaps = {(g["start_seq"], g["end_seq"]): g["repaired_count"] for g in told.gap_list("trades")}
    assert gaps == {(2, 2): 1, (3, 3): 0, (4, 4): 1}
    assert [note.facts["trade_id"] for note in output.notes if note.event == "unusable"] == [3]
