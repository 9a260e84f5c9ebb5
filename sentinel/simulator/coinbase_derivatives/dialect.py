"""The gateway of Coinbase's international derivatives: Deribit's dialect, without patience for silent clients."""

from __future__ import annotations

from msgspec.structs import replace

from sentinel.simulator.deribit.dialect import Deribit
from sentinel.simulator.deribit.dialogue import S
from sentinel.simulator.deribit.facts import CHANNELS, FACTS
from sentinel.simulator.dialect import Venue
from sentinel.simulator.synthetic import SyntheticMarket

IDLE_NS = 30 * S
"""A socket is closed with 1011 so long after the client's last message; pings of the protocol do not count."""


def live(market: SyntheticMarket) -> Deribit:
    return Deribit(market, idle_ns=IDLE_NS)


COINBASE_DERIVATIVES = Venue(
    facts=replace(
        FACTS,
        name="Coinbase International Derivatives",
        feeds=("coinbase_derivatives",),
        channels={"coinbase_derivatives": CHANNELS},
        product_name="{}_USDC-PERPETUAL",
    ),
    live=live,
)
