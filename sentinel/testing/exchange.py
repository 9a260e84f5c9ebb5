"""The simulated exchange in a thread of its own, so that a test may be of any kind: with asyncio, trio, or neither."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from sentinel.config.names import venue_environment
from sentinel.errors import UsageError
from sentinel.simulator import market
from sentinel.simulator.catalogue import DEFAULT_VENUE, VENUES
from sentinel.simulator.connection import Stage
from sentinel.simulator.dialect import Venue
from sentinel.simulator.exchange import Exchange
from sentinel.simulator.faults import Fault, Faults
from sentinel.simulator.synthetic import SyntheticMarket
from sentinel.testing.truth import Recorded, TrueFault, TrueTop, TrueTrade


class SimulatedExchange:
    """``with SimulatedExchange("BTC-USD") as exchange:`` serves a synthetic market of a venue on this machine.

    ``urls`` are the addresses of its feeds and of REST, ``environment`` the same as a collector's settings have them.
    Each second it makes ``rate`` changes of books and ``trade_rate`` takers a product; the same ``seed`` is the same
    market. ``faults`` are those of ``sentinel-ws simulate``, their clock begins with the first client; ``arm`` them
    when yours listens, if they are not to come before.

    Raises:
        UsageError: for a venue, a product or a fault that cannot be.
    """

    def __init__(
        self,
        *products: str,
        venue: str = DEFAULT_VENUE,
        faults: Sequence[Fault] = (),
        seed: int = 1,
        levels: int = 300,
        rate: float = 20.0,
        trade_rate: float = 4.0,
    ) -> None:
        if venue not in VENUES:
            raise UsageError(f"there is no dialect of {venue!r}, only of {', '.join(VENUES)}")
        spoken = VENUES[venue]
        _check(spoken, faults)
        self.venue = venue
        self.products = list(products) or [spoken.facts.product_name.format("BTC")]
        self.urls: Mapping[str, str] = {}
        self._truth = Recorded()
        self._spoken = spoken
        self._faults = [*faults]
        self._seed, self._levels = seed, levels
        self._rates = rate * len(self.products), trade_rate * len(self.products)
        self._market: SyntheticMarket | None = None
        self._ready = threading.Event()
        self._thread = ThreadPoolExecutor(1, "simulated exchange")
        self._running: Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._running = self._thread.submit(lambda: asyncio.run(self._serve()))
        self._running.add_done_callback(lambda _: self._ready.set())
        self._ready.wait()
        if self._running.done():
            self._running.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every connection."""
        if self._loop is not None and self._stop is not None and self._running is not None and not self._running.done():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.shutdown()

    @property
    def environment(self) -> dict[str, str]:
        """What a collector, or ``sentinel.live``, has to find in its environment to come here."""
        return venue_environment(self.venue, dict(self.urls))

    # What really happened

    def trades(self, product: str | None = None) -> list[TrueTrade]:
        """Every trade so far, those from before the market opened and hidden ones among them."""
        return [trade for trade in self._truth.trades() if product in (None, trade.product)]

    def tops(self, product: str | None = None) -> list[TrueTop]:
        """The best levels after each book frame."""
        return [top for top in self._truth.tops() if product in (None, top.product)]

    def faults(self) -> list[TrueFault]:
        """Those that have struck so far."""
        return self._truth.faults()

    def connections(self) -> int:
        """How many WebSockets were opened so far."""
        return self._truth.connections()

    # What is to happen

    def arm(self, *faults: Fault) -> None:
        """From now on these go wrong and no others; their clock begins now.

        Raises:
            UsageError: for a fault that cannot be.
        """
        _check(self._spoken, faults)
        self._do(lambda market: market.stage.faults.arm([*faults]))

    def stop_trading(self) -> None:
        """Nobody trades from now on; books go on changing."""
        self._do(lambda market: setattr(market, "trade_rate", 0.0))

    def _do(self, act: Callable[[SyntheticMarket], object]) -> None:
        """In the exchange's thread, between two of its steps; it is done on return. Nothing after the end."""

        async def doing(market: SyntheticMarket) -> None:
            act(market)

        is_running = self._running is not None and not self._running.done()
        if is_running and self._loop is not None and self._market is not None:
            asyncio.run_coroutine_threadsafe(doing(self._market), self._loop).result()

    # The thread

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        facts = self._spoken.facts
        stage = Stage(facts, Faults(self._faults, self._seed, time.time_ns), self._truth, time.time_ns)
        made = market.products(self.products, self._levels, self._seed, facts.product_name)
        rate, trade_rate = self._rates
        self._market = SyntheticMarket(stage, made, rate=rate, trade_rate=trade_rate, seed=self._seed)
        async with Exchange(self._spoken.live(self._market), stage) as exchange:
            self.urls = dict(exchange.urls)
            self._ready.set()
            await self._stop.wait()


def _check(venue: Venue, faults: Sequence[Fault]) -> None:
    facts = venue.facts
    for fault in faults:
        if fault.kind not in facts.faults:
            raise UsageError(f"{fault.kind!r} cannot happen at {facts.name}, only {', '.join(sorted(facts.faults))}")
        if fault.feed is not None and fault.feed not in facts.feeds:
            raise UsageError(f"{facts.name} has no feed {fault.feed!r}, only {', '.join(facts.feeds)}")
