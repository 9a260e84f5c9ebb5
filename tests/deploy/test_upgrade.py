"""An upgrade without a hole, as docs/upgrade.md has it: the new one beside the old one, then the old one stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from sentinel.contract.line_protocol import Point, Value
from sentinel.disk.data_dir import TAPES
from sentinel.disk.journal import JournalReader
from sentinel.errors import UsageError
from tests.end_to_end.judge import CADENCE_NS, TruthFile, judge_samples, judge_tops
from tests.end_to_end.store import Store, fields
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.influx import WRITER, influx_server
from tests.servers.waiting import LONGEST_S

SETTLE_S = 2.0
OVERLAP = 20
"""Samples of each product that both collectors write before the old one stops."""


async def upgrade(folder: Path, *options: str, **settings: str) -> tuple[Store, Store, TruthFile]:
    """What the old one, the new one and the exchange wrote; ``options`` and ``settings`` are for both collectors."""
    truth_path, both = folder / "truth.jsonl", {"module": "tests.servers.patient", **settings}
    async with trading(3, truth_path, seed=11) as exchange:
        products, given = exchange.products, (*exchange.products, *options)
        async with (
            collecting(exchange.urls, folder / "old", *given, SENTINEL_COLLECTOR="old", **both) as old,
            collecting(exchange.urls, folder / "new", *given, SENTINEL_COLLECTOR="new", **both) as new,
        ):
            async with asyncio.timeout(LONGEST_S):
                await until_sampled(folder / "old", products, OVERLAP)
                await until_sampled(folder / "new", products, OVERLAP)
                assert await old.stop() == 0
                await until_sampled(folder / "new", products, len(samples(folder / "new", products[0])) + OVERLAP)
            await exchange.quiet_end(SETTLE_S)
            assert await new.stop() == 0
    return Store(folder / "old"), Store(folder / "new"), TruthFile(truth_path)


async def test_two_collectors_write_the_same_points_and_nothing_is_missing(tmp_path: Path) -> None:
    before, after, truth = await upgrade(tmp_path, "--record")
    judge_samples(before, tmp_path / "old" / TAPES)
    judge_samples(after, tmp_path / "new" / TAPES)
    for product in truth.trades:
        judge_tops(before, truth, product)
        judge_tops(after, truth, product)
        judge_together(before, after, product)
        judge_trades(before, after, truth, product)
    assert not before.of("gaps") + after.of("gaps")
    assert {dict(point.tags)["collector"] for point in before.of("coverage")} == {"old"}
    assert {dict(point.tags)["collector"] for point in after.of("coverage")} == {"new"}


async def test_a_real_influxdb_holds_one_copy_of_each_point(tmp_path: Path) -> None:
    with influx_server(tmp_path / "influxd") as server:
        server.make("market")
        before, after, truth = await upgrade(
            tmp_path,
            SENTINEL_INFLUX_URL=server.url,
            SENTINEL_INFLUX_TOKEN=WRITER,
            SENTINEL_INFLUX_BUCKET_TRADES="market",
            SENTINEL_INFLUX_BUCKET_BOOK="market",
        )
        for measurement, field in (("trades", "trade_id"), ("top", "bid"), ("book", "levels")):
            old, new = before.points[measurement].keys(), after.points[measurement].keys()
            assert old & new
            assert server.count("market", measurement, field) == len(old | new) < len(old) + len(new)
        for product in truth.trades:
            judge_trades(before, after, truth, product)


def judge_together(before: Store, after: Store, product: str) -> None:
    """Together they sampled every instant, and many of them both. That each sample is the market's, others judge: a
    busy machine may deliver a frame to one of the two later."""
    old, new = ({point.time_ns for point in store.of("top", product)} for store in (before, after))
    assert len(old & new) >= OVERLAP
    assert sorted(old | new) == list(range(min(old | new), max(old | new) + 1, CADENCE_NS))
    assert max(new) > max(old)


def judge_trades(before: Store, after: Store, truth: TruthFile, product: str) -> None:
    """Each published trade is one point in the union, whoever wrote it."""
    old, new = before.trades(product), after.trades(product)
    assert old.keys() & new.keys()
    for trade_id in old.keys() & new.keys():
        first, second = old[trade_id], new[trade_id]
        assert (first.tags, first.time_ns) == (second.tags, second.time_ns)
        assert told(first) == told(second)
    stored = old | new
    assert stored.keys() == {trade_id for trade_id in truth.trades[product] if trade_id >= min(stored)}
    assert len({(point.tags, point.time_ns) for point in stored.values()}) == len(stored)


def told(point: Point) -> dict[str, Value]:
    """What the venue said; when it reached us is each collector's own."""
    return {name: fields(point)[name] for name in ("price", "size", "trade_id")}


def samples(data_dir: Path, product: str) -> set[int]:
    """None yet in a journal that is only being made."""
    prefix, found = f"top,exchange=coinbase,symbol={product} ".encode(), set()
    try:
        with JournalReader(data_dir / "journal.sqlite3") as reader:
            for batch in reader.batches():
                found.update(int(line.rpartition(b" ")[2]) for line in batch.lines() if line.startswith(prefix))
    except UsageError:
        return set()
    return found


async def until_sampled(data_dir: Path, products: Iterable[str], count: int) -> None:
    for product in products:
        while len(samples(data_dir, product)) < count:
            await asyncio.sleep(0.5)
