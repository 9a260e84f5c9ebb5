"""A front of InfluxDB that fails in every way a store fails, and in between hands everything on."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, get_args

import aiohttp
from aiohttp import web
from msgspec import Struct

Mode = Literal["500", "503", "429", "slow", "down", "reset", "kept and reset", "half and reset"]
MODES: tuple[Mode, ...] = get_args(Mode)
SLOW_S = 8.0


class Trouble(Struct, frozen=True):
    """From ``at_s`` on, for ``duration_s``."""

    mode: Mode
    at_s: float
    duration_s: float


def troubles(seconds: float, every_s: float, seed: int) -> list[Trouble]:
    """One after the other, evenly spread; each mode as often."""
    rng = random.Random(f"front {seed}")
    found: list[Trouble] = []
    modes: list[Mode] = []
    for number in range(int(seconds / every_s)):
        modes = modes or rng.sample(MODES, len(MODES))
        at_s = (number + rng.uniform(0.0, 0.5)) * every_s
        found.append(Trouble(modes.pop(), at_s, rng.uniform(0.1, 0.45) * every_s))
    return found


class Front:
    """``url`` is where it listens; ``struck`` counts the requests that each mode met."""

    def __init__(self, upstream: str, planned: list[Trouble]) -> None:
        self.url = ""
        self.struck: Counter[str] = Counter()
        self._upstream = upstream
        self._planned = planned
        self._began_s = 0.0

    def _mode(self) -> Mode | None:
        elapsed_s = asyncio.get_running_loop().time() - self._began_s
        on = (each.mode for each in self._planned if each.at_s <= elapsed_s < each.at_s + each.duration_s)
        return next(on, None)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        mode = self._mode()
        if mode is None:
            return await self._forward(request, body)
        self.struck[mode] += 1
        match mode:
            case "500" | "503":
                return web.json_response({"error": "not now"}, status=int(mode))
            case "429":
                return web.Response(status=429, headers={"Retry-After": "2"})
            case "slow":
                await asyncio.sleep(SLOW_S)
                return await self._forward(request, body)
            case "kept and reset":
                await self._forward(request, body)
            case "half and reset" if request.path == "/write":
                await self._forward(request, _half(request, body), decoded=True)
        if request.transport is not None:  # who asked may have gone meanwhile
            request.transport.abort()
        return web.Response()

    async def _forward(self, request: web.Request, body: bytes, *, decoded: bool = False) -> web.Response:
        kept = {"Authorization", "Content-Type", "Accept"} | (set() if decoded else {"Content-Encoding"})
        headers = {name: value for name, value in request.headers.items() if name.title() in kept}
        async with self._session.request(
            request.method, self._upstream + request.path_qs, data=body, headers=headers
        ) as answer:
            passed = {name: value for name, value in answer.headers.items() if name.startswith("X-Influxdb")}
            content_type = {"Content-Type": answer.headers["Content-Type"]} if "Content-Type" in answer.headers else {}
            return web.Response(status=answer.status, body=await answer.read(), headers=passed | content_type)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Front]:
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._began_s = asyncio.get_running_loop().time()
        async with aiohttp.ClientSession() as self._session:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield self
            finally:
                await runner.cleanup()


def _half(request: web.Request, body: bytes) -> bytes:
    """The first half of the lines."""
    lines = (gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body).split(b"\n")
    return b"\n".join(lines[: max(1, len(lines) // 2)])
