"""The venue's REST API, as far as it is needed: trades by id, whole books, and which products there are.

Source: reference protocols, section 3.1. Public endpoints, no key.
"""

from __future__ import annotations

from typing import Literal

import aiohttp
import msgspec
from msgspec import Struct

from book.events import Taker, Trade
from feeds.coinbase_exchange.messages import AskLevel, BidLevel, Price, TradeId, TradeSize
from feeds.timestamps import parse_ns
from sentinel.errors import SentinelError
from sentinel.pace import Pace
from sentinel.pipeline import BookAnswer

PAGE_TRADES = 1000
LARGEST_RETRY_AFTER_S = 300.0
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

    bids: list[BidLevel]
    asks: list[AskLevel]
    time: str
    auction_mode: bool = False


decode_trades = msgspec.json.Decoder(list[WireTrade], strict=False).decode
decode_book = msgspec.json.Decoder(WireBook, strict=False).decode
decode_products = msgspec.json.Decoder(list[WireProduct]).decode


class RestClient:
    """Asks politely: every request waits for its turn in ``pace``, which a Retry-After holds up for all.

    Used as an asynchronous context manager, since it owns a connection pool.
    """

    def __init__(self, base_url: str, pace: Pace, timeout_s: float) -> None:
        self._base_url = base_url
        self._pace = pace
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

    async def trades(self, product: str, after: int, limit: int) -> list[Trade]:
        """Up to ``limit`` trades with ids below ``after``, newest first.

        Raises:
            RestTrouble: if there is no valid answer.
        """
        path = f"/products/{product}/trades?after={after}&limit={min(limit, PAGE_TRADES)}"
        status, body = await self._get(path)
        if status != 200:
            raise RestTrouble(f"status {status} for {path}")
        try:
            trades = [_trade(product, wire) for wire in decode_trades(body)]
        except (msgspec.MsgspecError, ValueError) as error:
            raise RestTrouble(f"not a list of trades: {path}: {error}") from error
        ids = [trade.trade_id for trade in trades]
        if ids != sorted(set(ids), reverse=True) or (ids and ids[0] >= after):
            raise RestTrouble(f"ids out of order: {path}")
        return trades

    async def book(self, product: str) -> BookAnswer:
        """The whole book, when nobody else has something to ask.

        Raises:
            RestTrouble: if there is no valid answer, or one that nothing can be compared with.
        """
        path = f"/products/{product}/book?level=2"
        await self._pace.take_spare()
        status, body = await self._send(path)
        if status != 200:
            raise RestTrouble(f"status {status} for {path}")
        try:
            return _book(product, decode_book(body))
        except (msgspec.MsgspecError, ValueError) as error:
            raise RestTrouble(f"not a book to compare with: {path}: {error}") from error

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
            listed = {product.id: product.status for product in decode_products(body)}
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RestTrouble(f"not a list of products: {error}") from error
        return [
            product
            for product in products
            if (listed[product] == "delisted" if product in listed else await self._is_unknown(product))
        ]

    async def _is_unknown(self, product: str) -> bool:
        return (await self._get(f"/products/{product}"))[0] == 404

    async def _get(self, path: str) -> tuple[int, bytes]:
        await self._pace.take()
        return await self._send(path)

    async def _send(self, path: str) -> tuple[int, bytes]:
        try:
            async with self._session.get(self._base_url + path) as response:
                if response.status == 429:
                    self._pace.pause(_retry_after_s(response.headers.get("Retry-After")))
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RestTrouble(f"{type(error).__name__} for {path}: {error}") from error


def _trade(product: str, wire: WireTrade) -> Trade:
    venue_ns = parse_ns(wire.time)
    if venue_ns is None:
        raise ValueError(f"trade {wire.trade_id} without a time")
    taker: Taker = "sell" if wire.side == "buy" else "buy"
    return Trade(product, wire.trade_id, wire.price, wire.size, taker, venue_ns // 1000 * 1000, is_live=False)


def _book(product: str, wire: WireBook) -> BookAnswer:
    venue_ns = parse_ns(wire.time)
    bids, asks = ({level.price: level.size for level in side if level.size} for side in (wire.bids, wire.asks))
    if venue_ns is None or wire.auction_mode or not bids or not asks:
        raise ValueError("it is without a time or a side, or of an auction")
    return BookAnswer(product, venue_ns, bids, asks)


def _retry_after_s(header: str | None) -> float:
    """Seconds; the form with a date is not used by this venue, and one second is polite when nothing is said."""
    try:
        return min(max(0.0, float(header or 1)), LARGEST_RETRY_AFTER_S)
    except ValueError:
        return 1.0
