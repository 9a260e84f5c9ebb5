"""Linear contracts: Bybit's dialect at another address, with UUIDs for trades.

Their times are told in milliseconds, too; the microsecond is in ``seq``, by which they are told apart."""

from __future__ import annotations

from msgspec.structs import replace

from sentinel.simulator.bybit.dialect import FACTS, Bybit
from sentinel.simulator.dialect import Venue
from sentinel.simulator.synthetic import SyntheticMarket


def live(market: SyntheticMarket) -> Bybit:
    return Bybit(market, "linear")


FEED = "bybit_linear"
BYBIT_LINEAR = Venue(
    facts=replace(
        FACTS,
        name="Bybit Linear",
        feeds=(FEED,),
        paths={FEED: "v5/public/linear"},
        channels={FEED: FACTS.channels["bybit"]},
        time_step_us=1,
    ),
    live=live,
)
