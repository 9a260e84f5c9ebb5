"""``make demo``: collects from a local exchange with faults for twenty seconds, and shows what was lost, what was
repaired, what was withheld, and the live page.

Everything runs as a user would run it: the commands of ``sentinel-ws``, in processes of their own. But none of the
user's settings is theirs: a made-up market must not end up in an InfluxDB that is not.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import click

from sentinel.command.encoding import make_printable
from sentinel.config.loading import without_settings
from sentinel.contract.causes import words
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader
from sentinel.gap_report import local
from sentinel.gap_report.report import Report, Window, build
from sentinel.gap_report.text import as_table

PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
SECONDS = 20
LONGEST = "1h"
"""Nobody who has forgotten it is served for ever."""

LONGEST_NS = 3600 * 10**9
CADENCE_NS = 100_000_000

FIRST_PORT = 8080
PATIENCE_S = 20.0
COMMAND = (sys.executable, "-m", "sentinel")
FAULTS = """\
# A frame of the order book is lost on its way, again each half a minute
[[fault]]
kind = "drop"
channel = "l2_data"
at_s = 4.0
every_s = 30.0

# Six trades never come on the stream; REST has them
[[fault]]
kind = "hide"
at_s = 7.0
count = 6
every_s = 30.0

# A connection stays open and says nothing
[[fault]]
kind = "stall"
feed = "advanced"
connection = 2
at_s = 11.0
duration_s = 2.0
every_s = 60.0
"""
MEANT = "a frame of a book is lost, six trades are never sent, a connection falls silent for 2 s"


class Ended(Exception):
    """A process that was to go on has ended, with this exit status."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(status)


def main(data_dir: Path) -> int:
    """Runs the demonstration; returns the exit status of the first command that failed, or 0.

    At a terminal it goes on until Ctrl-C, so that the page can be looked at.
    """
    data_dir = data_dir.absolute()
    shutil.rmtree(data_dir, ignore_errors=True)
    data_dir.mkdir(parents=True)
    faults, log = data_dir / "faults.toml", data_dir / "demo.log"
    faults.write_text(FAULTS, encoding="utf-8")
    address = f"127.0.0.1:{_free_port()}"
    collect = ["sentinel-ws", "collect", *PRODUCTS, "--data-dir", str(data_dir), "--http", address]
    simulate = ["simulate", "--products", ",".join(PRODUCTS), "--faults", str(faults), "--duration", LONGEST]
    _say(f"1. A local exchange with a made-up market and with faults: {MEANT}")
    click.echo(f"   sentinel-ws {shlex.join(simulate)} --exec ...")
    _say(f"2. Collect from it for {SECONDS} s")
    click.echo(f"   {shlex.join(collect)}")
    status = 0
    with log.open("wb") as words:
        exchange = subprocess.Popen(
            [*COMMAND, *simulate, "--exec", shlex.join(collect)],
            stdout=words,
            stderr=words,
            env=without_settings(os.environ),
            cwd=data_dir,  # without sentinel.toml and .env
        )
        try:
            _show_and_tell(exchange, data_dir, address)
            if sys.stdout.isatty():
                click.echo("   Ctrl-C ends it")
                exchange.wait()
        except Ended as ended:
            click.echo(f"it ended too early; {log} has:\n{log.read_text(encoding='utf-8', errors='replace')}", err=True)
            status = ended.status or 1
        except KeyboardInterrupt:
            click.echo()
        finally:
            _end(exchange)
    _say(f"The data stays in {data_dir}: sentinel-ws gap-report --data-dir {shlex.quote(str(data_dir))}")
    return status


def _free_port() -> int:
    """The usual one, or any if that is taken."""
    for port in (FIRST_PORT, 0):
        with suppress(OSError), closing(socket.create_server(("127.0.0.1", port))) as found:
            return int(found.getsockname()[1])
    raise click.ClickException("no port is free on 127.0.0.1")


def _show_and_tell(exchange: subprocess.Popen[bytes], data_dir: Path, address: str) -> None:
    first_line_s = _watch(exchange, data_dir, address)
    _say(f"3. What is stored (the first lines were on disk after {first_line_s:.1f} s)")
    ended_ns = _show(data_dir)
    _say("4. What was lost, and what became of it: sentinel-ws gap-report")
    window = Window(ended_ns - LONGEST_NS, ended_ns)
    report = build(local.read(data_dir, window), window, cadence_ns=CADENCE_NS, now_ns=time.time_ns())
    click.echo(as_table(report, is_terminal=sys.stdout.isatty()))
    _sum_up(report)
    _say(f"5. The live page: http://{address}/")


def _watch(exchange: subprocess.Popen[bytes], data_dir: Path, address: str) -> float:
    """Says each second how far the collector is; gives after how many seconds the first line was on disk.

    Raises:
        Ended: if it does not get so far.
    """
    began_s = time.monotonic()
    first_line_s, live_s = None, None
    while live_s is None or time.monotonic() - live_s < SECONDS:
        if exchange.poll() is not None:
            raise Ended(exchange.returncode)
        if live_s is None and time.monotonic() - began_s > PATIENCE_S:
            raise Ended(1)
        time.sleep(0.1 if live_s is None else 1.0)
        first_line_s = first_line_s or _since_first_line(data_dir, began_s)
        status = _status(address)
        if status is not None and first_line_s is not None:
            live_s = live_s or time.monotonic()
            _step(time.monotonic() - live_s, status)
    click.echo()
    assert first_line_s is not None
    return first_line_s


def _since_first_line(data_dir: Path, began_s: float) -> float | None:
    journal = data_dir / JOURNAL
    if journal.exists():
        with JournalReader(journal) as reader:
            if reader.line_count():
                return time.monotonic() - began_s
    return None


def _status(address: str) -> dict[str, Any] | None:
    try:
        # our own collector, which is behind no proxy
        with build_opener(ProxyHandler({})).open(f"http://{address}/sentinel/status", timeout=2) as answer:
            found: dict[str, Any] = json.load(answer)
    except (URLError, OSError, ValueError):
        return None
    return found


def _step(elapsed_s: float, status: dict[str, Any]) -> None:
    """One line, written anew at a terminal; elsewhere one in five seconds."""
    proved = sum(product["is_proved"] for product in status["products"])
    words = (
        f"   {elapsed_s:2.0f} s: {proved} of {len(PRODUCTS)} books proved, {status['lines_stored']:,} lines stored, "
    )
    words += f"{len(status['gaps'])} gaps open"
    if sys.stdout.isatty():
        click.echo(f"\r\033[K{words}", nl=False)
    elif round(elapsed_s) % 5 == 0:
        click.echo(words)


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
    columns = shutil.get_terminal_size((180, 24)).columns - 22
    for name, count in sorted(counts.items()):
        click.echo(f"   {count:7,d} {name:<9} {examples[name].decode()[:columns]}")
    return min(last_ns.values(), default=time.time_ns()) + 1


def _sum_up(report: Report) -> None:
    """What the report comes to, in two sentences."""
    samples, trades = [one.samples for one in report.products], [one.trades for one in report.products]
    causes = {gap.cause for one in report.products for gap in one.gaps if gap.channel == "book"}
    why = ", ".join(sorted(map(words, causes))) or "none was"
    withheld, due = sum(each.withheld for each in samples), sum(each.due for each in samples)
    repaired, missing = sum(each.repaired for each in trades), sum(each.missing for each in trades)
    proof = "since nobody can prove the book of those instants"
    click.secho(f"   Withheld: {withheld:,} of {due:,} samples, {proof} ({why})", fg="yellow")
    click.secho(f"   Repaired: {repaired:,} trades, fetched by REST, each stored once; {missing:,} missing", fg="green")


def _end(exchange: subprocess.Popen[bytes]) -> None:
    """Asks for an end in order, and sees to it."""
    exchange.terminate()
    try:
        exchange.wait(PATIENCE_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        exchange.kill()
        exchange.wait()


def _say(words: str) -> None:
    click.secho(f"\n{words}\n", bold=True)


if __name__ == "__main__":
    make_printable()
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-data")))
