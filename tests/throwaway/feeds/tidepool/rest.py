"""Tidepool's REST: pages of prints go upwards from an id, a book says which change was its last."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from feeds.errors import NoAnswer
from feeds.numbers import FrameNumber, Price, Size, TradeId, TradeSize
from feeds.rest import Get, Listed, Reply, Rest, RestBook, Talk, TradePage
from feeds.salvage import REFUSALS
from tests.throwaway.feeds.tidepool.messages import Microseconds, Print
from tests.throwaway.feeds.tidepool.protocol import trade

PAGE_PRINTS = 100


class OldPrint(Struct, frozen=True, array_like=True):
    """``[1786309548854840,7001,65083.66,0.5,-1]``"""

    us: Microseconds
    trade_id: TradeId
    price: Price
    size: TradeSize
    taker: int


class PrintsPage(Struct, frozen=True):
    prints: list[OldPrint]


class WholeBook(Struct, frozen=True):
    l: FrameNumber  # noqa: E741 (the venue's name)
    us: Microseconds
    bid: list[tuple[Price, Size]]
    ask: list[tuple[Price, Size]]


class Market(Struct, frozen=True):
    m: str
    open: bool


class Markets(Struct, frozen=True):
    markets: list[Market]


decode_prints = msgspec.json.Decoder(PrintsPage).decode
decode_book = msgspec.json.Decoder(WholeBook).decode
decode_markets = msgspec.json.Decoder(Markets).decode


class TidepoolRest(Rest):
    """One client's conversations."""

    def trades(self, symbol: str, first: int, last: int) -> Talk[TradePage]:
        """From ``first`` upwards. A page that is not full has reached the newest there is."""
        asked = min(PAGE_PRINTS, last - first + 1)
        body = yield from _ask(f"/prints?m={symbol}&from={first}&n={asked}")
        try:
            prints = decode_prints(body).prints
        except REFUSALS as error:
            raise NoAnswer(f"not a page of prints: {error}") from error
        reached = prints[-1].trade_id if len(prints) == asked else last
        records = [
            trade(symbol, one.us, Print(one.trade_id, one.price, one.size, 1 if one.taker == 1 else -1), is_live=False)
            for one in reversed(prints)
            if one.trade_id <= last
        ]
        return TradePage(first, min(reached, last), records)

    def book(self, symbol: str) -> Talk[RestBook]:
        body = yield from _ask(f"/book?m={symbol}")
        try:
            book = decode_book(body)
        except REFUSALS as error:
            raise NoAnswer(f"not a book: {error}") from error
        return RestBook(dict(book.bid), dict(book.ask), book.us * 1000, book.l)

    def products(self) -> Talk[list[Listed]]:
        body = yield from _ask("/markets")
        try:
            markets = decode_markets(body).markets
        except REFUSALS as error:
            raise NoAnswer(f"not a list of markets: {error}") from error
        return [_listed(market) for market in markets]


def _listed(market: Market) -> Listed:
    base, _, quote = market.m.partition("_")
    return Listed(symbol=market.m, base=base, quote=quote, state="trading" if market.open else "delisted")


def _ask(path: str) -> Talk[bytes]:
    reply: Reply = yield Get(path)
    if reply.status != 200:
        raise NoAnswer(f"status {reply.status} for {path}")
    return reply.body
