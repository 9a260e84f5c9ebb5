"""Seeded runs of repair, backfill and listing against a REST API that lies, judged by the truth: all in this process.

    python -m tests.faults.liar 0-999
    python -m tests.faults.liar 17 --venue kraken --lie "years ahead"

Trades of a product come on the stream, but for some, which must be fetched. For some minutes REST lies, by one kind of
lie or by any, and then it is honest. No trade may be stored that the venue did not publish, none twice, none over what
the stream brought; what is missing is named as long as it is; once REST is honest all of it is stored; and all of that
with a bounded number of requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import click
from loguru import logger
from msgspec.structs import replace

from book.events import Trade
from feeds.catalogue import VENUES
from feeds.errors import NoAnswer
from feeds.market import Market
from feeds.protocol import Subscription
from feeds.rest import Get, Reply, TradePage
from sentinel.backfill.task import Task, task_path
from sentinel.backfill.worker import Backfiller
from sentinel.contract.line_protocol import decode
from sentinel.contract.lines import Lines
from sentinel.exchange.repair import Repairer
from sentinel.exchange.rest import RestRefusal, RestTrouble
from sentinel.pipeline import LanePlan, Pipeline, Repair, RepairAnswer, Settings
from sentinel.pipeline.trades import ProductTrades
from sentinel.simulator import market
from sentinel.simulator.connection import Stage
from sentinel.simulator.faults import Faults
from sentinel.simulator.synthetic import SyntheticMarket
from sentinel.simulator.truth import Truth
from tests.faults.lies import LIES, NAMES, Liar
from tests.faults.played import PLAYED
from tests.faults.rows import Row, write

T = TypeVar("T")
S = 1_000_000_000
BEGUN_NS = 1_790_000_000 * S
LIES_S = 120
MOST_S = 4 * 3600
"""Virtual seconds in which a lie may have its way, and in which everything must be right again."""

MOST_REQUESTS = 3000
"""For all of it: with a request a second, three quarters of an hour."""


class World:
    """A venue with its clock, one product, and REST that lies until ``honest_ns``."""

    def __init__(self, exchange: str, seed: int, lie: str | None) -> None:
        self.rng = random.Random(f"{exchange}/{seed}/{lie}")
        self.now_ns = BEGUN_NS
        self.honest_ns = BEGUN_NS
        self.requests = 0
        self.played = PLAYED[exchange]
        self._lie = lie
        self._liar = Liar(NAMES[exchange], self.rng)
        stage = Stage(self.played.facts, Faults([], seed, self._now), Truth(None), self._now)
        made = market.products(1, 20, seed, self.played.facts.product_name)
        self._market = SyntheticMarket(stage, made, rate=1, trade_rate=1, seed=seed)
        self._dialect = self.played.dialect.live(self._market)
        (self._product,) = made.values()
        self.market = self.played.market(self._product.name)
        self.rest = self.played.venue.rest()
        self.published: dict[int, Trade] = {}
        self._learn()

    def _now(self) -> int:
        return self.now_ns

    @property
    def is_placed(self) -> bool:
        """Whether ids are made of the places that trades have in an answer."""
        return self.market.exchange == "bybit_linear"

    @property
    def is_lying(self) -> bool:
        return self.now_ns < self.honest_ns

    def trade(self, pause_s: float) -> list[Trade]:
        """What is traded a while later."""
        self.now_ns += round(pause_s * S)
        self._product.trade(self.now_ns // 1_000_000 * 1000)
        self.now_ns += S // 5  # until REST has it
        return self._learn()

    def _learn(self) -> list[Trade]:
        """What has been traded since, as an honest REST tells it."""
        known = len(self.published)
        first, last = max(self.published, default=0) + 1, 2**61
        honest = self.played.venue.rest()
        if not self.played.skips_ids:
            fills = self._product.trades
            first, last = (first if known else fills[0].trade_id), fills[-1].trade_id
        while first <= last:
            page = carry(honest.trades(self.market.symbol, first, last), self.answer)
            self.published |= {record.trade_id: record for record in page.records if isinstance(record, Trade)}
            first, last = (page.last + 1, last) if page.first == first else (first, page.first - 1)
            if self.played.skips_ids:
                break
        self.published = {trade_id: self.published[trade_id] for trade_id in sorted(self.published)}
        return list(self.published.values())[known:]

    def answer(self, get: Get) -> Reply:
        """What an honest REST says."""
        url = urlsplit(get.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        try:
            page = self._dialect.page([part for part in url.path.split("/") if part], query)
        except ValueError:
            return Reply(400)
        return Reply(page.status, json.dumps(page.body).encode() if page.status == 200 else b"")

    def reply(self, get: Get) -> Reply:
        """What this one says."""
        self.requests += 1
        assert self.requests <= MOST_REQUESTS, f"{self.requests} requests"
        if not self.is_lying:
            return self.answer(get)
        return self._liar.tell(self._lie or self.rng.choice(LIES), get.path, self.answer(get))

    async def trades(self, asked: Market, first: int, last: int, *, is_spare: bool = False) -> TradePage:
        """As of ``RestClients``."""
        assert asked == self.market
        await asyncio.sleep(0)
        try:
            page = carry(self.rest.trades(asked.symbol, first, last), self.reply)
        except NoAnswer as error:
            raise (RestRefusal if error.wait_s is None else RestTrouble)(str(error)) from error
        finally:
            self.now_ns += S // 10
        assert first <= page.first <= page.last <= last, f"{page} of {first} to {last}"
        assert page.first == first or page.last == last
        ids = [record.trade_id for record in page.records if record.trade_id is not None]
        assert ids == sorted(set(ids), reverse=True)
        assert all(page.first <= trade_id <= page.last for trade_id in ids)
        return page


def carry(talk: Generator[Get, Reply, T], reply: Callable[[Get], Reply]) -> T:
    """A conversation to its end."""
    try:
        get = next(talk)
        while True:
            get = talk.send(reply(get))
    except StopIteration as end:
        result: T = end.value
        return result


class Collection:
    """A pipeline with a repairer, and what they have stored."""

    def __init__(self, world: World) -> None:
        self.world = world
        venue = world.played.venue
        feed = next(iter(venue.trades(venue.settings.model_validate({}))))
        plan = LanePlan(0, feed, Subscription(frozenset({"trades"}), (world.market.symbol,)))
        connect = venue.listener(venue.book(venue.settings.model_validate({})))
        self.pipe = Pipeline(Settings("liar"), [plan], lambda planned: connect(planned.venue, planned.subscription))
        self.pipe.opened(0, world.now_ns)
        self.repairer = Repairer(world, self._answered, world.rng.random, self._sleep)
        self.stored: Counter[tuple[int, int, float]] = Counter()
        self.is_dense = world.played.has_dense_ids

    def hear(self, trade: Trade) -> None:
        self.trades.receive(replace(trade, is_live=True), self.world.now_ns, 0)

    @property
    def trades(self) -> ProductTrades:
        return self.pipe.products[self.world.market].trades

    def _answered(self, answer: RepairAnswer) -> None:
        self.pipe.repaired(answer, self.world.now_ns)
        self.judge()

    async def _sleep(self, seconds: float) -> None:
        self.world.now_ns += round(seconds * S)
        await asyncio.sleep(0)

    async def settle(self, working: asyncio.Task[None]) -> None:
        """Ticks, and has done what comes of it."""
        self.pipe.lanes[0].heard_ns = self.world.now_ns
        self.pipe.tick(self.world.now_ns)
        for command in self.pipe.commands:
            if isinstance(command, Repair):
                self.repairer.request(command)
        self.pipe.commands.clear()
        while self.repairer.outstanding and not working.done():
            await asyncio.sleep(0)
        if working.done():
            raise _reason(working.exception())

    def judge(self) -> None:
        """Nothing that was not published, nothing twice, and nothing missing without a name."""
        published = self.world.published
        for line in (line for lines in self.pipe.take().trades for line in lines.text.split(b"\n")):
            point = decode(line)
            values = dict(point.fields)
            trade = published.get(int(values["trade_id"]))
            assert trade is not None, f"invented: {point}"
            told = point.time_ns, float(values["price"]), float(values["size"])
            if self.world.is_placed:  # whichever of its step: an answer in another order puts them elsewhere
                same = (one for one in published.values() if one.venue_ns == trade.venue_ns)
                assert told[1:] in {(one.price, one.size) for one in same}, f"{point} for {trade}"
                continue
            assert told == (trade.venue_ns + trade.trade_id % 1000, trade.price, trade.size), f"{point} for {trade}"
            self.stored[told[0], trade.trade_id, trade.price] += 1
            assert self.stored[told[0], trade.trade_id, trade.price] == 1, f"twice: {point}"
        if self.is_dense:
            held, ledger = {trade_id for _, trade_id, _ in self.stored}, self.trades.ledger
            assert ledger.first is not None
            lost = [one for one in published if ledger.first <= one <= ledger.tail and one not in held]
            assert all(ledger.misses(trade_id) for trade_id in lost), "lost without a name"


async def repair(world: World) -> None:
    """Some trades are lost on the stream; REST lies, and then it does not."""
    collection, rng = Collection(world), world.rng
    for trade in list(world.published.values())[-3:]:
        collection.hear(trade)
    working = asyncio.create_task(collection.repairer.run())
    try:
        world.honest_ns = world.now_ns + LIES_S * S
        while world.is_lying:
            for _ in range(rng.randrange(1, 12)):
                is_lost = rng.random() < 0.4
                if is_lost and world.played.skips_ids:  # else nobody would ask for it
                    collection.trades.interrupt()
                for trade in world.trade(rng.choice((0.001, 0.3, 3.0))):
                    if not is_lost:
                        collection.hear(trade)
            await collection.settle(working)
        for trade in world.trade(1.0):
            collection.hear(trade)
        end_ns = world.now_ns + MOST_S * S
        while world.now_ns < end_ns and (world.now_ns < world.honest_ns + 60 * S or collection.trades.open_gaps):
            world.now_ns += 5 * S
            await collection.settle(working)
    finally:
        working.cancel()
        await asyncio.wait([working])
    collection.judge()
    if collection.is_dense:
        assert not collection.trades.open_gaps, f"not repaired: {collection.trades.open_gaps[:2]}"
        assert not collection.trades.ledger.missing()


def _reason(error: BaseException | None) -> BaseException:
    """What really went wrong in a group of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error or AssertionError("the repairer has ended")


@dataclass
class Store:
    """A journal that keeps what is written."""

    lines: dict[str, list[Lines]]

    async def fold(self) -> None:
        """There is no log."""

    async def append(self, batches: Mapping[str, Sequence[Lines]], checkpoint: bytes | None = None) -> None:
        for stream, lines in batches.items():
            self.lines[stream] += lines


async def backfill(world: World) -> None:
    """What was traded before is fetched from a REST that lies first, and later does not."""
    for _ in range(world.rng.randrange(20, 300)):
        world.trade(world.rng.choice((0.001, 1.0, 20.0)))
    published = list(world.published.values())
    before = published[-1]
    since_ns = published[len(published) // 4].venue_ns // (60 * S) * 60 * S
    task = Task(
        exchange=world.market.exchange, symbol=world.market.symbol, since_ns=since_ns, until_ns=before.venue_ns,
        before_id=before.trade_id,
    )  # fmt: skip
    world.honest_ns = world.now_ns + world.rng.choice((2, LIES_S)) * S
    store = Store({"trades": [], "accounts": []})

    async def sleep(seconds: float) -> None:
        world.now_ns += round(seconds * S)
        await asyncio.sleep(0)

    with tempfile.TemporaryDirectory() as folder:
        filler = Backfiller(Path(folder), world, store, world.rng.random, sleep)
        await filler.carry_out(task_path(Path(folder), task), task)
    ids = []
    for lines in store.lines["trades"]:
        point = decode(lines.text)
        values = dict(point.fields)
        trade = world.published.get(int(values["trade_id"]))
        assert trade is not None, f"invented: {point}"
        told = point.time_ns, float(values["price"])
        assert told == (trade.venue_ns + trade.trade_id % 1000, trade.price), f"{point} for {trade}"
        ids.append(trade.trade_id)
    assert len(ids) == len(set(ids))
    assert task.state == "done"
    minutes = [decode(lines.text) for lines in store.lines["accounts"]]
    assert len(minutes) <= 2 + 2 * (before.venue_ns - since_ns) // (60 * S), f"{len(minutes)} minutes"
    assert sum(int(dict(minute.fields)["trades"]) for minute in minutes) == len(ids)
    assert sum(int(dict(minute.fields)["missing"]) for minute in minutes) == task.missing
    assert task.first_id is not None
    assert task.last_id is not None
    if world.played.has_dense_ids:
        assert len(ids) + task.missing == task.last_id + 1 - task.first_id


async def ask(world: World) -> None:
    """Whatever else is asked has an end, and what is answered can be used."""
    world.honest_ns = world.now_ns + 3600 * S
    symbol = world.market.symbol
    for _ in range(10):
        try:
            book = carry(world.rest.book(symbol), world.reply)
            assert book.bids
            assert book.asks
            assert all(price > 0 and size > 0 for side in (book.bids, book.asks) for price, size in side.items())
        except NoAnswer:
            pass
        try:
            listed = carry(world.rest.products(), world.reply)
            symbols = [one.symbol for one in listed]
            assert len(symbols) == len(set(symbols))
            carry(world.rest.unknown([symbol]), world.reply)
        except NoAnswer:
            pass


async def play(exchange: str, seed: int, lie: str | None) -> dict[str, int]:
    """All of it with one seed; how many requests each took."""
    requests = {}
    for work in (repair, ask, *([] if PLAYED[exchange].skips_ids else [backfill])):
        world = World(exchange, seed, lie)
        try:
            await work(world)
        except AssertionError as error:
            raise AssertionError(f"{work.__name__} of {exchange}, seed {seed}, {lie or 'any lie'}: {error}") from error
        requests[work.__name__] = world.requests
    return requests


def main() -> int:
    parser = argparse.ArgumentParser(description="Let REST lie, by seed.")
    parser.add_argument("seeds", help="one seed, or a range such as 0-999")
    parser.add_argument("--venue", choices=sorted(NAMES), default=None, help="this one; by default all")
    parser.add_argument("--lie", choices=LIES, default=None, help="this one only; by default each, and all at once")
    parser.add_argument("--json", type=Path, default=None, help="where the rows of the table are written, too")
    options = parser.parse_args()
    logger.remove()
    first, _, last = options.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    most, found = 0, []
    for lie in [options.lie] if options.lie else [*LIES, None]:
        runs, wrong = 0, 0
        for exchange in [options.venue] if options.venue else [name for name in VENUES if name in NAMES]:
            for seed in seeds:
                runs += 1
                try:
                    most = max(most, *asyncio.run(play(exchange, seed, lie)).values())
                except (Exception, ExceptionGroup) as error:  # noqa: BLE001 whatever it is, the others are played too
                    wrong += 1
                    click.echo(f"{type(error).__name__}: {error}"[:400])
        found.append(Row(f"REST lies: {lie or 'in every way'}", runs, wrong))
    runs, wrong = sum(row.runs for row in found), sum(row.lost for row in found)
    click.echo(f"{runs - wrong} of {runs} held; at most {most} requests")
    write(options.json, found)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
