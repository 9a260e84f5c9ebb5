"""HTTP for the REST APIs of venues: carries conversations at each one's pace, and knows what none of them means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import aiohttp
from loguru import logger
from msgspec import Struct

from feeds.errors import REASON_CHARS, NoAnswer
from feeds.market import Market
from feeds.rest import Get, Listed, Reply, RestBook, Talk, TradePage
from feeds.venue import Venue
from sentinel.errors import SentinelError
from sentinel.exchange.proxies import proxy_trouble, without_passwords
from sentinel.pipeline import BookAnswer
from sentinel.timing.clock import Clock
from sentinel.timing.instants import NS_PER_S, format_ns
from sentinel.timing.rate_limit import Pace
from sentinel.timing.retry_after import hold_s

HEADROOM = 0.9
"""Of a venue's limit by the minute: what else is under way, and others behind our address, need the rest."""

MINUTE_S = 60
PIECE_BYTES = 2**18
USER_AGENT = "sentinel-ws"

T = TypeVar("T")


class RestHeld(Struct, frozen=True):
    """All requests of ``exchange`` hold still until ``until_ns``, because of ``reason``."""

    exchange: str
    until_ns: int
    reason: str


class RestTrouble(SentinelError):
    """No usable answer this time; asking again later may help."""


class RestRefusal(RestTrouble):
    """The venue has answered, and not with what was asked for."""


class RestClient:
    """Asks one venue politely: every request waits for its turn in ``pace``, which counts what the venue counts and is
    held up for all by a Retry-After, a ban, or a limit that is nearly used up.

    Used as an asynchronous context manager, since it owns a connection pool.
    """

    def __init__(
        self,
        venue: Venue,
        base_url: str,
        pace: Pace,
        timeout_s: float,
        now_ns: Callable[[], int] | None = None,
        *,
        hosts: Mapping[str, str] | None = None,
    ) -> None:
        """``hosts`` are the addresses of those of the venue's that are not at ``base_url``, by their names."""
        self.exchange = venue.exchange
        self.held: RestHeld | None = None
        self._facts = venue.rest_facts
        self._rest = venue.rest()
        self._base_url = base_url
        self._hosts = hosts or {}
        self._pace = pace
        self._now_ns = now_ns or Clock().now_ns
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            headers={"User-Agent": USER_AGENT} | venue.rest_facts.headers,
            connector=aiohttp.TCPConnector(limit=4),
            cookie_jar=aiohttp.DummyCookieJar(),  # a venue could fill the memory with them, and our requests
            trust_env=True,
        )

    def share(self, part: float) -> None:
        """From now on only so much of the allowance is ours."""
        self._pace.share(part)

    async def __aenter__(self) -> RestClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def trades(self, symbol: str, first: int, last: int, *, is_spare: bool = False) -> TradePage:
        """Some of the trades ``first`` to ``last``, from one end. Among them what REST has and nobody can use.

        ``is_spare``: when nobody else has something to ask.

        Raises:
            RestTrouble: if there is no valid answer.
        """
        return await self._carry(self._rest.trades(symbol, first, last), is_spare=is_spare)

    async def book(self, symbol: str) -> BookAnswer:
        """The whole book, when nobody else has something to ask.

        Raises:
            RestTrouble: if there is no valid answer, or one that nothing can be compared with.
        """
        book = await self._carry(self._rest.book(symbol), is_spare=True)
        if book.venue_ns is None:
            raise RestTrouble(f"not a book to compare: {symbol}: it has no time")
        return BookAnswer(symbol, book.venue_ns, book.bids, book.asks, self.exchange)

    async def snapshot(self, symbol: str) -> RestBook:
        """The whole book, for one who has none.

        Raises:
            RestTrouble: if there is no valid answer.
        """
        return await self._carry(self._rest.book(symbol))

    async def unknown(self, symbols: Sequence[str]) -> list[str]:
        """Those of ``symbols`` that the venue says are delisted or do not exist: no answer is not a no.

        Raises:
            RestTrouble: if that cannot be had.
        """
        return await self._carry(self._rest.unknown(symbols))

    async def products(self) -> list[Listed]:
        """Everything the venue lists.

        Raises:
            RestTrouble: if that cannot be had.
        """
        return await self._carry(self._rest.products())

    async def _carry(self, talk: Talk[T], *, is_spare: bool = False) -> T:
        """The result of a conversation; one that is ``is_spare`` begins when nobody else has something to ask."""
        take = self._pace.take_spare if is_spare else self._pace.take
        try:
            get = next(talk)
            while True:
                await take(get.weight)
                get = talk.send(await self._send(get))
                take = self._pace.take
        except StopIteration as end:
            result: T = end.value
            return result
        except NoAnswer as error:
            if error.wait_s is None:
                raise RestRefusal(str(error)) from error
            self._hold(error.wait_s, str(error))
            raise RestTrouble(str(error)) from error

    async def _send(self, get: Get) -> Reply:
        base_url = self._hosts.get(get.host, self._base_url)
        try:
            # what another host says is not the venue's answer
            async with self._session.get(base_url + get.path, allow_redirects=False) as response:
                self._heed(response.status, response.headers)
                if response.status != 200:
                    return Reply(response.status)
                body = bytearray()
                async for piece in response.content.iter_chunked(PIECE_BYTES):
                    body += piece
                    if len(body) > get.most_bytes:
                        break
        except Exception as error:  # noqa: BLE001  # whatever a server, a proxy or the system does is no answer
            words = f"{type(error).__name__} for {get.path}: {without_passwords(str(error))}"
            raise RestTrouble(proxy_trouble(base_url) or words[:REASON_CHARS]) from None
        if len(body) > get.most_bytes:
            raise RestTrouble(f"an answer of more than {get.most_bytes} bytes for {get.path}")
        return Reply(200, bytes(body))

    def _heed(self, status: int, headers: Mapping[str, str]) -> None:
        """Holds everybody up for as long as a refusal asks, or until the minute is over whose allowance is used up."""
        facts, now_s = self._facts, self._now_ns() / 1e9
        if facts.used_header is not None and facts.limit_per_minute is not None:
            used = _number(headers.get(facts.used_header))
            if used >= HEADROOM * facts.limit_per_minute:
                words = f"{used} of {facts.limit_per_minute} are used up in this minute"
                self._hold(MINUTE_S - now_s % MINUTE_S, words)
        if status >= 400:
            wait_s = hold_s(status, headers.get("Retry-After"), now_s, facts.ban_s, facts.longest_ban_s)
            if wait_s is not None:
                self._hold(wait_s, f"status {status}")

    def _hold(self, wait_s: float, reason: str) -> None:
        self._pace.pause(wait_s)
        until_ns = self._now_ns() + round(wait_s * NS_PER_S)
        if wait_s > 0 and (self.held is None or until_ns > self.held.until_ns):
            self.held = RestHeld(self.exchange, until_ns, reason)
            facts = {"exchange": self.exchange, "reason": reason, "wait_s": round(wait_s, 3)}
            logger.bind(**facts, until=format_ns(until_ns)).warning("rest_holds_still")


def _number(header: str | None) -> int:
    """What a header counts; 0 if it says nothing."""
    return int(header) if header is not None and header.isascii() and header.isdigit() else 0


class RestClients:
    """Asks whichever venue it is about: a client for each exchange."""

    def __init__(self, clients: Sequence[RestClient]) -> None:
        self._clients = {client.exchange: client for client in clients}

    def held(self) -> list[RestHeld]:
        """The venues whose requests were held up last, and until when: it may have passed."""
        return [client.held for client in self._clients.values() if client.held is not None]

    def share(self, part: float) -> None:
        """As of ``RestClient``, for all of them."""
        for client in self._clients.values():
            client.share(part)

    async def trades(self, market: Market, first: int, last: int, *, is_spare: bool = False) -> TradePage:
        """As of ``RestClient``."""
        return await self._clients[market.exchange].trades(market.symbol, first, last, is_spare=is_spare)

    async def book(self, market: Market) -> BookAnswer:
        """As of ``RestClient``."""
        return await self._clients[market.exchange].book(market.symbol)

    async def snapshot(self, market: Market) -> RestBook:
        """As of ``RestClient``."""
        return await self._clients[market.exchange].snapshot(market.symbol)

    async def unknown(self, exchange: str, symbols: Sequence[str]) -> list[str]:
        """As of ``RestClient``."""
        return await self._clients[exchange].unknown(symbols)

    async def products(self, exchange: str) -> list[Listed]:
        """As of ``RestClient``."""
        return await self._clients[exchange].products()
