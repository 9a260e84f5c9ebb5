"""The recording of OKX through the feeds, against books of decimals and the venue's own checksums.

It is of 2022: a CRC32 in each frame, and no ids yet. That the checksums are right proves what the oracle holds, and the
oracle what the feed said. The chain is put to the proof with the same frames, numbered as the venue does now.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise, zip_longest
from typing import Any

import pytest

from book.events import Delta, Snapshot, Trade, Unknown
from book.order_book import OrderBook
from book.proof import Hole, PreviousChain, Verdict
from book.sampler import Sampler
from feeds.okx.protocol import OkxFeed, OkxTradesFeed
from feeds.protocol import Subscription
from tests.book.oracle import OracleBook
from tests.captures import lines_of

RECORDING = "okx-cryptofeed-2022-05-13/raw.jsonl.zst"
PRODUCTS = ("BTC-USDT", "UNI-USD-SWAP", "BTC-USD-220527")
EDGES = [Fraction(edge) for edge in (1, 5, 10, 25, 50, 100)]
CHECKED_LEVELS = 25


@dataclass
class Witness:
    """The oracle's book of a product, and the text of each of its levels for the checksum."""

    book: OracleBook = field(default_factory=OracleBook)
    texts: dict[tuple[str, Decimal], str] = field(default_factory=dict)

    def take(self, action: str, data: dict[str, Any]) -> None:
        changes = [(side, *level[:2]) for side, name in (("bid", "bids"), ("ask", "asks")) for level in data[name]]
        (self.book.replace if action == "snapshot" else self.book.apply)(changes)
        for side, price, size in changes:
            self.texts[side, Decimal(price)] = f"{price}:{size}"

    def checksum(self) -> int:
        """Reference venues, section 5: the best 25 of each side in turn, signed."""
        bids = [self.texts["bid", price] for price in sorted(self.book.bids, reverse=True)[:CHECKED_LEVELS]]
        asks = [self.texts["ask", price] for price in sorted(self.book.asks)[:CHECKED_LEVELS]]
        text = ":".join(part for pair in zip_longest(bids, asks) for part in pair if part is not None)
        unsigned = zlib.crc32(text.encode())
        return unsigned - 2**32 if unsigned >= 2**31 else unsigned


def feed() -> OkxFeed:
    return OkxFeed(Subscription(frozenset({"book"}), PRODUCTS))


def messages() -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The frames of books, as sent and as read by the oracle."""
    for line in lines_of(RECORDING):
        message = json.loads(line)
        if message.get("arg", {}).get("channel") == "books" and "data" in message:
            yield line, message


def test_every_frame_means_something() -> None:
    listener, kinds = feed(), Counter[str]()
    for line in lines_of(RECORDING):
        for event in listener.receive(line).events:
            kind = event.kind if isinstance(event, Unknown) else type(event).__name__
            kinds[kind] += 1
    assert kinds == Counter(Snapshot=3, MapDelta=287, trades=74, tickers=28, Subscribed=3)


def test_books_tops_and_bins_are_those_of_decimals_and_every_checksum_is_right() -> None:
    listener, checked, measured = feed(), 0, 0
    witnesses = {product: Witness() for product in PRODUCTS}
    books = {product: OrderBook() for product in PRODUCTS}
    samplers = {product: Sampler(EDGES) for product in PRODUCTS}
    for line, message in messages():
        (event,) = listener.receive(line).events
        assert isinstance(event, Snapshot | Delta)
        product = message["arg"]["instId"]
        assert event.product == product
        witness, book = witnesses[product], books[product]
        witness.take(message["action"], message["data"][0])
        assert witness.checksum() == message["data"][0]["checksum"]
        checked += 1
        if isinstance(event, Snapshot):
            book.replace(event.bids, event.asks)
        else:
            book.apply(event)
        sample = samplers[product].sample(book, 100 * checked, 0)
        assert sample is not None
        top = witness.book.top()
        assert sample.measure.top._asdict() == {name: top[name] for name in ("bid", "bid_size", "ask", "ask_size")}
        assert (sample.measure.mid, sample.measure.microprice) == (top["mid"], top["microprice"])
        if checked % 10 == 0:
            for side, bins in (("bid", sample.measure.bids), ("ask", sample.measure.asks)):
                for edge, depth in zip(EDGES, bins, strict=True):
                    expected = witness.book.depth(side, edge)
                    assert (depth.volume, depth.notional, depth.vwap, depth.levels) == expected
                    measured += 1
    assert checked == 290
    assert measured > 300
    for product, book in books.items():
        oracle = witnesses[product].book
        assert dict(book.bids) == {float(price): float(size) for price, size in oracle.bids.items()}
        assert dict(book.asks) == {float(price): float(size) for price, size in oracle.asks.items()}


@pytest.mark.parametrize(
    ("bids", "asks", "expected"),
    [
        ([("3366.1", "7"), ("3366", "6")], [("3366.8", "9"), ("3368", "8")], -1881014294),
        ([("3366.1", "7")], [("3366.8", "9"), ("3368", "8"), ("3372", "8")], 831078360),
    ],
)
def test_the_checksum_of_the_references(
    bids: list[tuple[str, str]], asks: list[tuple[str, str]], expected: int
) -> None:
    witness = Witness()
    witness.take("snapshot", {"bids": bids, "asks": asks})
    assert witness.checksum() == expected


def test_a_frame_that_is_cut_out_is_seen_by_the_old_checksums() -> None:
    witnesses = {product: Witness() for product in PRODUCTS}
    seen = 0
    for number, (_, message) in enumerate(messages()):
        product = message["arg"]["instId"]
        if number != 100:
            witnesses[product].take(message["action"], message["data"][0])
            seen += witnesses[product].checksum() != message["data"][0]["checksum"]
    assert seen


def numbered() -> list[bytes]:
    """The recorded frames with ids such as the venue gives today: steps of any size, lower ones after a maintenance, a
    keep-alive now and then, the checksum dead."""
    last: Counter[str] = Counter()
    frames = []
    for number, (line, message) in enumerate(messages()):
        product, data = message["arg"]["instId"], message["data"][0]
        before = last[product] if message["action"] == "update" else -1
        last[product] = 3 if number % 97 == 96 else last[product] + 7 + number % 87
        ids = f'"checksum":0,"prevSeqId":{before},"seqId":{last[product]}'
        frames.append(line.replace(f'"checksum":{data["checksum"]}'.encode(), ids.encode()))
        if number % 50 == 49:
            again = {"asks": [], "bids": [], "ts": data["ts"], "prevSeqId": last[product], "seqId": last[product]}
            frames.append(json.dumps({"arg": message["arg"], "action": "update", "data": [again]}).encode())
    return frames


def verdicts(frames: list[bytes]) -> list[tuple[str, Verdict | Hole]]:
    listener, chains = feed(), {product: PreviousChain() for product in PRODUCTS}
    found: list[tuple[str, Verdict | Hole]] = []
    for frame in frames:
        (event,) = listener.receive(frame).events
        assert isinstance(event, Snapshot | Delta)
        chain = chains[event.product]
        found.append((event.product, chain.begin(event) if isinstance(event, Snapshot) else chain.check(event)))
    return found


def test_the_chain_is_whole_and_a_frame_that_is_cut_out_is_named_as_exactly_that_hole() -> None:
    frames = numbered()
    assert {verdict for _, verdict in verdicts(frames)} == {Verdict.NEXT}
    read = [json.loads(frame) for frame in frames]
    for cut in range(3, len(frames)):
        product, (data,) = read[cut]["arg"]["instId"], read[cut]["data"]
        found = [verdict for verdict in verdicts(frames[:cut] + frames[cut + 1 :]) if verdict[1] is not Verdict.NEXT]
        before, after = data["prevSeqId"], data["seqId"]
        is_seen = any(later["arg"]["instId"] == product for later in read[cut + 1 :])
        if not is_seen or before == after:  # nothing came after it, or nothing was in it
            assert found == []
        elif after > before:
            assert found == [(product, Hole(before + 1, after, is_dense=False))]
        else:
            assert found == [(product, Verdict.BROKEN)]


def test_ids_of_trades_were_dense_in_2022_and_a_seller_hits_the_bid() -> None:
    listener = OkxTradesFeed(Subscription(frozenset({"trades"}), PRODUCTS))
    found: dict[str, list[Trade]] = {}
    for line in lines_of(RECORDING):
        for event in listener.receive(line).events:
            if isinstance(event, Trade):
                found.setdefault(event.product, []).append(event)
    assert {product: len(trades) for product, trades in found.items()} == {
        "BTC-USDT": 69,
        "UNI-USD-SWAP": 1,
        "BTC-USD-220527": 4,
    }
    for trades in found.values():
        assert all(later.trade_id == trade.trade_id + 1 for trade, later in pairwise(trades))
        instants = [trade.venue_ns for trade in trades]
        assert instants == sorted(instants)
        assert all(trade.is_live for trade in trades)
