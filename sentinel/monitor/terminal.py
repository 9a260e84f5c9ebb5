"""What a person at a terminal sees while the collector runs: one line of status, or a table with ``--live``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import msgspec
from msgspec import Struct
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from feeds.market import names
from sentinel.collector.service import Service
from sentinel.command.tables import Sheet
from sentinel.exchange.repair import LONG_RANGE
from sentinel.monitor.outlet import Outlet

REFRESH_S = 0.5
NS_PER_MS = 1_000_000


async def show(service: Service, console: Console, render: Callable[[Service], RenderableType]) -> None:
    """Keeps the view fresh until cancelled."""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(Group(render(service), *_long_repair(service)), refresh=True)
            await asyncio.sleep(REFRESH_S)


def _long_repair(service: Service) -> list[RenderableType]:
    """A bar while the trades of a long outage are being fetched."""
    done, total = service.repairer.progress
    if total <= LONG_RANGE:
        return []
    return [Text(f"repairing {total:,} trades"), ProgressBar(total=total, completed=done, width=60)]


class Figures(Struct, frozen=True):
    """What the status line says. Those of several collectors add up."""

    products: int = 0
    proved: int = 0
    connections: int = 0
    live_connections: int = 0
    frames: int = 0
    lines_stored: int = 0
    open_gaps: int = 0
    trades_to_repair: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(*(map(sum, zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True))))


def figures(service: Service) -> Figures:
    """The present moment."""
    products = [product for product in service.pipeline.products.values() if product.is_carried]
    lanes = service.pipeline.lanes
    return Figures(
        products=len(products),
        proved=sum(product.books.is_proved for product in products),
        connections=sum(bool(lane.products) for lane in lanes),
        live_connections=sum(lane.is_live for lane in lanes),
        frames=sum(lane.counts.received for lane in lanes),
        lines_stored=service.committer.lines_stored,
        open_gaps=sum(len(product.books.gaps) + len(product.trades.open_gaps) for product in products),
        trades_to_repair=service.repairer.outstanding,
    )


async def tell(service: Service) -> None:
    """The figures as a JSON line on stdout, for the supervisor of a shard, until cancelled or nobody listens."""
    with Outlet(sys.stdout) as outlet:
        while not outlet.is_broken:
            outlet.put(msgspec.json.encode(figures(service)) + b"\n")
            await asyncio.sleep(REFRESH_S)


def status_line(service: Service) -> Text:
    """``3/3 books proved · 1,204 frames · 2 gaps open · …``"""
    return as_line(figures(service))


def as_line(now: Figures) -> Text:
    """The figures in words."""
    parts = [
        (f"{now.proved}/{now.products} books proved", "green" if now.proved == now.products else "yellow"),
        (f"{now.live_connections}/{now.connections} connections live", ""),
        (f"{now.frames:,} frames", ""),
        (f"{now.lines_stored:,} lines stored", ""),
        (f"{now.open_gaps} gaps open", "yellow" if now.open_gaps else "green"),
    ]
    if now.trades_to_repair:
        parts.append((f"{now.trades_to_repair:,} trades to repair", "yellow"))
    return Text(" · ").join(Text(text, style) for text, style in parts)


def live_table(service: Service) -> Group:
    """A row for each product."""
    columns = ("bid", "ask", "spread bps", "levels", "newest trade", "open gaps", "sample age ms")
    table = Sheet("product", *columns, numbers=columns, words=("open gaps",))
    products = [product for product in service.pipeline.products.values() if product.is_ours]
    now_ns, called = service.intake.clock.now_ns(), names(product.market for product in products)
    for product in products:
        sample, gaps = product.books.last_sample, product.books.gaps + product.trades.open_gaps
        lane = product.books.shown()
        book = None if lane is None else lane.book
        table.add_row(
            called[product.market],
            *(
                ("", "", "")
                if sample is None
                else (f"{sample.measure.top.bid:,}", f"{sample.measure.top.ask:,}", f"{sample.measure.spread_bps:.3f}")
            ),
            "not proved" if book is None else f"{len(book.bids):,} / {len(book.asks):,}",
            str(product.trades.ledger.last or ""),
            Text(", ".join(sorted({gap.cause for gap in gaps})), style="yellow"),
            "" if sample is None else f"{(now_ns - sample.grid_ns) // NS_PER_MS:,}",
        )
    return Group(table, status_line(service))
