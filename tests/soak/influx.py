"""Full-size trials of delivery, run by hand: ``python -m tests.soak.influx poison|drain|chaos|outage``.

Each starts its own real InfluxDB, says what it measured, and exits with 1 if a point is missing, doubled or made up.
"""

from __future__ import annotations

import asyncio
import random
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import aiohttp
import click

from sentinel.config import Influx
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.delivery import SINK
from sentinel.disk.journal import Journal, JournalReader
from sentinel.influx.server import Server
from sentinel.influx.sink import InfluxSink
from tests.end_to_end.store import Store
from tests.sentinel.timed import timed
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.influx import WRITER, InfluxServer, influx_server

NOW_NS = 1_750_000_000_000_000_000
LINES_PER_BATCH = 20_000
ABREAST_LINES = 1_000
"""So few are on their way when nothing waits."""


def line(number: int) -> bytes:
    return (
        f"top,exchange=coinbase,symbol=P{number % 20} ask=65083.67,ask_size=1.25,bid=65083.66,bid_size=0.5,"
        f"mid=65083.665,updates={number}i {NOW_NS + number}"
    ).encode()


async def fill(journal: Journal, lines: int, poison_every: int = 0) -> int:
    """Writes many lines, some of them poison; returns how many of those."""
    poisoned = 0
    for first in range(0, lines, LINES_PER_BATCH):
        batch = [line(number) for number in range(first, min(lines, first + LINES_PER_BATCH))]
        if poison_every:
            for at in range(0, len(batch), poison_every):
                batch.insert(at + random.randrange(poison_every), b"poison,symbol=X price=oops 1")
                poisoned += 1
        await journal.append(timed({"book": batch}))
    return poisoned


def sink_for(journal: Journal, url: str, folder: Path, **more: object) -> InfluxSink:
    settings = Influx.model_validate({"url": url, "token": WRITER, "bucket_trades": "d", "bucket_book": "d"} | more)
    server = Server(settings, time.time_ns)
    return InfluxSink(journal, settings, server, folder, now_ns=time.time_ns, draw=random.random)


async def drain(sink: InfluxSink) -> float:
    """Delivers everything; seconds it took."""
    began_s = time.perf_counter()
    done = asyncio.Event()
    done.set()
    await sink.run(done)
    return time.perf_counter() - began_s


def resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def poison(folder: Path, influxd: InfluxServer) -> bool:
    """A thousand poison lines among a million good ones."""
    journal = Journal.open(folder / JOURNAL)
    poisoned = await fill(journal, 1_000_000, 1000)
    sink = sink_for(journal, influxd.url, folder)
    seconds = await drain(sink)
    stored, letters = influxd.count("d", "top", "bid"), sink.statistics.lines_set_aside
    journal.close()
    click.echo(
        f"{stored:,} stored, {letters:,} of {poisoned:,} set aside, in {seconds:.0f} s, "
        f"{sink.statistics.requests:,} requests, {resident_mb():.0f} MB"
    )
    return (stored, letters) == (1_000_000, poisoned)


async def drain_rate(folder: Path, influxd: InfluxServer) -> bool:
    """Six hours of twenty products' tops, against plain POSTs of the same bodies to the same server."""
    lines = 20 * 10 * 6 * 3600
    journal = Journal.open(folder / JOURNAL)
    await fill(journal, lines)
    before_mb = resident_mb()
    sink = sink_for(journal, influxd.url, folder)
    ours_s = await drain(sink)
    stored = influxd.count("d", "top", "bid")
    influxd.make("plain")
    plain_s = 0.0
    auth = {"Authorization": aiohttp.encode_basic_auth(*WRITER.split(":"))}
    async with aiohttp.ClientSession(headers=auth) as session:
        for first in range(0, lines, 5000):
            body = b"\n".join(line(number) for number in range(first, min(lines, first + 5000)))
            began_s = time.perf_counter()
            async with session.post(f"{influxd.url}/write?db=plain&precision=n", data=body) as response:
                assert response.status == 204
            plain_s += time.perf_counter() - began_s
    journal.close()
    click.echo(
        f"{lines:,} lines: ours {lines / ours_s:,.0f}/s, plain {lines / plain_s:,.0f}/s, ratio {plain_s / ours_s:.2f}; "
        f"memory {before_mb:.0f} -> {resident_mb():.0f} MB"
    )
    return stored == lines


async def chaos(folder: Path, influxd: InfluxServer, minutes: float = 5) -> bool:
    """A collector of twenty products while the server is killed, frozen and its user's right is taken away."""

    async def torment(data: Path) -> None:
        await _torment(influxd, minutes * 60)

    return await _collecting(folder, influxd, torment, products=20, rate=400, trade_rate=40)


async def outage(folder: Path, influxd: InfluxServer, minutes: float = 60) -> bool:
    """A collector of five products while there is no server for so long."""

    async def end_and_begin(data: Path) -> None:
        await asyncio.sleep(20)
        influxd.kill()
        with closing(socket.socket()) as place:  # nobody else is to be there meanwhile
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may linger
            place.bind(("127.0.0.1", int(influxd.url.rpartition(":")[2])))
            await asyncio.sleep(minutes * 60)
        waiting = _waiting(data)
        await asyncio.to_thread(influxd.start)
        began_s = time.perf_counter()
        while _waiting(data) > ABREAST_LINES:
            await asyncio.sleep(1)
        click.echo(f"{minutes:g} minutes without: {waiting:,} lines, there {time.perf_counter() - began_s:.0f} s after")

    return await _collecting(folder, influxd, end_and_begin, products=5, rate=100, trade_rate=10)


def _waiting(data: Path) -> int:
    """How many lines are in the journal only."""
    with JournalReader(data / JOURNAL) as reader:
        return reader.backlogs()[SINK].line_count


async def _collecting(
    folder: Path,
    influxd: InfluxServer,
    torment: Callable[[Path], Awaitable[None]],
    *,
    products: int,
    rate: float,
    trade_rate: float,
) -> bool:
    """A collector into a server that has troubles: whether that has everything in the end."""
    data = folder / "data"
    secret = {"SENTINEL_INFLUX_TOKEN": WRITER, "SENTINEL_INFLUX_TIMEOUT_S": "5"}
    places = {"SENTINEL_INFLUX_BUCKET_TRADES": "d", "SENTINEL_INFLUX_BUCKET_BOOK": "d"}
    async with trading(products, folder / "truth.jsonl", rate=rate, trade_rate=trade_rate, levels=300) as exchange:
        names = exchange.products
        async with collecting(
            exchange.urls, data, *names, "--influx-url", influxd.url, **secret, **places
        ) as collector:
            await torment(data)
            exchange.market.trade_rate = 0.0
            await asyncio.sleep(30)
            status = await collector.stop()
    store = Store(data)
    is_good = status == 0 and not store.of("gaps")
    for name, field in (("trades", "trade_id"), ("top", "bid"), ("book", "levels"), ("coverage", "samples_due")):
        theirs, ours = influxd.count("d", name, field), len(store.of(name))
        click.echo(f"{name}: journal {ours:,}, InfluxDB {theirs:,}")
        is_good = is_good and theirs == ours
    journal = Journal.open(data / JOURNAL)
    click.echo(f"backlog {(await journal.backlog(SINK)).line_count}, gaps {len(store.of('gaps'))}")
    journal.close()
    return is_good


async def _torment(influxd: InfluxServer, seconds: float) -> None:
    part_s = seconds / 10
    for act in ("", "kill", "", "freeze", "kill", "", "revoke", "freeze", "kill", ""):
        click.echo(f"{act or 'peace'} for {part_s:.0f} s")
        match act:
            case "kill":
                influxd.kill()
                await asyncio.sleep(min(10, part_s / 2))
                await asyncio.to_thread(influxd.start)
                await asyncio.sleep(part_s - min(10, part_s / 2))
            case "freeze":
                influxd.freeze()
                await asyncio.sleep(part_s)
                influxd.thaw()
            case "revoke":
                influxd.query('REVOKE ALL ON "d" FROM writer')
                await asyncio.sleep(part_s)
                influxd.query('GRANT ALL ON "d" TO writer')
            case _:
                await asyncio.sleep(part_s)


TRIALS = {"poison": poison, "drain": drain_rate, "chaos": chaos, "outage": outage}


def main() -> int:
    trial = TRIALS[sys.argv[1]]
    with tempfile.TemporaryDirectory(prefix="sentinel-soak-") as name:
        folder = Path(name)
        with influx_server(folder / "server") as influxd:
            influxd.make("d")
            is_good = asyncio.run(trial(folder, influxd))
    click.echo("good" if is_good else "WRONG")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
