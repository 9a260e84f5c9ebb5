"""A collector as one of many: keeps its lease, watches the others, and collects what is dealt to it.

In each round it tells its word, reads those of all others, and takes or lets go what ``deal`` says. Without a lease it
is *outside*: it claims nothing, decides nothing, and goes on collecting what it has until the servers answer again.
Then it decides nothing for the time of a lease, in which the others, whose servers were away too, come back.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from hashlib import blake2b
from typing import Any, Protocol

import msgspec
from loguru import logger
from msgspec import Struct
from msgspec.structs import replace

from feeds.market import Market
from sentinel.cluster.deal import Hand, owners
from sentinel.cluster.presence import Presence
from sentinel.cluster.registry import Registry, Tails
from sentinel.cluster.session import NoServer
from sentinel.cluster.stream import TROUBLES
from sentinel.config import Config
from sentinel.disk.membership import Membership, MembershipFile
from sentinel.errors import UsageError
from sentinel.timing.clock import elapsed_reader
from sentinel.timing.instants import NS_PER_S
from sentinel.version import software

PATIENCE_S = 3.0
"""How long the servers are waited for at the start, where the share of last time is known."""

SETTLE_S = 1.5
"""From our own word to the first look at those of others: members that start together see each other first."""

LEAVE_S = 15.0
"""The longest a member that is told to end goes on until others have its markets."""

ROUNDS = 6
"""In the time of a lease; in each third of it the lease is renewed."""


class Collecting(Protocol):
    """What is needed of ``collector.service.Service``."""

    def replan(
        self, markets: Collection[Market], tails: Mapping[Market, tuple[int, int]], handed: Collection[Market]
    ) -> None: ...
    def proved(self) -> set[Market]: ...
    def share(self, part: float) -> None: ...


class Products(Protocol):
    """What is needed of ``exchange.listing.Listing``."""

    @property
    def markets(self) -> list[Market]: ...
    @property
    def unlisted(self) -> frozenset[Market]: ...


class Allowance(Protocol):
    """What is needed of ``exchange.rest.RestClients``."""

    def share(self, part: float) -> None: ...


class Standing(Struct, frozen=True):
    """How a member is. ``since_ns`` is when it came inside or went outside, that for ``reason``. ``members`` are those
    of the last look; ``taken`` and ``handed`` count markets since the start. ``uncovered`` are ours, and nobody's, of
    which no member has had a proved book, since when."""

    is_inside: bool
    since_ns: int
    reason: str
    members: list[str]
    taken: int
    handed: int
    uncovered: dict[Market, int] = {}


class Member:
    """This collector. ``products`` is what is asked for; ``rest`` shares its allowance with the members beside us."""

    def __init__(
        self,
        config: Config,
        products: Products,
        rest: Allowance,
        now_ns: Callable[[], int],
        stack: AsyncExitStack,
        elapsed_ns: Callable[[], int] | None = None,
    ) -> None:
        self._published: Callable[[], Mapping[Market, tuple[int, int]]] = dict
        self._collector = config.collector
        self._products, self._rest = products, rest
        self._now_ns, self._elapsed_ns = now_ns, elapsed_ns or elapsed_reader()
        self._file = MembershipFile(config.data_dir)
        self._kept = self._file.read()
        started_ns, address = now_ns(), config.cluster.address or platform.node() or "sentinel"
        self._self = Presence(
            collector=config.collector,
            address=address,
            started_ns=started_ns,
            home=self._kept.home,
            asks=_asked(config),
            replicas=config.cluster.replicas,
            http=None if config.http is None else f"http://{config.http}",
            version=software(),
        )
        self._replicas = config.cluster.replicas
        self._registry = Registry(
            config.cluster, config.collector, self._kept.home, started_ns, self._elapsed_ns, stack
        )
        self._hand = Hand(config.collector)
        self._owners: tuple[object, dict[Market, tuple[str, ...]]] = (None, {})
        self._sharing = 1
        self._told: Presence | None = None
        self._renew_ns = self._settled_ns = 0
        self._standing = Standing(False, started_ns, self._registry.trouble, [], 0, 0)
        self._has_joined = self._has_begun = self._has_heirs = False
        self._differing: set[str] = set()
        self._unlisted = products.unlisted
        self._news = asyncio.Event()
        self._is_leaving = False
        self._has_left = asyncio.Event()

    @property
    def standing(self) -> Standing:
        """How it is now."""
        return self._standing

    # Start and end

    @property
    def markets(self) -> list[Market]:
        """What it collects, in the order of what is asked for."""
        return [market for market in self._products.markets if market in self._hand.held]

    async def join(self) -> None:
        """Becomes a member, before anything is collected. It begins with nothing, since in a moment others have a say
        in it; or with the share of last time if the servers do not answer.

        Raises:
            UsageError: if another collector has our name.
            ClusterError: if a server refuses our identity.
        """
        is_known = self._kept.markets is not None
        told = asyncio.get_running_loop().call_later(PATIENCE_S, lambda: logger.warning("cluster_awaited"))
        try:
            await self._registry.open(PATIENCE_S if is_known else None)
            await self._claim(PATIENCE_S + self._registry.lease_s if is_known else None)
        except (NoServer, TimeoutError):
            self._begin_outside()
        finally:
            told.cancel()

    async def leave(self, stop: asyncio.Event, end: asyncio.Event) -> None:
        """Once ``stop`` is set, sees that others have our markets, as far as there are any, and sets ``end``."""
        await stop.wait()
        self._is_leaving = True
        self._news.set()
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._has_left.wait()
        except TimeoutError:
            logger.bind(markets=len(self._hand.held)).warning("cluster_left_early")
        finally:
            end.set()

    def changed(self) -> None:
        """Other products are asked for or listed than before."""
        self._news.set()

    async def run(
        self,
        service: Collecting,
        summary: Callable[[], dict[str, Any]],
        published: Callable[[], Mapping[Market, tuple[int, int]]],
    ) -> None:
        """Rounds, until it has left or is cancelled. ``summary`` is what people are to see of this member.

        ``published`` gives of each market the last trade up to which all are in the stream: whoever takes the market
        over fetches those after it, should this machine never be back.
        """
        self._published = published
        self._share(service, self._kept.sharing)
        while not self._has_left.is_set():
            if self._products.unlisted != self._unlisted:
                self._unlisted = self._products.unlisted
                self._collect(service, {})
            if self._registry.is_open or await self._open():
                await self._round(service, summary)
            if not self._has_begun and not self._standing.is_inside and self._kept.markets is not None:
                self._begin_outside()
                self._collect(service, {})
            if self._is_leaving and self._is_free:
                await self._go(service)
                return
            await self._pause()

    @property
    def _is_free(self) -> bool:
        """Whether nobody waits for us, or there is nobody whom we could wait for."""
        return not (self._hand.held and self._standing.is_inside and self._has_heirs)

    async def _go(self, service: Collecting) -> None:
        if self._registry.is_held:
            await self._registry.put_tails(self._published())
        await self._registry.end()
        logger.bind(markets=len(self._hand.held)).info("cluster_left")
        self._has_left.set()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._registry.lease_s / ROUNDS):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    async def _open(self) -> bool:
        try:
            await self._registry.open(PATIENCE_S)
        except NoServer:
            return False
        return True

    async def _claim(self, patience_s: float | None) -> None:
        """Asks for a lease until we have one: that of whoever has our name may have to end first."""
        seen: int | None = None
        async with asyncio.timeout(patience_s):
            while not await self._registry.tell(self._self):
                if self._registry.rival is not None:
                    rival, revision = self._registry.rival
                    if seen not in (None, revision):
                        raise UsageError(
                            f"cluster: another collector called {rival.collector} is a member, at {rival.address}: "
                            "each needs its own name, set by collector"
                        )
                    seen = revision
                await asyncio.sleep(self._registry.lease_s / ROUNDS)
        self._stand()

    def _begin_outside(self) -> None:
        """The share of last time, as far as it is still asked for."""
        self._has_begun = True
        known = {Market.parse(market) for market in self._kept.markets or ()}
        self._hand = replace(self._hand, held=frozenset(known.intersection(self._products.markets)))
        logger.bind(markets=len(self._hand.held), reason=self._registry.trouble).warning("cluster_begun_outside")

    # A round

    async def _round(self, service: Collecting, summary: Callable[[], dict[str, Any]]) -> None:
        self._stand()
        if not await self._tell(service, summary):
            self._settled_ns = self._elapsed_ns() + round(self._registry.lease_s * NS_PER_S)
        self._stand()
        if self._told is None or not self._registry.is_held or self._elapsed_ns() < self._settled_ns:
            return
        try:
            words = await self._registry.look()
            hand = await self._dealt(words)
            taken = hand.held - self._hand.held
            tails = await self._registry.tails() if taken else {}
        except TROUBLES as error:
            logger.bind(reason=str(error) or type(error).__name__).debug("cluster_not_seen")
            return
        if self._registry.is_held:  # else we were frozen, say, and all this is of long ago
            self._heed(service, words)
            self._take(service, hand, {market: tails[market] for market in taken if market in tails})

    async def _tell(self, service: Collecting, summary: Callable[[], dict[str, Any]]) -> bool:
        """Our word, if it is new or it is time. False if the servers have not confirmed it."""
        vouched = self._hand.vouched(service.proved())
        holds = {str(market): market in vouched for market in sorted(self._hand.held - self._unlisted)}
        word = replace(self._self, holds=holds, is_leaving=self._is_leaving)
        if word == self._told and self._elapsed_ns() < self._renew_ns:
            return True
        self._told = None
        self._renew_ns = self._elapsed_ns() + round(self._registry.lease_s / 3 * NS_PER_S)
        if not await self._registry.tell(replace(word, status=summary())):
            return False
        self._told = word
        await self._registry.put_tails(self._published())
        return True

    def _stand(self) -> None:
        """Notes whether we are inside, and tells it if that is news."""
        is_inside, was_inside = self._registry.is_held, self._standing.is_inside
        if is_inside == was_inside:
            return
        if is_inside:
            logger.bind(address=self._self.address).info(
                "cluster_lease_renewed" if self._has_joined else "cluster_joined"
            )
            wait_s = self._registry.lease_s if self._has_begun else SETTLE_S
            self._settled_ns = self._elapsed_ns() + round(wait_s * NS_PER_S)
            self._has_joined = True
        reason = "" if is_inside else self._registry.trouble or "we were frozen, or too busy to renew it"
        if not is_inside:
            logger.bind(reason=reason, markets=len(self._hand.held)).warning("cluster_lease_lost")
        self._standing = replace(
            self._standing,
            is_inside=is_inside,
            since_ns=self._now_ns(),
            reason=reason,
            uncovered={},
        )

    async def _dealt(self, words: Mapping[str, Presence]) -> Hand:
        """Our hand once the cards are dealt anew among those who stay."""
        staying = {name: word.vouched() for name, word in words.items() if not word.is_leaving}
        assert self._told is not None
        if not self._is_leaving:
            staying[self._collector] = self._told.vouched()
        markets = [market for market in self._products.markets if market not in self._unlisted]
        key = markets, sorted(staying)
        if self._owners[0] != key:
            self._owners = key, await asyncio.to_thread(owners, markets, set(staying), self._replicas)
        return self._hand.after(self._owners[1], staying)

    def _heed(self, service: Collecting, words: Mapping[str, Presence]) -> None:
        """What else the others' words mean for us."""
        others = [word for name, word in words.items() if name != self._collector]
        members = sorted([*(word.collector for word in others), self._collector])
        uncovered = {market: self._standing.uncovered.get(market, self._now_ns()) for market in self._uncovered(others)}
        if members != self._standing.members or uncovered != self._standing.uncovered:
            self._standing = replace(self._standing, members=members, uncovered=uncovered)
        self._share(service, 1 + sum(word.address == self._self.address for word in others))
        differing = {word.collector for word in others if word.asks != self._self.asks}
        if differing - self._differing:
            logger.bind(members=", ".join(sorted(differing))).warning("cluster_members_differ")
        self._differing = differing
        self._has_heirs = not all(word.is_leaving for word in others)

    def _uncovered(self, others: Collection[Presence]) -> list[Market]:
        """The markets of which nobody has a proved book, as far as nobody else is to say so."""
        told = [] if self._told is None else [self._told]
        vouched = {market for word in (*told, *others) for market in word.vouched()}
        held = {Market.parse(market) for word in others for market in word.holds}
        asked = (market for market in self._products.markets if market not in self._unlisted)
        return [
            market for market in asked if market not in vouched and (market in self._hand.held or market not in held)
        ]

    def _share(self, service: Collecting, sharing: int) -> None:
        """So many members use what is allowed our address."""
        if sharing != self._sharing:
            self._sharing = sharing
            service.share(1 / sharing)
            self._rest.share(1 / sharing)
            self._keep()

    def _take(self, service: Collecting, hand: Hand, tails: Tails) -> None:
        before, self._hand = self._hand, hand
        taken, handed = hand.held - before.held, before.held - hand.held
        if taken or handed or not self._has_begun:
            self._has_begun = True
            self._collect(service, tails)
        for market in sorted(taken):
            logger.bind(symbol=market.short).info("cluster_market_taken")
        for market in sorted(handed):
            to = ", ".join(self._owners[1].get(market, ()))
            logger.bind(symbol=market.short, to=to).info("cluster_market_handed")
        standing = self._standing
        if taken or handed:
            self._standing = replace(standing, taken=standing.taken + len(taken), handed=standing.handed + len(handed))
        self._keep()

    def _collect(self, service: Collecting, tails: Tails) -> None:
        """What is in our hand, from now on; all else that is asked for others have."""
        others = [market for market in self._products.markets if market not in self._hand.held]
        service.replan(self.markets, tails, others)

    def _keep(self) -> None:
        """For a start without servers. Whoever leaves will come back to what it had."""
        kept = Membership(self._kept.home, sorted(map(str, self._hand.held)), self._sharing)
        if not self._is_leaving and kept != self._kept:
            self._kept = kept
            self._file.keep(kept)


def _asked(config: Config) -> str:
    """The same for all members that deal the same products in the same way."""
    asked = sorted(config.products), config.select.model_dump(mode="json"), config.cluster.replicas
    return blake2b(msgspec.json.encode(asked), digest_size=8).hexdigest()
