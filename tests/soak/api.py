"""Whether asking a collector how it is makes its samples late:

    python -m tests.soak.api --products 50 --seconds 60

The same run twice: left alone, and with every endpoint asked as fast as it answers, by several clients at once, while
two pages follow the stream. Prints how late samples and ticks were in either.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import click

from tests.servers.collector import collecting
from tests.servers.exchange import trading
from tests.servers.ports import free_port

PATHS = (
    "/sentinel/status",
    "/metrics",
    "/sentinel/book/BTC-USD?levels=1000",
    "/sentinel/gaps?since_s=3600",
    "/readyz",
    "/",
)
PAGES = 2
WARM_S = 10.0
FIGURES = ("lateness", "handling", "loop_lag")


async def run(folder: Path, products: int, seconds: float, *, is_asked: bool) -> tuple[dict[str, Any], int]:
    """The status at the end, and how many answers were given before it."""
    port = free_port()
    async with trading(
        products, folder / "truth.jsonl", levels=2000, rate=20 * products, trade_rate=products
    ) as exchange:
        names = exchange.products
        async with (
            collecting(exchange.urls, folder / "data", *names, "--http", f"127.0.0.1:{port}") as collector,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            await asyncio.sleep(WARM_S)
            answers = await _ask_everything(session, seconds) if is_asked else await _wait(seconds)
            async with session.get("/sentinel/status") as response:
                status: dict[str, Any] = json.loads(await response.read())
            assert await collector.stop() == 0, collector.errors[-500:]
    return status, answers


async def _wait(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return 0


async def _ask_everything(session: aiohttp.ClientSession, seconds: float) -> int:
    counts = [0]

    async def ask(path: str) -> None:
        while True:
            async with session.get(path) as response:
                await response.read()
                assert response.status in (200, 503), path
            counts[0] += 1

    async def follow() -> None:
        async with session.get("/sentinel/stream", timeout=aiohttp.ClientTimeout()) as response:
            async for _ in response.content:
                pass

    clients = [asyncio.create_task(ask(path)) for path in PATHS]
    clients += [asyncio.create_task(follow()) for _ in range(PAGES)]
    await asyncio.sleep(seconds)
    for client in clients:
        assert not client.done(), "a client was turned away"
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return counts[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    for is_asked in (False, True):
        with tempfile.TemporaryDirectory(prefix="sentinel-api-") as folder:
            status, answers = asyncio.run(run(Path(folder), options.products, options.seconds, is_asked=is_asked))
        told = {name: value for name, value in status.items() if name.startswith(FIGURES)}
        click.echo(f"{answers:,} answers: {json.dumps(told)}")


if __name__ == "__main__":
    main()
