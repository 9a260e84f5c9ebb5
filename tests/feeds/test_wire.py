"""What is believed of a wire is held against real recordings, and against frames that say otherwise."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pytest

from feeds.catalogue import VENUES
from feeds.wire import Tally, Wire
from tests.captures import ADVANCED, GDAX, lines_of

ADVANCED_FEED, EXCHANGE_FEED = "coinbase_advanced", "coinbase_exchange"


def wire_of(exchange: str) -> Wire:
    kind = VENUES[exchange].wire
    assert kind is not None
    return kind()


def told(wire: Wire) -> dict[str, tuple[int, int]]:
    """Confirmed and contradicted, of what was seen at all."""
    counts = {name: (tally.confirmed, tally.contradicted) for name, tally in wire.tallies.items()}
    return {name: count for name, count in counts.items() if any(count)}


def heard(exchange: str, feed: str, frames: Collection[bytes | dict[str, Any]], products: Collection[str] = ()) -> Wire:
    wire = wire_of(exchange)
    wire.opened(1, feed, products)
    for frame in frames:
        wire.frame(1, feed, frame if isinstance(frame, bytes) else json.dumps(frame).encode())
    return wire


def test_the_newest_recording_of_the_default_feed_bears_out_all_that_it_shows() -> None:
    wire = heard("coinbase", ADVANCED_FEED, lines_of(f"{ADVANCED}/raw.jsonl.zst"), ["BTC-USD", "ETH-USD"])
    assert told(wire) == {
        "advanced.first-number": (1, 0),
        "advanced.plus-one": (1029, 0),
        "advanced.acks-numbered": (30, 0),
        "advanced.keys": (1030, 0),
        "advanced.fraction": (1030, 0),
        "advanced.offer": (775, 0),
        "advanced.one-event": (775, 0),
        "advanced.snapshot-mixed": (2, 0),
        "advanced.big-snapshot": (2, 0),
        "advanced.id-text": (279, 0),
        "advanced.newest-first": (14, 0),
        "advanced.heartbeat-number": (25, 0),
        "advanced.heartbeat-plus-one": (24, 0),
        "advanced.usdc": (775, 0),
    }


def test_an_old_recording_contradicts_what_was_otherwise_then() -> None:
    wire = heard("coinbase", EXCHANGE_FEED, lines_of(f"{GDAX}/session-2018-04-15T2311.jsonl.zst"), ["BTC-USD"])
    counts = told(wire)
    assert counts["exchange.zero-decimals"] == (0, 1383)
    assert counts["exchange.snapshot-time"] == (0, 1)
    assert counts["exchange.time-forward"] == (3946, 0)
    assert wire.tallies["exchange.snapshot-time"].example.startswith('{"type":"snapshot","product_id":"BTC-USD","bids"')


@pytest.mark.parametrize(
    ("exchange", "feed", "path", "expected"),
    [
        (
            "bybit", "bybit", "bybit-cryptofeed-2026-08-09/raw-spot.jsonl.zst",
            {"plus-one": (548, 0), "step-in-a-frame": (16, 0)},
        ),
        (
            "bybit_linear", "bybit_linear", "bybit-cryptofeed-2026-08-09/raw-linear.jsonl.zst",
            {"plus-one": (1594, 0), "step-in-a-frame": (98, 0)},
        ),
        ("deribit", "deribit", "deribit-cryptofeed-2021-07-22/raw.jsonl.zst", {"chain": (36, 0)}),
        ("binance", "binance", "binance-spot-hftbacktest/btcusdt_20240808.jsonl.zst", {"chain": (3450, 0)}),
    ],
)  # fmt: skip
def test_recordings_of_other_venues_contradict_nothing(
    exchange: str, feed: str, path: str, expected: dict[str, tuple[int, int]]
) -> None:
    counts = told(heard(exchange, feed, lines_of(path)))
    assert expected.items() <= counts.items()
    assert not any(contradicted for _, contradicted in counts.values())


def test_a_step_that_is_told_in_two_frames_is_a_contradiction() -> None:
    trades = [{"T": 1, "S": "Buy", "seq": seq} for seq in (7, 7, 8, 8, 9)]
    parts = trades[:2], trades[2:3], trades[3:]
    wire = heard("bybit", "bybit", [{"topic": "publicTrade.BTCUSDT", "data": part} for part in parts])
    assert told(wire)["step-in-a-frame"] == (1, 1)


def test_a_jump_of_the_counter_is_a_contradiction_once() -> None:
    frames = [
        {"channel": "heartbeats", "timestamp": "2026-01-01T00:00:00.123456Z", "sequence_num": number,
         "events": [{"current_time": "", "heartbeat_counter": 7 + number}]}
        for number in (0, 1, 4, 5)
    ]  # fmt: skip
    counts = told(heard("coinbase", ADVANCED_FEED, frames))
    assert counts["advanced.plus-one"] == (2, 1)
    assert counts["advanced.first-number"] == (1, 0)


def test_a_trade_told_by_both_feeds_is_compared_by_side_and_time() -> None:
    def match(number: int, side: str, time: str) -> dict[str, Any]:
        return {"type": "match", "trade_id": number, "side": side, "size": "1", "price": "5", "product_id": "BTC-USD",
                "sequence": 10 * number, "time": time}  # fmt: skip

    batch = {"channel": "market_trades", "timestamp": "2026-01-01T00:00:00.123456Z", "sequence_num": 0, "events": [
        {"type": "update", "trades": [
            {"product_id": "BTC-USD", "trade_id": "2", "price": "5", "size": "1", "side": "BUY",
             "time": "2026-01-01T00:00:00.5Z"},
            {"product_id": "BTC-USD", "trade_id": "1", "price": "5", "size": "1", "side": "BUY",
             "time": "2026-01-01T00:00:00.4Z"}]}]}  # fmt: skip
    wire = wire_of("coinbase")
    wire.frame(1, EXCHANGE_FEED, json.dumps(match(1, "buy", "2026-01-01T00:00:00.400000Z")).encode())
    wire.frame(2, ADVANCED_FEED, json.dumps(batch).encode())
    wire.frame(1, EXCHANGE_FEED, json.dumps(match(2, "sell", "2026-01-01T00:00:00.500001Z")).encode())
    counts = told(wire)
    assert counts["both.side"] == (1, 1)
    assert counts["both.time"] == (1, 1)


def test_a_stablecoin_product_comes_under_the_dollars_name() -> None:
    def book(product: str) -> dict[str, Any]:
        event = {"type": "snapshot", "product_id": product, "updates": [{"side": "bid"}, {"side": "offer"}]}
        return {"channel": "l2_data", "timestamp": "2026-01-01T00:00:00.123456Z", "sequence_num": 0, "events": [event]}

    assert told(heard("coinbase", ADVANCED_FEED, [book("ETH-USD")], ["ETH-USDC"]))["advanced.usdc"] == (1, 0)
    assert told(heard("coinbase", ADVANCED_FEED, [book("ETH-USDC")], ["ETH-USDC"]))["advanced.usdc"] == (0, 1)
    assert told(heard("coinbase", ADVANCED_FEED, [book("USDT-USDC")], ["USDT-USDC"]))["advanced.usdc"] == (1, 0)


@pytest.mark.parametrize("exchange", sorted(name for name, venue in VENUES.items() if venue.wire))
@pytest.mark.parametrize("frame", [b"", b"\xff", b"[]", b"null", b'{"channel":5}', b'{"type":"match"}', b"[" * 5000])
def test_whatever_comes_no_wire_minds(exchange: str, frame: bytes) -> None:
    wire = wire_of(exchange)
    for feed in VENUES[exchange].feeds:
        wire.frame(1, feed.venue, frame)


def test_tallies_of_an_earlier_run_are_gone_on_with() -> None:
    kind = VENUES["kraken"].wire
    assert kind is not None
    wire = kind({"heartbeat": Tally(3)})
    wire.frame(1, "kraken", b'{"channel":"heartbeat"}')
    assert told(wire) == {"heartbeat": (4, 0)}


def test_every_fact_has_its_own_name() -> None:
    for wire in {venue.wire for venue in VENUES.values() if venue.wire}:
        names = [fact.name for fact in wire.facts]
        assert len(set(names)) == len(names) > 0
