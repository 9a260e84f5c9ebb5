"""The one list of venues whose dialect is spoken."""

from __future__ import annotations

from sentinel.simulator.binance.dialect import BINANCE
from sentinel.simulator.bybit.dialect import BYBIT
from sentinel.simulator.bybit_linear.dialect import BYBIT_LINEAR
from sentinel.simulator.coinbase.dialect import COINBASE
from sentinel.simulator.coinbase_derivatives.dialect import COINBASE_DERIVATIVES
from sentinel.simulator.deribit.dialect import DERIBIT
from sentinel.simulator.dialect import Venue
from sentinel.simulator.kraken.dialect import KRAKEN
from sentinel.simulator.okx.dialect import OKX

VENUES: dict[str, Venue] = {
    "coinbase": COINBASE,
    "kraken": KRAKEN,
    "binance": BINANCE,
    "okx": OKX,
    "deribit": DERIBIT,
    "coinbase_derivatives": COINBASE_DERIVATIVES,
    "bybit": BYBIT,
    "bybit_linear": BYBIT_LINEAR,
}
"""By the name that ``simulate --venue`` takes, which is the ``exchange`` tag of the data."""

DEFAULT_VENUE = "coinbase"
"""Spoken if nothing else is asked for."""
