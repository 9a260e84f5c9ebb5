"""Serves the status API beside the collector."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import uvicorn

from sentinel.errors import UsageError
from sentinel.monitor.api.app import Sight, make_app
from sentinel.monitor.api.door import Door
from sentinel.version import software

BACKLOG = 100
MOST_PORT = 65_535


class HttpUnavailable(UsageError):
    """The address cannot be listened on."""


class HttpServer:
    """Listens on ``address``, ``host:port``, from the start, so that a mistake is one; serves while it runs.

    Raises:
        HttpUnavailable: if the address cannot be had.
    """

    def __init__(self, sight: Sight, address: str, token: str | None) -> None:
        self._app = make_app(sight, software(), token)
        self._address = address
        self._sockets = listen(address)

    async def run(self) -> None:
        """Serves until cancelled; may be run again.

        Raises:
            HttpUnavailable: if it is run again and the address is taken by now.
        """
        sockets, self._sockets = self._sockets or listen(self._address), []
        options = uvicorn.Config(
            self._app, log_config=None, lifespan="off", timeout_graceful_shutdown=1, ws="none", backlog=BACKLOG,
            http=Door,
            access_log=False,  # a token may be in the address
        )  # fmt: skip
        server = QuietServer(options)
        with ExitStack() as listening:
            for each in sockets:
                listening.enter_context(each)
            try:
                await server.serve(sockets)
            finally:
                if server.started:
                    server.force_exit = True
                    await server.shutdown(sockets)

    def close(self) -> None:
        """Lets go of the address, if it was never served."""
        while self._sockets:
            self._sockets.pop().close()


def listen(address: str) -> list[socket.socket]:
    """A socket for each address that the host's name stands for and this machine has.

    Raises:
        HttpUnavailable: if there is none, or the port of one is taken.
    """
    host, _, digits = address.rpartition(":")
    port = int(digits)
    if port > MOST_PORT:
        raise HttpUnavailable(f"cannot listen on {address}: ports end at {MOST_PORT}")
    with ExitStack() as opened:
        sockets = []
        refusal: OSError | None = None
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, _, _, _, where in found:
                try:
                    sockets.append(opened.enter_context(socket.create_server(where[:2], family=family)))
                except OSError as error:  # ``localhost`` stands for ::1, too, where there is no IPv6
                    refusal = error
                    if error.errno == errno.EADDRINUSE:
                        raise
            if not sockets and refusal is not None:
                raise refusal
        except OSError as error:
            words = str(error.strerror).partition(" (")[0]  # Python adds the address once more
            raise HttpUnavailable(f"cannot listen on {address}: {words}") from error
        opened.pop_all()
        return sockets


class QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers: the collector has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
