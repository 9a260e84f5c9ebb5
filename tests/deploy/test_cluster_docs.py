"""The configuration of NATS servers in docs/cluster.md: the server accepts it, and the rights it gives are enough."""

from __future__ import annotations

import re
import subprocess
from contextlib import aclosing
from pathlib import Path

import pytest

from feeds.market import Market
from sentinel.cluster.following import follow
from sentinel.cluster.session import opened
from sentinel.config import Cluster
from tests import ROOT
from tests.sentinel.cluster.identities import Authority
from tests.sentinel.cluster.publishing import Member, make
from tests.servers.nats import SERVER, nats_servers

BLOCKS: list[str] = re.findall(r"```conf\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)
BTC = Market("coinbase", "BTC-USD")


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_server_accepts_what_is_shown(number: int, tmp_path: Path) -> None:
    made = Authority(tmp_path).certificate("server")
    text = BLOCKS[number].replace("/var/lib/nats", str(tmp_path))
    for name, file in (
        ("server.pem", made.cert_file),
        ("server.key", made.key_file),
        ("ca.pem", tmp_path / "authority.pem"),
    ):
        text = text.replace(f"/etc/nats/{name}", str(file))
    conf = tmp_path / "nats.conf"
    conf.write_text(text)
    judged = subprocess.run([SERVER, "-t", "-c", conf], capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stderr


async def test_the_permissions_shown_suffice(tmp_path: Path) -> None:
    (extra,) = (block for block in BLOCKS if "permissions" in block)
    with nats_servers(tmp_path, extra=extra) as servers:
        writer = Cluster(servers=servers.urls, user="sentinel", password="one")
        reader = Cluster(servers=servers.urls, user="reader", password="another")
        async with opened(writer, "writer") as writing, opened(reader, "reader") as reading:
            await make(writing, BTC)
            await Member(writing, "one").publish("trades", {BTC: [b"trades 1"]})
            async with aclosing(follow(reading, "trades", [BTC], 0)) as bodies:
                assert await anext(bodies) == b"trades 1"
