"""One server with what was collected, for all who ask it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.collected import collected
from tests.servers.influx import InfluxServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    with collected(tmp_path_factory.mktemp("collected")) as found:
        yield found
