"""What is known of those who speak Deribit's dialect."""

from __future__ import annotations

from sentinel.simulator.facts import DialectFacts
from sentinel.simulator.faults import KINDS

CHANNELS = ("book", "trades")
"""Those worth a fault of their own."""

FACTS = DialectFacts(
    name="Deribit",
    feeds=("deribit",),
    book_channel="book",
    channels={"deribit": CHANNELS},
    faults=KINDS - {"jump", "announce_close"},
    product_name="{}-PERPETUAL",
    has_product_numbers=True,
    time_step_us=1000,
    rest_per_s=20.0,
    rest_burst=100.0,
)
