"""The order book: loading a snapshot, single updates, batches, flicker, a deep book, a reader after each frame."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bench.conftest import Clock
from bench.corpus import Corpus
from bench.oracle import books, is_same
from book.events import Level, PriceLevel, Side
from book.order_book import OrderBook
from feeds.coinbase_advanced.messages import Level2, decode_message
from tests.book.oracle import OracleBook

PRODUCT = "BTC-USD"
BATCH = 100


def levels_of(frame: bytes) -> Sequence[Level]:
    message = decode_message(frame)
    assert isinstance(message, Level2)
    (event,) = message.events
    return event.levels if hasattr(event, "levels") else event.changes


def frames_of(corpus: Corpus) -> tuple[bytes, list[bytes]]:
    """The product's snapshot and its updates."""
    name = f'"product_id":"{PRODUCT}"'.encode()
    (snapshot,) = (frame for frame in corpus.snapshots if name in frame[:400])
    return snapshot, [frame for frame in corpus.updates if name in frame]


def loaded(snapshot: bytes) -> OrderBook:
    book = OrderBook()
    book.replace(levels_of(snapshot))
    return book


def apply_all(book: OrderBook, batches: Sequence[Sequence[Level]]) -> None:
    for changes in batches:
        book.apply(changes)
    book.settle()


def read_after_each(book: OrderBook, batches: Sequence[Sequence[Level]]) -> None:
    for changes in batches:
        book.apply(changes)
        book.top()


def test_snapshot_load(clock: Clock, recording: Corpus) -> None:
    snapshot, _ = frames_of(recording)
    levels, book = levels_of(snapshot), OrderBook()
    clock.time(len(levels), "levels", book.replace, levels)
    assert is_same(book, books([snapshot])[PRODUCT])


def test_single_updates(clock: Clock, recording: Corpus) -> None:
    snapshot, updates = frames_of(recording)
    book, single = loaded(snapshot), [(change,) for frame in updates for change in levels_of(frame)]
    clock.time(len(single), "level changes", apply_all, book, single)
    assert is_same(book, books([snapshot, *updates])[PRODUCT])


def test_batches_as_the_venue_sends_them(clock: Clock, recording: Corpus) -> None:
    snapshot, updates = frames_of(recording)
    book, batches = loaded(snapshot), [levels_of(frame) for frame in updates]
    clock.time(sum(map(len, batches)), "level changes", apply_all, book, batches)
    assert is_same(book, books([snapshot, *updates])[PRODUCT])


def test_batches_of_a_hundred(clock: Clock, recording: Corpus) -> None:
    snapshot, updates = frames_of(recording)
    changes = [change for frame in updates for change in levels_of(frame)]
    book, batches = loaded(snapshot), [changes[first : first + BATCH] for first in range(0, len(changes), BATCH)]
    clock.time(len(changes), "level changes", apply_all, book, batches)
    assert is_same(book, books([snapshot, *updates])[PRODUCT])


def test_top_read_after_each_frame(clock: Clock, recording: Corpus) -> None:
    snapshot, updates = frames_of(recording)
    book, batches = loaded(snapshot), [levels_of(frame) for frame in updates]
    clock.time(len(batches), "frames", read_after_each, book, batches)
    assert is_same(book, books([snapshot, *updates])[PRODUCT])


def test_flicker(clock: Clock, recording: Corpus) -> None:
    """The best fifty bids come and go, and the top is read each time."""
    snapshot, _ = frames_of(recording)
    book = loaded(snapshot)
    best = [PriceLevel(Side.BID, price, size) for price, size in book.bids.items()[-50:]]
    batches = [batch for level in best for batch in ((PriceLevel(Side.BID, level.price, 0.0),), (level,))]
    clock.time(len(batches), "level changes", read_after_each, book, batches)
    assert is_same(book, books([snapshot])[PRODUCT])


def test_deep_book(clock: Clock) -> None:
    """A hundred thousand levels a side; changes anywhere, a fifth of them deletes and as many new prices."""
    rng = random.Random("deep")
    levels = [
        PriceLevel(side, price / 100, rng.randrange(1, 10**9) / 1e8)
        for side, first in ((Side.BID, 10_000_000), (Side.ASK, 10_200_001))
        for price in range(first, first + 200_000, 2)
    ]
    changes = []
    for number in range(10_000):
        level, kind = rng.choice(levels), number % 5
        price = level.price if kind else round(level.price + 0.01, 2)
        changes.append(PriceLevel(level.side, price, 0.0 if kind == 1 else rng.randrange(1, 10**9) / 1e8))
    book, batches = OrderBook(), [changes[first : first + 6] for first in range(0, len(changes), 6)]
    book.replace(levels)
    clock.time(len(changes), "level changes", apply_all, book, batches)
    expected = OracleBook()
    expected.apply((level.side.value, repr(level.price), repr(level.size)) for level in [*levels, *changes])
    assert is_same(book, expected)
