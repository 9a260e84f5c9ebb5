"""Both Kraken recordings through the feed: every checksum agrees, and tops and bins are those of a book of decimals.

They were kept as Python floats (version 2) and in the shape of version 1, whose digits are written out. So the first is
read with the product's precision, as ``instrument`` tells it, and the second as it is written.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import zstandard

from book.bins import DEFAULT_EDGES_BPS, BookMeasure
from book.events import MapDelta, Snapshot
from book.order_book import OrderBook
from book.proof import ChecksumChain, Verdict
from feeds.kraken.protocol import KrakenFeed
from feeds.protocol import Subscription
from tests.book.oracle import OracleBook
from tests.captures import capture

SDK = "kraken-python-kraken-sdk"
DEPTH = 10
"""What both recordings subscribed to."""
SYMBOL = "BTC/USD"
INSTRUMENTS = (
    b'{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[{"symbol":"BTC/USD","status":"online",'
    b'"price_precision":1,"qty_precision":8}]}}'
)

Change = tuple[str, str, str]
Frame = tuple[str, list[Change], int | None]
"""Snapshot or update, changes as written, checksum."""


def document(name: str) -> Any:
    with capture(f"{SDK}/{name}.json.zst").open("rb") as file:
        return json.load(io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file)), parse_float=str)


def version_2() -> Iterator[Frame]:
    told = document("orderbook-v2")
    for message in (told["init"], *told["updates"]):
        (record,) = message["data"]
        changes = [
            (side, level["price"], level["qty"])
            for side, name in (("bid", "bids"), ("ask", "asks"))
            for level in record[name]
        ]
        yield message["type"], changes, record["checksum"]


def version_1() -> Iterator[Frame]:
    told = document("orderbook-v1")
    for message in (*told["init"], *told["updates"]):
        if isinstance(message, list):
            maps: dict[str, Any] = {}
            for part in message[1:-2]:
                maps |= part
            changes = [
                ("bid" if key.startswith("b") else "ask", price, size)
                for key in ("bs", "b", "as", "a")
                for price, size, *_ in maps.get(key, ())
            ]
            yield "snapshot" if "as" in maps else "update", changes, int(maps["c"]) if "c" in maps else None


def wire(kind: str, changes: list[Change], checksum: int) -> bytes:
    bids, asks = (
        ",".join(f'{{"price":{price},"qty":{size}}}' for of, price, size in changes if of == side)
        for side in ("bid", "ask")
    )
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{SYMBOL}","bids":[{bids}],"asks":[{asks}],'
        f'"checksum":{checksum},"timestamp":"2023-07-30T15:29:58.343415Z"}}]}}'
    ).encode()


class Replay:
    """The feed, its chain and its book as the pipeline has them, beside the oracle's."""

    def __init__(self, *, knows_precision: bool) -> None:
        self.feed = KrakenFeed(Subscription(frozenset({"book"}), (SYMBOL,)))
        if knows_precision:
            self.feed.receive(INSTRUMENTS)
        self.chain = ChecksumChain(DEPTH)
        self.book = OrderBook()
        self.measure = BookMeasure()
        self.oracle = OracleBook()

    def take(self, frame: Frame) -> Verdict:
        kind, changes, checksum = frame
        (event,) = self.feed.receive(wire(kind, changes, checksum or 0)).events
        if isinstance(event, Snapshot):
            verdict = self.chain.begin(event)
            self.book.replace(dict(event.bids), dict(event.asks))
            self.oracle.replace(changes)
        else:
            assert isinstance(event, MapDelta)
            verdict = self.chain.check(event)
            self.book.apply(event)
            self.oracle.apply(changes)
        if (fallen := self.chain.fallen()) is not None:
            self.book.apply(fallen)
        self.oracle.cut(DEPTH)
        return verdict

    def assert_equal(self) -> None:
        assert {float(price): float(size) for price, size in self.oracle.bids.items()} == dict(self.book.bids)
        assert {float(price): float(size) for price, size in self.oracle.asks.items()} == dict(self.book.asks)
        measured = self.measure.measure(self.book)
        assert measured is not None
        expected = self.oracle.top()
        assert measured.top._asdict() == {name: expected[name] for name in measured.top._fields}
        assert (measured.mid, measured.spread_bps) == (expected["mid"], expected["spread_bps"])
        for index, edge in enumerate(DEFAULT_EDGES_BPS):
            assert tuple(measured.bids[index]) == self.oracle.depth("bid", edge)
            assert tuple(measured.asks[index]) == self.oracle.depth("ask", edge)


def test_all_checksums_of_version_2_agree_and_the_books_are_the_oracles() -> None:
    replay, count = Replay(knows_precision=True), 0
    for frame in version_2():
        assert replay.take(frame) is Verdict.NEXT
        replay.assert_equal()
        count += 1
    assert count == 510


def test_all_checksums_of_version_1_agree_by_the_digits_as_they_are_written() -> None:
    replay, count = Replay(knows_precision=False), 0
    for frame in version_1():
        verdict = replay.take(frame)
        if frame[2] is not None:  # version 1 has none in its snapshot
            assert verdict is Verdict.NEXT
            count += 1
        replay.assert_equal()
    assert count == 979


@pytest.mark.parametrize("name", ["version_1", "version_2"])
def test_every_frame_cut_out_is_noticed_as_soon_as_the_venues_ten_levels_show_it(name: str) -> None:
    """Each update changes the ten levels of a book of ten, unless a later frame says the same anew."""
    frames = list({"version_1": version_1, "version_2": version_2}[name]())
    for missing in range(1, 120):
        replay = Replay(knows_precision=name == "version_2")
        verdicts = [replay.take(frame) for frame in frames[:missing] + frames[missing + 1 : missing + 40]]
        broken = [index for index, verdict in enumerate(verdicts) if verdict is Verdict.BROKEN and index]
        assert broken[:1] in ([missing], []), missing
        if not broken:  # the next one made up for it: same prices, or out of the ten again
            replay.assert_equal()
