"""The REST API of Kraken, as far as it is needed. Public endpoints, no key.

Source: reference venues, section 3.2. Trades are had by time only: those after ``since``, upwards, 1,000 at most. So
ids are looked for (``whereabouts``). Whatever goes wrong is told with status 200, in a list of errors.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Raw, Struct

from book.events import ProductState, Taker, Trade, Unusable
from feeds.errors import REASON_CHARS, NoAnswer
from feeds.kraken.whereabouts import PAGE_TRADES, Whereabouts
from feeds.numbers import Price, Size, TradeId, TradeSize
from feeds.rest import MOST_BYTES, Get, Listed, Reply, Rest, RestBook, Talk, TradePage, each_once, whole_book
from feeds.salvage import REFUSALS, decode_list, decode_trade_id, maybe, unusable
from feeds.timestamps import possible_ns

PAGE_BYTES = 2 * 2**20
"""More than ten times a page of trades (90 bytes each)."""

BOOK_LEVELS = 500
"""The most that are given."""

MOST_LOOKS = 40
"""Pages in which one id is looked for."""

TOO_MUCH = ("EAPI:Rate limit", "EService:Throttled")
"""Beginnings of errors, which come with status 200 and no Retry-After."""
PAUSE_S = 5.0

NAMES = {"XBT": "BTC", "XDG": "DOGE"}
"""What most venues and Kraken's own WebSocket call the currencies that its REST API calls otherwise."""
REST_NAMES = {ours: theirs for theirs, ours in NAMES.items()}

TAKERS: dict[str, Taker] = {"b": "buy", "s": "sell"}


class Answer(Struct, frozen=True, gc=False):
    """``{"error":[],"result":{...}}``; ``{"error":["EAPI:Rate limit exceeded"]}``"""

    error: list[str]
    result: dict[str, Raw] = {}


class WireTrade(Struct, frozen=True, gc=False, array_like=True):
    """``["64999.90000","0.00100000",1688669597.8277369,"b","m","",61044952]``: the taker bought."""

    price: Price
    volume: TradeSize
    time: Raw
    side: Literal["b", "s"]
    kind: Any
    misc: Any
    trade_id: TradeId


class WirePair(Struct, frozen=True, gc=False):
    """``{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD",...,"status":"online"}``"""

    wsname: str = ""
    status: str = "online"


class WireLevel(Struct, frozen=True, gc=False, array_like=True):
    """``["30384.10000","2.05900000",1616663113]``: the last is when it changed, in whole seconds."""

    price: Price
    size: Size


class WireBook(Struct, frozen=True, gc=False):
    """``{"asks":[["30384.10000","2.05900000",1616663113],...],"bids":[...]}``"""

    bids: list[WireLevel]
    asks: list[WireLevel]


class Page(NamedTuple):
    """One answer: ``oldest`` and ``newest`` are the ends of the ids that it settles, ``cursor`` is what goes on."""

    oldest: int
    newest: int
    records: list[Trade | Unusable]
    cursor: int | None


decode_answer = msgspec.json.Decoder(Answer).decode
decode_trade = msgspec.json.Decoder(WireTrade, strict=False).decode
decode_row = msgspec.json.Decoder(list[Raw]).decode
decode_pair = msgspec.json.Decoder(WirePair).decode
decode_book = msgspec.json.Decoder(WireBook, strict=False).decode
decode_cursor = msgspec.json.Decoder(int, strict=False).decode


class KrakenRest(Rest):
    """One client's conversations. What it has seen of which trade was when, it remembers for the next search."""

    def __init__(self) -> None:
        self._whereabouts: dict[str, Whereabouts] = {}

    def trades(self, symbol: str, first: int, last: int) -> Talk[TradePage]:
        """From ``first`` upwards, as many as are in the page where it is found."""
        known = self._whereabouts.setdefault(symbol, Whereabouts())
        cursor = None
        for look in range(MOST_LOOKS):
            since_ns = known.since_ns(first, look) if cursor is None else cursor
            page = yield from self._page(symbol, since_ns, known, is_cursor=cursor is not None)
            if page.oldest <= first <= page.newest:
                return _answer(page, first, last)
            # as many as fill a page were of one moment: only the venue's own word leads beyond them
            is_stuck = page.newest < first and cursor is None and known.since_ns(first, look) == since_ns
            cursor = page.cursor if is_stuck or (cursor is not None and page.newest < first) else None
        raise self._astray(symbol, f"trade {first} of {symbol} is not found in {MOST_LOOKS} pages")

    def _astray(self, symbol: str, words: str) -> NoAnswer:
        """What is remembered has led nowhere: one wrong answer may have done that, and must not do it again."""
        self._whereabouts.pop(symbol, None)
        return NoAnswer(words)

    def _page(self, symbol: str, since_ns: int | None, known: Whereabouts, *, is_cursor: bool) -> Talk[Page]:
        """The trades after an instant, or the newest ones. That there are none is believed of the newest ones, and
        after the venue's own cursor: any other instant is a guess, and one that has trades after it."""
        since = "" if since_ns is None else f"&since={since_ns}"
        result = yield from _ask(f"Trades?pair={rest_name(symbol)}{since}&count={PAGE_TRADES}", PAGE_BYTES)
        cursor = maybe(decode_cursor, result.pop("last", Raw(b"null")))
        lists = [maybe(decode_list, part) for part in result.values()]
        if len(lists) != 1 or lists[0] is None or len(lists[0]) > 10 * PAGE_TRADES:
            raise NoAnswer(f"not a page of trades of {symbol}")
        records = [_record(symbol, part) for part in lists[0]]
        trades = [record for record in records if isinstance(record, Trade)]
        for trade in trades[:1] + trades[-1:]:
            known.learn(trade.trade_id, trade.venue_ns)
        if since_ns and trades:
            known.learn(trades[0].trade_id - 1, since_ns)  # or earlier: nothing is between
        ids = [record.trade_id for record in records if record.trade_id is not None]
        is_last = since_ns is None or len(records) < PAGE_TRADES
        if not ids and (not is_last or (since_ns is not None and not is_cursor)):
            raise self._astray(symbol, f"a page of trades of {symbol} without those that there are")
        oldest = 1 if since_ns == 0 or not ids else min(ids)
        return Page(oldest, 2**62 if is_last else max(ids), records, cursor)

    def book(self, symbol: str) -> Talk[RestBook]:
        """Without a number or a time: it can neither be joined to the stream nor held against it."""
        result = yield from _ask(f"Depth?pair={rest_name(symbol)}&count={BOOK_LEVELS}", MOST_BYTES)
        try:
            (book,) = map(decode_book, result.values())
        except (*REFUSALS, ValueError) as error:
            raise NoAnswer(f"not a book of {symbol}: {error}") from error
        bids, asks = ({level.price: level.size for level in side} for side in (book.bids, book.asks))
        return whole_book(symbol, bids, asks)

    def products(self) -> Talk[list[Listed]]:
        result = yield from _ask("AssetPairs", MOST_BYTES)
        pairs = [pair for part in result.values() if (pair := maybe(decode_pair, part)) is not None]
        listed = [_listed(pair) for pair in pairs if "/" in pair.wsname]
        return list({product.symbol: product for product in listed}.values())


def rest_name(symbol: str) -> str:
    """``XBTUSD`` for ``BTC/USD``."""
    return "".join(REST_NAMES.get(name, name) for name in symbol.split("/"))


def _listed(pair: WirePair) -> Listed:
    base, _, quote = pair.wsname.partition("/")
    base, quote = NAMES.get(base, base), NAMES.get(quote, quote)
    return Listed(symbol=f"{base}/{quote}", base=base, quote=quote, state=_state(pair.status))


def _state(status: str) -> ProductState:
    if status == "delisted":
        return "delisted"
    return "trading" if status in ("online", "limit_only", "reduce_only") else "halted"


def _ask(path: str, most_bytes: int) -> Talk[dict[str, Raw]]:
    reply: Reply = yield Get(f"/0/public/{path}", most_bytes)
    if reply.status != 200:
        raise NoAnswer(f"status {reply.status} for {path}")
    try:
        answer = decode_answer(reply.body)
    except REFUSALS as error:
        raise NoAnswer(f"not an answer: {path}: {error}") from error
    if answer.error:
        is_too_much = any(error.startswith(TOO_MUCH) for error in answer.error)
        words = f"{', '.join(answer.error)[:REASON_CHARS]} for {path}"
        raise NoAnswer(words, wait_s=PAUSE_S if is_too_much else None)
    return answer.result


def _record(symbol: str, part: Raw) -> Trade | Unusable:
    try:
        wire = decode_trade(part)
        venue_ns = nanoseconds(wire.time)
    except (*REFUSALS, ValueError) as error:
        row = maybe(decode_row, part) or []
        flaw = unusable("trades", part, error, product=symbol)
        trade_id = maybe(decode_trade_id, row[6]) if len(row) > 6 else None
        return msgspec.structs.replace(flaw, trade_id=trade_id)
    taker = TAKERS[wire.side]
    return Trade(symbol, wire.trade_id, wire.price, wire.volume, taker, venue_ns // 1000 * 1000, is_live=False)


def nanoseconds(text: Raw) -> int:
    """Those since 1970 of ``1688669597.8277369`` seconds, of which a double could not tell the last digits.

    Raises:
        ValueError: if it is no such number.
    """
    seconds, _, fraction = bytes(text).decode().partition(".")
    is_number = (seconds + fraction).isdecimal() and len(seconds) <= 10
    found = possible_ns(int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))) if is_number else None
    if found is None:
        raise ValueError(f"not a time: {bytes(text)[:40]!r}")
    return found


def _answer(page: Page, first: int, last: int) -> TradePage:
    """What a page says of ``first`` and those after it, newest first, each id once."""
    reached = min(last, page.newest)
    return TradePage(first, reached, each_once(page.records, first, reached))
