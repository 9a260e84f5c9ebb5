"""One partition of the stream of lines, as the archive reads it."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from loguru import logger
from msgspec.structs import replace
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from sentinel.cluster.names import COLLECTOR, MESSAGE_ID, TIMES
from sentinel.cluster.places import Reach
from sentinel.cluster.session import Session
from sentinel.cluster.spool import Message
from sentinel.cluster.stream import followed
from sentinel.timing.instants import EPOCH, span_ns

ID = re.compile(r"/([^/]+)/(\d+)/\d+/(\d+)")
"""Behind the collector's name: journal, batch, partition, and the piece."""

SPAN = re.compile(r"(-?\d+)\.\.(-?\d+)")


class Partition:
    """Raises, in each method: nats.errors.Error, TimeoutError while the servers are away."""

    def __init__(self, session: Session, number: int) -> None:
        self._session = session
        self._subject = session.names.subject("*", number)
        self.number = number

    async def last_sequence(self) -> int:
        """The number of its newest message; 0 if there is none."""
        try:
            message = await self._session.jetstream.get_last_msg(self._session.names.lines, self._subject)
        except NotFoundError:
            return 0
        assert message.seq is not None
        return message.seq

    async def checked(self, reach: Reach) -> tuple[Reach, int]:
        """The same, if the stream is still the one it is of, the beginning of the stream if not; and the stream's last
        message. Messages that the servers have dropped before they were archived are told."""
        info = await self._session.jetstream.stream_info(self._session.names.lines)
        state, made_ns = info.state, 0 if info.created is None else span_ns(info.created - EPOCH)
        if reach.made_ns not in (0, made_ns) or reach.seen > state.last_seq:
            logger.bind(partition=self.number).warning("archive_begins_anew")
            return Reach(made_ns=made_ns), state.last_seq
        if reach.seen and state.first_seq > reach.seen + 1:
            logger.bind(partition=self.number, since=reach.seen, until=state.first_seq).error("archive_lost_messages")
        return replace(reach, made_ns=made_ns), state.last_seq

    async def messages(self, after: int, until: int) -> AsyncGenerator[Message]:
        """Each once, in order, beginning after a number; those after ``until`` are for the next time."""
        if after >= until:
            return
        async with aclosing(followed(self._session, [self._subject], after=after)) as messages:
            async for message in messages:
                if message is None:
                    if await self.last_sequence() <= after:
                        return  # the last ones were dropped meanwhile, for their age
                    continue
                after = message.metadata.sequence.stream
                if after <= until and (found := _message(message)) is not None:
                    yield found
                if after >= until:
                    return


def _message(message: Msg) -> Message | None:
    """None, and a word in the log, for what is not of a collector."""
    headers, metadata = message.headers or {}, message.metadata
    collector = headers.get(COLLECTOR, "")
    found = ID.fullmatch(headers.get(MESSAGE_ID, "").removeprefix(collector))
    span = SPAN.fullmatch(headers.get(TIMES, ""))
    if not collector or found is None or span is None:
        logger.bind(sequence=metadata.sequence.stream).error("archive_message_not_understood")
        return None
    return Message(
        sequence=metadata.sequence.stream,
        stored_ns=round(metadata.timestamp.timestamp() * 1e9),
        collector=collector,
        journal=found[1],
        batch=int(found[2]),
        piece=int(found[3]),
        stream=message.subject.split(".")[-2],
        first_ns=int(span[1]),
        last_ns=int(span[2]),
        body=message.data,
    )
