"""A running collector against an exchange whose list changes: products join, leave and come back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from click.testing import CliRunner
from msgspec.structs import replace

from feeds.market import Market as Key
from sentinel.archive.schedule import HOUR_NS
from sentinel.certificates.tapes import TapeRecord
from sentinel.cli import cli
from sentinel.contract.line_protocol import decode
from sentinel.disk.journal import JournalReader
from sentinel.simulator.coinbase.dialect import COINBASE
from sentinel.simulator.dialect import Dialect, Page
from tests.sentinel.run.test_collect import stored
from tests.servers.collector import collecting
from tests.servers.exchange import Market, trading
from tests.servers.patient import patience
from tests.servers.ports import free_port
from tests.servers.waiting import until

PRODUCTS = ["BTC-USD", "ETH-USD", "SOL-USD"]
QUICK = "tests.servers.quick_look"


class Curtain:
    """A dialect whose REST does not list what is ``hidden``."""

    def __init__(self, dialect: Dialect, hidden: set[str]) -> None:
        self._dialect = dialect
        self._hidden = hidden

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dialect, name)

    def page(self, path: list[str], query: Mapping[str, str]) -> Page:
        found = self._dialect.page(path, query)
        if path == ["products"]:
            return found._replace(body=[one for one in found.body if dict(one)["id"] not in self._hidden])  # type: ignore[call-overload]
        if path[:1] == ["products"] and path[1] in self._hidden:
            return Page(404, {"message": "NotFound"})
        return found


@asynccontextmanager
async def listing(truth: Path, hidden: set[str]) -> AsyncIterator[Market]:
    venue = replace(COINBASE, live=lambda market: Curtain(COINBASE.live(market), hidden))
    async with trading(PRODUCTS, truth, venue=venue) as exchange:
        yield exchange


def told(errors: str, event: str) -> int:
    return errors.count(f'"{event}"')


def gaps(data: Path, symbol: str) -> dict[int, tuple[str, bool]]:
    """Of the book: the cause, and whether it has ended, by start."""
    with JournalReader(data / "journal.sqlite3") as reader:
        lines = [line for batch in reader.batches() for line in batch.lines() if line.startswith(b"gaps,")]
    found = {}
    for point in map(decode, lines):
        facts = dict(point.tags) | dict(point.fields)
        if (facts["symbol"], facts["channel"]) == (symbol, "book"):
            found[point.time_ns] = str(facts["cause"]), "end_ns" in facts
    return found


def lines(data: Path) -> list[bytes]:
    with JournalReader(data / "journal.sqlite3") as reader:
        return sorted(line for batch in reader.batches() for line in batch.lines())


async def test_products_join_leave_and_come_back(tmp_path: Path) -> None:
    data, hidden, port = tmp_path / "data", {"SOL-USD"}, free_port()
    async with (
        listing(tmp_path / "truth.jsonl", hidden) as exchange,
        collecting(exchange.urls, data, "*-USD", "--record", "--http", f"127.0.0.1:{port}", module=QUICK) as collector,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        await until(lambda: all(stored(data, "top", symbol) for symbol in PRODUCTS[:2]))
        hidden.clear()
        await until(lambda: stored(data, "top", "SOL-USD") > 10)
        assert told(collector.errors, "product_newly_listed") == 1
        hidden.add("ETH-USD")
        await until(lambda: told(collector.errors, "product_not_listed") > 0)
        await until(lambda: gaps(data, "ETH-USD") != {})
        before = stored(data, "top", "ETH-USD")
        async with session.get("/sentinel/status") as response:
            status = await response.json()
        states = {one["symbol"]: (one["is_listed"], one["state"]) for one in status["products"]}
        assert states == {
            "BTC-USD": (True, "trading"), "ETH-USD": (False, "delisted"), "SOL-USD": (True, "trading"),
        }  # fmt: skip
        assert all(line["products"] for line in status["connections"])
        assert all(line["openings"] == 1 for line in status["connections"]), "nobody was cut off for it"
        hidden.clear()
        await until(lambda: stored(data, "top", "ETH-USD") > before + 10)
        assert told(collector.errors, "product_listed_again") == 1
        await exchange.quiet_end(1)
        assert await collector.stop() == 0
    assert "Traceback" not in collector.errors
    assert told(collector.errors, "product_not_listed") == 1
    assert list(gaps(data, "ETH-USD").values()) == [("delisted", True)]
    assert gaps(data, "BTC-USD") == gaps(data, "SOL-USD") == {}
    with patience():  # as it was collected
        played = await asyncio.to_thread(CliRunner().invoke, cli, ["replay", str(data / "tapes")])
    assert played.exit_code == 0
    assert sorted(played.stdout_bytes.splitlines()) == lines(data)
    newest_ns = max(decode(line).time_ns for line in lines(data))
    hours = [hour_ns for back in (0, HOUR_NS) if (hour_ns := newest_ns - newest_ns % HOUR_NS - back)]
    taped = TapeRecord(data / "tapes", hours)
    of_solana = [frames for hour_ns in hours for frames in taped.connections(Key("coinbase", "SOL-USD"), hour_ns)]
    assert {frames.lane for frames in of_solana} == {3}  # it joined after those of the start


async def test_one_that_was_named_leaves_too_and_the_last_one_leaves_none(tmp_path: Path) -> None:
    data, hidden = tmp_path / "data", {"SOL-USD"}
    async with (
        listing(tmp_path / "truth.jsonl", hidden) as exchange,
        collecting(exchange.urls, data, "BTC-USD", module=QUICK) as collector,
    ):
        await until(lambda: stored(data) > 0)
        hidden.add("BTC-USD")
        await until(lambda: list(gaps(data, "BTC-USD").values()) == [("delisted", False)])
        before = stored(data)
        hidden.clear()
        await until(lambda: stored(data) > before + 10)
        assert await collector.stop() == 0
    assert list(gaps(data, "BTC-USD").values()) == [("delisted", True)]
    assert "Traceback" not in collector.errors


async def test_with_several_processes_it_joins_the_one_with_the_fewest_and_stays_there(tmp_path: Path) -> None:
    data, hidden = tmp_path / "data", {"SOL-USD"}
    async with (
        listing(tmp_path / "truth.jsonl", hidden) as exchange,
        collecting(exchange.urls, data, "all", "--processes", "2", module=QUICK) as collector,
    ):
        homes = data / "shard=00", data / "shard=01"
        await until(lambda: all(any(stored(home, "top", symbol) for home in homes) for symbol in PRODUCTS[:2]))
        hidden.clear()
        await until(lambda: stored(homes[0], "top", "SOL-USD") > 10)
        assert told(collector.errors, "product_newly_listed") == 1
        pid = next(int(line["pid"]) for line in events(collector.errors) if line.get("shard") == "shard=00")
        os.kill(pid, signal.SIGKILL)
        before = stored(homes[0], "top", "SOL-USD")
        await until(lambda: stored(homes[0], "top", "SOL-USD") > before + 10)
        assert await collector.stop() == 0
    assert "Traceback" not in collector.errors
    assert stored(homes[1], "top", "SOL-USD") == 0


def events(errors: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in errors.splitlines(keepends=True) if line[0] == "{" and line[-1] == "\n"]
