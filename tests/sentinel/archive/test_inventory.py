"""Which markets there are, of which days, with which measurements, and what they are called everywhere else."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import pytest

import sentinel.data
from feeds.market import Market
from feeds.rest import Listed, ProductKind
from sentinel.archive.archiver import due_hours, write_hours
from sentinel.archive.sink import SINK
from sentinel.contract.line_protocol import Value
from sentinel.disk.data_dir import PRODUCTS
from sentinel.disk.journal import Journal, JournalReader
from sentinel.disk.product_list import ListingsFile
from sentinel.errors import UsageError
from tests.sentinel.archive.market import DAY_NS, HOUR_NS, MIDNIGHT_NS, Commit, line, write

HERE, THERE, PERPETUAL = Market("coinbase", "BTC-USD"), Market("reef", "XBT/USD"), Market("reef", "BTC-USD")
MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)
EVERYTHING = ("trades", "book", "top", "flow", "gaps", "coverage")


def minute(market: Market, time_ns: int, *, trades: int = 1, samples: int = 600, gap: bool = False) -> Commit:
    """What a collector writes of a minute, one line of each measurement that there is in it."""
    tags = market._asdict()
    counts: dict[str, Value] = {"samples_due": 600, "samples_written": samples, "trades": trades, "integrity": "none"}
    accounts = [line("coverage", tags | {"collector": "here"}, counts, time_ns)]
    if gap:
        of_gap = tags | {"collector": "here", "channel": "book", "cause": "silence"}
        accounts.append(line("gaps", of_gap, {"missing_count": 1, "repaired_count": 0, "start_ns": time_ns}, time_ns))
    bins = {"levels": 1, "volume": 1.0, "notional": 1.0}
    book = [line("book", tags | {"side": "bid", "bps": "1"}, bins, time_ns), line("top", tags, {"bid": 1.0}, time_ns)]
    flow = [line("flow", tags, {"cvd": 1.0}, time_ns)]
    traded = [line("trades", tags | {"side": "buy"}, {"price": 1.0, "size": 1.0, "trade_id": 7}, time_ns)]
    written = (book if samples else []) + (flow if trades or samples else [])
    return {"trades": traded if trades else [], "book": written, "accounts": accounts}


def archive(data_dir: Path, before_ns: int, *, is_pruned: bool) -> None:
    with JournalReader(data_dir / "journal.sqlite3") as reader:
        due = due_hours(reader, 0, before_ns)
        write_hours(reader, data_dir / "archive", due.hours, before_ns)

    async def advance() -> None:
        journal = Journal.open(data_dir / "journal.sqlite3")
        await journal.register_sink(SINK)
        await journal.advance(SINK, due.cursor)
        if is_pruned:
            await journal.prune(before_ns, 60, None)
        journal.close()

    asyncio.run(advance())


def told(data_dir: Path) -> dict[str, tuple[date, date, tuple[str, ...]]]:
    found = sentinel.data.markets(data_dir=data_dir)
    return {market.name: (market.first_day, market.last_day, market.measurements) for market in found}


@pytest.mark.parametrize("archived", ["nothing", "Monday", "Monday, and pruned", "everything"])
def test_it_is_the_same_wherever_the_data_are(archived: str, tmp_path: Path) -> None:
    commits = [
        minute(THERE, MIDNIGHT_NS, trades=0, gap=True),
        minute(HERE, MIDNIGHT_NS + HOUR_NS, samples=0),
        minute(PERPETUAL, MIDNIGHT_NS + HOUR_NS, samples=0, trades=0),
        minute(HERE, MIDNIGHT_NS + DAY_NS, gap=True),
    ]
    asyncio.run(write(tmp_path, commits))
    if archived != "nothing":
        end_ns = MIDNIGHT_NS + (DAY_NS if archived.startswith("Monday") else 2 * DAY_NS)
        archive(tmp_path, end_ns, is_pruned=archived.endswith("pruned"))
    if archived == "everything":
        for file in tmp_path.glob("journal.sqlite3*"):
            file.unlink()
    assert told(tmp_path) == {
        "coinbase:BTC-USD": (MONDAY, TUESDAY, EVERYTHING),
        "reef:BTC-USD": (MONDAY, MONDAY, ("coverage",)),
        "reef:XBT/USD": (MONDAY, MONDAY, ("book", "top", "flow", "gaps", "coverage")),
    }
    assert list(told(tmp_path)) == sorted(told(tmp_path))


def test_several_processes_and_days_without_data_between_are_one(tmp_path: Path) -> None:
    for shard, market, days in ((0, HERE, (0, 3)), (1, THERE, (1,))):
        folder = tmp_path / f"shard={shard:02d}"
        folder.mkdir()
        asyncio.run(write(folder, [minute(market, MIDNIGHT_NS + day * DAY_NS) for day in days]))
    assert {name: days for name, (*days, _) in told(tmp_path).items()} == {
        "coinbase:BTC-USD": [MONDAY, date(2026, 11, 26)],
        "reef:XBT/USD": [TUESDAY, TUESDAY],
    }


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    asyncio.run(write(tmp_path, [minute(market, MIDNIGHT_NS) for market in (HERE, THERE, PERPETUAL)]))
    ListingsFile(tmp_path).keep(
        {
            HERE: Listed(symbol=HERE.symbol, base="BTC", quote="USD"),
            THERE: Listed(symbol=THERE.symbol, base="BTC", quote="USD"),
            PERPETUAL: Listed(symbol=PERPETUAL.symbol, base="BTC", quote="USD", kind="perpetual"),
        }
    )
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"base": "BTC", "quote": "USD", "kind": "spot"}, [HERE, THERE]),
        ({"base": "BTC", "kind": "perpetual"}, [PERPETUAL]),
        ({"base": "BTC", "exchange": "reef"}, [PERPETUAL, THERE]),
        ({"base": "XBT"}, []),
        ({"quote": "EUR"}, []),
        ({}, [HERE, PERPETUAL, THERE]),
    ],
)
def test_a_normalised_name_finds_the_markets_of_every_venue(
    asked: dict[str, ProductKind], names: list[Market], listed: Path
) -> None:
    found = sentinel.data.find(**asked, data_dir=listed)  # type: ignore[arg-type]
    assert [market.name for market in found] == [str(market) for market in names]
    for market in found:
        assert (
            sentinel.data.load("trades", market.name, "2026-11-23", "2026-11-24", data_dir=listed).table.num_rows == 1
        )


def test_what_no_list_was_had_of_is_there_and_not_found_by_name(listed: Path) -> None:
    (listed / PRODUCTS).unlink()
    assert [market.name for market in sentinel.data.find(exchange="reef", data_dir=listed)] == [
        *(str(PERPETUAL), str(THERE))
    ]
    assert [(market.base, market.quote, market.kind) for market in sentinel.data.markets(data_dir=listed)] == [
        (None, None, None)
    ] * 3
    assert sentinel.data.find(base="BTC", data_dir=listed) == []


def test_where_there_is_nothing_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no journal and no archive"):
        sentinel.data.markets(data_dir=tmp_path)
