"""The public data contract as data: which measurement has which tags and fields, and in which journal stream it is."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from book.bins import DEFAULT_EDGES_BPS
from feeds.market import Market
from sentinel.contract.line_protocol import Point, Value


class Measurement(Struct, frozen=True):
    """``fields`` maps each name to its type. A line may leave fields out, and a later version may add some."""

    stream: str
    tags: tuple[str, ...]
    fields: Mapping[str, type[Value]]


COUNTS = (
    "samples_due",
    "samples_written",
    "samples_withheld",
    "trades",
    "first_trade_id",
    "last_trade_id",
    "missing",
    "repaired",
    "frames_applied",
    "frames_control",
    "frames_duplicate",
    "frames_lost",
    "clock_step_ms",
)

MEASUREMENTS = {
    "trades": Measurement(
        "trades",
        ("exchange", "symbol", "side"),
        {"price": float, "size": float, "trade_id": int, "recv_ns": int, "repaired": bool},
    ),
    "book": Measurement(
        "book",
        ("exchange", "symbol", "side", "bps"),
        {"volume": float, "notional": float, "vwap": float, "levels": int},
    ),
    "top": Measurement(
        "book",
        ("exchange", "symbol"),
        {
            "bid": float,
            "ask": float,
            "bid_size": float,
            "ask_size": float,
            "mid": float,
            "spread_bps": float,
            "microprice": float,
            "age_ms": float,
            "updates": int,
        },
    ),
    "flow": Measurement(
        "book",
        ("exchange", "symbol"),
        {
            "buy_volume": float,
            "sell_volume": float,
            "buy_count": int,
            "sell_count": int,
            "cvd": float,
            "samples": int,
            "vwap": float,
            "ofi": float,
            "microprice_drift_bps": float,
            "spread_mean_bps": float,
            "spread_min_bps": float,
            "spread_max_bps": float,
            # one for each configured bin; these are the default ones
            **{f"imbalance_{edge_bps}": float for edge_bps in DEFAULT_EDGES_BPS},
            "volatility_60s": float,
            "volatility_300s": float,
        },
    ),
    "gaps": Measurement(
        "accounts",
        ("exchange", "symbol", "channel", "cause", "collector"),
        {
            "missing_count": int,
            "repaired_count": int,
            "start_seq": int,
            "end_seq": int,
            "start_ns": int,
            "end_ns": int,
            "given_up": bool,
        },
    ),
    "coverage": Measurement(
        "accounts",
        ("exchange", "symbol", "collector"),
        dict.fromkeys(COUNTS, int) | {"integrity": str, "trade_proof": str, "due_ms": str, "trade_ids": str},
    ),
    "backfill": Measurement(
        "accounts",
        ("exchange", "symbol"),
        dict.fromkeys(("trades", "first_trade_id", "last_trade_id", "missing"), int),
    ),
}


def market_of(point: Point) -> Market:
    """Whose point it is."""
    tags = dict(point.tags)
    return Market(tags["exchange"], tags["symbol"])
