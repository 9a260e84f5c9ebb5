"""A server that shows made-up things: whatever a test wants to see on the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import aiohttp
from msgspec.structs import replace
from playwright.async_api import expect

from feeds.market import Market
from sentinel.gap_report.report import ProductReport, Report, Samples, ToldGap, Trades, Window
from sentinel.monitor.alerts import Alert
from sentinel.monitor.api.app import Sight
from sentinel.monitor.api.server import HttpServer
from sentinel.monitor.history import STEPS_S, History, LargeTrade, LatenessPoint, SampleColumn, TradeColumn
from sentinel.monitor.monitor import Depth
from sentinel.monitor.status import BinStatus, Status
from tests.sentinel.monitor.api.test_api import status_of
from tests.sentinel.monitor.test_alerts import GOOD, GOOD_LINE, GOOD_PRODUCT
from tests.servers.ports import free_port
from tests.servers.waiting import LONGEST_S

expect.set_options(timeout=LONGEST_S * 1000)  # a browser on a busy machine is slow, and a test is of values

S = 1_000_000_000
MINUTE = 60 * S
NOW = 1_764_180_120 * S
BINS = [BinStatus("1", 1.0, 2.0), BinStatus("10", 12.0, 6.0), BinStatus("25", 30.0, 24.0)]
MARKETS = [
    Market("reef", "BTC-USD"),
    Market("coinbase", "BTC-USD"),
    Market("reef", "BTC/USD"),
    Market("coinbase", "ETH-USD"),
]


class Eye:
    """A sight of whatever ``markets`` are; ``doubted`` is the one whose book is not proved. The n-th has a bid of n.

    The book of each was lost from 90 to 80 s ago; two minutes ago 3 trades were missing, of which 2 are repaired.
    """

    def __init__(self, markets: list[Market] = MARKETS) -> None:
        self.markets = list(markets)
        self.doubted: Market | None = Market("reef", "BTC/USD")
        self.raised: list[Alert] = []
        self.is_open = True

    def status(self) -> Status:
        assert self.is_open, "streams end with the server"
        products = [
            replace(
                GOOD_PRODUCT, **market._asdict(), is_proved=market != self.doubted, bid=number + 1.0, ask=number + 2.25,
                bins=BINS,
            )
            for number, market in enumerate(self.markets)
        ]  # fmt: skip
        lines = [
            replace(GOOD_LINE, lane=lane, exchange=exchange, venue=f"{exchange}_plain")
            for lane, exchange in enumerate(dict.fromkeys(market.exchange for market in self.markets))
        ]
        return replace(GOOD, products=products, connections=lines, now_ns=NOW, uptime_s=2275.4)

    def alerts(self) -> list[Alert]:
        return self.raised

    def depth(self, market: Market, levels: int) -> Depth | None:
        if market not in self.markets:
            return None
        return Depth(market.symbol, is_proved=True, changed_ns=1, bids=[], asks=[], exchange=market.exchange)

    def report(self, since_s: float, market: Market | None = None) -> Report:
        window = Window(NOW - 30 * MINUTE, NOW)
        gaps = [
            ToldGap("book", "sequence", missing_count=100, start_seq=7, end_seq=9, **_span(90, 80)),
            ToldGap("trades", "trades", missing_count=3, repaired_count=2, **_span(120, 119)),
        ]
        products = [
            ProductReport(
                *each, "sequence", Samples(18_000, 17_900, 100), Trades(1, 9, 6, 1, 2), 0.99, 0.99, 0.9, gaps, window,
                is_complete=False,
            )
            for each in self.markets
            if market in (None, each)
        ]  # fmt: skip
        return Report(window, products, "incomplete", window, collected_only=False)

    def history(self, market: Market, minutes: int, after_ns: int | None) -> History | None:
        """A sample for each column but those of the gap, and a buy and a sell for each tenth."""
        if market not in self.markets:
            return None
        step_ns, edges = STEPS_S[minutes] * S, [each.bps for each in BINS]
        start_ns = NOW - minutes * MINUTE
        times = [ns for ns in range(start_ns, NOW, step_ns) if after_ns is None]
        samples = [
            SampleColumn(ns, 100 + at % 5 / 4, 100.02 + at % 5 / 4, 2.0, 20.0, [1.0, 12.0, 30.0], [2.0, 6.0, 24.0])
            for at, ns in enumerate(times)
            if not NOW - 90 * S <= ns < NOW - 80 * S
        ]
        trades = [TradeColumn(ns, 2, 3.0, 1.0, 100.0, 101.0, 100.25, 1, 4.5, 9.0, _pair(ns)) for ns in times[::10]]
        late = [LatenessPoint(ns, 100.0, 400.0) for ns in times[::5]]
        return History(*market, start_ns, NOW, step_ns, start_ns, start_ns, edges, samples, trades, late)


def _span(start_s: int, end_s: int) -> dict[str, int]:
    return {"start_ns": NOW - start_s * S, "end_ns": NOW - end_s * S}


def _pair(ns: int) -> list[LargeTrade]:
    bought = LargeTrade(ns + 5, 101.0, 3.0, "buy", 7, is_repaired=False)
    return [bought, LargeTrade(ns, 100.0, 1.0, "sell", 6, is_repaired=True)]


@asynccontextmanager
async def seen_by(eye: Eye, token: str | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with a server that shows what ``eye`` sees."""
    async with serving(eye, free_port(), token) as session:
        yield session


@asynccontextmanager
async def serving(eye: Eye, port: int, token: str | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """The same at a port."""
    address = f"127.0.0.1:{port}"
    server = asyncio.create_task(HttpServer(cast(Sight, eye), address, token).run())
    async with aiohttp.ClientSession(f"http://{address}") as session:
        async with asyncio.timeout(LONGEST_S):
            while await status_of(session, "/healthz") != 200:
                await asyncio.sleep(0.01)
        eye.is_open = True
        try:
            yield session
        finally:
            eye.is_open = False
            server.cancel()
            await asyncio.wait([server])
