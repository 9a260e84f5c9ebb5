"""Every panel's question in SQL, for 3.x. A database is the data source's: one for trades, one for everything else."""

from __future__ import annotations

from typing import Any, NamedTuple

BOOK = {"type": "influxdb", "uid": "sentinel-influxdb3-book"}
TRADES = {"type": "influxdb", "uid": "sentinel-influxdb3-trades"}

IS_HERE = "exchange = '${exchange}' AND symbol = '${symbol}' AND $__timeFilter(time)"
BINS = ("1", "2", "5", "10", "25", "50", "100")


class Query(NamedTuple):
    text: str
    shape: str = "time_series"
    source: dict[str, str] = BOOK


def _of(measurement: str, fields: str, *tags: str, where: str = "", shape: str = "time_series") -> Query:
    """A value for each step of the graph, and for each of the ``tags``."""
    condition = f"{IS_HERE} AND {where}" if where else IS_HERE
    columns = ", ".join(["$__dateBin(time) AS time", *tags, fields])
    places = ", ".join(str(place + 1) for place in range(len(tags) + 1))
    text = f'SELECT {columns} FROM "{measurement}" WHERE {condition} GROUP BY {places} ORDER BY {places}'
    return Query(text, shape, TRADES if measurement == "trades" else BOOK)


def _one(measurement: str, fields: str, where: str = "", order: str = "") -> Query:
    """One answer for all the time."""
    condition = f"{IS_HERE} AND {where}" if where else IS_HERE
    return Query(f'SELECT {fields} FROM "{measurement}" WHERE {condition} {order}'.rstrip(), "table")


def _sums(**names: str) -> str:
    return ", ".join(f"sum({field}) AS {name}" for name, field in names.items())


def _lasts(*fields: str) -> str:
    return ", ".join(f"last_value({field} ORDER BY time) AS {field}" for field in fields)


def _depth(side: str) -> Query:
    columns = ", ".join(f"avg(CASE WHEN bps = '{edge}' THEN notional END) AS \"{edge}\"" for edge in BINS)
    return _of("book", columns, where=f"side = '{side}'", shape="table")


MISSING = _one("gaps", "sum(missing_count) - sum(repaired_count) AS missing", "channel = 'trades'")

QUERIES: dict[str, dict[str, Query]] = {
    "coverage": {
        "Samples written of those due": _one(
            "coverage", "CAST(sum(samples_written) AS DOUBLE) / sum(samples_due) AS written"
        ),
        "Trades still missing": MISSING,
        "Accounts that do not close": _one(
            "coverage", "count(*) AS minutes", "samples_due <> samples_written + samples_withheld"
        ),
        "Integrity": _one("coverage", "integrity", order="ORDER BY time DESC LIMIT 1"),
        "Samples written and withheld, each minute": _of(
            "coverage", _sums(written="samples_written", withheld="samples_withheld"), "collector"
        ),
        "Trades entered": _of("coverage", _sums(trades="trades"), "collector"),
        "Trades missing and repaired": _of("coverage", _sums(missing="missing", repaired="repaired"), "collector"),
        "Frames by what became of them": _of(
            "coverage",
            _sums(
                applied="frames_applied", control="frames_control", duplicate="frames_duplicate", lost="frames_lost"
            ),
            "collector",
        ),
        "Steps of the wall clock": _of("coverage", "max(clock_step_ms) AS step", "collector"),
    },
    "depth": {
        "Top of book": _of("top", _lasts("bid", "ask", "mid", "microprice")),
        "Depth on the bid side": _depth("bid"),
        "Depth on the ask side": _depth("ask"),
        "Volume within each edge, both sides": _of("book", "avg(volume) AS volume", "side", "bps"),
        "Levels within each edge": _of("book", "avg(levels) AS levels", "side", "bps"),
        "Spread": _of("top", "avg(spread_bps) AS spread"),
        "Age of the book at the sample": _of("top", "max(age_ms) AS age"),
        "Updates between samples": _of("top", "avg(updates) AS updates"),
    },
    "flow": {
        "Traded volume by taker": _of("trades", _sums(volume="size"), "side"),
        "Trades by taker": _of("trades", "count(trade_id) AS trades", "side"),
        "Trade price": _of("trades", _lasts("price"), "side"),
        "From venue to collector": _of(
            "trades", "median((recv_ns - CAST(time AS BIGINT)) / 1000000.0) AS delay", where="recv_ns IS NOT NULL"
        ),
        "Cumulative volume delta": _of("flow", _lasts("cvd"), where="cvd IS NOT NULL"),
        "Order-flow imbalance": _of("flow", _sums(ofi="ofi")),
        "Book imbalance": _of(
            "flow", _lasts("imbalance_1", "imbalance_10", "imbalance_100"), where="imbalance_1 IS NOT NULL"
        ),
        "Realised volatility": _of(
            "flow", _lasts("volatility_60s", "volatility_300s"), where="volatility_60s IS NOT NULL"
        ),
    },
    "gaps": {
        "Gaps": _one("gaps", "count(*) AS gaps"),
        "Books missing now": _one("gaps", "count(*) AS missing", "channel = 'book' AND end_ns IS NULL"),
        "Trades still missing": MISSING,
        "Gaps by cause": _of("gaps", "count(*) AS gaps", "channel", "cause"),
        "Seconds without a book, by cause": _of(
            "gaps", "sum((end_ns - start_ns) / 1000000000.0) AS seconds", "cause",
            where="channel = 'book' AND end_ns IS NOT NULL",
        ),
        "Every gap": _one(
            "gaps",
            'time AS start, end_ns / 1000000 AS "end", channel, cause, missing_count AS missing, '
            "repaired_count AS repaired, collector",
            order="ORDER BY time DESC",
        ),
    },
}  # fmt: skip
VALUES = {
    "exchange": "SELECT DISTINCT exchange FROM coverage ORDER BY exchange",
    "symbol": "SELECT DISTINCT symbol FROM coverage WHERE exchange = '${exchange}' ORDER BY symbol",
}
GAPS = _one(
    "gaps", "time, end_ns / 1000000 AS \"timeEnd\", concat(channel, ' ', cause) AS text, cause AS tags",
    "end_ns IS NOT NULL", "ORDER BY time",
)  # fmt: skip


def variable(given: dict[str, Any]) -> dict[str, Any] | None:
    """Exchange and product are what the server has; where to ask is the data source's affair."""
    if given["type"] == "textbox":
        return None
    return {**given, "query": {"refId": given["name"], "query": VALUES[given["name"]]}, "datasource": BOOK}


def annotate(annotation: dict[str, Any]) -> None:
    """Gaps, from when to when."""
    annotation["datasource"] = BOOK
    annotation["target"] = {"refId": "gaps", "rawQuery": True, "rawSql": GAPS.text, "format": GAPS.shape}


def ask(panel: dict[str, Any], query: Query) -> None:
    """Has a panel ask this."""
    panel["datasource"] = query.source
    panel["targets"] = [
        {"refId": "A", "datasource": query.source, "rawQuery": True, "rawSql": query.text, "format": query.shape}
    ]
    if panel["type"] == "heatmap":
        order = panel["transformations"][0]["options"]["indexByName"]
        order["time"] = order.pop("_time")
    if panel["title"] == "Every gap":
        panel["transformations"] = []
        panel["fieldConfig"]["overrides"] = [
            {"matcher": {"id": "byName", "options": "end"}, "properties": [{"id": "unit", "value": "dateTimeAsIso"}]}
        ]
