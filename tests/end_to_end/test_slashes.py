"""Symbols with a slash in them, as Kraken's are: in file names, addresses, partitions, labels and tags."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pyarrow.dataset as ds
from prometheus_client.parser import text_string_to_metric_families

import sentinel.data
from feeds.market import Market
from sentinel.contract.line_protocol import Point, decode
from sentinel.disk.shards import folder_of, shard_folders
from sentinel.simulator.kraken.dialect import KRAKEN
from tests.end_to_end.judge import TruthFile, judge_trades
from tests.end_to_end.store import Store
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.ports import free_port
from tests.servers.waiting import LONGEST_S, until

SYMBOLS = ["BTC/USD", "ETH/USD"]
MARKETS = [f"kraken:{symbol}" for symbol in SYMBOLS]
SETTLE_S = 1.0


def command(data: Path | None, *arguments: str) -> bytes:
    place = [] if data is None else ["--data-dir", str(data)]
    done = subprocess.run([sys.executable, "-m", "sentinel", *arguments, *place], capture_output=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


def is_trade(point: Point) -> bool:
    return point.measurement == "trades"


def has_everything(folder: Path, symbols: list[str]) -> bool:
    with suppress(Exception):  # no journal yet
        store = Store(folder)
        return all(store.trades(symbol) and len(store.of("top", symbol)) > 30 for symbol in symbols)
    return False


async def test_shards_archive_reports_and_plots_find_them(tmp_path: Path) -> None:
    data, truth_path = tmp_path / "data", tmp_path / "truth.jsonl"
    async with trading(SYMBOLS, truth_path, venue=KRAKEN, levels=60, trade_rate=20) as exchange:
        async with collecting(
            exchange.urls, data, *MARKETS, "--processes", "2", "--record", exchange="kraken"
        ) as collector:
            await until(lambda: len(shard_folders(data)) == 2)
            shards = shard_folders(data)
            await until(lambda: all(any(has_everything(folder, [symbol]) for folder in shards) for symbol in SYMBOLS))
            await exchange.quiet_end(SETTLE_S)
            await until(lambda: not any(Store(shard).missing_trades(symbol) for shard in shards for symbol in SYMBOLS))
            assert await collector.stop() == 0
    truth = TruthFile(truth_path, "kraken")
    for market in map(Market.parse, MARKETS):
        folder = folder_of(data, market)
        assert judge_trades(Store(folder), truth, [market.symbol]) > 10
        command(folder, "archive", "--until", "2100-01-01")
        partition = folder / "archive" / "trades" / "exchange=kraken" / f"symbol={quote(market.symbol, safe='')}"
        assert list(partition.rglob("*.parquet"))
        table = ds.dataset(folder / "archive" / "trades", partitioning="hive", exclude_invalid_files=True).to_table()
        assert set(table["symbol"].to_pylist()) == {market.symbol}
        # from here on of the archive alone
        (folder / "journal.sqlite3").rename(folder / "journal.away")
        assert folder_of(data, market) == folder
        ids = sentinel.data.load("trades", str(market), "1h", data_dir=data).table["trade_id"].to_pylist()
        assert sorted(ids) == sorted(truth.trades[market.symbol].keys() & set(ids))
        assert len(ids) > 10
        (folder / "journal.away").rename(folder / "journal.sqlite3")
        exported = command(data, "export", "--measurement", "trades", "--symbol", str(market), "--format", "lp")
        assert {dict(decode(line).tags)["symbol"] for line in exported.splitlines()} == {market.symbol}
        tapes = command(None, "replay", str(folder / "tapes"))
        again = {dict(point.fields)["trade_id"] for point in map(decode, tapes.splitlines()) if is_trade(point)}
        assert again >= set(ids)
        plotted = tmp_path / "plot.png"
        command(data, "plot", "depth", str(market), "--output", str(plotted))
        assert plotted.stat().st_size > 1000
    found = json.loads(command(data, "gap-report", "--format", "json", "--collected-only"))
    assert sorted((product["exchange"], product["symbol"]) for product in found["products"]) == [
        ("kraken", symbol) for symbol in SYMBOLS
    ]
    one = json.loads(command(data, "gap-report", "--format", "json", "--symbol", MARKETS[0]))
    assert [product["symbol"] for product in one["products"]] == [SYMBOLS[0]]


async def test_the_api_has_them_under_their_own_names(tmp_path: Path) -> None:
    port = free_port()
    async with (
        trading(SYMBOLS, tmp_path / "truth", venue=KRAKEN, levels=60, trade_rate=10) as exchange,
        collecting(
            exchange.urls, tmp_path / "data", *MARKETS, "--http", f"127.0.0.1:{port}", exchange="kraken"
        ) as collector,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        await answered(session, "/readyz")
        for name in (MARKETS[0], quote(MARKETS[0], safe=""), quote(MARKETS[0])):
            book = json.loads(await answered(session, f"/sentinel/book/{name}?levels=3"))
            assert (book["exchange"], len(book["bids"])) == ("kraken", 3)
        async with session.get("/sentinel/book/kraken:FOO/USD") as answer:
            assert answer.status == 404
        proved: dict[str, float] = {}
        async with asyncio.timeout(LONGEST_S):
            while proved != dict.fromkeys(SYMBOLS, 1.0):
                metrics = await answered(session, "/metrics")
                families = {family.name: family for family in text_string_to_metric_families(metrics)}
                proved = {sample.labels["symbol"]: sample.value for sample in families["sentinel_book_proved"].samples}
        status = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "sentinel", "status", "--http", f"127.0.0.1:{port}", "--format", "json"],
            capture_output=True,
            check=False,
        )
        assert {product["symbol"] for product in json.loads(status.stdout)["products"]} == set(SYMBOLS)
        assert await collector.stop() == 0


async def answered(session: aiohttp.ClientSession, path: str) -> str:
    """What is there once it is: a book that is proved now need not be at the next moment."""
    async with asyncio.timeout(LONGEST_S):
        while True:
            with suppress(aiohttp.ClientConnectorError):
                async with session.get(path) as answer:
                    if answer.status == 200:
                        return await answer.text()
                    assert answer.status == 503, path
            await asyncio.sleep(0.1)
