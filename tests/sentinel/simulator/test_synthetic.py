"""What a synthetic market does to a book on request."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from sentinel.simulator import market
from sentinel.simulator.coinbase.dialect import COINBASE
from sentinel.simulator.connection import Stage
from sentinel.simulator.faults import Fault, Faults
from sentinel.simulator.instants import ns_of
from sentinel.simulator.market import Change, Fill, Product
from sentinel.simulator.synthetic import MS, SyntheticMarket
from sentinel.simulator.truth import Truth
from tests.end_to_end.judge import TruthFile
from tests.sentinel.simulator.coinbase.client import advanced, ask, hear
from tests.servers.exchange import trading
from tests.servers.waiting import LONGEST_S


async def test_a_crossed_book_and_its_end_are_the_truth(tmp_path: Path) -> None:
    """As long as it is to be crossed, whatever the market does meanwhile, what is told is what is written down."""
    truth = tmp_path / "t"
    async with trading(["BTC-USD"], truth, rate=50, trade_rate=50) as exchange:
        async with advanced(exchange, ask("level2", "BTC-USD")) as socket, asyncio.timeout(LONGEST_S):
            heard = await hear(socket, 10)
            for faults, trade_rate in (([Fault(kind="cross")], 50.0), ([], 0.0)):  # it ends without trades, too
                exchange.arm(*faults)
                exchange.market.trade_rate = trade_rate
                since_ns = time.time_ns() + 500 * MS
                while ns_of(heard[-1]["timestamp"]) < since_ns:  # what is heard next may be of before
                    heard += await hear(socket, 1)
    written = TruthFile(truth)
    (cross,) = written.faults
    assert cross["fault"] == "cross"
    tops = iter(written.tops["BTC-USD"])
    levels: dict[tuple[str, str], float] = {}
    crossed = []
    for message in heard:
        changes = [level for event in message["events"] for level in event.get("updates", ())]
        levels |= {(level["side"], level["price_level"]): float(level["new_quantity"]) for level in changes}
        if changes:
            bids, asks = (
                {float(price): size for (side, price), size in levels.items() if side == name and size}
                for name in ("bid", "offer")
            )
            best = max(bids), min(asks)
            sent_ns = next(t_ns for t_ns, *top in tops if top == [best[0], bids[best[0]], best[1], asks[best[1]]])
            crossed.append((cross["start_ns"] <= sent_ns < cross["end_ns"], best[0] >= best[1]))
    assert crossed[0] == crossed[-1] == (False, False)
    assert set(crossed) == {(False, False), (True, True)}


class Enough(Exception):
    """The market has run long enough."""


class Listener:
    """Notes whether the book of each frame is crossed, and the time it bears."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bool]] = []

    def book_changed(self, product: Product, changes: list[Change], now_ns: int) -> None:
        bid, ask = product.best
        self.frames.append((now_ns, bid >= ask))

    def traded(self, product: Product, fill: Fill, feeds: Collection[str], now_ns: int) -> None:
        pass

    def tick(self, now_ns: int) -> None:
        if len(self.frames) > 300:
            raise Enough


async def test_frames_of_one_time_are_all_before_the_end_of_a_cross_or_none_is(tmp_path: Path) -> None:
    """Several takers may come at one moment, and the clock goes on while they are told of."""
    file, moment = tmp_path / "t", count(1_788_746_279_000_000_000, 200_000)
    with closing(Truth(file)) as truth:
        faults = Faults([Fault(kind="cross", at_s=0.02, duration_s=0.02, every_s=0.04)], 1, moment.__next__)
        faults.begin()
        stage = Stage(COINBASE.facts, faults, truth, moment.__next__)
        products = market.products(["BTC-USD"], 60, 1)
        listener = Listener()
        with pytest.raises(Enough):
            await SyntheticMarket(stage, products, rate=200, trade_rate=1000, seed=1, clear_ns=0).run(listener)
    written = [json.loads(line) for line in file.read_text().splitlines()]
    crosses = [(fact["start_ns"], fact["end_ns"]) for fact in written if fact["kind"] == "fault"]
    assert len(crosses) > 3
    told = [frame for frame in listener.frames if frame[0] < crosses[-1][1]]
    assert [is_crossed for _, is_crossed in told] == [
        any(start_ns <= now_ns < end_ns for start_ns, end_ns in crosses) for now_ns, _ in told
    ]
