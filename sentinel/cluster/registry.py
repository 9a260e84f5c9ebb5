"""What a member has on the servers: its lease, the words of all others, and the last trade of every market."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

import msgspec
from loguru import logger
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from feeds.market import Market
from sentinel.cluster.buckets import bucket, entries
from sentinel.cluster.lease import Lease
from sentinel.cluster.presence import Presence, decode, decode_tails, key_of
from sentinel.cluster.session import Session, opened
from sentinel.cluster.stream import TROUBLES
from sentinel.config import Cluster
from sentinel.errors import UNREADABLE

Tails = dict[Market, tuple[int, int]]
"""Of each market the last trade id up to which none is missing, and its time in ns."""


class Registry:
    """Of one member. ``stack`` closes the way to the servers. ``lease_s`` is that of the members that are there."""

    def __init__(
        self,
        settings: Cluster,
        collector: str,
        home: str,
        started_ns: int,
        elapsed_ns: Callable[[], int],
        stack: AsyncExitStack,
    ) -> None:
        self.lease_s = settings.lease_s
        self._settings, self._collector = settings, collector
        self._of_run = home, started_ns
        self._elapsed_ns = elapsed_ns
        self._stack = stack
        self._session: Session | None = None
        self._lease: Lease | None = None
        self._markets: KeyValue | None = None
        self._tails: Tails = {}
        self._tails_put = b""
        self._trouble = "no server has answered yet"

    @property
    def is_open(self) -> bool:
        """Whether a server has answered yet."""
        return self._session is not None

    @property
    def is_held(self) -> bool:
        """Whether we have a lease."""
        return self._lease is not None and self._lease.is_held

    @property
    def trouble(self) -> str:
        """Why there is none, as far as the servers had a part in it."""
        return self._trouble if self._lease is None else self._lease.trouble or self._trouble

    @property
    def rival(self) -> tuple[Presence, int] | None:
        """Who has our name, and the revision of its word."""
        lease = self._lease
        return (lease.rival, lease.rival_revision) if lease is not None and lease.rival is not None else None

    @property
    def patience_s(self) -> float:
        """How long an answer may take: there are to be three tries in the time of a lease."""
        return self.lease_s / 3

    async def open(self, patience_s: float | None) -> None:
        """
        Raises:
            NoServer: if none answers for so long; None waits for ever.
            ClusterError: if a server refuses our identity.
        """
        self._session = await self._stack.enter_async_context(opened(self._settings, self._collector, patience_s))

    async def tell(self, word: Presence) -> bool:
        """Renews the lease, or asks for one: whether the servers have confirmed it."""
        if not self.is_held:
            try:
                async with asyncio.timeout(2 * self.patience_s):
                    await self._prepare()
            except TROUBLES as error:
                self._trouble = str(error) or type(error).__name__
                return False
            self._trouble = ""
        assert self._lease is not None
        return await self._lease.tell(word, self.patience_s)

    async def end(self) -> None:
        """Gives the lease up."""
        if self._lease is not None and self._lease.is_held:
            await self._lease.end(self.patience_s)

    async def look(self) -> dict[str, Presence]:
        """The word of every member, by its name, our own among them.

        Raises:
            One of TROUBLES.
        """
        assert self._session is not None
        assert self._lease is not None
        async with asyncio.timeout(self.patience_s):
            found = await entries(self._session, self._lease.kv, self._session.names.members)
        words = {}
        for entry in found:
            try:
                word = decode(entry.value or b"")
            except UNREADABLE as error:
                logger.bind(key=entry.key, reason=str(error)).warning("cluster_member_not_understood")
                continue
            words[word.collector] = word
        return words

    async def put_tails(self, tails: Mapping[Market, tuple[int, int]]) -> None:
        """Notes what is new of them. Nothing is lost if the servers do not take it: the next time it is more."""
        if self._markets is None:
            return
        self._tails |= tails
        value = msgspec.json.encode({str(market): tail for market, tail in sorted(self._tails.items())})
        if value == self._tails_put:
            return
        try:
            async with asyncio.timeout(self.patience_s):
                await self._markets.put(key_of(self._collector), value)
        except TROUBLES as error:
            logger.bind(reason=str(error) or type(error).__name__).debug("cluster_tails_not_put")
        else:
            self._tails_put = value

    async def tails(self) -> Tails:
        """The newest that anybody knows of each market.

        Raises:
            One of TROUBLES.
        """
        assert self._session is not None
        assert self._markets is not None
        newest: Tails = {}
        async with asyncio.timeout(self.patience_s):
            found = await entries(self._session, self._markets, self._session.names.markets)
        for entry in found:
            for market, tail in _read(entry).items():
                if market not in newest or tail[1] > newest[market][1]:
                    newest[market] = tail
        return newest

    async def _prepare(self) -> None:
        """Buckets that are there, and a lease that can be asked for."""
        assert self._session is not None
        kv = await bucket(self._session, self._session.names.members, self._settings.lease_s)
        if self._lease is None:
            self.lease_s = await self._agreed(self._session, kv)
            home, started_ns = self._of_run
            self._lease = Lease(kv, self._collector, home, started_ns, self.lease_s, self._elapsed_ns)
        self._lease.kv = kv
        markets = await bucket(self._session, self._session.names.markets)
        if self._markets is None:
            try:
                self._tails = _read(await markets.get(key_of(self._collector)))
            except KeyNotFoundError:
                self._tails = {}
        self._markets = markets

    async def _agreed(self, session: Session, kv: KeyValue) -> float:
        """How long a lease lasts: as the first member had it in its settings."""
        wanted_s, status = self._settings.lease_s, await kv.status()
        if status.ttl == wanted_s:
            return wanted_s
        if not await entries(session, kv, session.names.members):
            config = status.stream_info.config.evolve(max_age=wanted_s, duplicate_window=min(120.0, wanted_s))
            await session.jetstream.update_stream(config)
            return wanted_s
        logger.bind(lease_s=status.ttl, configured_s=wanted_s).warning("cluster_lease_s_differs")
        return status.ttl or wanted_s


def _read(entry: KeyValue.Entry) -> Tails:
    """A member's tails; nothing if they cannot be read."""
    try:
        return decode_tails(entry.value or b"{}")
    except UNREADABLE as error:
        logger.bind(key=entry.key, reason=str(error)).warning("cluster_member_not_understood")
        return {}
