"""The server: one port, with a WebSocket at the path of each feed and REST at the root."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response

from sentinel.config.address import is_loopback, is_number
from sentinel.simulator.connection import Connection, Stage
from sentinel.simulator.dialect import Dialect
from sentinel.simulator.rest import Rest

TOO_LATE = 1008
FASTEST_DEFLATE = ServerPerMessageDeflateFactory(
    server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5, "level": 1}
)
"""What websockets has by itself, at the lowest level: compressing is most of the work of an exchange under load."""

Urls = dict[str, str]
"""The address of each feed, and of ``rest``; what ``simulate`` prints when it is ready."""


class Exchange:
    """``async with Exchange(...) as exchange:`` serves ``dialect`` at ``exchange.urls``."""

    def __init__(self, dialect: Dialect, stage: Stage, port: int = 0) -> None:
        self.rest = Rest(dialect, stage)
        self.urls: Urls = {}
        self._dialect = dialect
        self._stage = stage
        self._port = port
        self._opened = dict.fromkeys(stage.facts.feeds, 0)
        self._feeds = {stage.facts.paths.get(feed, feed): feed for feed in stage.facts.feeds}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
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
        self.urls = {feed: f"ws://{host}/{path}" for path, feed in self._feeds.items()}
        self.urls |= dict.fromkeys(self._stage.facts.rests, f"http://{host}")
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        running = tasks.create_task(self._dialect.run())
        self._stack.callback(running.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _request(self, socket: ServerConnection, request: Request) -> Response | None:
        """A WebSocket if the path is one of a feed, REST otherwise."""
        if _is_of_a_website(request.headers):
            return socket.respond(HTTPStatus.FORBIDDEN, "no website may ask\n")
        self._stage.faults.begin()
        feed = self._feed(request)
        if feed is None:
            return await self.rest.answer(request.path, request.headers)
        if self._stage.faults.lasting("refuse_connections", feed=feed) is not None:
            return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "no connections now\n")
        return None

    async def _converse(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        feed = self._feed(socket.request)
        assert feed is not None
        self._opened[feed] += 1
        connection = Connection(socket, feed, self._opened[feed], self._stage, self._dialect)
        listening = self._stage.connections
        self._note("opened", connection)
        try:
            async with asyncio.timeout(self._stage.facts.subscribe_within_s):
                message = await socket.recv()
            listening.append(connection)
            while True:
                self._note("message", connection, text=str(message)[:2000])
                self._dialect.answer(connection, message)
                message = await socket.recv()
        except TimeoutError:
            await socket.close(TOO_LATE, "no subscription")
        except ConnectionClosed:
            pass
        finally:
            if connection in listening:
                listening.remove(connection)
            connection.finish()
            self._note("closed", connection)

    def _feed(self, request: Request) -> str | None:
        """Which feed's socket the path is of: below a feed's own path a venue may have others, as ``/feed/stream``."""
        path = request.path.partition("?")[0].strip("/")
        return self._feeds.get(path) or self._feeds.get(path.partition("/")[0])

    def _note(self, event: str, connection: Connection, **details: object) -> None:
        self._stage.truth.write(
            "connection",
            event=event,
            feed=connection.feed,
            connection=connection.number,
            t_ns=self._stage.now_ns(),
            **details,
        )


def _is_of_a_website(headers: Headers) -> bool:
    """Whether a browser on this machine asks for a page of the web, or for one whose name was made to mean us."""
    host, origin = headers.get("Host"), headers.get("Origin")
    is_ours = host is None or is_loopback(f"//{host}") or is_number(f"//{host}")
    return not is_ours or (origin is not None and not is_loopback(origin))
