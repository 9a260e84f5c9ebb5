"""A status that is well."""

from __future__ import annotations

from sentinel.monitor.status import ProductStatus
from sentinel.timing.histogram import Quantiles

GOOD_PRODUCT = ProductStatus(
    symbol="BTC-USD", exchange="coinbase", integrity="sequence", is_proved=True, bid=1.0, ask=2.0, spread_bps=1.0,
    sample_age_ms=10.0, last_trade_id=7, last_trade_ns=0, trades_stored=5, trades_missing=0, trade_conflicts=0,
    samples_written=9, samples_withheld=0, recent_written=9, recent_withheld=0, lateness=Quantiles(1.0, 5.0, 9.0),
    crossed_for_s=0.0, bins=[],
)  # fmt: skip
