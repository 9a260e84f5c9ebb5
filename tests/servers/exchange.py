"""The local exchange in this process, with a synthetic market or a recording. When the process stood still is written
down beside the truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

from websockets.exceptions import ConnectionClosed

from sentinel.simulator import market, recording
from sentinel.simulator.coinbase.dialect import COINBASE
from sentinel.simulator.connection import Stage
from sentinel.simulator.dialect import Venue
from sentinel.simulator.exchange import Exchange
from sentinel.simulator.faults import Fault, Faults
from sentinel.simulator.player import Player
from sentinel.simulator.synthetic import CLEAR_NS, SLOT_S, SyntheticMarket
from sentinel.simulator.truth import Truth
from tests.servers import stood
from tests.servers.waiting import LONGEST_S, until

ANSWERS = 3
"""Times that all answer: what a client has read by one answer, it has used by the next."""


@asynccontextmanager
async def playing(
    path: Path, speed: float, truth: Path | None = None, *faults: Fault, venue: Venue = COINBASE
) -> AsyncIterator[Exchange]:
    """An exchange that plays a recording."""
    assert venue.recorded is not None
    assert venue.reader is not None
    with closing(Truth(truth)) as written:
        stage = Stage(venue.facts, Faults(list(faults), 1, time.time_ns), written, time.time_ns)
        player = Player(stage, recording.load(path, [venue.reader]), speed)
        async with Exchange(venue.recorded(player), stage) as exchange, AsyncExitStack() as stack:
            if truth is not None:
                await stack.enter_async_context(stood.noted(truth.with_name(stood.FILE)))
            yield exchange


class Market(Exchange):
    """An exchange with a synthetic market, which can be told to stop trading."""

    def __init__(self, venue: Venue, market: SyntheticMarket, port: int) -> None:
        super().__init__(venue.live(market), market.stage, port)
        self.market = market
        self.faults = market.stage.faults
        self.connections = market.stage.connections

    @property
    def products(self) -> list[str]:
        """By name."""
        return list(self.market.products)

    async def until(self, elapsed_s: float) -> None:
        """Waits for a moment on the clock of the faults, which the first client starts; and until what was to happen by
        then has happened, since all of this process may have stood still."""
        async with asyncio.timeout(LONGEST_S):
            while (left_s := elapsed_s - self.faults.elapsed_s()) > 0:
                await asyncio.sleep(min(left_s, 0.1))
            await asyncio.sleep(2 * SLOT_S)  # the market, which sleeps for one slot, is awake before

    async def subscribed(self, connections: int) -> None:
        """Waits until so many connections have asked for something."""
        await until(lambda: len(self.connections) >= connections)

    def arm(self, *faults: Fault) -> None:
        """From now on these go wrong and no others, by a clock that begins now: what is to meet a collector must not
        come before it listens, however long it takes to."""
        self.faults.arm(list(faults))

    async def on_rest(self, product: str, trade_id: int) -> None:
        """Waits until REST has this trade: it lags behind the streams."""
        await until(lambda: bool(self.market.trades(product, trade_id, trade_id)))

    async def quiet_end(self, seconds: float) -> None:
        """Nothing new for a while, so that everything published can be on disk at the end: who listens has heard of
        it all, however long it stood still."""
        self.market.trade_rate = 0.0
        await asyncio.sleep(seconds)
        await self.heard()

    async def heard(self) -> None:
        """Waits until all listen, and have used what was sent before."""
        async with asyncio.timeout(LONGEST_S):
            answered = 0
            while answered < ANSWERS:
                answered = answered + 1 if await self._is_heard() else 0
                await asyncio.sleep(SLOT_S)

    async def _is_heard(self) -> bool:
        """Whether each feed has listeners, and each of them has read everything up to now."""
        listening = list(self.connections)
        if {connection.feed for connection in listening} != {feed for feed, count in self._opened.items() if count}:
            return False
        try:
            for pong in [await connection.socket.ping() for connection in listening]:
                await pong
        except ConnectionClosed:
            return False
        return listening == self.connections


@asynccontextmanager
async def trading(
    products: int | list[str],
    truth: Path,
    *faults: Fault,
    venue: Venue = COINBASE,
    seed: int = 1,
    levels: int = 300,
    rate: float | None = None,
    trade_rate: float | None = None,
    port: int = 0,
    clear_ns: int = CLEAR_NS,
    now_ns: Callable[[], int] = time.time_ns,
) -> AsyncIterator[Market]:
    """An exchange with a synthetic market of ``products``, which goes by ``now_ns``."""
    truth.parent.mkdir(parents=True, exist_ok=True)
    with closing(Truth(truth)) as written:
        stage = Stage(venue.facts, Faults(list(faults), seed, now_ns), written, now_ns)
        made = market.products(products, levels, seed, venue.facts.product_name)
        synthetic = SyntheticMarket(
            stage,
            made,
            rate=20.0 * len(made) if rate is None else rate,
            trade_rate=4.0 * len(made) if trade_rate is None else trade_rate,
            seed=seed,
            clear_ns=clear_ns,
        )
        async with Market(venue, synthetic, port) as exchange, stood.noted(truth.with_name(stood.FILE)):
            yield exchange
