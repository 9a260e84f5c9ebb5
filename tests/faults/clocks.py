"""A clock that is wrong, ours or the venue's, under the real command; judged by the truth.

    python -m tests.faults.clocks                   # each trouble once, some minutes
    python -m tests.faults.clocks --times 3 --only year

A collector runs through a trouble and a time of peace after it, on a host whose wall clock can be put wrong
(``stepped.py``), with a store, and with a retention of minutes that is looked after every second: whoever believes a
clock that is a year ahead loses everything. A wall clock that was put back is followed at the next start, which is
part of the trouble. Afterwards every trade must be there and every instant that is due in a sample or in a gap, by the
market's own time; the store must hold what the journal holds, the report must say the same, and no tape may be gone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple
from unittest.mock import patch

import click

from sentinel.disk.data_dir import JOURNAL, TAPES
from sentinel.disk.tape import read_tape, tape_files
from sentinel.simulator.coinbase import wording
from sentinel.simulator.market import Change, Fill, Product
from tests.end_to_end.store import Store
from tests.faults.delivery import judge_delivery, until_delivered
from tests.faults.host import RESTART_S, Host
from tests.faults.played import COINBASE
from tests.faults.pool import play_each, problems_of
from tests.faults.reported import judge_report
from tests.faults.rows import Row, named_s, write
from tests.faults.stepped import WallOffset
from tests.faults.table import healed_s, truth_of
from tests.faults.verdict import judge, log_of
from tests.servers.exchange import trading
from tests.servers.waiting import until

S = 1_000_000_000
SECOND_S, HOUR_S, DAY_S, YEAR_S = 1.0, 3_600.0, 86_400.0, 365 * 86_400.0
SLEWED_EVERY_S = 0.01
PRODUCTS = ["BTC-USD", "ETH-USD"]
SAMPLES = 20
"""So many more tell that a collector is well again."""

PEACE_S, QUIET_S = 2.0, 4.5
RETENTION = {
    "SENTINEL_JOURNAL_MAX_AGE_S": "600",
    "SENTINEL_TAPE_KEEP_S": "600",
    "SCENARIO_PRUNE_S": "1",
}
TOLD = {"clock_step", "last_run_was_ahead", "gap_open", "unusable"}
"""Words of the log that name a trouble."""

Kind = Literal["clock: step", "restart: SIGTERM", "clock: slew", "suspended"]


class Act(NamedTuple):
    """The wall clock is ``ahead_s`` of the right time from now on, or from the next start on; it runs faster by
    ``ppm``, or the collector stands still, for ``lasts_s``."""

    kind: Kind
    ahead_s: float = 0.0
    ppm: int = 0
    lasts_s: float = 0.0


class Trouble(NamedTuple):
    """``acts`` come one after the other. The venue's clock is ahead by ``venue_ahead_s``; one of its trades bears the
    time ``traded``, which is written as the last second of the day before if it is a ``leap`` second."""

    name: str
    acts: tuple[Act, ...] = ()
    venue_ahead_s: float = 0.0
    traded: datetime | None = None
    is_leap: bool = False


def _troubles() -> Iterator[Trouble]:
    for span_s, span in ((SECOND_S, "1 s"), (HOUR_S, "1 h"), (YEAR_S, "1 year")):
        yield Trouble(f"wall clock forward by {span}", (Act("clock: step", span_s),))
        back = Act("clock: step", -span_s), Act("restart: SIGTERM", -span_s)
        yield Trouble(f"wall clock back by {span}, then a restart", back)
    for span_s, span in ((HOUR_S, "1 h"), (YEAR_S, "1 year")):
        for sign, word in ((1, "ahead"), (-1, "behind")):
            wrong, right = Act("restart: SIGTERM", sign * span_s), Act("restart: SIGTERM")
            yield Trouble(f"restart with a wall clock {span} {word}, and again with the right one", (wrong, right))
    yield Trouble(
        "wall clock ahead by 1 year, right after a restart, forward by 1 h",
        (Act("clock: step", YEAR_S), Act("restart: SIGTERM"), Act("clock: step", HOUR_S)),
    )
    yield Trouble(
        "restart with a wall clock 1 year behind, put right while it runs",
        (Act("restart: SIGTERM", -YEAR_S), Act("clock: step")),
    )
    for ppm, lasts_s, word in ((500, 60.0, "500 ppm for 60 s"), (100_000, 10.0, "10 % for 10 s")):
        yield Trouble(f"wall clock faster by {word}", (Act("clock: slew", ppm=ppm, lasts_s=lasts_s),))
        behind_s = -ppm * lasts_s / 1e6
        slower = Act("clock: slew", ppm=-ppm, lasts_s=lasts_s), Act("restart: SIGTERM", behind_s)
        yield Trouble(f"wall clock slower by {word}, then a restart", slower)
    for lasts_s in (5.0, 60.0):
        yield Trouble(f"collector stands still (SIGSTOP) for {lasts_s:g} s", (Act("suspended", lasts_s=lasts_s),))
    yield Trouble("venue's clock 1 day ahead", venue_ahead_s=DAY_S)
    yield Trouble("venue's clock 1 day behind", venue_ahead_s=-DAY_S)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    yield Trouble("one trade of next year", traded=today + timedelta(days=366))
    yield Trouble("one trade of last year", traded=today - timedelta(days=366))
    yield Trouble("one trade of 1970", traded=datetime(1970, 1, 1, tzinfo=UTC))
    yield Trouble("one trade of a leap second", traded=today, is_leap=True)


TROUBLES = list(_troubles())


def odd_once(product: Product, time_us: int) -> None:
    """The next trade of it bears this time."""
    trade = product.trade

    def odd(now_us: int) -> tuple[list[Fill], list[Change]]:
        patching.stop()
        fills, changes = trade(now_us)
        fills[0] = product.trades[-len(fills)] = fills[0]._replace(time_us=time_us)
        return fills, changes

    patching = patch.object(product, "trade", odd)
    patching.start()


def written_with(time_us: int, instead: str) -> ExitStack:
    """While it is open, this venue writes that time so."""
    stack = ExitStack()
    for name, unit in (("instant", 1), ("trimmed", 1000)):
        spelt = partial(_spelt, spell=getattr(wording, name), odd=time_us * unit, instead=instead)
        stack.enter_context(patch.object(wording, name, spelt))
    return stack


def _spelt(time: int, spell: Callable[[int], str], odd: int, instead: str) -> str:
    return instead if time == odd else spell(time)


class Played:
    """A run in ``folder``."""

    def __init__(self, trouble: Trouble, folder: Path) -> None:
        self.trouble = trouble
        self.folder = folder
        self.data = folder / "data"

    async def run(self) -> list[str]:
        """What is wrong with what the collector left of it."""
        trouble, ahead_ns = self.trouble, round(self.trouble.venue_ahead_s * S)
        traded_us = None if trouble.traded is None else round(trouble.traded.timestamp()) * 1_000_000
        markets = [COINBASE.market(product) for product in PRODUCTS]
        with ExitStack() as stack:
            if trouble.is_leap and trouble.traded is not None and traded_us is not None:
                before = trouble.traded - timedelta(seconds=1)
                stack.enter_context(written_with(traded_us, f"{before:%Y-%m-%dT%H:%M}:60Z"))
            async with trading(
                PRODUCTS, self.folder / "truth.jsonl", levels=120, rate=50, trade_rate=15,
                now_ns=lambda: time.time_ns() + ahead_ns,
            ) as exchange:  # fmt: skip
                host = Host(exchange.urls, self.folder, [], [market.short for market in markets], **RETENTION)
                async with host.running():
                    await self._is_well()
                    began_ns = time.time_ns()
                    if traded_us is not None:
                        odd_once(exchange.market.products[PRODUCTS[0]], traded_us)
                    for act in trouble.acts:
                        start_ns = time.time_ns()
                        await _carry_out(host, act)
                        await self._is_well()
                        host.facts.append({"fault": act.kind, "start_ns": start_ns, "end_ns": time.time_ns()})
                    await self._is_well()
                    ended_ns = time.time_ns()
                    await asyncio.sleep(PEACE_S)
                    await exchange.quiet_end(QUIET_S)
                    await until_delivered(self.data, host.influx)
                    status = await host.stop()
        if traded_us is not None:
            host.facts.append({"fault": "odd", "start_ns": began_ns, "end_ns": ended_ns})
        (self.folder / "host.json").write_text(json.dumps(host.facts))
        (self.folder / "span.json").write_text(json.dumps([began_ns, ended_ns]))
        truth, warp = truth_of(self.folder, COINBASE.facts.feeds[0], ahead_ns), WallOffset(self.folder / "clock").warp()
        found = [*host.problems, *judge(self.data, truth, PRODUCTS, warp), *judge_report(self.data, markets, warp)]
        found += [*judge_delivery(self.data, host.influx.points), *self._judge_tapes(began_ns)]
        return found if status == 0 else [f"exit status {status}", *found]

    async def _is_well(self) -> None:
        """Some samples more of each product are there."""
        enough = {product: self._sampled(product) + SAMPLES for product in PRODUCTS}
        await until(lambda: all(self._sampled(product) >= enough[product] for product in PRODUCTS))

    def _sampled(self, product: str) -> int:
        if not (self.data / JOURNAL).exists():
            return 0
        return len(Store(self.data, measurements=["top"]).of("top", product))

    def _judge_tapes(self, began_ns: int) -> Iterator[str]:
        """Of the time before the trouble, when the clock was right, the tape is there."""
        times = [record.received_ns for file in tape_files(self.data / TAPES) for record in read_tape(file)]
        if not any(began_ns - 60 * S <= at_ns <= began_ns for at_ns in times):
            yield "a tape is gone"

    def row(self, *, is_wrong: bool) -> Row:
        """From its beginning to the first word of it, and to the end of the last gap that began near it."""
        span = self.folder / "span.json"
        if not span.exists():
            return Row(self.trouble.name, 1, 1, [], [])
        began_ns, ended_ns = json.loads(span.read_text())
        detected_s = named_s(log_of(self.data), began_ns, TOLD, None)
        warp = WallOffset(self.folder / "clock").warp()
        ended_s = healed_s(began_ns, ended_ns, warp, Store(self.data))
        times = ([] if seconds is None else [round(seconds, 3)] for seconds in (detected_s, ended_s))
        return Row(self.trouble.name, 1, int(is_wrong), *times)


async def _carry_out(host: Host, act: Act) -> None:
    match act.kind:
        case "clock: step":
            host.offset.set_ns(round(act.ahead_s * S))
        case "restart: SIGTERM":
            async with host.down():
                await asyncio.sleep(RESTART_S)
                host.offset.set_ns(round(act.ahead_s * S))
        case "clock: slew":
            began_ns = time.time_ns()
            while (elapsed_ns := time.time_ns() - began_ns) < act.lasts_s * S:
                host.offset.set_ns(elapsed_ns * act.ppm // 1_000_000)
                await asyncio.sleep(SLEWED_EVERY_S)
            host.offset.set_ns(round(act.lasts_s * act.ppm * S / 1e6))
        case "suspended":
            await asyncio.to_thread(host.collector.freeze)
            await asyncio.sleep(act.lasts_s)
            host.collector.thaw()


def _play(keep: Path, given: tuple[int, Trouble]) -> tuple[list[str], Row]:
    """What is wrong, and the row of it."""
    number, trouble = given
    folder = keep / str(number)
    folder.mkdir(parents=True)
    played = Played(trouble, folder)
    problems = asyncio.run(played.run())
    return problems, played.row(is_wrong=bool(problems))


def play_all(troubles: Sequence[Trouble], at_once: int, keep: Path) -> Iterator[tuple[Trouble, list[str], Row]]:
    """Each with its exchange in a process of its own, and told as soon as it is over."""
    for (_, trouble), came in play_each(partial(_play, keep), enumerate(troubles), at_once):
        if isinstance(came, BaseException):
            yield trouble, problems_of(came), Row(trouble.name, 1, 1, [], [])
        else:
            yield trouble, *came


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a collector by wrong clocks.")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--only", default="", help="troubles with this in their name")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--json", type=Path, default=None, help="where the rows of the table are written, too")
    options = parser.parse_args()
    keep = Path(tempfile.mkdtemp(prefix="sentinel-clocks-"))
    troubles = [trouble for trouble in TROUBLES if options.only in trouble.name] * options.times
    rows: dict[str, list[Row]] = {trouble.name: [] for trouble in troubles}
    for trouble, problems, row in play_all(troubles, options.at_once, keep):
        rows[trouble.name].append(row)
        click.echo("\n   ".join([f"{trouble.name}: {'WRONG' if problems else 'held'}", *problems[:8]]))
    found = [row for of_trouble in rows.values() for row in of_trouble]
    wrong = sum(row.lost for row in found)
    click.echo(f"{wrong} did not hold; runs are kept in {keep}")
    write(options.json, found)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
