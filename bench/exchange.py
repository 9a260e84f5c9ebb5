"""An exchange that costs little: ``python -m bench.exchange``, with some options of ``sentinel-ws simulate``.

The simulator's market and its manners, but the changes of each book are made and spelled beforehand, and come round
and round: a loop ends with the book it began with. Trades change nothing, and only Advanced Trade's book is told.
Frames go out at any moment, those near the sampling instants included.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time

import msgspec
import uvloop

from bench.corpus import CHANGES_PER_FRAME
from sentinel.simulator import market
from sentinel.simulator.coinbase import wording
from sentinel.simulator.coinbase.dialect import Coinbase
from sentinel.simulator.coinbase.facts import FACTS
from sentinel.simulator.coinbase.live import LiveSource
from sentinel.simulator.connection import Connection, Stage
from sentinel.simulator.exchange import Exchange
from sentinel.simulator.faults import Faults
from sentinel.simulator.market import Change, Fill, Product
from sentinel.simulator.synthetic import Speaker, SyntheticMarket
from sentinel.simulator.truth import Truth

SEED = 1
LOOP_FRAMES = 100
"""Of each product, before those that lead back: some seconds."""


class SteadyProduct(Product):
    """One whose orders are never used up."""

    def trade(self, now_us: int) -> tuple[list[Fill], list[Change]]:
        side: market.Side = "bid" if self._rng.random() < 0.5 else "ask"
        return [self._fill(now_us, side, keep_level=True) for _ in range(self._rng.choice((1, 1, 1, 2, 4)))], []


Levels = dict[tuple[market.Side, int], int]


def _held(product: Product) -> Levels:
    return {(side, price): size for side, price, size in product.levels()}


class Loop:
    """One product's frames; ``position`` is that of the next one."""

    def __init__(self, product: Product, now_ns: int) -> None:
        self._product = product
        self._first = _held(product)
        self._changes = [product.change() for _ in range(LOOP_FRAMES)]
        self._changes += _back(_held(product), self._first)
        self._tails = [wording.advanced_book(product, "update", changes, now_ns) for changes in self._changes]
        self.position = 0

    def tail(self) -> str:
        """What follows the number of the next frame."""
        tail = self._tails[self.position]
        self.position = (self.position + 1) % len(self._tails)
        return tail

    def snapshot(self, now_ns: int) -> str:
        """What follows the number of a snapshot."""
        held = self._first.copy()
        for changes in self._changes[: self.position]:
            held |= {(side, price): size for side, price, size in changes}
        levels = [Change(side, price, size) for (side, price), size in held.items() if size]
        return wording.advanced_book(self._product, "snapshot", levels, now_ns)


def _back(held: Levels, first: Levels) -> list[list[Change]]:
    """Frames that lead from one book to another; deletes come first, so that nothing crosses on the way."""
    changes = [Change(side, price, 0) for side, price in held.keys() - first.keys()]
    changes += [Change(side, price, size) for (side, price), size in first.items() if held.get((side, price)) != size]
    return [changes[at : at + CHANGES_PER_FRAME] for at in range(0, len(changes), CHANGES_PER_FRAME)]


class LoopingMarket(SyntheticMarket):
    """The synthetic market, its books as loops."""

    def __init__(self, stage: Stage, products: dict[str, Product], rate: float) -> None:
        self.loops = {name: Loop(product, stage.now_ns()) for name, product in products.items()}
        super().__init__(stage, products, rate=rate, trade_rate=2.0 * len(products), seed=SEED, clear_ns=0)

    def _change_book(self, product: Product, speaker: Speaker, now_ns: int) -> None:
        """Nobody has to find words for it."""
        name, tail = product.name, self.loops[product.name].tail()
        head = wording.advanced_head("l2_data", now_ns)
        for connection in self.stage.connections:
            if name in connection.channels.get("level2", ()):
                connection.send_numbered("l2_data", name, head, tail)


class LoopingSource(LiveSource):
    """What is said of such a market."""

    def __init__(self, market: LoopingMarket) -> None:
        super().__init__(market)
        self._loops = market.loops

    def _send_snapshot(self, connection: Connection, product: Product, now_ns: int) -> None:
        head = wording.advanced_head("l2_data", now_ns)
        connection.send_numbered("l2_data", product.name, head, self._loops[product.name].snapshot(now_ns))

    def book_changed(self, product: Product, changes: list[Change], now_ns: int) -> None:
        """A taker's fills leave the book as it is."""


async def _serve(products: int, levels: int, rate: float) -> None:
    stage = Stage(FACTS, Faults([], SEED, time.time_ns), Truth(None), time.time_ns)
    made = market.products(products, levels, SEED, FACTS.product_name, SteadyProduct)
    source = LoopingSource(LoopingMarket(stage, made, rate))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Exchange(Coinbase(source, stage), stage) as exchange:
        print(msgspec.json.encode(exchange.urls).decode(), flush=True)
        await stop.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=400)
    parser.add_argument("--rate", type=float, default=10_000, help="book frames a second, all products")
    parser.add_argument("--levels", type=int, default=1000, help="of each side of the first books")
    uvloop.run(_serve(**vars(parser.parse_args())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
