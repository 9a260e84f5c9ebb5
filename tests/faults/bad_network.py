"""A network that lies, is cut, or sends what nobody asked for, under the real command; judged by the truth.

    python -m tests.faults.bad_network                 # each trouble once
    python -m tests.faults.bad_network --times 5 --only handshake

One collector has two markets, each on a connection of its own, through a proxy of ours (``network.py``) that is honest
but for the time of a trouble (``mischief.py``). Afterwards everything must be well again, the log must say what it was,
the journal must hold every trade, each sample of the grid must be there and right, or in a gap, the report must say the
same, a store must have what the journal has; and what was done to one connection must have cost the other nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from sentinel.disk.data_dir import JOURNAL
from sentinel.simulator.exchange import Urls
from sentinel.timing.instants import parse_instant_ns
from tests.end_to_end.store import Store, fields
from tests.faults.delivery import judge_delivery, until_delivered
from tests.faults.mischief import TROUBLES, Trouble
from tests.faults.played import COINBASE
from tests.faults.pool import play_each, problems_of
from tests.faults.reported import judge_report
from tests.faults.rows import Row, write
from tests.faults.table import truth_of
from tests.faults.verdict import judge
from tests.faults.warp import Warp
from tests.servers import stood
from tests.servers.collector import Collector, collecting
from tests.servers.exchange import trading
from tests.servers.fake_influx import FakeInflux
from tests.servers.waiting import until

PRODUCTS = ["BTC-USD", "ETH-USD"]
"""Of the first and of the second lane."""

PEACE_S, QUIET_S = 1.0, 2.0
S = 1_000_000_000
TOLD = {"connection_lost", "undecodable", "alert_raised"}
"""Words of the log that there is trouble."""


class Played(Struct, frozen=True):
    """What came of a trouble. ``peak_mib`` is the memory of the collector at most, before and in the end; ``stood_s``
    is how long its loop or the exchange's stood still, be it since the machine had other things to do; ``per_s`` is how
    many messages of a flood it took each second until all was well again, None without one."""

    problems: list[str]
    detect_s: float | None
    heal_s: float | None
    peak_mib: tuple[int, int]
    stood_s: float
    per_s: float | None


async def run(trouble: Trouble, folder: Path) -> Played:
    """Plays a trouble in ``folder``, and judges what the collector left of it."""
    data, truth = folder / "data", folder / "truth.jsonl"
    scene = trouble.scene(folder)
    async with (
        trading(PRODUCTS, truth, levels=120, rate=50, trade_rate=15) as exchange,
        FakeInflux().serve() as influx,
    ):
        async with scene.network(int(exchange.urls["rest"].rpartition(":")[2])).open() as network:
            urls = _through(exchange.urls, f"{scene.scheme}://{scene.host}:{network.port}")
            settings = scene.settings(network.port) | {
                "SENTINEL_FEEDS_PRODUCTS_PER_CONNECTION": "1",
                "SENTINEL_INFLUX_URL": influx.url,
            }
            arguments = (*PRODUCTS, "--data-dir", str(data))
            async with collecting(urls, folder / "logs", *arguments, **settings) as running:
                await until(lambda: _have_samples(data, 0))
                before_mib, began_ns = _peak_mib(running), time.time_ns()
                told = partial(_told, folder / "logs" / "stderr.txt", began_ns, trouble.words)
                repeated = await trouble.cause(scene, network, lambda: told() is not None)
                ended_ns = time.time_ns()
                await until(lambda: _have_samples(data, ended_ns + S))
                well_ns = time.time_ns()
                await asyncio.sleep(PEACE_S)
                await exchange.quiet_end(QUIET_S)
                await until_delivered(data, influx)
                peak_mib = _peak_mib(running)
                status = await running.stop()
    fact = {"fault": f"network: {trouble.name}", "start_ns": began_ns, "end_ns": ended_ns}
    (folder / "host.json").write_text(json.dumps([fact]))
    shutil.copy(folder / "logs" / "stderr.txt", data / "stderr.txt")
    problems = [] if status == 0 else [f"exit status {status}"]
    problems += _judge(trouble, folder, told(), began_ns, ended_ns)
    problems += judge_report(data, [COINBASE.market(product) for product in PRODUCTS], Warp())
    problems += judge_delivery(data, influx.points)
    taken = sum(int(fields(row)["frames_duplicate"]) for row in Store(data).of("coverage"))
    if taken < repeated:
        problems.append(f"of {repeated:,} messages {taken:,} were taken")
    if peak_mib > trouble.most_mib:
        problems.append(f"{peak_mib} MiB of memory, {trouble.most_mib} are the most")
    ends = [end_ns for _, end_ns in _book_gaps(data, began_ns)]
    return Played(
        problems,
        None if (entry := told()) is None else (parse_instant_ns(entry["time"], 0) - began_ns) / S,
        (max(ends) - began_ns) / S if ends else None,
        (before_mib, peak_mib),
        sum(fact["end_ns"] - fact["start_ns"] for fact in stood.read(folder / stood.FILE)) / S,
        taken * S / (well_ns - began_ns) if repeated else None,
    )


def _through(urls: Urls, base: str) -> Urls:
    """Feeds by way of the network; REST as it is."""
    return {name: re.sub(r"^ws://[^/]+", base, url) for name, url in urls.items()}


def _have_samples(data: Path, from_ns: int) -> bool:
    """Whether both markets have one as new."""
    if not (data / JOURNAL).exists():
        return False
    store = Store(data, measurements={"top"})
    return all(any(point.time_ns >= from_ns for point in store.of("top", product)) for product in PRODUCTS)


def _peak_mib(running: Collector) -> int:
    status = Path(f"/proc/{running.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) // 1024


def _told(log: Path, began_ns: int, words: str) -> dict[str, Any] | None:
    """The first entry of the log that says what it was. The last line may be half written."""
    for line in log.read_text().splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            entry: dict[str, Any] = json.loads(line)
            is_told = entry["event"] in TOLD and re.search(words, line) is not None
            if is_told and parse_instant_ns(entry["time"], 0) >= began_ns:
                return entry
    return None


def _book_gaps(data: Path, began_ns: int, product: str | None = None) -> list[tuple[str, int]]:
    """Product and end of those that there were from a moment on."""
    gaps = [(dict(gap.tags), fields(gap)) for gap in Store(data).of("gaps", product)]
    return [
        (tags["symbol"], int(facts["end_ns"]))
        for tags, facts in gaps
        if tags["channel"] == "book" and "end_ns" in facts and int(facts["end_ns"]) > began_ns
    ]


def _judge(trouble: Trouble, folder: Path, told: dict[str, Any] | None, began_ns: int, ended_ns: int) -> Iterator[str]:
    data = folder / "data"
    if told is None:
        yield f"nobody was told of {trouble.words!r}"
    struck = [] if told is None or not trouble.is_of_one else [PRODUCTS[_lane(told)]]
    others = [product for product in PRODUCTS if product not in struck]
    yield from judge(data, truth_of(folder, "advanced"), others)
    if not struck:
        return
    truth = truth_of(folder, "advanced")
    if trouble.is_slow:  # what that connection was given was as old
        truth.faults.append({"fault": "delay", "start_ns": began_ns, "end_ns": ended_ns, "feed": None})
    yield from judge(data, truth, struck)
    has_stood = any(fact["end_ns"] > began_ns for fact in truth.stood)
    hurt = {product for product, _ in _book_gaps(data, began_ns)}.intersection(others)
    if hurt and not has_stood:  # else it may have been the machine
        yield f"it was done to {struck}, and {hurt} has a gap"


def _lane(told: dict[str, Any]) -> int:
    """Whose connection an entry is about."""
    return int(told["lane"] if "lane" in told else told["about"].rpartition("#")[2])


def play(keep: Path, given: tuple[int, str]) -> Played:
    """A trouble by its name, in a folder of its own."""
    number, name = given
    folder = keep / str(number)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # else a line for each frame that an exchange sends too late
    folder.mkdir(parents=True)
    (trouble,) = (each for each in TROUBLES if each.name == name)
    return asyncio.run(run(trouble, folder))


def play_all(names: Collection[tuple[int, str]], at_once: int, keep: Path) -> Iterator[tuple[str, Played]]:
    """Each with its exchange and its network in a process of its own; gives what came of it as soon as it is known."""
    for (_, name), came in play_each(partial(play, keep), names, at_once):
        is_judged = isinstance(came, Played)
        yield name, came if is_judged else Played(problems_of(came), None, None, (0, 0), 0.0, None)


def _row(name: str, played: Played) -> Row:
    times = ([] if seconds is None else [seconds] for seconds in (played.detect_s, played.heal_s))
    per_s = None if played.per_s is None else [round(played.per_s, 1)]
    return Row(f"network: {name}", 1, int(bool(played.problems)), *times, per_s=per_s)


def _line(name: str, played: Played) -> str:
    said = [
        "not told" if played.detect_s is None else f"told after {played.detect_s:.1f} s",
        "no gap" if played.heal_s is None else f"healed after {played.heal_s:.1f} s",
        "{}, at most {} MiB".format(*played.peak_mib),
        *([f"stood still for {played.stood_s:.1f} s"] if played.stood_s else []),
        *([f"{played.per_s:,.0f} a second were taken"] if played.per_s is not None else []),
    ]
    words = f"{name}: {'WRONG' if played.problems else 'held'} ({'; '.join(said)})"
    return "\n   ".join([words, *played.problems[:8]])


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a collector on a bad network.")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--only", default="", help="troubles with this in their name")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--json", type=Path, default=None, help="where the rows of the table are written, too")
    options = parser.parse_args()
    keep, found = Path(tempfile.mkdtemp(prefix="sentinel-bad-network-")), []
    names = [trouble.name for trouble in TROUBLES if options.only in trouble.name] * options.times
    for name, played in play_all(list(enumerate(names)), options.at_once, keep):
        click.echo(_line(name, played))
        found.append(_row(name, played))
    wrong = sum(row.lost for row in found)
    click.echo(f"{wrong} did not hold; runs are kept in {keep}")
    write(options.json, found)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
