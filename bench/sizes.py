"""Bytes of a market-day, of everything a cluster writes and sends, from a short run of the real command.

    python -m bench.sizes --minutes 4 --products 40 --frames 10 --trades 1 [--json]

One collector, three NATS servers, a synthetic market of so many book frames and trades a second for each product. The
journal, the tapes, the stream of one server, and the archive that is made of the journal afterwards are weighed; what
came in is what the tapes hold, unpacked. What is written once however long a run is (whole books at its beginning) is
in it: a longer run gives less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sentinel.cluster.session import opened
from sentinel.config import Cluster
from sentinel.disk.journal import JournalReader
from sentinel.disk.tape import Kind, read_tape, tape_files
from tests.servers.collector import collecting, unset_environment
from tests.servers.exchange import trading
from tests.servers.nats import nats_servers

DAY_S = 86_400
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
WARM_S = 20.0


def _used_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _weight(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


async def run(folder: Path, seconds: float, products: int, frames: float, trades: float) -> dict[str, Any]:
    """Collects, and weighs."""
    market = trading(products, folder / "truth", levels=300, rate=frames * products, trade_rate=trades * products)
    with nats_servers(folder / "nats", 3) as servers:
        settings = {"SENTINEL_CLUSTER_SERVERS": ",".join(servers.urls), "SENTINEL_ARCHIVE_IS_ENABLED": "false"}
        data_dir = folder / "data"
        async with market as exchange, collecting(exchange.urls, data_dir, *exchange.products, **settings) as collector:
            await asyncio.sleep(WARM_S)
            pids = [collector.pid, *(server.pid for server in servers.servers)]
            began_s, used_s = time.monotonic(), [_used_s(pid) for pid in pids]
            await asyncio.sleep(seconds)
            took_s = time.monotonic() - began_s
            cores = [(_used_s(pid) - used) / took_s for pid, used in zip(pids, used_s, strict=True)]
            assert await collector.stop() == 0, collector.errors[-500:]
        async with opened(Cluster(servers=servers.urls), "sizes") as session:
            stream = (await session.jetstream.stream_info(session.names.lines)).state
        found, lines = _weighed(data_dir)
        found["stream, each server"] = stream.bytes
        worker = ["deliver", "archive", "--once", "--cluster", ",".join(servers.urls), "--data-dir", folder / "worker"]
        worker_s = await asyncio.to_thread(_cost_s, worker)
    whole_s = seconds + WARM_S
    return {
        "products": products,
        "frames_a_second_each": frames,
        "trades_a_second_each": trades,
        "seconds": round(whole_s),
        "mb_a_market_day": {name: round(size / products / whole_s * DAY_S / 1e6, 1) for name, size in found.items()},
        "messages_a_second": round(stream.messages / whole_s, 1),
        "lines_a_market_second": round(lines / products / whole_s, 1),
        "cores": {"collector": round(cores[0], 3), "each server": round(sum(cores[1:]) / 3, 3)},
        "archive_worker_us_a_line": round(worker_s / lines * 1e6, 2),
    }


def _cost_s(words: list[str | Path]) -> float:
    """Processor seconds of one of our commands."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "sentinel", *words], env=unset_environment(), check=True, stdout=sys.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _weighed(data_dir: Path) -> tuple[dict[str, int], int]:
    """What a collector has written, and the archive of it; and how many lines that were."""
    received = sum(
        len(record.payload)
        for file in tape_files(data_dir / "tapes")
        for record in read_tape(file)
        if record.kind is Kind.FRAME
    )
    with JournalReader(data_dir / "journal.sqlite3") as journal:
        lines = sum(batch.line_count for batch in journal.batches())
    _cost_s(["archive", "--until", "now", "--data-dir", data_dir])
    parts = [folder for folder in (data_dir / "archive").iterdir() if folder.is_dir()]
    return {
        "received": received,
        "journal": sum(file.stat().st_size for file in data_dir.glob("journal.sqlite3*")),
        "tapes": _weight(data_dir / "tapes"),
        "archive": sum(_weight(part) for part in parts if part.name != "l2"),
        "archive, l2": sum(_weight(part) for part in parts if part.name == "l2"),
    }, lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--products", type=int, default=40)
    parser.add_argument("--frames", type=float, default=10.0, help="book frames a second of each product")
    parser.add_argument("--trades", type=float, default=1.0, help="trades a second of each product")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(Path(folder), given.minutes * 60, given.products, given.frames, given.trades))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
