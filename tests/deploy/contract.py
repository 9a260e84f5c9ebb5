"""The data contract as the code writes it: which tags and fields each measurement can have."""

from __future__ import annotations

from fractions import Fraction

from book.bins import Depth, Measure
from book.events import Trade
from book.order_book import Top
from book.sampler import Sample
from sentinel.contract.gaps import Gap
from sentinel.contract.line_protocol import decode
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.pipeline.accounts import Account
from sentinel.pipeline.lines import ProductLines

EVERYTHING = Account(**dict.fromkeys(Account.__struct_fields__, 1))
DEPTH = (Depth(volume=1.0, notional=100.0, vwap=100.0, levels=1),)
SAMPLE = Sample(
    grid_ns=0,
    measure=Measure(Top(99.0, 1.0, 101.0, 1.0), mid=100.0, spread_bps=200.0, microprice=100.0, bids=DEPTH, asks=DEPTH),
    age_ns=0,
    updates=1,
)
TRADE = Trade("BTC-USD", 7, price=100.0, size=1.0, taker="buy", venue_ns=1000, is_live=True)
GAP = Gap("trades", "trades", start_ns=0, end_ns=1, start_seq=1, end_seq=2, missing_count=2)


def columns() -> dict[str, set[str]]:
    """Tags and fields by measurement."""
    lines = ProductLines("coinbase", "BTC-USD", "here", (Fraction(1),))
    written = [
        lines.trade(TRADE, 1, is_repaired=True).text,
        *lines.sample(SAMPLE).text.split(b"\n"),
        lines.gap(GAP).text,
        lines.coverage(0, EVERYTHING, "sequence").text,
    ]
    flow = MEASUREMENTS["flow"]
    found: dict[str, set[str]] = {"flow": {*flow.tags, *flow.fields}}
    for point in map(decode, written):
        found.setdefault(point.measurement, set()).update(dict(point.tags), dict(point.fields))
    return found
