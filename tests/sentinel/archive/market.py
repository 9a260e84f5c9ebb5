"""Lines as a collector writes them, from a seed, and what a store must make of them."""

from __future__ import annotations

import random
from pathlib import Path

from sentinel.contract.line_protocol import Point, Value, decode, encode
from sentinel.disk.journal import Journal
from tests.sentinel.timed import timed

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
MIDNIGHT_NS = 1_795_392_000_000_000_000  # 2026-11-23
SYMBOLS = ("BTC-USD", "ETH-USD")
EDGES = ("1", "2", "10", "0.5")
Commit = dict[str, list[bytes]]


def line(measurement: str, tags: dict[str, str], fields: dict[str, Value], time_ns: int) -> bytes:
    return encode(Point(measurement, tuple(sorted(tags.items())), tuple(sorted(fields.items())), time_ns))


def trade(trade_id: int, time_ns: int, symbol: str = "BTC-USD", **more: Value) -> bytes:
    tags = {"exchange": "coinbase", "symbol": symbol, "side": "buy" if trade_id % 2 else "sell"}
    return line("trades", tags, {"price": 100.1, "size": 1e-05, "trade_id": trade_id, **more}, time_ns)


def sample(rng: random.Random, symbol: str, time_ns: int) -> bytes:
    tags = {"exchange": "coinbase", "symbol": symbol}
    prices = {name: rng.uniform(90, 110) for name in ("bid", "ask", "mid", "microprice")}
    others = {"bid_size": rng.random(), "ask_size": rng.random(), "spread_bps": rng.random(), "age_ms": rng.random()}
    lines = [line("top", tags, {**prices, **others, "updates": rng.randrange(100)}, time_ns)]
    for side in ("bid", "ask"):
        for edge in EDGES:
            depth: dict[str, Value] = {"levels": rng.randrange(9), "notional": rng.random(), "volume": rng.random()}
            if rng.random() < 0.9:
                depth["vwap"] = rng.uniform(90, 110)
            lines.append(line("book", {**tags, "side": side, "bps": edge}, depth, time_ns))
    return b"\n".join(lines)


def accounts(rng: random.Random, symbol: str, time_ns: int) -> list[bytes]:
    tags = {"exchange": "coinbase", "symbol": symbol, "collector": "here"}
    minute = line("coverage", tags, {"samples_due": 600, "trades": rng.randrange(9), "integrity": "sequence"}, time_ns)
    facts: dict[str, Value] = {"missing_count": 3, "repaired_count": 0, "start_ns": time_ns}
    gap = {**tags, "channel": "book", "cause": "silence"}
    return [minute, line("gaps", gap, facts, time_ns), line("gaps", gap, {**facts, "end_ns": time_ns + 5}, time_ns)]


def commits(seed: int, hours: int, start_ns: int = MIDNIGHT_NS + HOUR_NS // 2) -> list[Commit]:
    """One for every ten minutes, with trades of an earlier hour and rewritten points among them."""
    rng = random.Random(seed)
    made = []
    for number in range(hours * 6):
        time_ns = start_ns + number * HOUR_NS // 6
        commit: Commit = {"trades": [], "book": [], "accounts": []}
        for symbol in SYMBOLS:
            commit["trades"] += [trade(number * 10 + k, time_ns + k, symbol, recv_ns=time_ns) for k in range(4)]
            if number > 8:
                late_ns = time_ns - 8 * HOUR_NS // 6
                commit["trades"] += [trade((number - 8) * 10 + k, late_ns + k, symbol, repaired=True) for k in (3, 5)]
            commit["book"] += [sample(rng, symbol, time_ns + k * 100_000_000) for k in range(3)]
            commit["accounts"] += accounts(rng, symbol, time_ns)
        made.append(commit)
    return made


def stored(made: list[Commit]) -> dict[str, dict[tuple[tuple[tuple[str, str], ...], int], dict[str, Value]]]:
    """Each point once, the last written, by measurement."""
    found: dict[str, dict[tuple[tuple[tuple[str, str], ...], int], dict[str, Value]]] = {}
    for commit in made:
        for items in commit.values():
            for text in b"\n".join(items).splitlines():
                point = decode(text)
                found.setdefault(point.measurement, {})[point.tags, point.time_ns] = dict(point.fields)
    return found


async def write(data_dir: Path, made: list[Commit]) -> None:
    journal = Journal.open(data_dir / "journal.sqlite3")
    try:
        for commit in made:
            await journal.append(timed(commit))
    finally:
        journal.close()
