"""Each way to say who we are, and each way to be sure who they are, with a real server: what docs/cluster.md shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentinel.cluster import session
from sentinel.config import Cluster
from tests.sentinel.cluster.identities import Authority, Certificate, credentials, user_key
from tests.servers.nats import nats_servers

pytestmark = pytest.mark.usefixtures("patience")


async def works(settings: Cluster) -> None:
    """Whether a stream can be made, written and read with these settings."""
    async with session.opened(settings, "m1") as one:
        await one.jetstream.add_stream(name="tried", subjects=["tried"])
        assert (await one.jetstream.publish("tried", b"")).seq == 1
        await one.jetstream.delete_stream("tried")


async def is_refused(settings: Cluster, words: str) -> None:
    with pytest.raises(session.ClusterError, match=words) as refused:
        await works(settings)
    assert "\n" not in str(refused.value)


async def test_a_user_with_a_password(tmp_path: Path) -> None:
    with nats_servers(tmp_path, extra='authorization { user: sentinel, password: "right" }') as servers:
        await works(Cluster(servers=servers.urls, user="sentinel", password="right"))
        await is_refused(Cluster(servers=servers.urls, user="sentinel", password="wrong"), "uthorization")
        await is_refused(Cluster(servers=servers.urls), "uthorization")


async def test_a_token(tmp_path: Path) -> None:
    with nats_servers(tmp_path, extra='authorization { token: "right" }') as servers:
        await works(Cluster(servers=servers.urls, token="right"))
        await is_refused(Cluster(servers=servers.urls, token="wrong"), "uthorization")


async def test_an_nkey(tmp_path: Path) -> None:
    right, wrong = user_key(), user_key()
    files = {}
    for name, key in (("right", right), ("wrong", wrong)):
        files[name] = tmp_path / f"{name}.nk"
        files[name].write_bytes(key.seed + b"\n")
    with nats_servers(tmp_path, extra=f"authorization {{ users: [ {{ nkey: {right.public} }} ] }}") as servers:
        await works(Cluster(servers=servers.urls, nkey_file=files["right"]))
        await is_refused(Cluster(servers=servers.urls, nkey_file=files["wrong"]), "uthorization")


async def test_a_credentials_file(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.creds", tmp_path / "wrong.creds"
    extra = credentials(right)
    credentials(wrong)
    with nats_servers(tmp_path, extra=extra) as servers:
        await works(Cluster(servers=servers.urls, creds_file=right))
        await is_refused(Cluster(servers=servers.urls, creds_file=wrong), "uthorization")


def tls(server: Certificate, more: str = "") -> str:
    return f'tls {{ cert_file: "{server.cert_file}", key_file: "{server.key_file}", {more} }}'


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_tls_by_an_authority_of_our_own(scheme: str, tmp_path: Path) -> None:
    ours, others = Authority(tmp_path), Authority(tmp_path, "others")
    with nats_servers(tmp_path, extra=tls(ours.certificate("server"))) as servers:
        urls = [url.replace("nats:", f"{scheme}:") for url in servers.urls]
        await works(Cluster(servers=urls, ca_file=ours.ca_file))
        await is_refused(Cluster(servers=urls, ca_file=others.ca_file), "certificate verify failed")
        await is_refused(Cluster(servers=urls), "certificate verify failed")


async def test_both_show_a_certificate(tmp_path: Path) -> None:
    ours, others = Authority(tmp_path), Authority(tmp_path, "others")
    more = f'ca_file: "{ours.ca_file}", verify: true'
    known: dict[str, Any] = {"ca_file": ours.ca_file}
    with nats_servers(tmp_path, extra=tls(ours.certificate("server"), more)) as servers:
        await works(Cluster(servers=servers.urls, **known, **ours.certificate("member")._asdict()))
        await is_refused(Cluster(servers=servers.urls, **known), "certificate required")
        stranger = others.certificate("stranger")._asdict()
        await is_refused(Cluster(servers=servers.urls, **known, **stranger), "unknown ca")
