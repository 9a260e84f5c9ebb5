"""A rolling upgrade, as Kubernetes does it: each member and each server ends and comes back, and nothing is missed."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from tests.sentinel.cluster.test_member import end, stage


async def test_a_rolling_upgrade_makes_no_hole(tmp_path: Path) -> None:
    async with stage(tmp_path, 3) as on:
        for name in ("a", "b", "c"):
            await on.start(name)
        await on.settled("a", "b", "c")
        for name, server in zip(("c", "b", "a"), on.servers.servers, strict=True):
            assert await on.members[name].stop() == 0
            assert not on.events(name, "cluster_left_early")
            await on.start(name)
            os.kill(server.pid, signal.SIGTERM)
            await asyncio.to_thread(server.ended)
            await asyncio.to_thread(server.start)
            await on.settled("a", "b", "c")
        await end(on)
        on.judge()
