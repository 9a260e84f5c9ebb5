"""What ``collect`` tells a person at its start and at its end, and the same as facts for the log."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from loguru import logger
from rich.console import Console
from rich.text import Text

from feeds.catalogue import VENUES
from feeds.market import by_exchange
from sentinel.config import Config
from sentinel.gap_report.words import duration
from sentinel.monitor.status import Status
from sentinel.timing.instants import NS_PER_S, format_ns

MOST_NAMED = 5


def page_of(config: Config) -> str | None:
    """The address of the live page, if it is served where it is known to be."""
    if config.http is None:
        return None
    host, _, port = config.http.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # where a browser finds it
    return f"http://{host}:{port}/" if int(port) else None


class Voice:
    """Tells a person, if ``console`` is a terminal, and gives or logs the same as facts; nothing of a dry run."""

    def __init__(self, config: Config, console: Console | None, *, is_dry_run: bool = False) -> None:
        self._config = config
        self._console = console if console is not None and console.is_terminal and not is_dry_run else None
        self._is_dry_run = is_dry_run

    def begin(self) -> dict[str, str | None]:
        """Tells what is collected and where it goes."""
        self.tell(begun(self._config))
        if self._is_dry_run:
            return {}
        return {"data_dir": str(self._config.data_dir.absolute()), "page": page_of(self._config)}

    def end(self, found: Status, gaps: int) -> None:
        """Tells what a run got. ``gaps`` is how many ended meanwhile."""
        if self._is_dry_run:
            return
        logger.bind(**facts(found, gaps), data_dir=str(self._config.data_dir.absolute())).info("collected")
        self.tell(ended(found, gaps, self._config.data_dir))

    def tell(self, lines: Sequence[str]) -> None:
        """Whole lines, whatever the width: a path or a command can be taken from them."""
        if self._console is not None:
            for line in lines:
                self._console.print(Text(line, "bold"), soft_wrap=True)


def begun(config: Config) -> list[str]:
    """What is collected, where it goes, and where it can be watched."""
    what = []
    for exchange, symbols in by_exchange(config.markets).items():
        more = f" and {len(symbols) - MOST_NAMED:,} more" if len(symbols) > MOST_NAMED else ""
        what.append(f"{', '.join(symbols[:MOST_NAMED])}{more} of {VENUES[exchange].title}")
    stores = ["journal", *["archive"] * config.archive.is_enabled, *["tapes"] * config.record]
    lines = [f"Collecting {'; '.join(what)}", f"Data:      {config.data_dir.absolute()} ({', '.join(stores)})"]
    if config.influx.url is not None:
        lines.append(f"InfluxDB:  {config.influx.url}")
    page = page_of(config)
    if page is not None:
        lines.append(f"Live page: {page}")
    elif config.http is None:
        lines.append("Live page: none; --http 127.0.0.1:8080 serves one")
    return [*lines, "Ctrl-C ends it in order"]


def ended(found: Status, gaps: int, data_dir: Path) -> list[str]:
    """What a run got, where it is, and what to type next."""
    got, count = facts(found, gaps), len(found.products)
    products = f"{count:,} {'product' if count == 1 else 'products'}"
    what = f"{got['samples']:,} samples and {got['trades']:,} trades of {products}"
    missing = f", {got['trades_missing']:,} trades still missing" if got["trades_missing"] else ""
    still = f", {got['gaps_open']:,} of them open" if got["gaps_open"] else ""
    lost = f"{got['gaps']:,}{still}: {got['samples_withheld']:,} samples withheld{missing}" if got["gaps"] else "none"
    since_ns = found.now_ns - round(found.uptime_s * NS_PER_S)
    return [
        f"Collected {what} in {duration(round(found.uptime_s * NS_PER_S))}",
        f"Gaps:      {lost}",
        *next_steps(data_dir, since_ns),
    ]


def next_steps(data_dir: Path, since_ns: int | None) -> list[str]:
    """Where the data is, and what to type to see what is complete."""
    report = ["sentinel-ws", "gap-report", "--data-dir", str(data_dir)]
    if since_ns is not None:
        report += ["--since", format_ns(since_ns // NS_PER_S * NS_PER_S)]
    return [f"Data:      {data_dir.absolute()}", f"Next:      {shlex.join(report)}"]


def facts(found: Status, gaps: int) -> Mapping[str, int]:
    """The sums of a run."""
    products = found.products
    return {
        "samples": sum(product.samples_written for product in products),
        "samples_withheld": sum(product.samples_withheld for product in products),
        "trades": sum(product.trades_stored for product in products),
        "trades_missing": sum(product.trades_missing + product.trades_given_up for product in products),
        "gaps": gaps + len(found.gaps),
        "gaps_open": len(found.gaps),
    }
