"""Whatever is told in an alert, what is posted is JSON that says it, in both shapes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sentinel.monitor.alerts import Alert, Webhook
from tests.fuzz.mutation import odd_text
from tests.fuzz.surfaces import Case


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    yield _case


def _case(rng: random.Random) -> str:
    alerts = [
        Alert(
            odd_text(rng, "silence"),
            odd_text(rng, "BTC-USD"),
            odd_text(rng),
            rng.randrange(2**62),
            exchange=odd_text(rng, "okx"),
        )
        for _ in range(rng.randrange(1, 4))
    ]
    plain = json.loads(Webhook("http://x", "json")._body(alerts))
    slack = json.loads(Webhook("http://x", "slack")._body(alerts))
    assert [(one["kind"], one["about"], one["words"]) for one in plain["alerts"]] == [
        (alert.kind, alert.about, alert.words) for alert in alerts
    ]
    assert all(alert.about in slack["text"] for alert in alerts)
    return "posted"
