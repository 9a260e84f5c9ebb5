"""The venue's REST API, as far as it is needed: trades by id, whole books, and which products there are.

Source: reference protocols, section 3.1. Public endpoints, no key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import aiohttp
import msgspec
from msgspec import Raw, Struct

from book.events import Taker, Trade, Unusable
from feeds.aliases import coinbase_name
from feeds.coinbase_exchange.messages import decode_ask, decode_bid, decode_loose_level
from feeds.errors import REASON_CHARS
from feeds.numbers import Price, TradeId, TradeSize
from feeds.salvage import REFUSALS, each, levels, unusable
from feeds.timestamps import parse_ns
from sentinel.errors import SentinelError
from sentinel.exchange.proxies import proxy_trouble
from sentinel.pipeline import BookAnswer
from sentinel.timing.clock import Clock
from sentinel.timing.rate_limit import Pace
from sentinel.timing.retry_after import retry_after_s

PAGE_TRADES = 1000
POLITE_PAUSE_S = 1.0
"""After a 429 that does not say how long."""

PAGE_BYTES = 2 * 2**20
"""More than ten times a page of trades (140 bytes each)."""

PAGE_RECORDS = 10 * PAGE_TRADES
"""Each is looked at by itself, so a page that has more is not the venue's."""

MOST_BYTES = 32 * 2**20
"""Six times the largest book there is (5 MB), which is the largest answer. No answer is held in memory beyond."""

PIECE_BYTES = 2**18

USER_AGENT = "sentinel-ws"


class RestTrouble(SentinelError):
    """No usable answer this time; asking again later may help."""


class WireTrade(Struct, frozen=True, gc=False):
    """``{"time":"2020-03-20T00:36:59.86Z","trade_id":86327327,"price":"6225.32000000","size":"0.06469797",
    "side":"sell"}``: ``side`` is the maker's."""

    trade_id: TradeId
    price: Price
    size: TradeSize
    side: Literal["buy", "sell"]
    time: str


class WireProduct(Struct, frozen=True, gc=False):
    """``{"id":"BTC-USD","base_currency":"BTC",...,"status":"online"}``"""

    id: str
    status: str = ""


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


class RestClient:
    """Asks politely: every request waits for its turn in ``pace``, which a Retry-After holds up for all.

    A product that is another one's alias is asked for by Coinbase's own name, unless the venue says there is none.
    Used as an asynchronous context manager, since it owns a connection pool.
    """

    def __init__(self, base_url: str, pace: Pace, timeout_s: float, now_ns: Callable[[], int] | None = None) -> None:
        self._base_url = base_url
        self._pace = pace
        self._now_ns = now_ns or Clock().now_ns
        self._own_names: set[str] = set()
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            headers={"User-Agent": USER_AGENT},
            connector=aiohttp.TCPConnector(limit=4),
            trust_env=True,
        )

    async def __aenter__(self) -> RestClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def trades(self, product: str, after: int, limit: int) -> list[Trade | Unusable]:
        """Up to ``limit`` trades with ids below ``after``, newest first. Among them what REST has and nobody can use.

        Raises:
            RestTrouble: if there is no valid answer.
        """
        path = f"trades?after={after}&limit={min(limit, PAGE_TRADES)}"
        await self._pace.take()
        body = await self._ask(product, path, PAGE_BYTES)
        try:
            parts = decode_list(body)
        except REFUSALS as error:
            raise RestTrouble(f"not a list of trades: {product}/{path}: {error}") from error
        if len(parts) > PAGE_RECORDS:
            raise RestTrouble(f"an answer of {len(parts)} records: {product}/{path}")
        records = [_record(product, part) for part in parts]
        if records and all(record.trade_id is not None and record.trade_id >= after for record in records):
            raise RestTrouble(f"an answer to something else: {product}/{path}")
        return _in_order(records, after)

    async def book(self, product: str) -> BookAnswer:
        """The whole book, when nobody else has something to ask.

        Raises:
            RestTrouble: if there is no valid answer, or one that nothing can be compared with.
        """
        path = "book?level=2"
        await self._pace.take_spare()
        body = await self._ask(product, path, MOST_BYTES)
        try:
            return _book(product, decode_book(body))
        except (*REFUSALS, ValueError) as error:
            raise RestTrouble(f"not a book to compare with: {product}/{path}: {error}") from error

    async def unknown(self, products: tuple[str, ...]) -> list[str]:
        """Those of ``products`` that the venue says are delisted or do not exist. Only its 404 counts for the latter:
        no answer is not a no.

        Raises:
            RestTrouble: if the list of products cannot be had.
        """
        status, body = await self._get("/products")
        if status != 200:
            raise RestTrouble(f"status {status} for /products")
        try:
            decode_list(body)
        except REFUSALS as error:
            raise RestTrouble(f"not a list of products: {error}") from error
        listed = {product.id: product.status for product in each(Raw(body), decode_product, "products")[0]}
        return [product for product in products if await self._is_unknown(product, listed)]

    async def _is_unknown(self, product: str, listed: Mapping[str, str]) -> bool:
        names = [name for name in (product, coinbase_name(product)) if name in listed]
        if names:
            return all(listed[name] == "delisted" for name in names)
        return (await self._get(f"/products/{product}"))[0] == 404

    async def _ask(self, product: str, path: str, most_bytes: int) -> bytes:
        """The answer about one product; whoever calls has waited for his turn.

        Raises:
            RestTrouble: if it is not to be had.
        """
        name = product if product in self._own_names else coinbase_name(product)
        status, body = await self._send(f"/products/{name}/{path}", most_bytes)
        if status == 404 and name != product:
            self._own_names.add(product)
            status, body = await self._get(f"/products/{product}/{path}", most_bytes)
        if status != 200:
            raise RestTrouble(f"status {status} for /products/{name}/{path}")
        return body

    async def _get(self, path: str, most_bytes: int = MOST_BYTES) -> tuple[int, bytes]:
        await self._pace.take()
        return await self._send(path, most_bytes)

    async def _send(self, path: str, most_bytes: int) -> tuple[int, bytes]:
        """Status and body. A refusal's body is of no use, and is not read."""
        try:
            async with self._session.get(self._base_url + path) as response:
                self._heed(response.status, response.headers)
                if response.status != 200:
                    return response.status, b""
                body = bytearray()
                async for piece in response.content.iter_chunked(PIECE_BYTES):
                    body += piece
                    if len(body) > most_bytes:
                        break
        except Exception as error:  # whatever a server, a proxy or the system does is no answer
            why = proxy_trouble(self._base_url) or f"{type(error).__name__} for {path}: {error}"[:REASON_CHARS]
            raise RestTrouble(why) from error
        if len(body) > most_bytes:
            raise RestTrouble(f"an answer of more than {most_bytes} bytes for {path}")
        return 200, bytes(body)

    def _heed(self, status: int, headers: Mapping[str, str]) -> None:
        """Holds everybody up for as long as a refusal asks."""
        if status < 400:
            return
        wait_s = retry_after_s(headers.get("Retry-After"), self._now_ns() / 1e9)
        if wait_s is None and status == 429:
            wait_s = POLITE_PAUSE_S
        if wait_s is not None:
            self._pace.pause(wait_s)


def _record(product: str, part: Raw) -> Trade | Unusable:
    try:
        wire = decode_trade(part)
        venue_ns = parse_ns(wire.time)
    except (*REFUSALS, ValueError) as error:
        return unusable("trades", part, error, product=product)
    if venue_ns is None:
        return unusable("trades", part, "no time", product=product)
    taker: Taker = "sell" if wire.side == "buy" else "buy"
    return Trade(product, wire.trade_id, wire.price, wire.size, taker, venue_ns // 1000 * 1000, is_live=False)


def _in_order(records: Sequence[Trade | Unusable], after: int) -> list[Trade | Unusable]:
    """Newest first and each id once, as the venue's pages are; what is not asked for is left out. A record without an
    id stays behind the one it came after."""
    placed: dict[int, list[Trade | Unusable]] = {}
    place = after
    for record in records:
        if record.trade_id is None:
            placed.setdefault(place, []).append(record)
        elif record.trade_id < after and record.trade_id not in placed:
            place = record.trade_id
            placed[place] = [record]
    return [record for key in sorted(placed, reverse=True) for record in placed[key]]


def _book(product: str, wire: WireBook) -> BookAnswer:
    """Raises ValueError for a book that nothing can be compared with. What our own books leave out is left out here."""
    venue_ns = parse_ns(wire.time)
    kept_bids, _ = levels(wire.bids, decode_bid, decode_loose_level, is_snapshot=True)
    kept_asks, _ = levels(wire.asks, decode_ask, decode_loose_level, is_snapshot=True)
    bids = {level.price: level.size for level in kept_bids if level.size}
    asks = {level.price: level.size for level in kept_asks if level.size}
    if venue_ns is None or wire.auction_mode or not bids or not asks:
        raise ValueError("it is without a time or a side, or of an auction")
    return BookAnswer(product, venue_ns, bids, asks)
