"""What is known of Kraken's exchange and does not change."""

from __future__ import annotations

from sentinel.simulator.facts import DialectFacts
from sentinel.simulator.faults import KINDS

FACTS = DialectFacts(
    name="Kraken",
    feeds=("kraken",),
    book_channel="book",
    channels={"kraken": ("book", "trade", "heartbeat")},
    faults=KINDS - {"jump", "oversize_snapshot", "announce_close"},
    has_checksums=True,
    product_name="{}/USD",
    rest_per_s=2.0,
    rest_burst=4.0,
)

DEPTHS = (10, 25, 100, 500, 1000)
CHANNELS = {"book", "trade"}
"""Those that are of products."""


def books(depth: int) -> str:
    """What the books of a depth are called among the channels of a connection."""
    return f"book-{depth}"
