"""The REST API of OKX (v5), as far as it is needed. Public endpoints, no key. Source: reference venues, section 3.4.

Every answer is an envelope: ``{"code":"0","msg":"","data":[...]}``; another code is a refusal, whatever the status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from feeds.errors import REASON_CHARS, NoAnswer
from feeds.okx.messages import (
    Instrument,
    Milliseconds,
    SequenceId,
    decode_instrument,
    decode_level,
    decode_loose_level,
)
from feeds.okx.protocol import sizes, state_of, trade_or_flaw
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
    page_downwards,
    whole_book,
)
from feeds.salvage import REFUSALS, each, levels

T = TypeVar("T")

PAGE_TRADES = 100
PAGE_BYTES = 2**18
"""More than ten times a page of trades (130 bytes each)."""

PAGE_RECORDS = 10 * PAGE_TRADES
DEPTH = 400
KINDS: dict[str, ProductKind] = {"SPOT": "spot", "SWAP": "perpetual", "FUTURES": "future"}


class Envelope(Struct, frozen=True):
    """``{"code":"51001","msg":"Instrument ID does not exist","data":[]}``"""

    code: str
    data: Raw
    msg: str = ""


class WireBook(Struct, frozen=True):
    """``{"asks":[["41006.8","0.60038921","0","1"]],"bids":[...],"ts":"1629966436396","seqId":3235851742}``. That there
    is a ``seqId`` is announced, and not seen yet."""

    asks: list[Raw]
    bids: list[Raw]
    ts: Milliseconds
    seqId: SequenceId | None = None  # noqa: N815


decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_list = msgspec.json.Decoder(list[Raw]).decode
decode_books = msgspec.json.Decoder(Annotated[list[WireBook], Meta(min_length=1, max_length=1)], strict=False).decode


class OkxRest(Rest):
    """One client's conversations."""

    def trades(self, symbol: str, first: int, last: int) -> Talk[TradePage]:
        """The newest of ``first`` to ``last``, as many as a page holds: those below an id, newest first."""
        most = min(last - first + 1, PAGE_TRADES)
        path = f"/api/v5/market/history-trades?instId={symbol}&type=1&after={last + 1}&limit={most}"
        parts = yield from _ask(path, decode_list, PAGE_BYTES)
        if len(parts) > PAGE_RECORDS:
            raise NoAnswer(f"an answer of {len(parts)} records: {path}")
        records = [trade_or_flaw(symbol, part, is_live=False) for part in parts]
        is_beyond = bool(records) and all(record.trade_id is not None and record.trade_id > last for record in records)
        if is_beyond or any(record.product != symbol for record in records):
            raise NoAnswer(f"an answer about something else: {path}")
        return page_downwards(records, first, last, most)

    def book(self, symbol: str) -> Talk[RestBook]:
        path = f"/api/v5/market/books?instId={symbol}&sz={DEPTH}"
        (wire,) = yield from _ask(path, decode_books, MOST_BYTES)
        try:
            bids, _ = levels(wire.bids, decode_level, decode_loose_level, is_snapshot=True)
            asks, _ = levels(wire.asks, decode_level, decode_loose_level, is_snapshot=True)
        except REFUSALS as error:
            raise NoAnswer(f"no book: {path}: {error}") from error
        return whole_book(path, sizes(bids), sizes(asks), wire.ts * 1_000_000, wire.seqId)

    def products(self) -> Talk[list[Listed]]:
        """Spot, perpetuals and futures; options are not collected. One that is delisted is in no list."""
        listed: dict[str, Listed] = {}
        for kind in KINDS:
            data = yield from _ask(f"/api/v5/public/instruments?instType={kind}", Raw, MOST_BYTES)
            instruments, _ = each(data, decode_instrument, "products")
            listed |= {instrument.instId: _listed(instrument, KINDS[kind]) for instrument in instruments}
        return list(listed.values())


def _listed(instrument: Instrument, kind: ProductKind) -> Listed:
    base, _, quote = (instrument.instFamily or instrument.instId).partition("-")
    return Listed(
        symbol=instrument.instId,
        base=instrument.baseCcy or base,
        quote=instrument.quoteCcy or quote.partition("-")[0],
        kind=kind,
        state=state_of(instrument.state),
    )


def _ask(path: str, decode: Callable[[Raw], T], most_bytes: int) -> Talk[T]:
    reply: Reply = yield Get(path, most_bytes)
    if reply.status != 200:
        raise NoAnswer(f"status {reply.status} for {path}")
    try:
        envelope = decode_envelope(reply.body)
        if envelope.code != "0":
            raise NoAnswer(f"{envelope.code} {envelope.msg[:REASON_CHARS]}: {path}")
        return decode(envelope.data)
    except REFUSALS as error:
        raise NoAnswer(f"no answer to {path}: {error}") from error
