"""Which shard collects which product, as the user's wishes change."""

from __future__ import annotations

from pathlib import Path

import pytest

from feeds.market import Market
from sentinel.disk.journal import Journal
from sentinel.disk.shards import data_folders, deal, folder_of, journals
from sentinel.exchange.planner import plan
from sentinel.pipeline import Pipeline, Settings

MARKETS = [Market.parse(symbol) for symbol in ("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD")]
NEW = Market.parse("AAA-USD")


async def collected(folder: Path, *products: str) -> None:
    """Leaves the journal of a collector of ``products`` that has ended."""
    plans = plan(products, "coinbase_advanced", frozenset({"coinbase_exchange"}), 20, 1)
    pipeline = Pipeline(Settings(collector="test"), plans, lambda _: pytest.fail("no connection is opened"))
    journal = Journal.open(folder / "journal.sqlite3")
    await journal.append({}, pipeline.checkpoint())
    journal.close()


async def every_one(dealt: dict[Path, list[Market]]) -> None:
    for folder, markets in dealt.items():
        folder.mkdir(exist_ok=True)
        await collected(folder, *(market.symbol for market in markets))


def names(dealt: dict[Path, list[Market]]) -> dict[str, list[str]]:
    return {folder.name: [market.short for market in markets] for folder, markets in dealt.items()}


def test_products_are_dealt_out_evenly_in_whatever_order_they_are_named(tmp_path: Path) -> None:
    dealt = {"shard=00": ["BTC-USD", "SOL-USD"], "shard=01": ["ETH-USD", "XRP-USD"]}
    assert names(deal(MARKETS, tmp_path, 2)) == dealt
    assert names(deal(MARKETS[::-1], tmp_path, 2)) == dealt


def test_no_process_is_started_for_nothing(tmp_path: Path) -> None:
    assert names(deal(MARKETS[:1], tmp_path, 4)) == {"shard=00": ["BTC-USD"]}


async def test_a_new_product_moves_no_other(tmp_path: Path) -> None:
    await every_one(deal(MARKETS, tmp_path, 2))
    dealt = names(deal([*MARKETS, NEW], tmp_path, 2))
    assert dealt == {"shard=00": ["BTC-USD", "SOL-USD", "AAA-USD"], "shard=01": ["ETH-USD", "XRP-USD"]}


async def test_more_or_fewer_processes_move_no_product(tmp_path: Path) -> None:
    await every_one(before := deal(MARKETS, tmp_path, 2))
    assert deal(MARKETS, tmp_path, 1) == before
    assert names(deal([*MARKETS, NEW], tmp_path, 3)) == names(before) | {"shard=02": ["AAA-USD"]}


async def test_what_one_process_collected_stays_where_it_is(tmp_path: Path) -> None:
    await collected(tmp_path, "BTC-USD")
    assert deal(MARKETS[:2], tmp_path, 2) == {tmp_path: MARKETS[:1], tmp_path / "shard=00": MARKETS[1:2]}


async def test_data_are_found_by_product(tmp_path: Path) -> None:
    await every_one(deal(MARKETS, tmp_path, 2))
    (tmp_path / "shard=01" / "archive" / "top" / "exchange=coinbase" / "symbol=OLD-USD").mkdir(parents=True)
    assert folder_of(tmp_path, Market.parse("ETH-USD")) == tmp_path / "shard=01"
    assert folder_of(tmp_path, Market.parse("OLD-USD")) == tmp_path / "shard=01"
    assert [path.parent.name for path in journals(tmp_path)] == ["shard=00", "shard=01"]


def test_an_empty_directory_is_its_own_only_folder(tmp_path: Path) -> None:
    assert data_folders(tmp_path) == [tmp_path]
    assert journals(tmp_path) == [tmp_path / "journal.sqlite3"]
