"""The order book: loading a snapshot, single updates, batches, flicker, a deep book, a reader after each frame."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bench.conftest import Clock
from bench.corpus import Corpus
from bench.oracle import books, is_same
from book.events import Delta, MapDelta, Side, Sizes, Snapshot
from book.order_book import OrderBook
from feeds.coinbase_advanced.protocol import CoinbaseAdvancedFeed
from feeds.protocol import Subscription
from tests.book.oracle import OracleBook

PRODUCT = "BTC-USD"
BATCH = 100

Change = tuple[Side, float, float]


def event_of(frame: bytes) -> Snapshot | Delta:
    """The one book event of a frame."""
    feed = CoinbaseAdvancedFeed(Subscription(frozenset({"book"}), (PRODUCT,)))
    (event,) = feed.receive(frame).events
    assert isinstance(event, Snapshot | Delta)
    return event


def changes_of(frame: bytes) -> list[Change]:
    event = event_of(frame)
    sides = event.by_side() if isinstance(event, Delta) else (event.bids, event.asks)
    return [(side, price, size) for side, sizes in zip(Side, sides, strict=True) for price, size in sizes.items()]


def delta_of(changes: Sequence[Change]) -> MapDelta:
    """What the book takes in at once."""
    sides: dict[Side, Sizes] = {Side.BID: {}, Side.ASK: {}}
    for side, price, size in changes:
        sides[side][price] = size
    return MapDelta(PRODUCT, sides[Side.BID], sides[Side.ASK], len(changes))


def frames_of(corpus: Corpus) -> tuple[bytes, list[bytes]]:
    """The product's snapshot and its updates."""
    name = f'"product_id":"{PRODUCT}"'.encode()
    (snapshot,) = (frame for frame in corpus.snapshots if name in frame[:400])
    return snapshot, [frame for frame in corpus.updates if name in frame]


def loaded(snapshot: bytes) -> OrderBook:
    book = OrderBook()
    event = event_of(snapshot)
    assert isinstance(event, Snapshot)
    book.replace(event.bids, event.asks)
    return book


def apply_all(book: OrderBook, batches: Sequence[Delta]) -> None:
    for batch in batches:
        book.apply(batch)
    book.settle()


def read_after_each(book: OrderBook, batches: Sequence[Delta]) -> None:
    for batch in batches:
        book.apply(batch)
        book.top()


def test_snapshot_load(clock: Clock, recording: Corpus) -> None:
    snapshot, _ = frames_of(recording)
    event, book = event_of(snapshot), OrderBook()

    def load() -> None:
        book.replace(event.bids.copy(), event.asks.copy())  # which it keeps
        book.settle()

    clock.time(len(event.bids) + len(event.asks), "levels", load)
    assert is_same(book, books([snapshot])[PRODUCT])


def test_single_updates(clock: Clock, recording: Corpus) -> None:
    snapshot, updates = frames_of(recording)
    book, single = loaded(snapshot), [delta_of([change]) for frame in updates for change in changes_of(frame)]
    clock.time(len(single), "level changes", apply_all, book, single)
    assert is_same(book, books([snapshot, *updates])[PRODUCT])


def test_batches_as_the_venue_sends_them(clock: Clock, recording: Corpus) -> None:
    snapshot, updates = frames_of(recording)
    book, batches = loaded(snapshot), [delta_of(changes_of(frame)) for frame in updates]
    clock.time(sum(batch.count for batch in batches), "level changes", apply_all, book, batches)
    assert is_same(book, books([snapshot, *updates])[PRODUCT])


def test_batches_of_a_hundred(clock: Clock, recording: Corpus) -> None:
    snapshot, updates = frames_of(recording)
    changes = [change for frame in updates for change in changes_of(frame)]
    starts = range(0, len(changes), BATCH)
    book, batches = loaded(snapshot), [delta_of(changes[first : first + BATCH]) for first in starts]
    clock.time(len(changes), "level changes", apply_all, book, batches)
    assert is_same(book, books([snapshot, *updates])[PRODUCT])


def test_top_read_after_each_frame(clock: Clock, recording: Corpus) -> None:
    snapshot, updates = frames_of(recording)
    book, batches = loaded(snapshot), [delta_of(changes_of(frame)) for frame in updates]
    clock.time(len(batches), "frames", read_after_each, book, batches)
    assert is_same(book, books([snapshot, *updates])[PRODUCT])


def test_flicker(clock: Clock, recording: Corpus) -> None:
    """The best fifty bids come and go, and the top is read each time."""
    snapshot, _ = frames_of(recording)
    book = loaded(snapshot)
    best = book.bids.items()[-50:]
    batches = [delta_of([(Side.BID, price, now)]) for price, size in best for now in (0.0, size)]
    clock.time(len(batches), "level changes", read_after_each, book, batches)
    assert is_same(book, books([snapshot])[PRODUCT])


def test_deep_book(clock: Clock) -> None:
    """A hundred thousand levels a side; changes anywhere, a fifth of them deletes and as many new prices."""
    rng = random.Random("deep")
    levels = [
        (side, price / 100, rng.randrange(1, 10**9) / 1e8)
        for side, first in ((Side.BID, 10_000_000), (Side.ASK, 10_200_001))
        for price in range(first, first + 200_000, 2)
    ]
    changes = []
    for number in range(10_000):
        (side, price, _), kind = rng.choice(levels), number % 5
        price = price if kind else round(price + 0.01, 2)
        changes.append((side, price, 0.0 if kind == 1 else rng.randrange(1, 10**9) / 1e8))
    book, batches = OrderBook(), [delta_of(changes[first : first + 6]) for first in range(0, len(changes), 6)]
    book.replace(*delta_of(levels).by_side())
    clock.time(len(changes), "level changes", apply_all, book, batches)
    expected = OracleBook()
    expected.apply((side.value, repr(price), repr(size)) for side, price, size in [*levels, *changes])
    assert is_same(book, expected)
