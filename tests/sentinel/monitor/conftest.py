"""A collector that does not run, for those who only look at it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from sentinel.collector.service import Service
from sentinel.config.loading import load
from sentinel.exchange.venues import open_rest
from sentinel.timing.clock import Clock


class Nowhere:
    """A store for a service that does not run."""

    async def append(self, batches: Mapping[str, Sequence[bytes]], checkpoint: bytes | None = None) -> None:
        raise AssertionError("nothing is collected here")


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.chdir(tmp_path)
    config = load({"products": ("BTC-USD", "ETH-USD")}, None)
    async with open_rest(config) as rest:
        yield Service(config, Clock(), rest, Nowhere(), random.Random(1).random)
