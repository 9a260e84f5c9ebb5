"""The server: one port, with ``/advanced`` and ``/exchange`` as WebSockets and REST at the root."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Literal, Protocol

from msgspec import Struct
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response

from sentinel.simulator.connection import Connection
from sentinel.simulator.dialogue import Dialogue, Source
from sentinel.simulator.faults import Faults
from sentinel.simulator.rest import Market, Rest
from sentinel.simulator.truth import Truth

SUBSCRIBE_WITHIN_S = 5.0
TOO_LATE = 1008
FASTEST_DEFLATE = ServerPerMessageDeflateFactory(
    server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5, "level": 1}
)
"""What websockets has by itself, at the lowest level: compressing is most of the work of an exchange under load."""

FEEDS: dict[str, Literal["advanced", "exchange"]] = {"/advanced": "advanced", "/exchange": "exchange"}


class Urls(Struct, frozen=True):
    """Where the exchange is; what ``simulate`` prints when it is ready."""

    advanced: str
    exchange: str
    rest: str


class Venue(Source, Market, Protocol):
    """A source of market data with all its sides."""

    connections: list[Connection]

    async def run(self) -> None:
        """Publishes until cancelled."""


class Exchange:
    """``async with Exchange(...) as exchange:`` serves ``source`` at ``exchange.urls``."""

    def __init__(self, source: Venue, faults: Faults, truth: Truth, now_ns: Callable[[], int], port: int = 0) -> None:
        self.rest = Rest(source, faults, now_ns)
        self._source = source
        self._faults = faults
        self._truth = truth
        self._now_ns = now_ns
        self._port = port
        self._dialogue = Dialogue(source, faults, now_ns)
        self._opened = {"advanced": 0, "exchange": 0}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Exchange:
        server: Server = await self._stack.enter_async_context(
            serve(
                self._converse,
                "127.0.0.1",
                self._port,
                process_request=self._request,
                compression=None,
                extensions=[FASTEST_DEFLATE],
                ping_interval=None,
                close_timeout=1,
                max_size=2**20,
            )
        )
        port = next(iter(server.sockets)).getsockname()[1]
        host = f"127.0.0.1:{port}"
        self.urls = Urls(f"ws://{host}/advanced", f"ws://{host}/exchange", f"http://{host}")
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        running = tasks.create_task(self._source.run())
        self._stack.callback(running.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _request(self, socket: ServerConnection, request: Request) -> Response | None:
        """A WebSocket if the path is one of a feed, REST otherwise."""
        self._faults.begin()
        feed = FEEDS.get(request.path.partition("?")[0].rstrip("/"))
        if feed is None:
            return await self.rest.answer(request.path)
        if self._faults.lasting("refuse_connections", feed=feed) is not None:
            return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "no connections now\n")
        return None

    async def _converse(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        feed = FEEDS[socket.request.path.partition("?")[0].rstrip("/")]
        self._opened[feed] += 1
        connection = Connection(socket, feed, self._opened[feed], self._faults, self._truth, self._now_ns)
        self._note("opened", connection)
        try:
            async with asyncio.timeout(SUBSCRIBE_WITHIN_S):
                message = await socket.recv()
            self._source.connections.append(connection)
            while True:
                self._note("message", connection, text=str(message)[:2000])
                self._dialogue.answer(connection, message)
                message = await socket.recv()
        except TimeoutError:
            await socket.close(TOO_LATE, "no subscription")
        except ConnectionClosed:
            pass
        finally:
            if connection in self._source.connections:
                self._source.connections.remove(connection)
            connection.finish()
            self._note("closed", connection)

    def _note(self, event: str, connection: Connection, **details: object) -> None:
        self._truth.write(
            "connection",
            event=event,
            feed=connection.feed,
            connection=connection.number,
            t_ns=self._now_ns(),
            **details,
        )
