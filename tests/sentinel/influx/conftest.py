"""One real server for all tests of the sink; each makes a database of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.influx import InfluxServer, influx_server


@pytest.fixture(scope="session")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    with influx_server(tmp_path_factory.mktemp("influxd"), with_v2=True) as server:
        yield server
