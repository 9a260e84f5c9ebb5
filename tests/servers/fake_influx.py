"""An InfluxDB that plays what the real one here cannot: 2.x's all-or-nothing, rate limits, odd and broken answers.

It keeps what it accepted, by series and time, as a real one would.
"""

from __future__ import annotations

import asyncio
import gzip
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from tests.servers.ports import free_port

Play = Callable[["FakeInflux", web.Request, list[bytes]], Awaitable[web.StreamResponse]]


class FakeInflux:
    """``plays`` are used up one a request, then every request is accepted; ``poison`` lines are never."""

    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.points: dict[bytes, bytes] = {}
        self.plays: deque[Play] = deque()
        self.poison: set[bytes] = set()
        self.requests: list[tuple[str, int]] = []
        self.most_bytes: int | None = None
        self.line_s = 0.0
        """What a line costs it; it works on one request at a time, in vain on those that nobody waits for any more."""
        self.busy = asyncio.Lock()
        self.dropped_halfway = 0

    async def _write(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        lines = body.split(b"\n")
        self.requests.append((request.path_qs, len(lines)))
        if self.plays:
            return await self.plays.popleft()(self, request, lines)
        if self.line_s:
            async with self.busy:
                await asyncio.sleep(self.line_s * len(lines))
            if request.transport is None or request.transport.is_closing():
                return web.Response()
        if self.most_bytes is not None and len(body) > self.most_bytes:
            return web.json_response({"code": "request too large", "message": "too large"}, status=413)
        guilty = [line for line in lines if line in self.poison]
        if guilty:  # 2.x refuses the whole batch for one line
            words = f"unable to parse '{guilty[0].decode()}': missing fields"
            return web.json_response({"code": "invalid", "message": words}, status=400)
        self.keep(lines)
        return web.Response(status=204)

    def keep(self, lines: list[bytes]) -> None:
        for line in lines:
            series, _, rest = line.partition(b" ")
            self.points[series + rest[rest.rfind(b" ") :]] = line

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[FakeInflux]:
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/api/v2/write", self._write)
        app.router.add_get("/ping", self._ping)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self._runner = runner
        await self.up()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def up(self) -> None:
        """Listens, always at the same port."""
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await self._site.start()

    async def down(self) -> None:
        """Refuses connections, and cuts those there are."""
        await self._site.stop()
        server = self._runner.server
        assert server is not None
        await server.shutdown(0)

    async def _ping(self, _: web.Request) -> web.Response:
        return web.Response(status=204, headers={"X-Influxdb-Version": "v2.7.12"})


def answers(status: int, body: str = "", **headers: str) -> Play:
    """Says so, and keeps nothing."""

    async def play(_: FakeInflux, __: web.Request, ___: list[bytes]) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=body, headers=named)

    return play


async def resets(_: FakeInflux, request: web.Request, __: list[bytes]) -> web.StreamResponse:
    """The connection is gone before an answer; nothing is kept."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def keeps_and_resets(fake: FakeInflux, request: web.Request, lines: list[bytes]) -> web.StreamResponse:
    """Everything is kept, but nobody learns of it."""
    fake.keep(lines)
    return await resets(fake, request, lines)


async def keeps_and_is_slow(fake: FakeInflux, _: web.Request, lines: list[bytes]) -> web.StreamResponse:
    """Everything is kept, and the answer comes when nobody waits any more."""
    fake.keep(lines)
    await asyncio.sleep(30)
    return web.Response(status=204)


async def cuts(_: FakeInflux, request: web.Request, __: list[bytes]) -> web.StreamResponse:
    """Half of an answer."""
    response = web.StreamResponse(status=503, headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"code":')
    assert request.transport is not None
    request.transport.abort()
    return response
