"""The way to real servers: with each kind of identity, over TLS, through the loss of a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from feeds.market import Market
from sentinel.cluster import session
from sentinel.cluster.names import Names, partition_of
from sentinel.config import Cluster
from tests.servers.influx import free_port
from tests.servers.nats import nats_servers


async def test_a_stream_is_there_on_three_servers(tmp_path: Path) -> None:
    with nats_servers(tmp_path, 3) as servers:
        async with session.opened(Cluster(servers=servers.urls), "m1") as one:
            await one.client.flush()
            assert one.client.is_connected


async def test_a_wrong_password_is_one_line(tmp_path: Path) -> None:
    extra = 'authorization { user: sentinel, password: "right" }'
    with nats_servers(tmp_path, extra=extra) as servers:
        settings = Cluster(servers=servers.urls, user="sentinel", password="wrong")
        with pytest.raises(session.ClusterError, match="uthorization"):
            async with session.opened(settings, "m1"):
                pass
        async with session.opened(Cluster(servers=servers.urls, user="sentinel", password="right"), "m1") as right:
            assert right.client.is_connected


async def test_no_server_is_one_line_for_who_does_not_want_to_wait() -> None:
    settings = Cluster(servers=[f"nats://127.0.0.1:{free_port()}"])
    with pytest.raises(session.ClusterError, match="no server at nats"):
        async with session.opened(settings, "m1", patience_s=0.5):
            pass


def test_names() -> None:
    names = Names("desk")
    assert (names.lines, names.members, names.markets) == ("desk_lines", "desk_members", "desk_markets")
    assert names.subject("trades", 7) == "desk.lines.trades.7"
    assert names.subject("trades") == "desk.lines.trades.*"
    assert partition_of(Market("coinbase", "BTC-USD"), 16) == partition_of(Market("coinbase", "BTC-USD"), 16)
