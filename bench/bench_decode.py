"""Decoding, feed by feed: bytes to what a frame means, checked against the standard library's JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bench.conftest import Clock
from bench.corpus import START_NS, Corpus, synthetic
from feeds.coinbase_advanced.protocol import CoinbaseAdvancedFeed
from feeds.coinbase_exchange.protocol import CoinbaseExchangeFeed
from feeds.protocol import Feed, Subscription
from sentinel.simulator import market
from sentinel.simulator.coinbase import wording
from tests.captures import ADVANCED, MATCHES, lines_of

EXCHANGE = "coinbase-exchange-jihoh-2021-04-02/raw.jsonl.zst"
PRODUCTS = ("BTC-USD", "ETH-USD")


def advanced(*channels: str) -> Feed:
    return CoinbaseAdvancedFeed(Subscription(frozenset(channels), PRODUCTS))


def exchange(*channels: str) -> Feed:
    return CoinbaseExchangeFeed(Subscription(frozenset(channels), PRODUCTS))


def all_of(receive: Callable[[bytes], Any], frames: Sequence[bytes]) -> None:
    for frame in frames:
        receive(frame)


def level_sum(feed: Feed, frames: Sequence[bytes]) -> float:
    """The sum of all prices and sizes: right only if every level was decoded."""
    events: list[Any] = [event for frame in frames for event in feed.receive(frame).events]
    levels = [level for event in events for level in (event.levels if hasattr(event, "levels") else event.changes)]
    return sum(level.price + level.size for level in levels)


def advanced_sum(frames: Sequence[bytes]) -> float:
    updates = [level for frame in frames for event in json.loads(frame)["events"] for level in event["updates"]]
    return sum(float(level["price_level"]) + float(level["new_quantity"]) for level in updates)


def exchange_sum(frames: Sequence[bytes]) -> float:
    messages = [json.loads(frame) for frame in frames]
    levels = [pair for message in messages for side in ("bids", "asks") for pair in message.get(side, [])]
    levels += [change[1:] for message in messages for change in message.get("changes", [])]
    return sum(float(price) + float(size) for price, size in levels)


def test_advanced_updates(clock: Clock, recording: Corpus) -> None:
    feed = advanced("book")
    clock.time(len(recording.updates), "frames", all_of, feed.receive, recording.updates)
    assert level_sum(feed, recording.updates) == advanced_sum(recording.updates)


def test_advanced_snapshot(clock: Clock, recording: Corpus) -> None:
    feed, frame = advanced("book"), max(recording.snapshots, key=len)
    clock.time(frame.count(b'"price_level"'), "levels", feed.receive, frame)
    assert level_sum(feed, [frame]) == advanced_sum([frame])


def test_advanced_synthetic_updates(clock: Clock) -> None:
    feed, frames = advanced("book"), synthetic(10, 2000).updates
    clock.time(len(frames), "frames", all_of, feed.receive, frames)
    assert level_sum(feed, frames) == advanced_sum(frames)


def test_advanced_trades_and_heartbeats(clock: Clock) -> None:
    frames = [
        frame
        for frame in lines_of(f"{ADVANCED}/raw.jsonl.zst")
        if b'"channel":"market_trades"' in frame or b'"channel":"heartbeats"' in frame
    ]
    feed = advanced("trades")
    clock.time(len(frames), "frames", all_of, feed.receive, frames)
    trades = sum(len(event.get("trades", [])) for frame in frames for event in json.loads(frame)["events"])
    beats = sum(b'"channel":"heartbeats"' in frame for frame in frames)
    assert sum(len(feed.receive(frame).events) for frame in frames) == trades + beats


@pytest.mark.parametrize("kind", ["snapshot", "l2update"])
def test_exchange_book(clock: Clock, kind: str) -> None:
    frames = [frame for frame in lines_of(EXCHANGE) if f'"type":"{kind}"'.encode() in frame[:200]]
    feed = exchange("book")
    clock.time(len(frames), "frames", all_of, feed.receive, frames)
    assert level_sum(feed, frames) == pytest.approx(exchange_sum(frames), rel=1e-12)  # added in another order


def test_exchange_synthetic_updates(clock: Clock) -> None:
    (product,) = market.products(1, 2000, 1).values()
    frames = [wording.exchange_update(product, product.change(), START_NS // 1000).encode() for _ in range(2000)]
    feed = exchange("book")
    clock.time(len(frames), "frames", all_of, feed.receive, frames)
    assert level_sum(feed, frames) == exchange_sum(frames)


def test_exchange_matches(clock: Clock) -> None:
    frames = [frame for frame in lines_of(f"{MATCHES}/raw.jsonl.zst") if b'"type":"match"' in frame][:2000]
    feed = exchange("trades")
    clock.time(len(frames), "frames", all_of, feed.receive, frames)
    trades: list[Any] = [event for frame in frames for event in feed.receive(frame).events]
    expected = [(message["trade_id"], float(message["price"])) for message in map(json.loads, frames)]
    assert [(trade.trade_id, trade.price) for trade in trades] == expected
