"""A journal in which a bit has flipped, under the collector that starts on it again; judged by the truth.

Either it is refused in one line, or everything that can be read of it is true, and so is what is collected from then
on; and unless ``verify`` finds the damage, store and report are the whole truth, as after any restart.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import time
from collections import defaultdict
from copy import copy
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from sentinel.cli import cli
from sentinel.contract.line_protocol import decode, measurement_of
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader
from sentinel.disk.journal.schema import UNREADABLE
from sentinel.errors import SentinelError, UsageError
from tests.end_to_end.judge import TruthFile, judge_trade
from tests.end_to_end.store import Store, fields
from tests.faults.played import COINBASE
from tests.faults.reported import judge_report
from tests.faults.table import truth_of
from tests.faults.verdict import judge, judge_values
from tests.faults.wal import used_bytes
from tests.faults.warp import Warp
from tests.servers.collector import Collector, collecting
from tests.servers.exchange import Market, trading
from tests.servers.waiting import until

PRODUCTS = ["BTC-USD", "ETH-USD"]
LOG = f"{JOURNAL}-wal"
SAMPLED = (b"top", b"book")
"""What is written once. Flows are written again when a trade of theirs is repaired, accounts as they grow."""

PAGE_BYTES = 4096
AT_ONCE = 2
SAMPLES = 20
"""Of each product, before the flip."""


class Life(NamedTuple):
    """Of a collector: it begins at ``since_ns`` with a journal that had the lines ``before`` until the flip."""

    data: Path
    before: set[bytes]
    since_ns: int


class Flip(NamedTuple):
    """``bit`` of the byte ``at`` of a file."""

    file: str
    at: int
    bit: int

    def make(self, data: Path) -> None:
        path = data / self.file
        content = bytearray(path.read_bytes())
        content[self.at] ^= 1 << self.bit
        path.write_bytes(content)


def flips_of_the_file(data: Path, rng: random.Random) -> list[Flip]:
    """In the header, in the heads of pages, in the first pages, which have the small tables, and anywhere."""
    size = (data / JOURNAL).stat().st_size
    places = [rng.randrange(100), rng.randrange(100)]
    places += [PAGE_BYTES * rng.randrange(1, size // PAGE_BYTES) + rng.randrange(12) for _ in range(2)]
    places += [rng.randrange(100, 12 * PAGE_BYTES) for _ in range(2)]
    places += [rng.randrange(size) for _ in range(3)]
    return [Flip(JOURNAL, at, rng.randrange(8)) for at in places]


def flips_of_the_log(data: Path, rng: random.Random) -> list[Flip]:
    """What a killed collector has written is there only."""
    size = used_bytes(data / LOG)
    return [Flip(LOG, at, rng.randrange(8)) for at in (rng.randrange(32), rng.randrange(size), size - PAGE_BYTES // 2)]


def readable(data: Path) -> list[bytes]:
    """The lines of what is not damaged; none of a journal that nobody can read."""
    try:
        with JournalReader(data / JOURNAL, passed_over=lambda _: None) as reader:
            return [line for batch in reader.batches() for line in batch.lines()]
    except (SentinelError, *UNREADABLE):
        return []


def has_sampled_since(data: Path, since_ns: int) -> bool:
    store = Store(data, measurements=["top"], lines=readable(data))
    return all(any(top.time_ns > since_ns for top in store.of("top", product)[-1:]) for product in PRODUCTS)


async def base(exchange: Market, data: Path, *, is_killed: bool) -> None:
    async with collecting(exchange.urls, data, *PRODUCTS, "--no-record") as collector:
        await until(lambda: data.joinpath(JOURNAL).exists())
        await until(lambda: all(len(Store(data).of("top", product)) > SAMPLES for product in PRODUCTS))
        await (collector.kill() if is_killed else collector.stop())


async def again(exchange: Market, data: Path) -> tuple[int, str]:
    """The collector's next life: until it has stored something, says that it cannot, or ends."""
    since_ns = time.time_ns()

    def is_seen(collector: Collector) -> bool:
        return "journal_refuses" in collector.errors or has_sampled_since(data, since_ns)

    async with collecting(exchange.urls, data, *PRODUCTS, "--no-record") as collector:
        collector.is_forgiven = lambda: True
        await until(lambda: collector.has_ended or is_seen(collector))
        status = await (collector.ended() if collector.has_ended else collector.stop())
        return status, collector.errors


def made_up(life: Life, truth: TruthFile) -> list[str]:
    """What can be read of it and never was: of the market, and of what this journal had of it."""
    lines = readable(life.data)
    store = Store(life.data, lines=lines)
    old = {line for line in lines if measurement_of(line) in SAMPLED and decode(line).time_ns < life.since_ns}
    found = [f"{len(changed)} lines are not as they were: {min(changed)!r}"] if (changed := old - life.before) else []
    for product in PRODUCTS:
        for trade_id, point in store.trades(product).items():
            judge_trade(truth.trades[product][trade_id], fields(point), dict(point.tags)["side"], point.time_ns)
        tops = {point.time_ns: fields(point) for point in store.of("top", product)}
        found += judge_values(truth, product, tops, Warp())
    return found


def until_it_ended(truth: TruthFile, data: Path) -> TruthFile:
    """What one of several collectors can know: the market went on after it, with the next."""
    of_it = copy(truth)
    of_it.trades = defaultdict(dict)
    store = Store(data)
    for product in PRODUCTS:
        last = max(store.trades(product), default=0)
        of_it.trades[product] = {number: fact for number, fact in truth.trades[product].items() if number <= last}
    return of_it


def is_found_by_verify(data: Path) -> bool:
    told = CliRunner().invoke(cli, ["verify", "--data-dir", str(data)], standalone_mode=False)
    assert isinstance(told.exception, SystemExit | UsageError), told.exception  # nothing is certified yet
    return isinstance(told.exception, SystemExit)


def problems(life: Life, truth: TruthFile, status: int, said: str) -> list[str]:
    if "Traceback" in said:
        return ["a traceback"]
    data, found = life.data, made_up(life, truth)
    if status:
        last = said.splitlines()[-1]
        return found if status in (1, 2) and "journal" in last else [*found, f"status {status}: {last}"]
    if is_found_by_verify(data):
        return found
    try:
        found += judge(data, until_it_ended(truth, data), PRODUCTS)
        found += judge_report(data, [COINBASE.market(product) for product in PRODUCTS], Warp())
    except SentinelError as error:
        found.append(f"verify finds nothing, and it cannot be read: {error}")
    return found


async def test_a_collector_on_a_journal_with_a_flipped_bit_leaves_the_truth(tmp_path: Path) -> None:
    rng, began_ns = random.Random(18), time.time_ns()
    turns = asyncio.Semaphore(AT_ONCE)
    lives: dict[Flip, Life] = {}
    async with trading(PRODUCTS, tmp_path / "truth.jsonl", levels=60, rate=50, trade_rate=15) as exchange:
        stopped, killed = tmp_path / "stopped", tmp_path / "killed"
        await asyncio.gather(base(exchange, stopped, is_killed=False), base(exchange, killed, is_killed=True))
        for data, flips in ((stopped, flips_of_the_file(stopped, rng)), (killed, flips_of_the_log(killed, rng))):
            before = set(readable(data))
            assert len(before) > 500
            for flip in flips:
                life = Life(Path(shutil.copytree(data, tmp_path / f"flip-{len(lives)}")), before, time.time_ns())
                (life.data / "stderr.txt").unlink()
                flip.make(life.data)
                lives[flip] = life

        async def live(life: Life) -> tuple[int, str]:
            async with turns:
                return await again(exchange, life.data)

        ends = await asyncio.gather(*map(live, lives.values()))
    facts = [{"fault": "restart: on another journal", "start_ns": began_ns, "end_ns": time.time_ns()}]
    (tmp_path / "host.json").write_text(json.dumps(facts))
    truth = truth_of(tmp_path, COINBASE.facts.feeds[0])
    found = {
        flip: problems(life, truth, status, said)
        for (flip, life), (status, said) in zip(lives.items(), ends, strict=True)
    }
    assert {flip: told for flip, told in found.items() if told} == {}
