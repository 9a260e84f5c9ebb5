"""Tidepool's books of the past: chained by ranges, fetched by REST, taken up in the middle of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from feeds import catalogue
from sentinel.archive.schedule import HOUR_NS
from sentinel.disk.data_dir import ARCHIVE, TAPES
from sentinel.disk.tape import read_tape, tape_files
from sentinel.replay import l2
from sentinel.replay.l2 import L2Archiver, read_state
from sentinel.simulator.faults import Fault
from tests.end_to_end.store import Store, has
from tests.sentinel.l2_judge import judge_bins, moved
from tests.sentinel.replay.test_l2 import FAR, hashes
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import until
from tests.throwaway.feeds.tidepool.protocol import TidepoolFeed
from tests.throwaway.feeds.tidepool.venue import Tidepool
from tests.throwaway.simulator.tidepool.dialect import TIDEPOOL

PRODUCTS = ["BTC_USD", "ETH_USD"]
FAULTS = (
    Fault(kind="drop", channel="b", at_s=2.0, count=2, product="BTC_USD"),
    Fault(kind="abort", at_s=3.0),
)
WELL_SAMPLES, WELL_NS = 40, 2_500_000_000
"""So many of each product are waited for after all is well again; at the end it has been for longer than that."""


async def test_bins_are_those_sampled_and_hours_go_on_where_they_were_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalogue.VENUES, "tidepool", Tidepool())
    monkeypatch.setitem(catalogue.FEEDS, "tidepool", TidepoolFeed)
    data, markets = tmp_path / "data", [f"tidepool:{name}" for name in PRODUCTS]
    async with trading(PRODUCTS, tmp_path / "truth.jsonl", venue=TIDEPOOL, levels=80) as exchange:
        async with collecting(
            exchange.urls, data, *markets, exchange="tidepool", module="tests.throwaway"
        ) as collector:
            await until(lambda: has(data, PRODUCTS, top=1))
            before = list(exchange.connections)
            exchange.arm(*FAULTS)
            await until(lambda: len(exchange.connections) == len(before) and exchange.connections != before)
            await exchange.heard()
            had = max(len(Store(data).of("top", name)) for name in PRODUCTS)
            await until(lambda: has(data, PRODUCTS, top=had + WELL_SAMPLES))
            assert await collector.stop() == 0
    L2Archiver(data / TAPES, data / ARCHIVE, FAR, is_over=True).write_hours(from_start=True)
    times = [record.received_ns for file in tape_files(data / TAPES) for record in read_tape(file)]
    for market in markets:
        # each book is proved by its own frames only, so its last sample may be a while before the end
        assert judge_bins(data, market, (times[0], times[-1] - 10**9)) > 14 * 20

    monkeypatch.setattr(l2, "SETTLED_NS", 500_000_000)
    tapes, end_ns = tmp_path / TAPES, times[0] - times[0] % HOUR_NS
    moved(data / TAPES, tapes, end_ns - (times[-1] - WELL_NS), max_age_s=1.0)
    L2Archiver(tapes, tmp_path / "once", FAR, is_over=True, keeps_state=False).write_hours(from_start=True)
    L2Archiver(tapes, tmp_path / "twice", end_ns, is_over=False).write_hours(from_start=False)
    state = read_state(tapes)
    assert state is not None
    assert state.at_ns == end_ns
    assert any(book.link is not None for lane in state.lanes for book in lane.books)
    L2Archiver(tapes, tmp_path / "twice", FAR, is_over=True).write_hours(from_start=False)
    assert hashes(tmp_path / "twice") == hashes(tmp_path / "once")
    assert len(hashes(tmp_path / "once")) == 4
