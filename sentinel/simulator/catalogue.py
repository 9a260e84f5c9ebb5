"""The one list of venues whose dialect is spoken."""

from __future__ import annotations

from sentinel.simulator.binance.dialect import BINANCE
from sentinel.simulator.coinbase.dialect import COINBASE
from sentinel.simulator.dialect import Venue

VENUES: dict[str, Venue] = {"coinbase": COINBASE, "binance": BINANCE}
"""By the name that ``simulate --venue`` takes, which is the ``exchange`` tag of the data."""

DEFAULT_VENUE = "coinbase"
"""Spoken if nothing else is asked for."""
