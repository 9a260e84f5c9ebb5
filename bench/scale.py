"""The real command against a market of many products: ``python -m bench.scale --json``.

A simulated exchange and a store that answers 204 run on one core; the collector, with journal and InfluxDB sink, has
the other one to itself. Its figures are the kernel's (processor time, memory, bytes waiting in its sockets) and its own
(lateness of the samples, frames, lines), so that nothing is added to what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.corpus import CHANGES_PER_FRAME
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
WARM_UP_S = 15.0
"""Sockets open eight a second, as the venue allows, and each brings its snapshots."""

END_S = 20.0
COMMIT_NS = 2_000_000_000
"""What is older is in the journal: a commit a second."""

CURVE_WARM_UP_S = 6.0
"""Enough to be connected; what the last minute says of lateness still has the start in it, so a curve has none."""

CURVE_PRODUCTS = (1, 10, 50, 100, 200, 400)
FRAMES_PER_PRODUCT = 25
"""A second: 400 products make 10,000."""

CURVE_RATES = (1_000, 2_500, 5_000, 10_000, 15_000, 20_000)
FULL = 0.97
"""The share of a core, of the samples due or of the load asked for, from which on it counts as all of it."""


@dataclass
class Reading:
    """What the kernel says of a process at one moment."""

    at_s: float
    cpu_s: float
    rss_bytes: int


@dataclass
class Collector:
    """One collector process and what was seen of it."""

    process: subprocess.Popen[bytes]
    status_url: str
    readings: list[Reading] = field(default_factory=list)
    waiting_bytes: list[int] = field(default_factory=list)

    def read(self) -> None:
        """Takes a reading. Field 24 of ``stat`` is memory (proc(5))."""
        rss_bytes = int(_stat(self.process.pid)[21]) * PAGE_BYTES
        self.readings.append(Reading(time.monotonic(), _cpu_s(self.process.pid), rss_bytes))
        self.waiting_bytes.append(_waiting_bytes(self.process.pid))

    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        with urllib.request.urlopen(self.status_url, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


def _stat(pid: int) -> list[str]:
    """The fields of ``stat`` from the third on (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def _cpu_s(pid: int) -> float:
    """Processor time of a process so far: fields 14 and 15."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _waiting_bytes(pid: int) -> int:
    """Bytes the kernel has received for the process's sockets and the process has not read."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(int(row[4].partition(":")[2], 16) for row in rows if row[9] in sockets)


@contextmanager
def _process(command: Sequence[str], core: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(
    products: int,
    rate: int,
    duration_s: float,
    processes: int = 1,
    levels: int = 1000,
    warm_up_s: float = WARM_UP_S,
) -> dict[str, Any]:
    """One run; figures are of the time after the warm-up."""
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sentinel-scale-")))
        market = ["sentinel", "simulate", "--products", str(products), "--rate", str(rate), "--levels", str(levels)]
        exchange = stack.enter_context(_process(market, cores[-1]))
        urls = json.loads(_first_line(exchange))
        store = stack.enter_context(_process(["bench.store"], cores[-1]))
        with urllib.request.urlopen(f"{urls['rest']}/products", timeout=30) as answer:
            names = [product["id"] for product in json.load(answer)][:products]
        environment = {
            "SENTINEL_COINBASE_ADVANCED_URL": urls["advanced"],
            "SENTINEL_COINBASE_EXCHANGE_URL": urls["exchange"],
            "SENTINEL_COINBASE_REST_URL": urls["rest"],
            "SENTINEL_INFLUX_URL": _first_line(store),
            "SENTINEL_INFLUX_TOKEN": "bench",
            "SENTINEL_INFLUX_ORG": "bench",
        }
        collectors = []
        for number in range(processes):
            port = _free_port()
            command = ["sentinel", "collect", *names[number::processes], "--data-dir", str(folder / str(number))]
            command += ["--http", f"127.0.0.1:{port}"]
            process = stack.enter_context(_process(command, cores[number % len(cores)], **environment))
            collectors.append(Collector(process, f"http://127.0.0.1:{port}/sentinel/status"))
        time.sleep(warm_up_s)
        before = [collector.status() for collector in collectors]
        others_began_s = sum(_cpu_s(process.pid) for process in (exchange, store))
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s:
            for collector in collectors:
                collector.read()
            time.sleep(1)
        for collector in collectors:
            collector.read()
        after = [collector.status() for collector in collectors]
        others_cpu_s = sum(_cpu_s(process.pid) for process in (exchange, store)) - others_began_s
        figures = _figures(collectors, before, after)
        changes_per_s = sum(
            _changes(folder / str(number) / JOURNAL, then["now_ns"] - COMMIT_NS, now["now_ns"] - COMMIT_NS)
            / ((now["now_ns"] - then["now_ns"]) / 1e9)
            for number, (then, now) in enumerate(zip(before, after, strict=True))
        )
    figures["load_share"] = round(changes_per_s / (rate * CHANGES_PER_FRAME), 3)
    figures["exchange_cores"] = round(others_cpu_s / duration_s, 3)
    asked = {"products": products, "rate": rate, "processes": processes, "duration_s": duration_s}
    return {**asked, **figures, "limit": limit(asked | figures)}


def limit(figures: dict[str, Any]) -> str | None:
    """What kept a run from all that was asked of it; None if nothing did.

    ``machine``: neither side had used up its core, so that something else was running there.
    """
    if min(figures["load_share"], figures["samples_per_s"] / (10 * figures["products"])) >= FULL:
        return None
    if figures["cores"] >= FULL * figures["processes"]:
        return "collector"
    return "exchange" if figures["exchange_cores"] >= FULL else "machine"


UPDATES = re.compile(rb"^top,.*updates=(\d+)i (\d+)$", re.MULTILINE)


def _changes(journal: Path, since_ns: int, until_ns: int) -> int:
    """Level changes between two instants, by the samples: what the exchange sent and the collector took in."""
    with JournalReader(journal) as reader:
        return sum(
            int(updates)
            for batch in reader.overlapping("book", since_ns, until_ns)
            for updates, time_ns in UPDATES.findall(batch.body)
            if since_ns <= int(time_ns) < until_ns
        )


def _figures(collectors: list[Collector], before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = collectors[0].readings[-1].at_s - collectors[0].readings[0].at_s
    cpu_s = sum(c.readings[-1].cpu_s - c.readings[0].cpu_s for c in collectors)
    rss = [sum(c.readings[index].rss_bytes for c in collectors) for index in range(len(collectors[0].readings))]

    def grown(count: Any) -> float:
        return float(sum(map(count, after)) - sum(map(count, before))) / seconds

    def most_ms(what: str, quantile: str) -> float:
        return round(max(status[what][quantile] for status in after), 2)

    frames = grown(lambda status: sum(lane["frames_received"] for lane in status["connections"]))
    return {
        "cores": round(cpu_s / seconds, 3),
        "frames_per_s": round(frames),
        "samples_per_s": round(grown(lambda status: sum(p["samples_written"] for p in status["products"]))),
        "lines_per_s": round(grown(lambda status: status["lines_stored"])),
        **{
            f"{what}_{quantile.replace('most', 'max')}": most_ms(what, quantile)
            for what in ("lateness", "handling", "loop_lag")
            for quantile in ("p50_ms", "p99_ms", "most_ms")
        },
        "behind_bytes_end": sum(c.waiting_bytes[-1] for c in collectors),
        "behind_bytes_max": max(sum(c.waiting_bytes[index] for c in collectors) for index in range(len(rss))),
        "rss_mb": [round(value / 1e6) for value in rss[:: max(1, len(rss) // 10)]],
        "rss_max_mb": round(max(rss) / 1e6),
        "unproved": sum(not product["is_proved"] for status in after for product in status["products"]),
        "gaps_open": sum(len(status["gaps"]) for status in after),
    }


def curve(duration_s: float) -> list[dict[str, Any]]:
    """Cost against products, each with its frames, and against frames at the most products, up to where it breaks."""
    points = [(count, FRAMES_PER_PRODUCT * count) for count in CURVE_PRODUCTS]
    points += [(CURVE_PRODUCTS[-1], rate) for rate in CURVE_RATES if (CURVE_PRODUCTS[-1], rate) not in points]
    return [run(products, rate, duration_s, warm_up_s=CURVE_WARM_UP_S) for products, rate in points]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, or one a line for a curve")
    parser.add_argument("--products", type=int, default=400)
    parser.add_argument("--rate", type=int, default=10_000, help="book frames a second, all products")
    parser.add_argument("--duration", type=float, default=60, help="seconds measured, after the warm-up")
    parser.add_argument("--processes", type=int, default=1, help="the products are dealt out to so many collectors")
    parser.add_argument("--levels", type=int, default=1000, help="of each side of the first books")
    parser.add_argument("--curve", action="store_true", help="cost against products and rates")
    options = parser.parse_args()
    if options.curve:
        found = curve(options.duration)
    else:
        found = [run(options.products, options.rate, options.duration, options.processes, options.levels)]
    for figures in found:
        if options.json:
            print(json.dumps(figures))
        else:
            print("  ".join(f"{name} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
