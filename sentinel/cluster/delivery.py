"""A worker that takes the stream of lines into InfluxDB: any number of them share the work, and none is needed.

The servers deal the messages of ``book`` and ``trades`` to whoever asks, and deal one anew that was not acknowledged:
its lines land on the same points. A message is acknowledged after the store has accepted or set aside its every line.

``accounts`` rewrite points (a gap that closes), and the last writer wins. So of those one message at a time is out, for
all workers together. A worker that was away longer than a message may be out (frozen, or cut off) may have written an
old row over a newer one since: it says again, into the stream, whatever accounts came after it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import zstandard
from loguru import logger
from nats.js import api, errors

from sentinel.cluster.session import ClusterError, Session
from sentinel.cluster.stream import TROUBLES, Message, decoded, prepared, read
from sentinel.influx.sender import Sender
from sentinel.influx.server import Server

ACCOUNTS = "accounts"
OUT_S = 30.0
"""So long a message may be out before the servers deal it to another; a worker that needs longer says so in between."""

ALIVE_S = 10.0
MOST_OUT = 4096
"""Messages that all workers together have not acknowledged yet."""

FETCHED = 64
FETCH_S = 1.0
AGAIN_S = 0.5


class Delivery:
    """One worker. ``sender`` is its way into the store."""

    def __init__(self, session: Session, sender: Sender, server: Server) -> None:
        self._session = session
        self._sender = sender
        self._server = server
        self._decompress = zstandard.ZstdDecompressor().decompress

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until ``stop`` is set, and finishes what it has begun.

        Raises:
            ClusterError: if the stream is not what the settings say.
        """
        await prepared(self._session)
        self._sender.begin()
        async with self._server, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow("influx", ("book", "trades"), MOST_OUT, FETCHED, stop))
            tasks.create_task(self._follow("influx_accounts", (ACCOUNTS,), 1, 1, stop))

    async def _follow(
        self, name: str, streams: Sequence[str], most_out: int, fetched: int, stop: asyncio.Event
    ) -> None:
        """The messages of a consumer that is shared with the other workers."""
        names = self._session.names
        config = api.ConsumerConfig(
            durable_name=name,
            filter_subjects=[names.subject(stream) for stream in streams],
            ack_policy=api.AckPolicy.EXPLICIT,
            deliver_policy=api.DeliverPolicy.ALL,
            ack_wait=OUT_S,
            max_ack_pending=most_out,
        )
        while not stop.is_set():
            try:
                await self._session.jetstream.add_consumer(names.lines, config)
                pulled = await self._session.jetstream.pull_subscribe_bind(name, names.lines)
                while not stop.is_set():
                    with suppress(asyncio.TimeoutError):
                        await self._deliver(await pulled.fetch(fetched, timeout=FETCH_S), is_ordered=most_out == 1)
                    if not self._session.client.is_connected:
                        await asyncio.sleep(AGAIN_S)
            except errors.BadRequestError as error:
                raise ClusterError(f"cluster: the consumer {name} cannot be made: {error.description}") from None
            except TROUBLES as error:
                logger.bind(reason=str(error) or type(error).__name__).debug("cluster_consumer_waits")
                await asyncio.sleep(AGAIN_S)

    async def _deliver(self, messages: list[Any], *, is_ordered: bool) -> None:
        began_s = time.monotonic()
        async with self._kept_out(messages):
            lots = [decoded(message, self._decompress) for message in messages]
            for stream in sorted({lot.stream for lot in lots}):
                await self._sender.deliver([lot for lot in lots if lot.stream == stream], is_ordered=is_ordered)
        if is_ordered and time.monotonic() - began_s > OUT_S:
            await self._say_again(lots[0])
        for message in messages:
            await message.ack()

    @asynccontextmanager
    async def _kept_out(self, messages: list[Any]) -> AsyncIterator[None]:
        """The servers are told that we are at it: what a store in trouble holds up is not to be dealt to another."""

        async def tell() -> None:
            while True:
                await asyncio.sleep(ALIVE_S)
                for message in messages:
                    with suppress(*TROUBLES):
                        await message.in_progress()

        telling = asyncio.ensure_future(tell())
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.wait([telling])

    async def _say_again(self, late: Message) -> None:
        """What came into the stream after a message that was written too late, once more, at its end."""
        logger.bind(partition=late.partition).warning("accounts_said_again")
        compress = zstandard.ZstdCompressor().compress
        subject = self._session.names.subject(late.stream, late.partition)
        async for message in read(self._session, [late.stream], [late.partition], after=late.sequence):
            if message is None:
                return
            await self._session.jetstream.publish(subject, compress(message.body), headers=message.headers())
