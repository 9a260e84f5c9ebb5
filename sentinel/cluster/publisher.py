"""The journal's way into the cluster's stream: every batch once, in messages that bear the batch's own id.

A batch is cut by partition and by size, always in the same way: what is sent again after a crash or a lost answer is
the same message, and the servers know it. The cursor moves past a batch when the servers have all of it on their disks.
``accounts`` rewrite points, so their messages go one after the other; of samples and trades many are under way at once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import zstandard
from loguru import logger
from msgspec import Struct
from nats.js import errors

from feeds.market import Market
from sentinel.cluster.names import COLLECTOR, MESSAGE_ID, TIMES, Names, message_id, partition_of
from sentinel.cluster.session import Session, opened
from sentinel.cluster.stream import HEADERS_BYTES, PIECE_BYTES, TROUBLES, by_size, prepared
from sentinel.config import Cluster
from sentinel.contract.line_protocol import decode
from sentinel.contract.measurements import market_of
from sentinel.disk.delivery import PUBLISHER, SinkStatistics
from sentinel.disk.journal import STREAMS, Batch, Journal
from sentinel.errors import JournalError
from sentinel.timing.backoff import Backoff
from sentinel.timing.endings import together

CHUNK_LINES = 20_000
SERIES = re.compile(rb"(?:[^\\ ]|\\.)*")
"""Measurement and tags of a line: up to the first space that is not escaped."""

UNDER_WAY = 64
LONGEST_PAUSE_S = 5.0
ENDING_S = 0.05
WAIT_S = 1.0
ACCOUNTS = "accounts"


class Piece(Struct, frozen=True):
    """One message to be."""

    subject: str
    id: str
    times: str
    lines: list[bytes]


class Publisher:
    """A sink of the journal. ``draw`` gives floats in [0, 1) for jitter.

    ``tails`` are the last trades, by market, up to which all are in the stream: those ``stored`` in the journal as it
    was when it was last published whole. Who takes over a market goes on from there: this machine may never be back.
    """

    def __init__(
        self,
        journal: Journal,
        settings: Cluster,
        collector: str,
        draw: Callable[[], float],
        stored: Callable[[], Mapping[Market, tuple[int, int]]] = dict,
    ) -> None:
        self.statistics = SinkStatistics(by_design_s=WAIT_S)
        self.tails: Mapping[Market, tuple[int, int]] = {}
        self._stored = stored
        self._journal = journal
        self._settings = settings
        self._names = Names(settings.name)
        self._collector = collector
        self._draw = draw
        self._compress = zstandard.ZstdCompressor(level=3).compress
        self._most_bytes = PIECE_BYTES
        self._partitions: dict[bytes, int] = {}

    async def run(self, drain: asyncio.Event) -> None:
        """Publishes until ``drain`` is set and everything written by then is in the stream."""
        self.statistics.state = "waiting"
        cursor = await self._journal.register_sink(PUBLISHER)
        identity = await self._journal.identity()
        async with opened(self._settings, f"{self._collector} publisher") as session:
            await self._follow(session, cursor, identity, drain)

    async def _follow(self, session: Session, cursor: int, identity: str, drain: asyncio.Event) -> None:
        partitions = await prepared(session)
        self.statistics.state = "delivering"
        self._most_bytes = min(PIECE_BYTES, session.client.max_payload - HEADERS_BYTES)
        tails, whole_at = self._stored(), await self._journal.last_id()
        while True:
            is_ending = drain.is_set()
            if cursor >= whole_at:
                self.tails = tails
                tails, whole_at = self._stored(), await self._journal.last_id()
            batches = await self._journal.read_after(cursor, STREAMS, limit_lines=CHUNK_LINES)
            if batches:
                pieces = [piece for batch in batches for piece in self._pieces(batch, identity, partitions)]
                await self._publish_all(session, pieces)
                self.statistics.lines_delivered += sum(batch.line_count for batch in batches)
                cursor = await self._advance(cursor, batches[-1].id)
            elif is_ending:
                return
            else:
                with suppress(TimeoutError):
                    # wait_for of 3.11 can lose a cancellation
                    async with asyncio.timeout(ENDING_S if is_ending else WAIT_S):
                        await self._journal.wait_appended()

    def _pieces(self, batch: Batch, identity: str, partitions: int) -> Iterator[Piece]:
        by_partition: dict[int, list[bytes]] = {}
        for line in batch.lines():
            by_partition.setdefault(self._partition(line, partitions), []).append(line)
        subject, times = self._names.subject, f"{batch.first_ns}..{batch.last_ns}"
        for partition, lines in sorted(by_partition.items()):
            for number, part in enumerate(by_size(lines, self._most_bytes)):
                name = message_id(self._collector, identity, batch.id, partition, number)
                yield Piece(subject(batch.stream, partition), name, times, part)

    def _partition(self, line: bytes, partitions: int) -> int:
        found = SERIES.match(line)
        series = found[0] if found else line
        known = self._partitions.get(series)
        if known is None:
            known = self._partitions[series] = partition_of(market_of(decode(line)), partitions)
        return known

    async def _publish_all(self, session: Session, pieces: Sequence[Piece]) -> None:
        ordered = [piece for piece in pieces if f".{ACCOUNTS}." in piece.subject]
        free = iter([piece for piece in pieces if f".{ACCOUNTS}." not in piece.subject])

        async def publish_in_turn(some: Iterator[Piece]) -> None:
            for piece in some:
                await self._publish(session, piece)

        await together(publish_in_turn(iter(ordered)), *(publish_in_turn(free) for _ in range(UNDER_WAY)))

    async def _publish(self, session: Session, piece: Piece) -> None:
        """Until the servers have it."""
        body = self._compress(b"\n".join(piece.lines))
        headers = {MESSAGE_ID: piece.id, COLLECTOR: self._collector, TIMES: piece.times}
        backoff = Backoff(self._draw, 0.1, LONGEST_PAUSE_S)
        while True:
            self.statistics.requests += 1
            try:
                await session.jetstream.publish(piece.subject, body, stream=self._names.lines, headers=dict(headers))
            except errors.NoStreamResponseError as error:
                await self._wait(str(error), backoff)
                await prepared(session)  # servers that lost everything have it made anew
            except errors.APIError as error:
                await self._wait(error.description or str(error), backoff)
            except TROUBLES as error:
                await self._wait(str(error) or type(error).__name__, backoff)
            else:
                self._recovered()
                return

    async def _wait(self, words: str, backoff: Backoff) -> None:
        self.statistics.failed(words)
        if self.statistics.state != "waiting":
            self.statistics.state = "waiting"
            logger.bind(sink=PUBLISHER, reason=words).warning("sink_waiting")
        await asyncio.sleep(backoff.next_s())

    def _recovered(self) -> None:
        if self.statistics.state != "delivering":
            self.statistics.state = "delivering"
            logger.bind(sink=PUBLISHER).info("sink_recovered")

    async def _advance(self, cursor: int, reached: int) -> int:
        """A disk that refuses costs no line: after a restart more is sent again, and known again."""
        try:
            await self._journal.advance(PUBLISHER, reached)
        except JournalError as error:
            logger.bind(sink=PUBLISHER, reason=str(error)).error("sink_cursor_not_stored")
        return reached
