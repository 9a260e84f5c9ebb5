"""A worker's lease, beside its work."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock

import pytest

from sentinel.run.deliver_archive import _held


async def test_a_lease_that_can_be_renewed_no_more_is_no_secret() -> None:
    lease = AsyncMock()
    lease.run.side_effect = ValueError("a promise that was broken")
    with pytest.raises(ValueError, match="a promise that was broken"):
        async with _held(lease):
            await asyncio.sleep(0)


async def test_a_lease_ends_with_the_work() -> None:
    lease, is_renewing = AsyncMock(), asyncio.Event()

    async def renew() -> None:
        is_renewing.set()
        await asyncio.sleep(3600)

    lease.run = renew
    async with _held(lease):
        await is_renewing.wait()
    lease.end.assert_awaited_once()
