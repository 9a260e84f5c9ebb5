"""What tests of the live API share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sentinel.testing import Fault, SimulatedExchange
from tests.servers.patient import patience

Arm = Callable[..., None]


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    """The exchange's thread may stand still."""
    with patience():
        yield


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def arm() -> Arm:
    """Has faults strike from now on: what is to meet a watch must not come before it has begun."""

    def arm(exchange: SimulatedExchange, *faults: Fault) -> None:
        assert exchange._loop is not None
        assert exchange._market is not None
        exchange._loop.call_soon_threadsafe(exchange._market.stage.faults.arm, list(faults))

    return arm
