"""How many may come in at once, and how long they may take to say what they want.

Whoever reaches the port, token or not, has a descriptor of this process for as long as it keeps its connection, and
without descriptors a collector can neither connect to a venue nor archive.
"""

from __future__ import annotations

import asyncio
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 128
"""Pages, probes and Prometheus together need a dozen."""

REQUEST_S = 15.0
"""From the first moment of a connection, or the first byte of a later request, until the request is here whole."""


class Door(H11Protocol):
    """uvicorn's protocol, which by itself would wait for ever for as many as come."""

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        if len(self.connections) > MOST_CONNECTIONS:
            self.transport.abort()
        else:
            self._limit = self.loop.call_later(REQUEST_S, self.transport.abort)

    def handle_events(self) -> None:
        super().handle_events()
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._lift()
        elif self._limit is None:
            self._limit = self.loop.call_later(REQUEST_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lift()
        super().connection_lost(exc)

    def _lift(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
