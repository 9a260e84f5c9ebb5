"""Whoever watches a collector forgives an end for which its disk is to blame, and no other."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.end_to_end.store import Store, has
from tests.faults.host import Host
from tests.servers.exchange import trading
from tests.servers.waiting import LONGEST_S, SHORTEST_S, until

PRODUCTS = ["BTC-USD"]


@asynccontextmanager
async def collected(folder: Path) -> AsyncIterator[Host]:
    """A host whose collector has begun."""
    async with trading(PRODUCTS, folder / "truth.jsonl", levels=50) as exchange:
        async with Host(exchange.urls, folder, [], PRODUCTS).running() as machine:
            await until(lambda: has(folder / "data", PRODUCTS, top=1))
            yield machine


async def unheeded(condition: Callable[[], bool]) -> None:
    """Waits as somebody does who is not to be told of an end."""
    async with asyncio.timeout(LONGEST_S):
        while not condition():
            await asyncio.sleep(SHORTEST_S)


async def test_an_end_is_the_disks_though_that_is_well_again_when_somebody_looks(tmp_path: Path) -> None:
    """The next collector is started, and nobody who waits for what it brings fails."""
    async with collected(tmp_path) as machine:
        machine.fill(is_full=True)
        await until(lambda: "journal_refuses" in machine.collector.errors)
        first = machine.collector
        os.kill(first.pid, signal.SIGTERM)  # it has lines that it cannot store
        await unheeded(lambda: first.has_ended)
        machine.fill(is_full=False)
        had = len(Store(tmp_path / "data").of("top"))
        await until(lambda: len(Store(tmp_path / "data").of("top")) > had)
        assert await machine.stop() == 0
    assert machine.collector is not first
    assert machine.problems == []


async def test_an_end_without_a_reason_is_told(tmp_path: Path) -> None:
    async with collected(tmp_path) as machine:
        machine.fill(is_full=True)
        machine.fill(is_full=False)
        os.kill(machine.collector.pid, signal.SIGKILL)
        with pytest.raises(AssertionError, match="a collector has ended by itself"):
            await until(lambda: False)
        await unheeded(lambda: machine.problems == ["the collector ended by itself"])
