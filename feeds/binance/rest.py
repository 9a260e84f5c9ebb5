"""The REST API of Binance's spot market, as far as it is needed. Public endpoints, no key.

Source: reference venues, section 3.3. Pages of trades go upwards, from ``fromId`` on. Requests are weighed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from book.events import Trade, Unusable
from feeds.binance.messages import Instant, WireTrade, decode_level, decode_loose_level
from feeds.binance.protocol import trade
from feeds.errors import NoAnswer
from feeds.numbers import FrameNumber, Price, TradeId, TradeSize
from feeds.rest import MOST_BYTES, Get, Listed, Reply, Rest, RestBook, Talk, TradePage, by_id
from feeds.salvage import NOTHING, REFUSALS, each, levels, maybe, unusable

T = TypeVar("T")

PAGE_TRADES = 1000
PAGE_BYTES = 2 * 2**20
"""More than ten times a page of trades (150 bytes each)."""

PAGE_RECORDS = 10 * PAGE_TRADES
"""Each is looked at by itself, so a page that has more is not the venue's."""

BOOK_LEVELS = 5000
"""A side: all that the venue gives. What is deeper is not known until it changes."""

TRADES_WEIGHT, BOOK_WEIGHT, PRODUCTS_WEIGHT = 25, 250, 20


class OldTrade(Struct, frozen=True, gc=False):
    """``{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012","time":1499865549590,
    "isBuyerMaker":true,"isBestMatch":true}``"""

    id: TradeId
    price: Price
    qty: TradeSize
    time: Instant
    isBuyerMaker: bool  # noqa: N815 (the venue's name)


class Identity(Struct, frozen=True, gc=False):
    """Which trade a record is of that cannot be used."""

    id: Raw = NOTHING


class WireBook(Struct, frozen=True, gc=False):
    """``{"lastUpdateId":1027024,"bids":[["4.00000000","431.00000000"]],"asks":[["4.00000200","12.00000000"]]}``"""

    lastUpdateId: FrameNumber  # noqa: N815 (the venue's name)
    bids: list[Raw]
    asks: list[Raw]


class WireProduct(Struct, frozen=True, gc=False):
    """``{"symbol":"ETHBTC","status":"TRADING","baseAsset":"ETH","quoteAsset":"BTC",...}``

    Seen of ``status``: TRADING, END_OF_DAY, HALT, BREAK, CANCEL_ONLY. What is delisted is not listed, or on BREAK.
    """

    symbol: str
    baseAsset: str = ""  # noqa: N815 (the venue's name)
    quoteAsset: str = ""  # noqa: N815
    status: str = ""


class Info(Struct, frozen=True, gc=False):
    """``{"timezone":"UTC","serverTime":1565246363776,"rateLimits":[...],"symbols":[...]}``"""

    symbols: Raw


decode_list = msgspec.json.Decoder(list[Raw]).decode
decode_old = msgspec.json.Decoder(OldTrade, strict=False).decode
decode_identity = msgspec.json.Decoder(Identity).decode
decode_book = msgspec.json.Decoder(WireBook).decode
decode_info = msgspec.json.Decoder(Info).decode
decode_product = msgspec.json.Decoder(WireProduct).decode


class BinanceRest(Rest):
    """One client's conversations."""

    def trades(self, symbol: str, first: int, last: int) -> Talk[TradePage]:
        """From ``first`` upwards. A page that is not full has reached the newest there is."""
        asked = min(last - first + 1, PAGE_TRADES)
        path = f"/api/v3/historicalTrades?symbol={quote(symbol)}&fromId={first}&limit={asked}"
        body = yield from _ask(path, PAGE_BYTES, TRADES_WEIGHT)
        parts = _read(decode_list, body, f"not a list of trades: {path}")
        if len(parts) > PAGE_RECORDS:
            raise NoAnswer(f"an answer of {len(parts)} records: {path}")
        records = [_record(symbol, part) for part in parts]
        ids = [record.trade_id for record in records if record.trade_id is not None]
        if ids and max(ids) < first:
            raise NoAnswer(f"an answer to another question: {path}")
        reached = max(ids, default=first + len(parts) - 1) if len(parts) >= asked else last
        found = by_id(records)
        nameless = [record for record in records if record.trade_id is None]
        ordered = [found[trade_id] for trade_id in sorted(found, reverse=True) if first <= trade_id <= last]
        return TradePage(first, min(reached, last), [*ordered, *nameless])

    def book(self, symbol: str) -> Talk[RestBook]:
        path = f"/api/v3/depth?symbol={quote(symbol)}&limit={BOOK_LEVELS}"
        body = yield from _ask(path, MOST_BYTES, BOOK_WEIGHT)
        return _read(_book, body, f"not a book: {path}")

    def products(self) -> Talk[list[Listed]]:
        body = yield from _ask("/api/v3/exchangeInfo?showPermissionSets=false", MOST_BYTES, PRODUCTS_WEIGHT)
        info = _read(decode_info, body, "not a list of products")
        return [
            Listed(
                symbol=one.symbol,
                base=one.baseAsset,
                quote=one.quoteAsset,
                state="trading" if one.status == "TRADING" else "halted",
            )
            for one in each(info.symbols, decode_product, "products")[0]
        ]


def _ask(path: str, most_bytes: int, weight: int) -> Talk[bytes]:
    reply: Reply = yield Get(path, most_bytes, weight)
    if reply.status != 200:
        raise NoAnswer(f"status {reply.status} for {path}")
    return reply.body


def _read(decode: Callable[[bytes], T], body: bytes, trouble: str) -> T:
    try:
        return decode(body)
    except (*REFUSALS, ValueError) as error:
        raise NoAnswer(f"{trouble}: {error}") from error


def _record(symbol: str, part: Raw) -> Trade | Unusable:
    try:
        old = decode_old(part)
    except REFUSALS as error:
        identity = maybe(decode_identity, part) or Identity()
        return unusable("trades", part, error, product=symbol, trade_id=identity.id)
    wire = WireTrade(symbol, old.id, old.price, old.qty, old.time, old.isBuyerMaker)
    return trade(wire, is_live=False)


def _book(body: bytes) -> RestBook:
    """Raises ValueError for a book without a side. What our own books leave out is left out here."""
    wire = decode_book(body)
    kept_bids, _ = levels(wire.bids, decode_level, decode_loose_level, is_snapshot=True)
    kept_asks, _ = levels(wire.asks, decode_level, decode_loose_level, is_snapshot=True)
    bids = {level.price: level.size for level in kept_bids if level.size}
    asks = {level.price: level.size for level in kept_asks if level.size}
    if not bids or not asks:
        raise ValueError("it is without a side")
    return RestBook(bids, asks, last=wire.lastUpdateId)
