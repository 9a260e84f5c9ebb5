"""Loading gives what is in archive and journal together, and says what is in neither."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sentinel.data
from sentinel.contract.line_protocol import Value
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.data import Hole
from sentinel.errors import UsageError
from sentinel.simulator.faults import Fault
from tests.end_to_end.store import Store
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, Commit, commits, line, sample, stored, trade, write
from tests.sentinel.data.made import move
from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.waiting import LONGEST_S, until

START_NS = MIDNIGHT_NS + HOUR_NS // 2
MINUTE_NS = 60_000_000_000


def rows(table: pa.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.set_column(0, "time", table["time"].cast(pa.int64())).to_pylist()
    return found


def wanted(made: list[Commit], measurement: str, start_ns: int, end_ns: int) -> list[dict[str, Any]]:
    shape = MEASUREMENTS[measurement]
    found = []
    for (tags, time_ns), fields in stored(made)[measurement].items():
        named: dict[str, Any] = dict(tags)
        if named.pop("symbol") == "BTC-USD" and named.pop("exchange") and start_ns <= time_ns < end_ns:
            if "bps" in named:
                named["bps"] = float(named["bps"])
            found.append({"time": time_ns, **named, **{name: fields.get(name) for name in shape.fields}})
    return sorted(found, key=lambda row: [row["time"], *(row[tag] for tag in shape.tags[2:])])


@pytest.mark.parametrize("archived_hours", [0, 1, 3, 9])
def test_archive_and_journal_are_one(tmp_path: Path, archived_hours: int) -> None:
    made = commits(3, 6)
    asyncio.run(write(tmp_path, made))
    asyncio.run(move(tmp_path, MIDNIGHT_NS + archived_hours * HOUR_NS))
    for measurement in ("trades", "book", "top", "gaps", "coverage"):
        for start_ns, end_ns in ((0, START_NS + 9 * HOUR_NS), (START_NS + HOUR_NS, START_NS + 2 * HOUR_NS + 1)):
            loaded = sentinel.data.load(measurement, "BTC-USD", start_ns, end_ns, data_dir=tmp_path)
            assert rows(loaded.table) == wanted(made, measurement, start_ns, end_ns)


@settings(max_examples=10)
@given(st.integers(0, 9), st.integers(0, 36 * 10), st.integers(1, 36 * 10))
def test_any_part_is_a_part_of_the_whole(archived_hours: int, first: int, length: int) -> None:
    folder = PARTS[archived_hours]
    start_ns, end_ns = START_NS + first * MINUTE_NS, START_NS + (first + length) * MINUTE_NS
    loaded = sentinel.data.load("trades", "BTC-USD", start_ns, end_ns, columns=["trade_id"], data_dir=folder)
    expected = wanted(PARTS_MADE, "trades", start_ns, end_ns)
    assert loaded.table.column_names == ["time", "trade_id"]
    assert rows(loaded.table) == [{name: row[name] for name in ("time", "trade_id")} for row in expected]


PARTS_MADE = commits(5, 6)
PARTS: dict[int, Path] = {}


@pytest.fixture(autouse=True, scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> None:
    for hours in range(10):
        PARTS[hours] = tmp_path_factory.mktemp("parts")
        asyncio.run(write(PARTS[hours], PARTS_MADE))
        asyncio.run(move(PARTS[hours], MIDNIGHT_NS + hours * HOUR_NS))


async def test_a_repair_in_the_journal_wins_over_the_archive(tmp_path: Path) -> None:
    await write(tmp_path, [{"trades": [trade(number, MIDNIGHT_NS + number) for number in range(4)]}])
    await move(tmp_path, MIDNIGHT_NS + HOUR_NS)
    await write(tmp_path, [{"trades": [trade(2, MIDNIGHT_NS + 2, repaired=True)]}])
    loaded = sentinel.data.load("trades", "BTC-USD", MIDNIGHT_NS, MIDNIGHT_NS + HOUR_NS, data_dir=tmp_path)
    assert loaded.table["trade_id"].to_pylist() == [0, 1, 2, 3]
    assert loaded.table["repaired"].to_pylist() == [None, None, True, None]


@pytest.mark.parametrize("archived_hours", [0, 1, 2, 3])
def test_bins_may_change_between_archive_and_journal(tmp_path: Path, archived_hours: int) -> None:
    tags = {"exchange": "coinbase", "symbol": "BTC-USD"}
    bins: list[dict[str, Value]] = [{"imbalance_7.5": 0.5}, {"imbalance_7.5": 0.25, "imbalance_8": 1.0}, {}]
    lines = [line("flow", tags, {"cvd": 1.0, **own}, MIDNIGHT_NS + k * HOUR_NS) for k, own in enumerate(bins)]
    asyncio.run(write(tmp_path, [{"book": [text]} for text in lines]))
    if archived_hours:
        asyncio.run(move(tmp_path, MIDNIGHT_NS + archived_hours * HOUR_NS))
    end_ns = MIDNIGHT_NS + 9 * HOUR_NS
    for start in range(3):
        start_ns = MIDNIGHT_NS + start * HOUR_NS
        for names in (["imbalance_7.5"], ["imbalance_8", "imbalance_7.5"], ["cvd", "imbalance_9"]):
            table = sentinel.data.load("flow", "BTC-USD", start_ns, end_ns, columns=names, data_dir=tmp_path).table
            assert table.column_names == ["time", *names]
            wanted = [{name: {"cvd": 1.0, **own}.get(name) for name in names} for own in bins[start:]]
            assert table.drop_columns(["time"]).to_pylist() == wanted
    whole = sentinel.data.load("flow", "BTC-USD", MIDNIGHT_NS, end_ns, data_dir=tmp_path).table
    assert whole["imbalance_7.5"].to_pylist() == [0.5, 0.25, None]
    assert whole["imbalance_8"].to_pylist() == [None, 1.0, None]
    with pytest.raises(UsageError, match="no column imbalance_x"):
        sentinel.data.load("flow", "BTC-USD", MIDNIGHT_NS, end_ns, columns=["imbalance_x"], data_dir=tmp_path)


def minute(number: int, collector: str = "here") -> bytes:
    tags = {"exchange": "coinbase", "symbol": "BTC-USD", "collector": collector}
    return line("coverage", tags, {"samples_due": 600, "integrity": "sequence"}, MIDNIGHT_NS + number * MINUTE_NS)


def gap(cause: str, start_ns: int, end_ns: int | None, channel: str = "book", **more: int) -> bytes:
    tags = {"exchange": "coinbase", "symbol": "BTC-USD", "collector": "here", "channel": channel, "cause": cause}
    fields: dict[str, Value] = {"missing_count": 0, "repaired_count": 0, "start_ns": start_ns, **more}
    return line("gaps", tags, fields if end_ns is None else {**fields, "end_ns": end_ns}, start_ns)


def fill(data_dir: Path, accounts: list[bytes], trades: list[bytes], book: list[bytes]) -> None:
    asyncio.run(write(data_dir, [{"accounts": accounts, "trades": trades, "book": book}]))


def test_holes_come_with_the_data(tmp_path: Path) -> None:
    second_ns = 10**9
    lost = gap("sequence", MIDNIGHT_NS + 5 * second_ns, MIDNIGHT_NS + 9 * second_ns)
    hidden = gap("trades", MIDNIGHT_NS, MIDNIGHT_NS + 3, "trades", start_seq=2, end_seq=3, missing_count=2)
    books = [sample(random.Random(1), "BTC-USD", MIDNIGHT_NS + k * MINUTE_NS) for k in range(3)]
    fill(tmp_path, [minute(0), minute(1), lost, hidden], [trade(1, MIDNIGHT_NS), trade(4, MIDNIGHT_NS + 3)], books)
    end_ns = MIDNIGHT_NS + 2 * MINUTE_NS

    top = sentinel.data.load("top", "BTC-USD", MIDNIGHT_NS, end_ns, data_dir=tmp_path)
    assert top.holes == [Hole(MIDNIGHT_NS + 5 * second_ns, MIDNIGHT_NS + 9 * second_ns, "sequence")]
    assert not top.is_whole
    assert "1 hole:" in repr(top)
    later = sentinel.data.load("top", "BTC-USD", MIDNIGHT_NS + MINUTE_NS, end_ns, data_dir=tmp_path)
    assert later.is_whole
    trades = sentinel.data.load("trades", "BTC-USD", MIDNIGHT_NS, end_ns, columns=["price"], data_dir=tmp_path)
    assert trades.table.column_names == ["time", "price"]
    assert trades.holes == [Hole(MIDNIGHT_NS, MIDNIGHT_NS + 3, "trades", 2, 3)]
    before = sentinel.data.load("top", "BTC-USD", MIDNIGHT_NS - 5, MIDNIGHT_NS + 5, data_dir=tmp_path)
    assert before.holes == [Hole(MIDNIGHT_NS - 5, MIDNIGHT_NS, "not_collected")]
    later = sentinel.data.load("top", "BTC-USD", MIDNIGHT_NS + 2 * MINUTE_NS, end_ns + MINUTE_NS, data_dir=tmp_path)
    assert later.holes == [Hole(end_ns, end_ns + MINUTE_NS, "not_collected")]


def test_a_gap_that_began_long_before_is_seen(tmp_path: Path) -> None:
    began_ns = MIDNIGHT_NS - 50 * HOUR_NS
    fill(tmp_path, [gap("stopped", began_ns, MIDNIGHT_NS + 7), minute(0), minute(1)], [trade(1, MIDNIGHT_NS)], [])
    asyncio.run(move(tmp_path, MIDNIGHT_NS + HOUR_NS))
    loaded = sentinel.data.load("top", "BTC-USD", MIDNIGHT_NS, MIDNIGHT_NS + MINUTE_NS, data_dir=tmp_path)
    assert loaded.holes == [Hole(MIDNIGHT_NS, MIDNIGHT_NS + 7, "stopped")]
    assert sentinel.data.gaps("BTC-USD", MIDNIGHT_NS, MIDNIGHT_NS + 9, data_dir=tmp_path).num_rows == 1
    assert sentinel.data.gaps("BTC-USD", MIDNIGHT_NS + 7, MIDNIGHT_NS + 9, data_dir=tmp_path).num_rows == 0


def test_the_book_at_an_instant(tmp_path: Path) -> None:
    books = [sample(random.Random(k), "BTC-USD", MIDNIGHT_NS + k * 100_000_000) for k in range(5)]
    lost = gap("crossed", MIDNIGHT_NS + 450_000_000, MIDNIGHT_NS + 10**9)
    fill(tmp_path, [minute(0), lost], [], books)
    at = sentinel.data.book("BTC-USD", MIDNIGHT_NS + 250_000_000, data_dir=tmp_path)
    assert at.time_ns == MIDNIGHT_NS + 200_000_000
    tags = (("exchange", "coinbase"), ("symbol", "BTC-USD"))
    assert at.top == stored([{"book": books}])["top"][tags, at.time_ns]
    assert at.bins.num_rows == 8
    with pytest.raises(sentinel.data.NoBook, match="crossed"):
        sentinel.data.book("BTC-USD", MIDNIGHT_NS + 500_000_000, data_dir=tmp_path)
    with pytest.raises(sentinel.data.NoBook, match="not_collected"):
        sentinel.data.book("BTC-USD", MIDNIGHT_NS - HOUR_NS, data_dir=tmp_path)


def test_coverage_is_by_the_minute(tmp_path: Path) -> None:
    fill(tmp_path, [minute(k) for k in range(4)], [trade(1, MIDNIGHT_NS)], [])
    found = sentinel.data.coverage(
        "BTC-USD", MIDNIGHT_NS + MINUTE_NS + 5, MIDNIGHT_NS + 3 * MINUTE_NS, data_dir=tmp_path
    )
    assert [row["time"] for row in rows(found)] == [MIDNIGHT_NS + MINUTE_NS, MIDNIGHT_NS + 2 * MINUTE_NS]
    assert found["samples_due"].to_pylist() == [600, 600]


def test_times_may_be_words_and_datetimes(tmp_path: Path) -> None:
    fill(tmp_path, [], [trade(1, MIDNIGHT_NS), trade(2, MIDNIGHT_NS + HOUR_NS)], [])
    start, end = datetime(2026, 11, 23, tzinfo=UTC), "2026-11-23T00:30:00Z"
    loaded = sentinel.data.load("trades", "BTC-USD", start, end, data_dir=str(tmp_path))
    assert loaded.table["trade_id"].to_pylist() == [1]
    frame = polars.DataFrame(polars.from_arrow(loaded.table))
    assert frame["trade_id"].to_list() == [1]


def test_times_may_be_unix_times_dates_and_spans(tmp_path: Path) -> None:
    fill(tmp_path, [], [trade(1, MIDNIGHT_NS), trade(2, MIDNIGHT_NS + HOUR_NS)], [])
    second = MIDNIGHT_NS // 10**9 + 1
    instants: list[Any] = [second, second * 1000, second * 10**6, second * 10**9, float(second), second + 0.5]
    instants.append(datetime.fromtimestamp(second, UTC))
    for instant in instants:
        loaded = sentinel.data.load("trades", "BTC-USD", instant, MIDNIGHT_NS + 2 * HOUR_NS, data_dir=tmp_path)
        assert loaded.table["trade_id"].to_pylist() == [2]
    loaded = sentinel.data.load("trades", "BTC-USD", date(2026, 11, 23), date(2026, 11, 24), data_dir=tmp_path)
    assert loaded.table["trade_id"].to_pylist() == [1, 2]
    loaded = sentinel.data.load("trades", "BTC-USD", timedelta(days=90_000), data_dir=tmp_path)
    assert loaded.table["trade_id"].to_pylist() == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tops", "BTC-USD", 0, "now"), "no measurement 'tops'"),
        (("top", "BTC-USD", MIDNIGHT_NS, MIDNIGHT_NS), "nothing lies between"),
        (("top", "BTC-USD", "never", "now"), "is not a time"),
        (("top", "BTC-USD", datetime(2026, 1, 1), "now"), "has no time zone"),
        (("top", "BTC-USD", 20261123), "20261123 is not a time"),
        (("top", "BTC-USD", True), "True is not a time"),
        (("top", "BTC-USD", float("nan")), "nan is not a time"),
        (("top", "BTC-USD", None), "None is not a time"),
        (("top", "BTC-USD", timedelta(days=10**6)), "64 bits"),
        (("top", ["BTC-USD", 7], "1h"), "not one product"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, arguments: tuple[Any, ...], words: str) -> None:
    fill(tmp_path, [], [trade(1, MIDNIGHT_NS)], [])
    with pytest.raises(UsageError, match=words):
        sentinel.data.load(*arguments, data_dir=tmp_path)
    with pytest.raises(UsageError, match="no column colour"):
        sentinel.data.load("trades", "BTC-USD", 0, MIDNIGHT_NS, columns=["colour"], data_dir=tmp_path)
    with pytest.raises(UsageError, match="no journal and no archive"):
        sentinel.data.load("trades", "BTC-USD", 0, MIDNIGHT_NS, data_dir=tmp_path / "nowhere")


async def test_a_running_collector_is_read_up_to_the_last_second(tmp_path: Path) -> None:
    drop = Fault(kind="drop", channel="l2_data", feed="advanced")
    products, journal = ["BTC-USD"], tmp_path / "data" / "journal.sqlite3"
    async with (
        trading(products, tmp_path / "truth.jsonl", levels=60, rate=50, trade_rate=10) as exchange,
        collecting(exchange.urls, tmp_path / "data", *products) as collector,
    ):
        await until(lambda: journal.exists() and bool(Store(tmp_path / "data").of("top")))
        exchange.faults.arm([drop])
        async with asyncio.timeout(LONGEST_S):
            while True:
                await asyncio.sleep(0.2)
                top = await asyncio.to_thread(sentinel.data.load, "top", "BTC-USD", "1h", data_dir=tmp_path / "data")
                if any(hole.cause == "sequence" for hole in top.holes) and top.table.num_rows > 50:
                    break
        assert await collector.stop() == 0
    times = [row["time"] for row in rows(top.table)]
    (hole,) = (hole for hole in top.holes if hole.cause == "sequence")
    assert not [time for time in times if hole.start_ns <= time < hole.end_ns]
