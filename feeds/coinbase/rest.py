"""The REST API of Coinbase Exchange, as far as it is needed. Public endpoints, no key.

Source: reference protocols, section 3.1. Pages of trades go downwards: those with ids below ``after``, newest first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

import msgspec
from msgspec import Raw, Struct

from book.events import ProductState, Taker, Trade, Unusable
from feeds.coinbase.aliases import coinbase_name
from feeds.coinbase.futures import futures, is_future
from feeds.coinbase_exchange.messages import decode_ask, decode_bid, decode_loose_level
from feeds.errors import NoAnswer
from feeds.numbers import Price, TradeId, TradeSize
from feeds.rest import MOST_BYTES, Get, Listed, Reply, Rest, RestBook, Talk, TradePage, page_downwards, whole_book
from feeds.salvage import REFUSALS, each, levels, unusable
from feeds.timestamps import parse_ns

T = TypeVar("T")

PAGE_TRADES = 1000
PAGE_BYTES = 2 * 2**20
"""More than ten times a page of trades (140 bytes each)."""

PAGE_RECORDS = 10 * PAGE_TRADES
"""Each is looked at by itself, so a page that has more is not the venue's."""


class WireTrade(Struct, frozen=True, gc=False):
    """``{"time":"2020-03-20T00:36:59.86Z","trade_id":86327327,"price":"6225.32000000","size":"0.06469797",
    "side":"sell"}``: ``side`` is the maker's."""

    trade_id: TradeId
    price: Price
    size: TradeSize
    side: Literal["buy", "sell"]
    time: str


class WireProduct(Struct, frozen=True, gc=False):
    """``{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD",...,"status":"online","trading_disabled":false}``"""

    id: str
    status: str = ""
    base_currency: str = ""
    quote_currency: str = ""
    trading_disabled: bool = False


class WireBook(Struct, frozen=True, gc=False):
    """``{"sequence":13051505638,"bids":[["6247.58","6.3578146",2],...],"asks":[...],"auction_mode":false,
    "auction":null,"time":"2023-03-02T21:04:05.123456Z"}``: the third of a level is how many orders it has."""

    bids: list[Raw]
    asks: list[Raw]
    time: str
    auction_mode: bool = False


decode_list = msgspec.json.Decoder(list[Raw]).decode
decode_trade = msgspec.json.Decoder(WireTrade, strict=False).decode
decode_book = msgspec.json.Decoder(WireBook, strict=False).decode
decode_product = msgspec.json.Decoder(WireProduct).decode


class CoinbaseRest(Rest):
    """An alias of another product is asked for by Coinbase's own name, unless the venue says there is none."""

    def __init__(self) -> None:
        self._own_names: set[str] = set()

    def trades(self, symbol: str, first: int, last: int) -> Talk[TradePage]:
        """The newest of ``first`` to ``last``, as many as a page holds. Of a future it has none."""
        if is_future(symbol):
            return TradePage(first, last, ())
        path = f"trades?after={last + 1}&limit={min(last - first + 1, PAGE_TRADES)}"
        body = yield from self._ask(symbol, path, PAGE_BYTES)
        parts = _read(decode_list, body, f"not a list of trades: {symbol}/{path}")
        if len(parts) > PAGE_RECORDS:
            raise NoAnswer(f"an answer of {len(parts)} records: {symbol}/{path}")
        records = [_record(symbol, part) for part in parts]
        if records and all(record.trade_id is not None and record.trade_id > last for record in records):
            raise NoAnswer(f"an answer to something else: {symbol}/{path}")
        return page_downwards(records, first, last, PAGE_TRADES)

    def book(self, symbol: str) -> Talk[RestBook]:
        path = "book?level=2"
        body = yield from self._ask(symbol, path, MOST_BYTES)
        return _read(_book, body, f"not a book to compare with: {symbol}/{path}")

    def products(self) -> Talk[list[Listed]]:
        wire = yield from _products()
        spot = [
            Listed(symbol=one.id, base=one.base_currency, quote=one.quote_currency, state=_state(one)) for one in wire
        ]
        return [*spot, *(yield from futures())]

    def unknown(self, symbols: Sequence[str]) -> Talk[list[str]]:
        """A product that is not listed is asked for by itself: only its 404 counts. An unlisted future has expired."""
        found: list[str] = []
        asked = [symbol for symbol in symbols if is_future(symbol)]
        if asked:
            there = {future.symbol for future in (yield from futures())}
            found = [symbol for symbol in asked if symbol not in there]
        if len(asked) == len(symbols):
            return found
        wire = yield from _products()
        listed = {product.id: product.status for product in wire}
        for symbol in symbols:
            if is_future(symbol):
                continue
            is_unknown = yield from _is_unknown(symbol, listed)
            found += [symbol] * is_unknown
        return found

    def _ask(self, symbol: str, path: str, most_bytes: int) -> Talk[bytes]:
        name = symbol if symbol in self._own_names else coinbase_name(symbol)
        reply = yield Get(f"/products/{name}/{path}", most_bytes)
        if reply.status == 404 and name != symbol:
            self._own_names.add(symbol)
            reply = yield Get(f"/products/{symbol}/{path}", most_bytes)
        if reply.status != 200:
            raise NoAnswer(f"status {reply.status} for /products/{name}/{path}")
        return reply.body


def _products() -> Talk[list[WireProduct]]:
    reply: Reply = yield Get("/products")
    if reply.status != 200:
        raise NoAnswer(f"status {reply.status} for /products")
    _read(decode_list, reply.body, "not a list of products")
    return each(Raw(reply.body), decode_product, "products")[0]


def _state(product: WireProduct) -> ProductState:
    if product.status == "delisted":
        return "delisted"
    return "halted" if product.status != "online" or product.trading_disabled else "trading"


def _is_unknown(symbol: str, listed: Mapping[str, str]) -> Talk[bool]:
    names = [name for name in (symbol, coinbase_name(symbol)) if name in listed]
    if names:
        return all(listed[name] == "delisted" for name in names)
    reply: Reply = yield Get(f"/products/{symbol}")
    return reply.status == 404


def _read(decode: Callable[[bytes], T], body: bytes, trouble: str) -> T:
    try:
        return decode(body)
    except (*REFUSALS, ValueError) as error:
        raise NoAnswer(f"{trouble}: {error}") from error


def _record(symbol: str, part: Raw) -> Trade | Unusable:
    try:
        wire = decode_trade(part)
        venue_ns = parse_ns(wire.time)
    except (*REFUSALS, ValueError) as error:
        return unusable("trades", part, error, product=symbol)
    if venue_ns is None:
        return unusable("trades", part, "no time", product=symbol)
    taker: Taker = "sell" if wire.side == "buy" else "buy"
    return Trade(symbol, wire.trade_id, wire.price, wire.size, taker, venue_ns // 1000 * 1000, is_live=False)


def _book(body: bytes) -> RestBook:
    """Raises ValueError for a book that nothing can be compared with."""
    wire = decode_book(body)
    venue_ns = parse_ns(wire.time)
    kept_bids, _ = levels(wire.bids, decode_bid, decode_loose_level, is_snapshot=True)
    kept_asks, _ = levels(wire.asks, decode_ask, decode_loose_level, is_snapshot=True)
    if venue_ns is None or wire.auction_mode:
        raise ValueError("it is without a time, or of an auction")
    bids, asks = ({level.price: level.size for level in side} for side in (kept_bids, kept_asks))
    return whole_book("level 2", bids, asks, venue_ns)
