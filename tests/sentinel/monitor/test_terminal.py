"""What a person at a terminal sees."""

from __future__ import annotations

import asyncio
import io

import msgspec
import pytest
from rich.console import Console

from sentinel.collector.service import Service
from sentinel.monitor import terminal
from sentinel.monitor.terminal import Figures, as_line, figures, live_table, show, status_line
from sentinel.pipeline.gaps import Gap
from tests.servers.waiting import LONGEST_S


def printed(view: object) -> str:
    out = io.StringIO()
    Console(file=out, width=160).print(view)
    return out.getvalue()


def test_the_line_says_what_is_well_and_what_is_not() -> None:
    now = Figures(products=3, proved=2, connections=4, live_connections=4, frames=1204, lines_stored=98765, open_gaps=2)
    line = as_line(now)
    assert line.plain == "2/3 books proved · 4/4 connections live · 1,204 frames · 98,765 lines stored · 2 gaps open"
    assert {str(span.style) for span in line.spans if span.style} == {"yellow"}
    assert {str(span.style) for span in as_line(Figures(products=1, proved=1)).spans if span.style} == {"green"}
    assert as_line(Figures(trades_to_repair=5000)).plain.endswith(" · 5,000 trades to repair")


def test_the_figures_of_several_collectors_add_up() -> None:
    one = Figures(products=1, proved=1, connections=2, live_connections=2, frames=10, lines_stored=20, open_gaps=0)
    other = Figures(products=2, proved=0, connections=3, live_connections=1, frames=1, lines_stored=2, open_gaps=4)
    assert msgspec.structs.astuple(one + other) == (3, 1, 5, 3, 11, 22, 4, 0)


async def test_a_row_for_each_product(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    bitcoin, _ = service.pipeline.products.values()
    bitcoin.books.gaps.append(Gap("book", "crossed", 1))
    monkeypatch.setattr(bitcoin.trades, "_gaps", lambda: [Gap("trades", "trades", 1, missing_count=2)])
    assert figures(service).open_gaps == 2
    shown = printed(live_table(service))
    row = next(line for line in shown.splitlines() if "BTC-USD" in line)
    assert "not proved" in row
    assert "crossed, trades" in row
    assert "ETH-USD" in shown
    assert "0/2 books proved" in shown
    assert "2 gaps open" in status_line(service).plain


async def test_a_long_repair_has_a_bar(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "REFRESH_S", 0.0)
    monkeypatch.setattr(type(service.repairer), "progress", (2_000, 10_000))
    out = io.StringIO()
    views = 0

    def render(service: Service) -> str:
        nonlocal views
        views += 1
        return f"look {views}"

    showing = asyncio.create_task(show(service, Console(file=out, force_terminal=True, width=100), render))
    async with asyncio.timeout(LONGEST_S):
        while views < 3:
            await asyncio.sleep(0)
    showing.cancel()
    await asyncio.wait([showing])
    assert out.getvalue().count("repairing 10,000 trades") >= 2
