"""Whether the stores of a cluster hold the truth: every trade once, every instant that any replica proved, no other."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import pyarrow.parquet as pq
from msgspec import Struct

from tests.end_to_end.judge import CADENCE_NS, TruthFile
from tests.end_to_end.store import Store, fields
from tests.faults.verdict import LAG_NS
from tests.servers.influx import InfluxServer

Trades = dict[str, dict[int, int]]
"""Of each product, how many points each trade id has."""

Tops = dict[str, dict[int, tuple[float, ...]]]
"""Of each product, the top of its book at each instant."""

TOP = ("bid", "bid_size", "ask", "ask_size")
JUDGED = ("coverage", "gaps", "top", "trades")


class Stores(Struct, frozen=True):
    """What the collectors have on their own disks, and what was delivered."""

    data_dirs: Sequence[Path]
    influxd: InfluxServer
    database: str
    archive: Path


def judge(truth: TruthFile, products: Sequence[str], stores: Stores) -> list[str]:
    """Everything that is wrong."""
    journals = [Store(folder, measurements=JUDGED) for folder in stores.data_dirs]
    in_influx = _influx_trades(stores), _influx_tops(stores)
    in_archive = _archive(stores.archive)
    problems: list[str] = []
    holes = 0
    for product in products:
        first = _first_accounted(journals, product)
        published = {trade_id for trade_id in truth.trades[product] if trade_id >= first}
        proved: dict[int, set[tuple[float, ...]]] = defaultdict(set)
        for journal in journals:
            for point in journal.of("top", product):
                proved[point.time_ns].add(tuple(fields(point)[name] for name in TOP))  # type: ignore[misc]
        for name, (trades, tops) in {"InfluxDB": in_influx, "archive": in_archive}.items():
            found = [*_trades(trades[product], published, first), *_tops(tops[product], proved)]
            problems += [f"{name}: {product}: {problem}" for problem in found]
        problems += [f"{product}: {problem}" for problem in _values(truth, product, proved)]
        unnamed, named = _instants(journals, product, proved)
        holes += named
        problems += [f"{product}: {problem}" for problem in unnamed]
    counts = {"trades": sum(map(len, in_influx[0].values())), "samples": sum(map(len, in_influx[1].values()))}
    click.echo(f"{counts}, {holes} instants that no replica proved", err=True)
    return problems


def _first_accounted(journals: Sequence[Store], product: str) -> int:
    rows = [fields(row) for journal in journals for row in journal.of("coverage", product)]
    ids = [int(row["first_trade_id"]) for row in rows if row.get("trades")]
    return min(ids, default=2**63)


def _trades(found: dict[int, int], published: set[int], first: int) -> Iterator[str]:
    stored = {trade_id for trade_id in found if trade_id >= first}
    if lost := published - stored:
        yield f"{len(lost)} trades are lost, such as {min(lost)}"
    if made_up := stored - published:
        yield f"{len(made_up)} trades are made up, such as {min(made_up)}"
    if double := [trade_id for trade_id, count in found.items() if count > 1]:
        yield f"{len(double)} trades are there twice, such as {double[0]}"


def _tops(found: dict[int, tuple[float, ...]], proved: dict[int, set[tuple[float, ...]]]) -> Iterator[str]:
    if lost := proved.keys() - found.keys():
        yield f"{len(lost)} samples are not delivered, such as {min(lost)}"
    if made_up := found.keys() - proved.keys():
        yield f"{len(made_up)} samples are of nobody, such as {min(made_up)}"
    if other := [at_ns for at_ns in found.keys() & proved.keys() if found[at_ns] not in proved[at_ns]]:
        yield f"{len(other)} samples are other ones, such as {other[0]}"


def _values(truth: TruthFile, product: str, proved: dict[int, set[tuple[float, ...]]]) -> Iterator[str]:
    """Each is what the market was at that instant or, where the machine was busy, shortly before."""
    tops = truth.tops[product]
    for at_ns, several in sorted(proved.items()):
        newest = bisect_left(tops, (at_ns,))
        oldest = bisect_left(tops, (at_ns - LAG_NS,)) - 1
        told = {tops[place][1:] for place in range(max(0, oldest), newest)}
        if wrong := several - told:
            yield f"a sample at {at_ns} is none of the market's: {wrong}"
            return


def _instants(
    journals: Sequence[Store], product: str, proved: dict[int, set[tuple[float, ...]]]
) -> tuple[list[str], int]:
    """Instants between first and last that nobody has: unnamed ones are wrong, named ones are counted."""
    gaps = [
        (int(facts["start_ns"]), int(facts.get("end_ns", facts["start_ns"])))
        for journal in journals
        for gap in journal.of("gaps", product)
        if dict(gap.tags)["channel"] == "book"
        for facts in [fields(gap)]
    ]
    holes = [at_ns for at_ns in range(min(proved), max(proved) + 1, CADENCE_NS) if at_ns not in proved]
    unnamed = [at_ns for at_ns in holes if not any(start_ns <= at_ns < end_ns for start_ns, end_ns in gaps)]
    words = [f"{len(unnamed)} instants are nobody's, such as {unnamed[0]}"] if unnamed else []
    return words, len(holes) - len(unnamed)


def _influx_trades(stores: Stores) -> Trades:
    found: Trades = defaultdict(Counter)
    (result,) = stores.influxd.query('SELECT trade_id FROM "trades" GROUP BY symbol', stores.database)
    for series in result.get("series", ()):
        found[series["tags"]["symbol"]].update(int(trade_id) for _, trade_id in series["values"])
    return found


def _influx_tops(stores: Stores) -> Tops:
    found: Tops = defaultdict(dict)
    (result,) = stores.influxd.query(f'SELECT {", ".join(TOP)} FROM "top" GROUP BY symbol', stores.database)
    for series in result.get("series", ()):
        found[series["tags"]["symbol"]] = {int(at_ns): tuple(top) for at_ns, *top in series["values"]}
    return found


def _archive(root: Path) -> tuple[Trades, Tops]:
    """Every row of every file: nothing is united, as a foreign reader would not unite it either."""
    trades: Trades = defaultdict(Counter)
    tops: Tops = defaultdict(dict)
    for file in sorted(root.rglob("*.parquet")):
        parts = dict(part.split("=", 1) for part in map(unquote, file.parts) if "=" in part)
        symbol = parts.get("symbol", "")
        if "trades" in file.parts:
            trades[symbol].update(pq.read_table(file, columns=["trade_id"])["trade_id"].to_pylist())
        elif "top" in file.parts:
            rows: list[dict[str, Any]] = pq.read_table(file, columns=["time", *TOP]).to_pylist()
            for row in rows:
                at_ns = row["time"].value if hasattr(row["time"], "value") else int(row["time"].timestamp() * 1e9)
                tops[symbol][at_ns] = tuple(row[name] for name in TOP)
    return trades, tops
