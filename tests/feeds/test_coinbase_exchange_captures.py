"""Every Coinbase Exchange recording through the feed, against a book of decimals and the figures of its index."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
import zstandard

from book.events import Delta, Event, LastTradeId, Side, Snapshot, Trade, Unknown
from feeds.coinbase_exchange.protocol import CoinbaseExchangeFeed
from feeds.errors import Undecodable
from feeds.protocol import Subscription
from tests.book.oracle import OracleBook
from tests.captures import capture

JIHOH = "coinbase-exchange-jihoh-2021-04-02"
GDAXML = "coinbase-exchange-gdaxml-2018-04"
ZENGQINGLIAN = "coinbase-exchange-zengqinglian-2022-01-29"
THEIR_SIDE = {"buy": "bid", "sell": "offer"}


def frames(path: str) -> Iterator[bytes]:
    with capture(path).open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as content:
        for line in io.BufferedReader(content):  # type: ignore[arg-type]
            yield line.rstrip(b"\n")


@dataclass
class Replay:
    """What the feed said of a recording, and what the oracle read in it."""

    kinds: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    books: dict[str, dict[Side, dict[float, float]]] = field(default_factory=dict)
    oracles: dict[str, OracleBook] = field(default_factory=dict)
    trades: dict[str, list[Trade]] = field(default_factory=dict)
    tails: list[LastTradeId] = field(default_factory=list)
    undecodable: list[bytes] = field(default_factory=list)

    def take(self, event: Event) -> None:
        self.kinds[type(event).__name__] += 1
        match event:
            case Snapshot(product=product, levels=levels):
                self.books[product] = {Side.BID: {}, Side.ASK: {}}
                for level in levels:
                    self.books[product][level.side][level.price] = level.size
            case Delta(product=product, changes=changes):
                for change in changes:
                    side = self.books[product][change.side]
                    side[change.price] = change.size
                    if not change.size:
                        del side[change.price]
            case Trade():
                self.trades.setdefault(event.product, []).append(event)
            case LastTradeId():
                self.tails.append(event)
            case Unknown():
                self.unknown[event.kind] += 1

    def read(self, frame: bytes) -> None:
        """The same frame as the oracle sees it: decimals from the text."""
        message = json.loads(frame)
        if message["type"] == "snapshot":
            levels = [(side, *level) for side, name in (("bid", "bids"), ("offer", "asks")) for level in message[name]]
            self.oracles.setdefault(message["product_id"], OracleBook()).replace(levels)
        elif message["type"] == "l2update":
            changes = [(THEIR_SIDE[side], price, size) for side, price, size in message["changes"]]
            self.oracles[message["product_id"]].apply(changes)


def replay(path: str) -> Replay:
    feed = CoinbaseExchangeFeed(Subscription(frozenset({"book", "trades", "quotes"}), ("BTC-USD", "ETH-USD")))
    found = Replay()
    for frame in frames(path):
        try:
            meaning = feed.receive(frame)
        except Undecodable:
            found.undecodable.append(frame)
            continue
        assert meaning.sequence is None
        for event in meaning.events:
            found.take(event)
        found.read(frame)
    assert feed.outbox() == []
    return found


def assert_as_the_oracle(found: Replay) -> None:
    assert found.books.keys() == found.oracles.keys()
    for product, oracle in found.oracles.items():
        assert found.books[product][Side.BID] == {float(price): float(size) for price, size in oracle.bids.items()}
        assert found.books[product][Side.ASK] == {float(price): float(size) for price, size in oracle.asks.items()}


@dataclass(frozen=True)
class Expected:
    """The last state of one product, from the index of the captures."""

    path: str
    product: str
    top: tuple[str, str]
    bids: int
    asks: int
    deltas: int


FINAL = [
    Expected(f"{JIHOH}/raw.jsonl.zst", "BTC-USD", ("58828.40", "58828.41"), 22_258, 10_980, 655),
    Expected(
        f"{GDAXML}/session-2018-04-24T0352-1h.reconstructed.jsonl.zst",
        "BTC-USD",
        ("9227.61", "9227.62"),
        13_838,
        14_009,
        193_848,
    ),
    Expected(
        "coinbase-exchange-snapshot-stewartyoung/raw.jsonl.zst", "BTC-USD", ("36908.21", "36908.22"), 15_365, 31_290, 0
    ),
]


@pytest.mark.parametrize("expected", FINAL, ids=lambda expected: expected.path)
def test_final_book(expected: Expected) -> None:
    found = replay(expected.path)
    assert_as_the_oracle(found)
    book = found.books[expected.product]
    assert (max(book[Side.BID]), min(book[Side.ASK])) == (float(expected.top[0]), float(expected.top[1]))
    assert found.oracles[expected.product].best == (Decimal(expected.top[0]), Decimal(expected.top[1]))
    assert (len(book[Side.BID]), len(book[Side.ASK])) == (expected.bids, expected.asks)
    assert found.kinds == Counter(Snapshot=1, Delta=expected.deltas)


@pytest.mark.parametrize(
    ("session", "messages", "matches", "first_id"),
    [("2018-04-15T2311", 4_003, 53, 41_700_565), ("2018-04-17T0055", 18_353, 256, 41_766_820)],
)
def test_session_with_trades(session: str, messages: int, matches: int, first_id: int) -> None:
    """Snapshot, last match, acknowledgement, stream, and in the middle an error that refuses nothing."""
    found = replay(f"{GDAXML}/session-{session}.jsonl.zst")
    assert_as_the_oracle(found)
    deltas = messages - matches - 4
    assert found.kinds == Counter(Snapshot=1, Subscribed=1, Delta=deltas, Trade=matches + 1, Unknown=1)
    assert found.unknown == Counter({"error: Failed to unsubscribe": 1})
    trades = found.trades["BTC-USD"]
    assert [trade.trade_id for trade in trades] == list(range(first_id, first_id + matches + 1))
    assert [trade.is_live for trade in trades] == [False] + [True] * matches
    instants = [trade.venue_ns for trade in trades]
    assert instants == sorted(instants)


def test_a_takers_side_agrees_with_the_book() -> None:
    """On level2 the resting side shrinks: a taker who sold hit the best bid of that instant."""
    hits = 0
    feed = CoinbaseExchangeFeed(Subscription(frozenset({"book", "trades"}), ("BTC-USD",)))
    last: Delta | None = None
    for frame in frames(f"{GDAXML}/session-2018-04-17T0055.jsonl.zst"):
        for event in feed.receive(frame).events:
            if isinstance(event, Delta):
                last = event
            elif isinstance(event, Trade) and last is not None and last.changes[0].price == event.price:
                hits += 1
                assert last.changes[0].side is (Side.BID if event.taker == "sell" else Side.ASK)
    assert hits > 100


def test_an_edited_recording_is_read_without_a_word() -> None:
    """One update dropped and one moved: without a number nothing shows it, hence ``integrity`` none."""
    found = replay(f"{JIHOH}/edited-out-of-sync.jsonl.zst")
    assert_as_the_oracle(found)
    assert found.kinds == Counter(Snapshot=1, Delta=654)
    book = found.books["BTC-USD"]
    assert (len(book[Side.BID]), len(book[Side.ASK])) == (22_259, 10_980)


def test_ticker_before_the_acknowledgement() -> None:
    found = replay(f"{ZENGQINGLIAN}/raw.jsonl.zst")
    assert_as_the_oracle(found)
    assert found.kinds == Counter(Subscribed=1, Snapshot=1, Delta=12)  # both tickers are the first of their product
    book = found.books["ETH-USD"]
    assert (max(book[Side.BID]), min(book[Side.ASK])) == (2567.98, 2567.99)


def test_a_line_that_is_no_frame_costs_only_itself() -> None:
    found = replay(f"{ZENGQINGLIAN}/original-with-stray-line.txt.zst")
    assert_as_the_oracle(found)
    assert found.kinds == Counter(Subscribed=1, Snapshot=1, Delta=12)
    assert [frame[:36] for frame in found.undecodable] == [b"Disconnected from the target VM, add"]


def test_two_books_on_one_connection() -> None:
    found = replay("coinbase-exchange-bytewax-2022-07-13/raw.jsonl.zst")
    assert_as_the_oracle(found)
    assert found.kinds == Counter(Snapshot=2, Delta=14)
    levels = {product: (len(book[Side.BID]), len(book[Side.ASK])) for product, book in found.books.items()}
    assert levels == {"BTC-USD": (14_383, 25_711), "ETH-USD": (8_103, 20_072)}


def test_batches_with_deletes_of_levels_never_held() -> None:
    found = replay("coinbase-exchange-level2batch-jayhere1-2026-07-04/raw.jsonl.zst")
    assert_as_the_oracle(found)
    assert found.kinds == Counter(Snapshot=1, Delta=12)
    book = found.books["BTC-USD"]
    assert (max(book[Side.BID]), min(book[Side.ASK])) == (62399.13, 62399.14)
    assert (len(book[Side.BID]), len(book[Side.ASK])) == (44, 46)


def test_trades_of_three_products() -> None:
    found = replay("coinbase-exchange-matches-alphapulse-2025-08-22/raw.jsonl.zst")
    assert {product: len(trades) for product, trades in found.trades.items()} == {
        "BTC-USD": 143,
        "ETH-USD": 284,
        "LTC-USD": 20,
    }
    for trades in found.trades.values():
        ids = [trade.trade_id for trade in trades]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert all(trade.is_live for trade in trades)


def test_the_full_channel_is_counted_and_its_heartbeat_used() -> None:
    found = replay("coinbase-exchange-full-csko-2017-06-25/raw.jsonl.zst")
    assert found.unknown == Counter(received=7, open=7, done=8)
    assert found.kinds == Counter(Unknown=22, LastTradeId=1, Heartbeat=1)
    assert found.tails == [LastTradeId("BTC-USD", 17_393_422)]
