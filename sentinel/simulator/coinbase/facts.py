"""What is known of Coinbase's exchange and does not change."""

from __future__ import annotations

from sentinel.simulator.facts import DialectFacts
from sentinel.simulator.faults import KINDS

FACTS = DialectFacts(
    name="Coinbase",
    feeds=("advanced", "exchange"),
    rests=("rest", "advanced_rest"),
    book_channel="l2_data",
    channels={"advanced": ("l2_data", "market_trades", "heartbeats"), "exchange": ("match", "heartbeat")},
    faults=KINDS - {"announce_close"},
    rest_per_s=10.0,
    rest_burst=15.0,
)
