"""The recording of Bybit's two markets through the feeds, against books of decimals.

Topics are spelled alike on both: only the connection tells them apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from book.events import Delta, Snapshot, Trade, Unknown, Unusable
from book.order_book import OrderBook
from book.proof import Hole, RangeChain, Verdict
from book.sampler import Sampler
from feeds.bybit.protocol import BybitFeed
from feeds.bybit.rest import BybitRest
from feeds.bybit.venue import Bybit
from feeds.bybit_linear.venue import BybitLinear, BybitLinearFeed
from feeds.protocol import Subscription
from feeds.rest import Get, Listed, Reply
from tests.book.oracle import OracleBook
from tests.captures import lines_of

RECORDING = "bybit-cryptofeed-2026-08-09"
SPOT, LINEAR = "spot", "linear"
PRODUCTS = {SPOT: ("BTCUSDT", "ETHUSDT"), LINEAR: ("BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT")}
FEEDS: dict[str, type[BybitFeed]] = {SPOT: BybitFeed, LINEAR: BybitLinearFeed}
EDGES = [Fraction(edge) for edge in (1, 5, 10, 25, 50, 100)]
markets = pytest.mark.parametrize("market", [SPOT, LINEAR])


def feed(market: str) -> BybitFeed:
    return FEEDS[market](Subscription(frozenset({"book", "trades"}), PRODUCTS[market]))


def frames(market: str) -> list[bytes]:
    return list(lines_of(f"{RECORDING}/raw-{market}.jsonl.zst"))


def books_of(market: str) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for line in frames(market):
        message = json.loads(line)
        if message.get("topic", "").startswith("orderbook."):
            yield line, message


@pytest.mark.parametrize(
    ("market", "expected"),
    [
        (SPOT, {"Snapshot": 2, "MapDelta": 548, "Trade": 20, "tickers": 81, "kline": 25, "Unusable": 7}),
        (LINEAR, {"Snapshot": 4, "MapDelta": 1594, "Trade": 327, "tickers": 758, "kline": 71, "Unusable": 17}),
    ],
)
def test_every_frame_means_something(market: str, expected: dict[str, int]) -> None:
    """The recorder's requests had no numbers, so what was acknowledged cannot be said."""
    listener, kinds = feed(market), Counter[str]()
    for line in frames(market):
        for event in listener.receive(line).events:
            kinds[event.kind if isinstance(event, Unknown) else type(event).__name__] += 1
            assert not isinstance(event, Unusable) or event.channel == "subscriptions"
    assert kinds == expected


@markets
def test_books_tops_and_bins_are_those_of_decimals(market: str) -> None:
    listener = feed(market)
    oracles = {product: OracleBook() for product in PRODUCTS[market]}
    books = {product: OrderBook() for product in PRODUCTS[market]}
    samplers = {product: Sampler(EDGES) for product in PRODUCTS[market]}
    for taken, (line, message) in enumerate(books_of(market)):
        (event,) = listener.receive(line).events
        assert isinstance(event, Snapshot | Delta)
        data, product = message["data"], message["data"]["s"]
        assert event.product == product
        oracle, book = oracles[product], books[product]
        changes = [(side, *level) for side, name in (("bid", "b"), ("ask", "a")) for level in data[name]]
        (oracle.replace if message["type"] == "snapshot" else oracle.apply)(changes)
        if isinstance(event, Snapshot):
            book.replace(event.bids, event.asks)
        else:
            book.apply(event)
        sample = samplers[product].sample(book, 100 * taken, 0)
        assert sample is not None
        top = oracle.top()
        assert sample.measure.top._asdict() == {name: top[name] for name in ("bid", "bid_size", "ask", "ask_size")}
        assert (sample.measure.mid, sample.measure.microprice) == (top["mid"], top["microprice"])
        if taken % 20 == 0:
            for side, bins in (("bid", sample.measure.bids), ("ask", sample.measure.asks)):
                for edge, depth in zip(EDGES, bins, strict=True):
                    assert (depth.volume, depth.notional, depth.vwap, depth.levels) == oracle.depth(side, edge)
    last = {SPOT: ("65140.4", "65140.5"), LINEAR: ("65114.20", "65114.30")}[market]
    oracle = oracles["BTCUSDT"]
    assert (max(oracle.bids), min(oracle.asks)) == tuple(map(Decimal, last))
    for product, book in books.items():
        assert dict(book.bids) == {float(price): float(size) for price, size in oracles[product].bids.items()}
        assert dict(book.asks) == {float(price): float(size) for price, size in oracles[product].asks.items()}
        assert max(len(book.bids), len(book.asks)) <= BybitFeed.facts.depth


def judged(market: str, lines: list[bytes]) -> list[tuple[str, Verdict | Hole]]:
    listener, chains = feed(market), {product: RangeChain() for product in PRODUCTS[market]}
    found: list[tuple[str, Verdict | Hole]] = []
    for line in lines:
        (event,) = listener.receive(line).events
        assert isinstance(event, Snapshot | Delta)
        chain = chains[event.product]
        found.append((event.product, chain.begin(event) if isinstance(event, Snapshot) else chain.check(event)))
    return found


@markets
def test_the_chain_is_whole_and_a_frame_that_is_cut_out_is_named_as_exactly_that_hole(market: str) -> None:
    told = list(books_of(market))
    lines = [line for line, _ in told]
    assert {verdict for _, verdict in judged(market, lines)} == {Verdict.NEXT}
    for cut in range(len(PRODUCTS[market]) + 40, len(told), 97):
        message = told[cut][1]
        product, update = message["data"]["s"], message["data"]["u"]
        found = [seen for seen in judged(market, lines[:cut] + lines[cut + 1 :]) if seen[1] is not Verdict.NEXT]
        is_seen = any(later["data"]["s"] == product for _, later in told[cut + 1 :])
        assert message["type"] == "delta"
        assert found == ([(product, Hole(update, update))] if is_seen else [])


@markets
def test_each_trade_has_an_id_of_its_own_and_a_point_of_its_own(market: str) -> None:
    listener, again = feed(market), feed(market)
    found: dict[str, list[Trade]] = {product: [] for product in PRODUCTS[market]}
    for line in frames(market):
        events = listener.receive(line).events
        assert again.receive(line).events == events  # another connection gives the same ids
        assert again.receive(line).events == events  # and so does a frame that comes twice
        for event in events:
            if isinstance(event, Trade):
                found[event.product].append(event)
    assert sum(map(len, found.values())) == {SPOT: 20, LINEAR: 327}[market]
    for trades in found.values():
        ids = [trade.trade_id for trade in trades]
        assert all(before < after for before, after in pairwise(ids))
        assert len({trade.venue_ns + trade.trade_id % 1000 for trade in trades}) == len(trades)


@markets
def test_whatever_frames_a_connection_missed_the_others_have_the_same_ids(market: str) -> None:
    told = [line for line in frames(market) if b'"publicTrade.' in line]
    whole = feed(market)
    ids = [whole.receive(line).events for line in told]
    for step, start in ((2, 0), (2, 1), (3, 1), (5, 2)):
        other = feed(market)
        assert [other.receive(line).events for line in told[start::step]] == ids[start::step]


def test_on_spot_the_id_is_the_venues_and_skips() -> None:
    listener = feed(SPOT)
    trades = [event for line in frames(SPOT) for event in listener.receive(line).events if isinstance(event, Trade)]
    ids = [trade.trade_id for trade in trades if trade.product == "ETHUSDT"]
    assert ids[:3] == [2280000001739247417, 2280000001739247420, 2280000001739247421]
    assert trades[0].taker == "sell"


def listed(conversation: Generator[Get, Reply, list[Listed]], body: bytes) -> tuple[str, list[Listed]]:
    request = next(conversation)
    with pytest.raises(StopIteration) as done:
        conversation.send(Reply(200, body))
    return request.path, done.value.value


def test_the_products_of_both_markets() -> None:
    answers = {}
    for line in lines_of(f"{RECORDING}/http.jsonl.zst"):
        record = json.loads(line)
        if record["t"] == "http":
            answers["spot" if "category=spot" in record["url"] else "linear"] = record["data"].encode()
    path, spot = listed(BybitRest("spot").products(), answers["spot"])
    assert path == "/v5/market/instruments-info?category=spot&limit=1000"
    assert len(spot) == 557
    assert spot[0] == Listed(symbol="BTCUSDT", base="BTC", quote="USDT")
    _, linear = listed(BybitRest("linear").products(), answers["linear"])
    assert len(linear) == 800
    assert {product.kind for product in linear} == {"perpetual", "future"}
    assert not [product.symbol for product in spot if not Bybit.symbol.fullmatch(product.symbol)]
    assert not [product.symbol for product in linear if not BybitLinear.symbol.fullmatch(product.symbol)]
