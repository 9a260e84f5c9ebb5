"""Serves the status API beside the collector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from sentinel.api.app import Sight, make_app
from sentinel.errors import SentinelError
from sentinel.version import software


class HttpUnavailable(SentinelError):
    """The address cannot be listened on."""


async def serve(sight: Sight, address: str, token: str | None) -> None:
    """Serves on ``address``, ``host:port``, until cancelled.

    Raises:
        HttpUnavailable: if the address is taken.
    """
    host, _, port = address.rpartition(":")
    options = uvicorn.Config(
        make_app(sight, software(), token),
        host.strip("[]"),
        int(port),
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=1,
        ws="none",
    )
    server = QuietServer(options)
    try:
        await server.serve()
    except SystemExit:
        raise HttpUnavailable(f"cannot listen on {address}") from None
    finally:
        if server.started:
            server.force_exit = True
            await server.shutdown()


class QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers: the collector has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
