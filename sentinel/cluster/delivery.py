"""A worker that takes the stream of lines into InfluxDB: any number of them share the work, and none is needed.

The servers deal messages to whoever asks, and deal one anew that was not acknowledged: its lines land on the same
points. A message is acknowledged after the store has accepted or set aside its every line.

Replicas publish the same points of ``book``, not always with the same values, and InfluxDB stores the fields of a point
one by one: of two that are written at once it may keep some of either, a sample that nobody took. So of each partition
of the books one message at a time is out, and no other before a request of it that was not answered can be carried out
no more.

``accounts`` rewrite points (a gap that closes), and the last writer wins. So of those one message at a time is out, for
all workers together. A worker that was away for longer than a message may be out (frozen, or cut off) may have written
an old row over a newer one since. The servers number what they deal: if a message was dealt after its own, it writes
what was dealt since once more, until nothing of it was dealt meanwhile. A request that was not answered may still be
carried out, over what is sent next: until no such request can be, the message is ours, and is then sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from hashlib import blake2b
from typing import TypeVar

import zstandard
from loguru import logger
from msgspec import Struct
from nats.aio.msg import Msg
from nats.js import api, errors

from sentinel.cluster.names import MESSAGE_ID
from sentinel.cluster.session import ClusterError, Session
from sentinel.cluster.stream import TROUBLES, Message, by_size, decoded, fetched, prepared, read
from sentinel.disk.journal import DeadLetter
from sentinel.influx.sender import Sender, letter
from sentinel.influx.server import Server
from sentinel.timing.endings import ended, together

T = TypeVar("T")

OUT_S = 30.0
"""So long a message may be out before the servers deal it to another; a worker that needs longer says so in between."""

ALIVE_S = 10.0
HELD_S = 60.0
"""So long it says so; then another may have it, who may reach the store where this one does not."""


class Consumer(Struct, frozen=True):
    """What the servers deal to all workers together. ``most_out`` messages may be out, ``fetched`` are asked for.

    ``is_ordered``: what was written late is never the last word; one message is out then.
    """

    name: str
    stream: str
    partition: int | None = None
    most_out: int = 1
    fetched: int = 1
    is_ordered: bool = False


def consumers(partitions: int) -> list[Consumer]:
    """All there are, for a stream of so many partitions."""
    return [
        Consumer("influx_trades", "trades", most_out=4096, fetched=64),
        Consumer("influx_accounts", "accounts", is_ordered=True),
        *(Consumer(f"influx_book_{number}", "book", number) for number in range(partitions)),
    ]


ENOUGH_S = 7.0
"""So long a worker that is told to stop may finish what it has begun; the rest is dealt anew."""

FLUSH_S = 1
FETCHED = 64
FETCH_S = 1.0
AGAIN_S = 0.5


class Delivery:
    """One worker. ``sender`` is its way into the store, ``doubt_s`` how long an unanswered request may take."""

    def __init__(self, session: Session, sender: Sender, server: Server, doubt_s: float) -> None:
        self._waiting: dict[Consumer, int] = {}
        self._session = session
        self._sender = sender
        self._server = server
        self._doubt_s = doubt_s
        self._zstd = zstandard.ZstdDecompressor()

    @property
    def messages_waiting(self) -> int:
        """Messages of the stream that were not dealt yet when we last heard."""
        return sum(self._waiting.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until ``stop`` is set, and finishes what it has begun if the store takes it soon.

        Raises:
            ClusterError: if the stream is not what the settings say.
        """
        working, stopping = asyncio.create_task(self._work(stop)), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([working], timeout=ENOUGH_S)
            if working.done():
                working.result()
        finally:
            await ended(working, stopping)
            with suppress(*TROUBLES):
                await self._session.client.flush(FLUSH_S)

    async def _work(self, stop: asyncio.Event) -> None:
        partitions = await prepared(self._session)
        self._sender.begin()
        async with self._server:
            await together(*(self._follow(consumer, stop) for consumer in consumers(partitions)))

    async def _follow(self, consumer: Consumer, stop: asyncio.Event) -> None:
        """The messages of a consumer that is shared with the other workers."""
        lines, jetstream = self._session.names.lines, self._session.jetstream
        subjects = [self._session.names.subject(consumer.stream, consumer.partition)]
        while not stop.is_set():
            try:
                await jetstream.add_consumer(lines, _config(consumer, subjects))
                pulled = await jetstream.pull_subscribe_bind(consumer.name, lines)
                while not stop.is_set():
                    messages = await fetched(pulled, consumer.fetched, FETCH_S)
                    if messages:
                        await self._take(consumer, messages)
                    else:
                        await pulled.consumer_info()  # refused if the servers have forgotten it
            except errors.BadRequestError as error:
                raise ClusterError(
                    f"cluster: the consumer {consumer.name} cannot be created: {error.description}"
                ) from None
            except TROUBLES as error:
                logger.bind(reason=str(error) or type(error).__name__).debug("cluster_consumer_waits")
                await asyncio.sleep(AGAIN_S)

    async def _take(self, consumer: Consumer, messages: list[Msg]) -> None:
        """Acknowledged when the store has accepted or set aside every line; dealt anew if we end before."""
        self._waiting[consumer] = messages[-1].metadata.num_pending
        try:
            async with _kept_out(messages):
                found = [decoded(message, self._zstd) for message in messages]
                lots = [lot for lot in found if lot is not None]  # what is none would be dealt for ever
                if not consumer.is_ordered:
                    is_sure = await self._sender.deliver(lots, is_ordered=False)
                    if consumer.most_out == 1 and not is_sure:
                        await asyncio.sleep(self._doubt_s)
                elif lots:
                    await self._deliver_in_order(lots)
                    await self._write_again(consumer, lots[0], messages[0].metadata.sequence.consumer)
        except asyncio.CancelledError:
            with suppress(*TROUBLES):
                for message in messages:
                    await message.nak(self._doubt_s if consumer.most_out == 1 else None)
            raise
        for message in messages:
            await message.ack()

    async def _deliver_in_order(self, lots: Sequence[Message]) -> None:
        """Once more, after a while, as long as there was a request that may still be carried out."""
        is_sure = await self._sender.deliver(lots, is_ordered=True)
        while not is_sure:
            await asyncio.sleep(self._doubt_s)
            is_sure = await self._sender.deliver(lots, is_ordered=True)

    async def _write_again(self, consumer: Consumer, lot: Message, number: int) -> None:
        """What was dealt after ``lot``, the consumer's delivery of this ``number``, while we wrote that."""
        lines, after = self._session.names.lines, lot.sequence
        while True:
            info = await _answer(lambda: self._session.jetstream.consumer_info(lines, consumer.name))
            if info is None or info.delivered is None:  # it was deleted: what is made anew deals everything anew
                return
            dealt = info.delivered
            if dealt.consumer_seq == number:
                return
            newer = await self._between(lot, after, dealt.stream_seq)
            if not newer:
                return
            logger.bind(partition=lot.partition, messages=len(newer)).warning("accounts_written_again")
            await self._deliver_in_order(newer)
            number, after = dealt.consumer_seq, dealt.stream_seq

    async def _between(self, lot: Message, after: int, until: int) -> list[Message]:
        """The messages of a lot's subject with ``after < sequence <= until``."""
        jetstream, names = self._session.jetstream, self._session.names
        subject = names.subject(lot.stream, lot.partition)
        last = await _answer(lambda: jetstream.get_last_msg(names.lines, subject))
        found: list[Message] = []
        if last is None or last.seq is None or last.seq <= after:
            return found
        async with aclosing(read(self._session, [lot.stream], [lot.partition], after=after)) as messages:
            async for message in messages:
                if message is None or message.sequence > until:
                    break
                found.append(message)
                if message.sequence >= last.seq:
                    break
        return found


class DeadSubject:
    """Lines that no InfluxDB takes, in the stream: ``sentinel.lines.dead.influx``, as in ``dead_letters.lp``, zstd."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Raises OSError while the servers do not take them."""
        names, jetstream = self._session.names, self._session.jetstream
        for part in by_size([letter(one) for one in letters]):
            text = b"".join(part)
            headers = {MESSAGE_ID: blake2b(text, digest_size=16).hexdigest()}
            try:
                await jetstream.publish(names.dead, zstandard.compress(text), stream=names.lines, headers=headers)
            except TROUBLES as error:
                raise OSError(f"cluster: {error or type(error).__name__}") from error


@asynccontextmanager
async def _kept_out(messages: Sequence[Msg]) -> AsyncIterator[None]:
    """The servers are told that we are at it: what a store in trouble holds up is not to be dealt to another soon."""

    async def tell() -> None:
        for _ in range(int(HELD_S / ALIVE_S)):
            await asyncio.sleep(ALIVE_S)
            with suppress(*TROUBLES):
                for message in messages:
                    await message.in_progress()

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        await ended(telling)


async def _answer(ask: Callable[[], Awaitable[T]]) -> T | None:
    """What the servers say; None if there is no such thing."""
    while True:
        try:
            return await ask()
        except errors.NotFoundError:
            return None
        except TROUBLES as error:
            logger.bind(reason=str(error) or type(error).__name__).debug("cluster_consumer_waits")
            await asyncio.sleep(AGAIN_S)


def _config(consumer: Consumer, subjects: list[str]) -> api.ConsumerConfig:
    return api.ConsumerConfig(
        durable_name=consumer.name,
        filter_subjects=subjects,
        ack_policy=api.AckPolicy.EXPLICIT,
        deliver_policy=api.DeliverPolicy.ALL,
        ack_wait=OUT_S,
        max_ack_pending=consumer.most_out,
    )
