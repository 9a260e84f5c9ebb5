"""An exchange on your own machine for the tests of your own program: its faults on request, its truth as objects.

    from sentinel.testing import Fault, SimulatedExchange

    with SimulatedExchange("BTC-USD", faults=[Fault(kind="stall", at_s=2, duration_s=5)]) as exchange:
        ...                                        # exchange.environment leads a collector here
        exchange.trades("BTC-USD")                 # what really happened

With pytest, ``pytest_plugins = ["sentinel.testing.plugin"]`` in the topmost ``conftest.py`` gives the fixture
``simulated_exchange``; it needs no plugin for asyncio, and works with any.
"""

from __future__ import annotations

from sentinel.errors import UsageError
from sentinel.simulator.faults import Fault
from sentinel.testing.exchange import SimulatedExchange
from sentinel.testing.truth import TrueFault, TrueTop, TrueTrade

__all__ = ["Fault", "SimulatedExchange", "TrueFault", "TrueTop", "TrueTrade", "UsageError"]
