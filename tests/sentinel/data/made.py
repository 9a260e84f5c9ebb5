"""A data directory by hand: lines in a journal, perhaps moved into the archive."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sentinel.archive.archiver import due_hours, write_hours
from sentinel.archive.sink import SINK
from sentinel.contract.line_protocol import Value
from sentinel.disk.journal import Journal, JournalReader
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, line, write

MINUTE_NS = 60 * 10**9


def trade(
    trade_id: int,
    time_ns: int,
    price: float = 100.0,
    size: float = 0.1,
    symbol: str = "BTC-USD",
    exchange: str = "coinbase",
) -> bytes:
    tags = {"exchange": exchange, "symbol": symbol, "side": "buy" if trade_id % 2 else "sell"}
    return line("trades", tags, {"price": price, "size": size, "trade_id": trade_id, "recv_ns": time_ns + 1}, time_ns)


def minute(number: int, symbol: str = "BTC-USD", exchange: str = "coinbase", **fields: Value) -> bytes:
    """A minute in full, counted from midnight."""
    tags = {"exchange": exchange, "symbol": symbol, "collector": "here"}
    facts: dict[str, Value] = {
        "samples_due": 600,
        "samples_written": 600,
        "trades": 1,
        "integrity": "sequence",
        **fields,
    }
    return line("coverage", tags, facts, MIDNIGHT_NS + number * MINUTE_NS)


def lost_trades(first: int, last: int, start_ns: int, end_ns: int) -> bytes:
    tags = {"exchange": "coinbase", "symbol": "BTC-USD", "collector": "here", "channel": "trades", "cause": "trades"}
    facts: dict[str, Value] = {
        "missing_count": last - first + 1, "repaired_count": 0, "start_seq": first, "end_seq": last,
        "start_ns": start_ns, "end_ns": end_ns,
    }  # fmt: skip
    return line("gaps", tags, facts, start_ns)


def fill(
    data_dir: Path, trades: list[bytes], accounts: list[bytes], book: list[bytes] | None = None, archived_hours: int = 0
) -> Path:
    """Writes all of it, and moves so many hours from midnight on into the archive."""
    asyncio.run(write(data_dir, [{"trades": trades, "accounts": accounts, "book": book or []}]))
    if archived_hours:
        asyncio.run(move(data_dir, MIDNIGHT_NS + archived_hours * HOUR_NS))
    return data_dir


async def move(data_dir: Path, before_ns: int) -> None:
    """What the collector's archive sink and retention do, up to ``before_ns``."""
    with JournalReader(data_dir / "journal.sqlite3") as reader:
        due = due_hours(reader, 0, before_ns)
        write_hours(reader, data_dir / "archive", due.hours, before_ns)
    journal = Journal.open(data_dir / "journal.sqlite3")
    try:
        await journal.register_sink(SINK)
        await journal.advance(SINK, due.cursor)
        await journal.prune(before_ns, 60, None)
    finally:
        journal.close()
