"""For pytest: ``pytest_plugins = ["sentinel.testing.plugin"]`` in the topmost ``conftest.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from sentinel.testing import SimulatedExchange


class Simulate(Protocol):
    """Begins an exchange; it takes what ``SimulatedExchange`` does."""

    def __call__(self, *products: str, **options: Any) -> SimulatedExchange: ...


@pytest.fixture
def simulated_exchange(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulate]:
    """Begins simulated exchanges, each until the end of the test, and leads ``sentinel.live`` and collectors there.

    def test_quotes_are_pulled(simulated_exchange):
        exchange = simulated_exchange("BTC-USD", faults=[Fault(kind="drop", at_s=1.0, channel="l2_data")])
    """
    with ExitStack() as stack:

        def begin(*products: str, **options: Any) -> SimulatedExchange:
            exchange = stack.enter_context(SimulatedExchange(*products, **options))
            for name, value in exchange.environment.items():
                monkeypatch.setenv(name, value)
            return exchange

        yield begin
