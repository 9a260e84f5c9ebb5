"""An upgrade without a hole, as docs/upgrade.md has it: the new one beside the old one, then the old one stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from sentinel.contract.line_protocol import Point, Value
from sentinel.disk.journal import JournalReader
from sentinel.errors import UsageError
from tests.end_to_end.judge import CADENCE_NS, TruthFile
from tests.end_to_end.store import Store, fields
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.influx import WRITER, influx_server

LONGEST_S = 80.0
SETTLE_S = 2.0
OVERLAP = 20
"""Samples of each product that both collectors write before the old one stops."""


async def upgrade(folder: Path, **settings: str) -> tuple[Store, Store, TruthFile]:
    """What the old one, the new one and the exchange wrote; ``settings`` are for both collectors."""
    truth_path = folder / "truth.jsonl"
    async with trading(3, truth_path, seed=11) as exchange:
        products = exchange.products
        async with (
            collecting(exchange.urls, folder / "old", *products, SENTINEL_COLLECTOR="old", **settings) as old,
            collecting(exchange.urls, folder / "new", *products, SENTINEL_COLLECTOR="new", **settings) as new,
        ):
            async with asyncio.timeout(LONGEST_S):
                await until_sampled(folder / "old", products, OVERLAP)
                await until_sampled(folder / "new", products, OVERLAP)
                assert await old.stop() == 0
                await until_sampled(folder / "new", products, len(samples(folder / "new", products[0])) + OVERLAP)
            exchange.market.trade_rate = 0.0
            await asyncio.sleep(SETTLE_S)
            assert await new.stop() == 0
    return Store(folder / "old"), Store(folder / "new"), TruthFile(truth_path)


async def test_two_collectors_write_the_same_points_and_nothing_is_missing(tmp_path: Path) -> None:
    before, after, truth = await upgrade(tmp_path)
    for product in truth.trades:
        judge_samples(before, after, product)
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


def judge_samples(before: Store, after: Store, product: str) -> None:
    """Where both sampled they say the same, and together they sampled every instant."""
    for measurement in ("top", "book"):
        old = {(point.tags, point.time_ns): point for point in before.of(measurement, product)}
        new = {(point.tags, point.time_ns): point for point in after.of(measurement, product)}
        both = old.keys() & new.keys()
        assert len(both) >= OVERLAP
        differing = [key for key in both if without_age(old[key]) != without_age(new[key])]
        # the market keeps 8 ms away from the instants; a busy machine may deliver a frame to one of the two later
        assert len(differing) <= len(both) / 2, (len(differing), old[differing[0]], new[differing[0]])
    times = sorted({point.time_ns for store in (before, after) for point in store.of("top", product)})
    assert times == list(range(times[0], times[-1] + 1, CADENCE_NS))
    assert max(point.time_ns for point in after.of("top", product)) > max(
        point.time_ns for point in before.of("top", product)
    )


def without_age(point: Point) -> dict[str, Value]:
    """``age_ms`` counts from when this collector received the last frame, and ``updates`` from its own last sample."""
    return {name: value for name, value in fields(point).items() if name not in ("age_ms", "updates")}


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
