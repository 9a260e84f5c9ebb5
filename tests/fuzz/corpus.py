"""What venues really said: recorded frames where there are recordings, and one of each kind where there are none."""

from __future__ import annotations

import random
from functools import cache

import zstandard

from tests.captures import CAPTURES
from tests.feeds.dialects import DIALECTS
from tests.feeds.stories import STORIES

RECORDINGS = {
    "binance": ["binance-spot-hftbacktest/btcusdt_20240808.jsonl.zst"],
    "bybit": ["bybit-cryptofeed-2026-08-09/raw-spot.jsonl.zst"],
    "bybit_linear": ["bybit-cryptofeed-2026-08-09/raw-linear.jsonl.zst"],
    "coinbase_advanced": ["coinbase-advanced-cryptofeed-2026-08-09/raw.jsonl.zst"],
    "coinbase_exchange": [
        "coinbase-exchange-jihoh-2021-04-02/raw.jsonl.zst",
        "coinbase-exchange-level2batch-jayhere1-2026-07-04/raw.jsonl.zst",
        "coinbase-exchange-matches-alphapulse-2025-08-22/raw.jsonl.zst",
    ],
    "deribit": ["deribit-cryptofeed-2021-07-22/raw.jsonl.zst"],
    "okx": ["okx-cryptofeed-2022-05-13/raw.jsonl.zst"],
}
LIKE = {"coinbase_derivatives": "deribit", "okx_trades": "okx"}
LONGEST = 6_000
MOST = 1_500
AT_NS = 1_788_746_279_088_388_000


@cache
def frames(feed: str) -> list[bytes]:
    """Of a feed. Of a recording no more than fits into memory and time, in its order."""
    told = _recorded(LIKE.get(feed, feed)) + DIALECTS[feed].frames
    story = next((STORIES[name]() for name in STORIES if feed in (name, STORIES[name].trades_feed)), None)
    if story is None:
        return told
    story.connect()
    for product in story.products:
        if story.reset != "lower ids":  # else its books are fetched
            told.append(story.snapshot(product, AT_NS))
        told += [story.change(product, 3, AT_NS + 10**6), story.deepen(product, 5, AT_NS + 2 * 10**6)]
        told.append(story.trade(product, 7, AT_NS))
    return [*told, story.unknown()]


def _recorded(feed: str) -> list[bytes]:
    found: list[bytes] = []
    for name in RECORDINGS.get(feed, ()):
        path = CAPTURES / name
        if path.exists():
            with path.open("rb") as file:
                lines = zstandard.ZstdDecompressor().stream_reader(file).read().split(b"\n")[:-1]
            found += [line for line in lines if len(line) < LONGEST][:MOST]
    return found


def some(rng: random.Random, feed: str) -> bytes:
    return rng.choice(frames(feed))
