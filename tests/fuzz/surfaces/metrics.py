"""Whatever markets, parts and alerts are called, Prometheus reads the metrics as they were meant, one line a sample."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from sentinel.monitor.alerts import Alert
from sentinel.monitor.api.metrics import Metrics
from tests.fuzz.mutation import odd_text
from tests.fuzz.surfaces import Case
from tests.sentinel.monitor.statuses import GOOD_PRODUCT
from tests.sentinel.monitor.test_alerts import GOOD, GOOD_LINE, GOOD_SINK

FIGURES = [0.0, -1.0, 1.5, 1e300, 5e-324, float("inf"), float("nan"), 2.0**63]


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    yield _case


def _case(rng: random.Random) -> str:
    symbol, exchange, kind, sink, about = (odd_text(rng, "BTC-USD") for _ in range(5))
    spread = rng.choice(FIGURES)
    status = replace(
        GOOD,
        collector=odd_text(rng, "host"),
        products=[replace(GOOD_PRODUCT, exchange=exchange, symbol=symbol, spread_bps=spread)],
        connections=[replace(GOOD_LINE, exchange=exchange, skipped={kind: 3})],
        sinks=[replace(GOOD_SINK, name=sink)],
    )
    alert = Alert(kind, about, "words", 1, exchange=exchange)
    text = Metrics(lambda: status, lambda: [alert]).text().decode()
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    market = (("exchange", exchange), ("symbol", symbol))
    assert repr(found["sentinel_spread_bps", market]) == repr(float(spread))
    assert found["sentinel_alert", (("about", about), ("exchange", exchange), ("kind", kind))] == 1
    assert found["sentinel_sink_backlog_lines", (("sink", sink),)] == 0
    return "read"
