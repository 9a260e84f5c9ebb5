"""The REST API of Bybit (v5), as far as it is needed. Public endpoints, no key. Source: reference venues, section 3.5.

Every answer is an envelope: ``{"retCode":0,"retMsg":"OK","result":{...}}``; another code is a refusal, whatever the
status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct, field

from book.events import Trade
from feeds.bybit.messages import (
    Instrument,
    Milliseconds,
    decode_instrument,
    decode_level,
    decode_loose_level,
)
from feeds.bybit.protocol import sizes, trade_or_flaw
from feeds.bybit.trade_ids import NS_PER_MS, TradeIds, asked_from
from feeds.errors import REASON_CHARS, NoAnswer
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
from feeds.salvage import REFUSALS, each, levels

T = TypeVar("T")

Category = Literal["spot", "linear"]
NEWEST_TRADES: dict[Category, int] = {"spot": 60, "linear": 1000}
"""The venue has no more of them."""

PAGE_BYTES = 2**21
"""More than five times a thousand trades (200 bytes each)."""

DEPTH = 200
MOST_PAGES = 100
KINDS: dict[str, ProductKind] = {"": "spot", "LinearPerpetual": "perpetual", "LinearFutures": "future"}


class Envelope(Struct, frozen=True):
    """``{"retCode":10001,"retMsg":"Not supported symbols","result":{},"retExtInfo":{},"time":1786310817000}``"""

    retCode: int  # noqa: N815 (the venue's name)
    result: Raw
    retMsg: str = ""  # noqa: N815


class RestTrade(Struct, frozen=True):
    """``{"execId":"2290000001189048101","symbol":"BTCUSDT","price":"65140.5","size":"0.002705","side":"Buy",
    "time":"1786310822605","isBlockTrade":false,"isRPITrade":false,"seq":"112488547164"}``"""

    execId: Raw  # noqa: N815
    symbol: Raw
    price: Raw
    size: Raw
    side: Raw
    time: Raw
    seq: Raw = Raw(b"null")


class TradeList(Struct, frozen=True):
    """``{"category":"spot","list":[...]}``, newest first."""

    records: list[RestTrade] = field(name="list")


class WireBook(Struct, frozen=True):
    """``{"s":"BTCUSDT","b":[["65140.4","0.885797"]],"a":[["65140.5","0.4"]],"ts":1786310816516,"u":62505424,"seq":1,
    "cts":1786310816490}``. ``u`` counts a stream of another depth, so it is of no use."""

    s: str
    b: list[Raw]
    a: list[Raw]
    cts: Milliseconds


class InstrumentList(Struct, frozen=True):
    """``{"category":"linear","list":[...],"nextPageCursor":""}``"""

    records: Raw = field(name="list")
    nextPageCursor: Annotated[str, Meta(pattern=r"^[^\s&#]{0,1000}$")] = ""  # noqa: N815


decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_trade_list = msgspec.json.Decoder(TradeList).decode
decode_whole_book = msgspec.json.Decoder(WireBook, strict=False).decode
decode_instruments = msgspec.json.Decoder(InstrumentList).decode


class BybitRest(Rest):
    """One client's conversations about the products of one market."""

    def __init__(self, category: Category) -> None:
        self._category = category

    def trades(self, symbol: str, first: int, last: int) -> Talk[TradePage]:
        """Everything there is of ``first`` to ``last``, which is what lies among the newest: there is no way to older
        ones, so what is not on this page is nowhere."""
        most = NEWEST_TRADES[self._category]
        path = f"/v5/market/recent-trade?category={self._category}&symbol={symbol}&limit={most}"
        page = yield from _ask(path, decode_trade_list, PAGE_BYTES)
        if len(page.records) > most:
            raise NoAnswer(f"an answer of {len(page.records)} records: {path}")
        ids = TradeIds()
        records = [trade_or_flaw(symbol, _as_on_the_wire(wire), ids, is_live=False) for wire in reversed(page.records)]
        if any(record.product != symbol for record in records):
            raise NoAnswer(f"an answer about something else: {path}")
        if len(records) == most:
            # of its oldest step some may be missing, and then the places of the others are not theirs
            oldest_ns = next((record.venue_ns for record in records if isinstance(record, Trade)), None)
            records = [record for record in records if not isinstance(record, Trade) or record.venue_ns != oldest_ns]
        low = first if self._category == "spot" else asked_from(first, last)
        found = [record for record in records if record.trade_id is not None and low <= record.trade_id <= last]
        # up to the newest that is there: the rest is looked for again, and until then the oldest might be gone
        until = max((record.trade_id for record in found if record.trade_id is not None), default=last)
        return TradePage(first, until, each_once(found, first, until))

    def book(self, symbol: str) -> Talk[RestBook]:
        path = f"/v5/market/orderbook?category={self._category}&symbol={symbol}&limit={DEPTH}"
        wire = yield from _ask(path, decode_whole_book, MOST_BYTES)
        if wire.s != symbol:
            raise NoAnswer(f"an answer about something else: {path}")
        try:
            bids, _ = levels(wire.b, decode_level, decode_loose_level, is_snapshot=True)
            asks, _ = levels(wire.a, decode_level, decode_loose_level, is_snapshot=True)
        except REFUSALS as error:
            raise NoAnswer(f"no book: {path}: {error}") from error
        return whole_book(path, sizes(bids), sizes(asks), wire.cts * NS_PER_MS)

    def products(self) -> Talk[list[Listed]]:
        """Page by page; of linear contracts there are more than fit on one."""
        listed: dict[str, Listed] = {}
        cursor = ""
        for _ in range(MOST_PAGES):
            path = f"/v5/market/instruments-info?category={self._category}&limit=1000"
            page = yield from _ask(f"{path}&cursor={cursor}" if cursor else path, decode_instruments, MOST_BYTES)
            instruments, _ = each(page.records, decode_instrument, "products")
            found = {instrument.symbol: _listed(instrument) for instrument in instruments}
            cursor = page.nextPageCursor
            if not cursor:
                return list((listed | found).values())
            if found.keys() <= listed.keys():
                break
            listed |= found
        raise NoAnswer(f"pages of instruments without an end: {path}")


def _as_on_the_wire(row: RestTrade) -> Raw:
    """The trade by the names that it has on the stream."""
    named = {"i": row.execId, "s": row.symbol, "p": row.price, "v": row.size, "S": row.side, "T": row.time}
    return Raw(msgspec.json.encode(named | {"seq": row.seq}))


def _listed(instrument: Instrument) -> Listed:
    return Listed(
        symbol=instrument.symbol,
        base=instrument.baseCoin,
        quote=instrument.quoteCoin,
        kind=KINDS.get(instrument.contractType, "other"),
        state="trading" if instrument.status == "Trading" else "halted",
    )


def _ask(path: str, decode: Callable[[Raw], T], most_bytes: int) -> Talk[T]:
    reply: Reply = yield Get(path, most_bytes)
    if reply.status != 200:
        raise NoAnswer(f"status {reply.status} for {path}")
    try:
        envelope = decode_envelope(reply.body)
        if envelope.retCode != 0:
            raise NoAnswer(f"{envelope.retCode} {envelope.retMsg[:REASON_CHARS]}: {path}")
        return decode(envelope.result)
    except REFUSALS as error:
        raise NoAnswer(f"no answer to {path}: {error}") from error
