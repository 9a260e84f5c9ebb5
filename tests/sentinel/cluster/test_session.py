"""The way to real servers: with each kind of identity, over TLS, through the loss of a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from feeds.market import Market
from sentinel.cluster import session
from sentinel.cluster.names import Names, partition_of
from sentinel.config import Cluster
from sentinel.errors import UsageError
from tests.servers.nats import nats_servers
from tests.servers.ports import free_port


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


@pytest.mark.parametrize("names", [("nkey_file",), ("creds_file",), ("ca_file",), ("cert_file", "key_file")])
async def test_a_file_that_is_no_key_is_one_line(names: tuple[str, ...], tmp_path: Path) -> None:
    """NATS' client says so by its assertions, or looks for the end of it for ever."""
    wrong = tmp_path / "wrong.pem"
    wrong.write_bytes(b"garbage\n")
    settings = Cluster(servers=[f"nats://127.0.0.1:{free_port()}"], **dict.fromkeys(names, wrong))
    with pytest.raises(UsageError, match=names[0]) as refused:
        async with session.opened(settings, "m1", patience_s=0.5):
            pass
    assert "\n" not in str(refused.value)
