"""Deribit's REST: trades upwards by their numbers, books with the id of their last change, and every instrument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from book.events import ProductState
from feeds.deribit.messages import Milliseconds
from feeds.deribit.protocol import STATE_WORDS
from feeds.deribit.trades import NS_PER_MS, read_trades
from feeds.errors import NoAnswer
from feeds.numbers import FrameNumber, Price, Size
from feeds.rest import (
    MOST_BYTES,
    Get,
    Listed,
    ProductKind,
    Reply,
    Rest,
    RestBook,
    Talk,
    TradePage,
    each_once,
    whole_book,
)
from feeds.salvage import REFUSALS, decode_list, each

T = TypeVar("T")

PAGE_TRADES = 1000
PAGE_BYTES = 4 * 2**20
"""Five times a page of trades with every field there is (700 bytes each)."""

WHOLE_BOOK = 10_000
"""Levels a side: the most that can be asked for."""

INSTRUMENTS_WEIGHT = 5
"""The venue gives one list of instruments a second."""

KINDS: dict[str, ProductKind] = {"future": "future", "option": "option", "spot": "spot"}


class Trades(Struct, frozen=True):
    """``{"trades":[...],"has_more":false}``"""

    trades: Raw
    has_more: bool = False


class WholeBook(Struct, frozen=True):
    """``{"timestamp":1550757626706,"change_id":474988,"state":"open","bids":[[3955.75,30.0]],"asks":[[3959.5,10.0]],
    "instrument_name":"BTC-PERPETUAL",...}``"""

    timestamp: Milliseconds
    change_id: FrameNumber
    bids: list[tuple[Price, Size]]
    asks: list[tuple[Price, Size]]
    instrument_name: str = ""


class Instrument(Struct, frozen=True):
    """``{"instrument_name":"BTC-PERPETUAL","kind":"future","settlement_period":"perpetual","base_currency":"BTC",
    "quote_currency":"USD","is_active":true,"state":"open","expiration_timestamp":32503708800000,...}``

    Before 2022 there was no ``state``.
    """

    instrument_name: str
    kind: str
    base_currency: str
    quote_currency: str
    is_active: bool = True
    state: str = "open"
    settlement_period: str = ""


class TradesAnswer(Struct, frozen=True):
    """``{"jsonrpc":"2.0","result":{...},"usIn":...,"usOut":...,"usDiff":...,"testnet":false}``"""

    result: Trades


class BookAnswer(Struct, frozen=True):
    """As ``TradesAnswer``."""

    result: WholeBook


class ListAnswer(Struct, frozen=True):
    """As ``TradesAnswer``."""

    result: Raw


decode_trades_answer = msgspec.json.Decoder(TradesAnswer).decode
decode_book_answer = msgspec.json.Decoder(BookAnswer, strict=False).decode
decode_list_answer = msgspec.json.Decoder(ListAnswer).decode
decode_instrument = msgspec.json.Decoder(Instrument).decode


class DeribitRest(Rest):
    """One client's conversations."""

    def trades(self, symbol: str, first: int, last: int) -> Talk[TradePage]:
        """From ``first`` upwards, as many numbers as a page holds: it is of all of them, or says that there is more."""
        last = min(last, first + PAGE_TRADES - 1)
        query = f"instrument_name={symbol}&start_seq={first}&end_seq={last}&count={PAGE_TRADES}&sorting=asc"
        path = f"/public/get_last_trades_by_instrument?{query}"
        answer = _read(decode_trades_answer, (yield from _ask(path, PAGE_BYTES)), path).result
        _read(decode_list, answer.trades, path)
        found = read_trades(answer.trades, symbol, is_live=False)
        is_of_another = any(record.product != symbol for record in found)
        records = each_once(found, first, last)
        if is_of_another or len(found) > PAGE_TRADES or (found and not records):
            raise NoAnswer(f"an answer to something else: {path}")
        if not answer.has_more:
            return TradePage(first, last, records)
        reached = max((record.trade_id for record in records if record.trade_id is not None), default=None)
        if reached is None:
            raise NoAnswer(f"nothing, and more to come: {path}")
        return TradePage(first, reached, records)

    def book(self, symbol: str) -> Talk[RestBook]:
        path = f"/public/get_order_book?instrument_name={symbol}&depth={WHOLE_BOOK}"
        book = _read(decode_book_answer, (yield from _ask(path, MOST_BYTES)), path).result
        if book.instrument_name not in (symbol, ""):
            raise NoAnswer(f"an answer about something else: {path}")
        return whole_book(path, dict(book.bids), dict(book.asks), book.timestamp * NS_PER_MS, book.change_id)

    def products(self) -> Talk[list[Listed]]:
        """Of all kinds. Those that have expired are absent."""
        path = "/public/get_instruments?currency=any&expired=false"
        body = yield from _ask(path, MOST_BYTES, INSTRUMENTS_WEIGHT)
        instruments, odd = each(_read(decode_list_answer, body, path).result, decode_instrument, "products")
        if not instruments and odd:
            raise NoAnswer(f"not a list of instruments: {path}")
        return [_listed(instrument) for instrument in instruments]


def _ask(path: str, most_bytes: int, weight: int = 1) -> Talk[bytes]:
    reply: Reply = yield Get(path, most_bytes, weight)
    if reply.status != 200:
        raise NoAnswer(f"status {reply.status} for {path}")
    return reply.body


def _read(decode: Callable[[Any], T], body: bytes | Raw, path: str) -> T:
    try:
        return decode(body)
    except REFUSALS as error:
        raise NoAnswer(f"not an answer: {path}: {error}") from error


def _listed(instrument: Instrument) -> Listed:
    kind: ProductKind = KINDS.get(instrument.kind, "other")
    if kind == "future" and instrument.settlement_period == "perpetual":
        kind = "perpetual"
    return Listed(
        symbol=instrument.instrument_name,
        base=instrument.base_currency,
        quote=instrument.quote_currency,
        kind=kind,
        state=_state(instrument),
    )


def _state(instrument: Instrument) -> ProductState:
    state = STATE_WORDS.get(instrument.state, "halted")
    return "halted" if state == "trading" and not instrument.is_active else state
