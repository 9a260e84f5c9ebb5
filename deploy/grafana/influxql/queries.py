"""Every panel's question in InfluxQL, for 1.x."""

from __future__ import annotations

from typing import Any, NamedTuple

SOURCE = {"type": "influxdb", "uid": "sentinel-influxql"}

IS_HERE = "\"exchange\" = '${exchange}' AND \"symbol\" = '${symbol}' AND $timeFilter"
STEPS = "GROUP BY time($__interval)"


class Query(NamedTuple):
    """``alias`` names a series: ``$col`` is its field, ``$tag_side`` its side."""

    text: str
    alias: str = "$col"
    shape: str = "time_series"


def _of(measurement: str, fields: str, *tags: str, where: str = "", steps: bool = True) -> str:
    place = "trades" if measurement == "trades" else "book"
    condition = f"{IS_HERE} AND {where}" if where else IS_HERE
    grouped = ", ".join(f'"{tag}"' for tag in tags)
    group = (f"{STEPS}, {grouped} fill(none)" if grouped else f"{STEPS} fill(none)") if steps else ""
    return f'SELECT {fields} FROM ${{{place}}}."{measurement}" WHERE {condition} {group}'.rstrip()


def _sums(**names: str) -> str:
    return ", ".join(f'sum("{field}") AS "{name}"' for name, field in names.items())


def _lasts(*fields: str) -> str:
    return ", ".join(f'last("{field}") AS "{field}"' for field in fields)


MISSING = _of(
    "gaps", 'sum("missing_count") - sum("repaired_count") AS "missing"', where="\"channel\" = 'trades'", steps=False
)
UNCLOSED = _of("coverage", '"samples_due" - "samples_written" - "samples_withheld" AS "difference"', steps=False)
OPEN = _of("gaps", 'count("start_ns") - count("end_ns") AS "open"', where="\"channel\" = 'book'", steps=False)
LASTING = _of("gaps", '("end_ns" - "start_ns") / 1000000000.0 AS "lasted"', where="\"channel\" = 'book'", steps=False)

QUERIES: dict[str, dict[str, Query]] = {
    "coverage": {
        "Samples written of those due": Query(
            _of("coverage", 'sum("samples_written") / sum("samples_due") AS "written"', steps=False)
        ),
        "Trades still missing": Query(MISSING),
        "Accounts that do not close": Query(
            f'SELECT count("difference") FROM ({UNCLOSED}) WHERE "difference" != 0 AND $timeFilter'
        ),
        "Integrity": Query(_of("coverage", 'last("integrity") AS "integrity"', steps=False), shape="table"),
        "Samples written and withheld, each minute": Query(
            _of("coverage", _sums(written="samples_written", withheld="samples_withheld"), "collector"),
            "$tag_collector $col",
        ),
        "Trades entered": Query(_of("coverage", _sums(trades="trades"), "collector"), "$tag_collector"),
        "Trades missing and repaired": Query(
            _of("coverage", _sums(missing="missing", repaired="repaired"), "collector"), "$tag_collector $col"
        ),
        "Frames by what became of them": Query(
            _of(
                "coverage",
                _sums(
                    applied="frames_applied", control="frames_control", duplicate="frames_duplicate", lost="frames_lost"
                ),
                "collector",
            ),
            "$tag_collector $col",
        ),
        "Steps of the wall clock": Query(
            _of("coverage", 'max("clock_step_ms") AS "step"', "collector"), "$tag_collector"
        ),
    },
    "depth": {
        "Top of book": Query(_of("top", _lasts("bid", "ask", "mid", "microprice"))),
        "Depth on the bid side": Query(
            _of("book", 'mean("notional") AS "notional"', "bps", where="\"side\" = 'bid'"), "$tag_bps"
        ),
        "Depth on the ask side": Query(
            _of("book", 'mean("notional") AS "notional"', "bps", where="\"side\" = 'ask'"), "$tag_bps"
        ),
        "Volume within each edge, both sides": Query(
            _of("book", 'mean("volume") AS "volume"', "side", "bps"), "$tag_side $tag_bps"
        ),
        "Levels within each edge": Query(
            _of("book", 'mean("levels") AS "levels"', "side", "bps"), "$tag_side $tag_bps"
        ),
        "Spread": Query(_of("top", 'mean("spread_bps") AS "spread"')),
        "Age of the book at the sample": Query(_of("top", 'max("age_ms") AS "age"')),
        "Updates between samples": Query(_of("top", 'mean("updates") AS "updates"')),
    },
    "flow": {
        "Traded volume by taker": Query(_of("trades", _sums(volume="size"), "side"), "$tag_side"),
        "Trades by taker": Query(_of("trades", 'count("trade_id") AS "trades"', "side"), "$tag_side"),
        "Trade price": Query(_of("trades", _lasts("price"), "side"), "$tag_side"),
        "From venue to collector": Query(
            _of("flow", 'mean("spread_mean_bps") AS "mean", max("spread_max_bps") AS "max"')
        ),
        "Cumulative volume delta": Query(_of("flow", _lasts("cvd"))),
        "Order-flow imbalance": Query(_of("flow", _sums(ofi="ofi"))),
        "Book imbalance": Query(_of("flow", _lasts("imbalance_1", "imbalance_10", "imbalance_100"))),
        "Realised volatility": Query(_of("flow", _lasts("volatility_60s", "volatility_300s"))),
    },
    "gaps": {
        "Gaps": Query(_of("gaps", 'count("start_ns") AS "gaps"', steps=False)),
        "Books missing now": Query(  # a count of nothing is nothing, and 0 only within steps
            f'SELECT sum("open") FROM ({OPEN} GROUP BY time(52w) fill(0))'
        ),
        "Trades still missing": Query(MISSING),
        "Gaps by cause": Query(
            _of("gaps", 'count("start_ns") AS "gaps"', "channel", "cause"), "$tag_channel $tag_cause"
        ),
        "Seconds without a book, by cause": Query(
            f'SELECT sum("lasted") FROM ({LASTING}) WHERE $timeFilter {STEPS}, "cause" fill(none)', "$tag_cause"
        ),
        "Every gap": Query(
            _of(
                "gaps",
                '"end_ns" / 1000000 AS "end", "channel", "cause", "missing_count" AS "missing", '
                '"repaired_count" AS "repaired", "collector"',
                steps=False,
            )
            + " ORDER BY time DESC",
            shape="table",
        ),
    },
}
INSTEAD = {
    "From venue to collector": {
        "title": "Spread",
        "description": "Mean and maximum of the samples, in basis points of the mid.",
        "unit": "suffix: bps",
    }
}
"""InfluxQL does not calculate with times, so the delay of trades gives its place to something else."""

VALUES = {
    "exchange": 'SHOW TAG VALUES FROM ${book}."coverage" WITH KEY = "exchange"',
    "symbol": 'SHOW TAG VALUES FROM ${book}."coverage" WITH KEY = "symbol" WHERE "exchange" = \'${exchange}\'',
}
PLACES = {
    "bucket_book": ("book", "Books in database and policy", '"sentinel_book"."autogen"'),
    "bucket_trades": ("trades", "Trades in database and policy", '"sentinel_trades"."autogen"'),
}
GAPS = _of("gaps", '"end_ns" / 1000000 AS "until", "channel", "cause"', steps=False)
JOINED = {"id": "joinByField", "options": {"byField": "Time", "mode": "outer"}}


def variable(given: dict[str, Any]) -> dict[str, Any]:
    """Where to ask is a field, exchange and product are what the server has."""
    if given["type"] == "textbox":
        name, label, value = PLACES[given["name"]]
        options = [{"selected": True, "text": value, "value": value}]
        return {
            **given, "name": name, "label": label, "query": value, "options": options,
            "current": {"text": value, "value": value},
        }  # fmt: skip
    return {**given, "query": VALUES[given["name"]], "datasource": SOURCE}


def annotate(annotation: dict[str, Any]) -> None:
    """Gaps, from when to when."""
    asked = {"query": GAPS, "textColumn": "cause", "tagsColumn": "channel", "timeEndColumn": "until"}
    annotation.pop("mappings")
    annotation.update(datasource=SOURCE, **asked)
    annotation["target"] = {"refId": "gaps", "rawQuery": True, **asked}


def ask(panel: dict[str, Any], query: Query) -> None:
    """Has a panel ask this."""
    panel["datasource"] = SOURCE
    target = {"refId": "A", "datasource": SOURCE, "query": query.text, "rawQuery": True, "resultFormat": query.shape}
    panel["targets"] = [target if query.shape == "table" else {**target, "alias": query.alias}]
    if (other := INSTEAD.get(panel["title"])) is not None:
        panel.update(title=other["title"], description=other["description"])
        panel["fieldConfig"]["defaults"]["unit"] = other["unit"]
    if panel["type"] == "heatmap":  # a series for each bin, and the panel wants a column for each
        (organize,) = panel["transformations"]
        organize["options"]["indexByName"]["Time"] = organize["options"]["indexByName"].pop("_time")
        panel["transformations"] = [JOINED, organize]
    if panel["title"] == "Every gap":
        panel["transformations"] = []
        panel["fieldConfig"]["overrides"] = [
            {"matcher": {"id": "byName", "options": "end"}, "properties": [{"id": "unit", "value": "dateTimeAsIso"}]}
        ]
