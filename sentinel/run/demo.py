"""``make demo``: collects from the local exchange for twenty seconds, then shows what there is and what is missing.

Everything runs as a user would run it: the commands of ``sentinel-ws``, in processes of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click

from feeds.catalogue import DEFAULT_EXCHANGE
from sentinel.config.names import venue_environment
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader

PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
SECONDS = 20
COMMAND = (sys.executable, "-m", "sentinel")


def main(data_dir: Path) -> int:
    """Runs the demonstration; returns the exit status of the first command that failed, or 0."""
    shutil.rmtree(data_dir, ignore_errors=True)
    _say(f"1. A local exchange with a synthetic market: {', '.join(PRODUCTS)}")
    simulate = [*COMMAND, "simulate", "--products", ",".join(PRODUCTS), "--duration", f"{SECONDS + 60}s"]
    with subprocess.Popen(simulate, stdout=subprocess.PIPE) as exchange:
        try:
            assert exchange.stdout is not None
            return _collect_and_report(json.loads(exchange.stdout.readline()), data_dir)
        finally:
            exchange.terminate()


def _collect_and_report(urls: dict[str, str], data_dir: Path) -> int:
    addresses = venue_environment(DEFAULT_EXCHANGE, urls)
    _say(f"2. Collect from it for {SECONDS} s: sentinel-ws collect {' '.join(PRODUCTS)}")
    started_s = time.monotonic()
    arguments = [*PRODUCTS, "--duration", f"{SECONDS}s", "--data-dir", str(data_dir)]
    with subprocess.Popen([*COMMAND, "collect", *arguments], env=os.environ | addresses) as collector:
        first_line_s = _wait_for_lines(data_dir, collector, started_s)
    if collector.returncode:
        return collector.returncode
    _say(f"3. What is stored (the first lines were on disk after {first_line_s:.1f} s)")
    ended_ns = _show(data_dir)
    _say("4. What is complete and what is missing: sentinel-ws gap-report")
    # from here on nobody collects, which a report of any later moment would say
    report = ["gap-report", "--data-dir", str(data_dir), "--until", str(ended_ns)]
    return subprocess.run([*COMMAND, *report], check=False).returncode


def _wait_for_lines(data_dir: Path, collector: subprocess.Popen[bytes], started_s: float) -> float:
    """Seconds until the first line was on disk."""
    journal = data_dir / JOURNAL
    while collector.poll() is None:
        if journal.exists():
            with JournalReader(journal) as reader:
                if reader.line_count():
                    break
        time.sleep(0.1)
    return time.monotonic() - started_s


def _show(data_dir: Path) -> int:
    """How many lines of each measurement, and one of each to look at; gives until when every product has samples."""
    last_ns: dict[bytes, int] = {}
    counts: dict[str, int] = {}
    examples: dict[str, bytes] = {}
    with JournalReader(data_dir / JOURNAL) as reader:
        for batch in reader.batches():
            for line in batch.lines():
                name = line.partition(b",")[0].decode()
                counts[name] = counts.get(name, 0) + 1
                examples[name] = line
                if name == "top":
                    last_ns[line.partition(b" ")[0]] = int(line.rpartition(b" ")[2])
    for name, count in sorted(counts.items()):
        click.echo(f"   {count:7,d} {name:<9} {examples[name].decode()[:180]}")
    return min(last_ns.values(), default=time.time_ns()) + 1


def _say(words: str) -> None:
    click.secho(f"\n{words}\n", bold=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-data")))
