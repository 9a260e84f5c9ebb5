"""Follows the journal into InfluxDB: each line once in effect, whatever the server does.

Each stream is followed on a track of its own. The cursor moves when everything up to it was accepted or set aside in
every stream, so a crash or a lost answer leads to lines being sent again, onto the same points.

What happens to lines on the way is ``sender``'s business.

After an outage the backlog is long. Then what is new is sent in turn with what is old, so that live data is seconds
behind, not hours, while the backlog drains: samples and trades are written once, and their order is of no matter. The
accounts rewrite points (a gap that closes), and the last writer wins: they always go in order, one request after the
other. What of them was not answered may still be stored, over what was sent since: it is sent once more a while later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from loguru import logger

from sentinel.config import Influx
from sentinel.disk.data_dir import DEAD_LETTERS
from sentinel.disk.delivery import SINK, SinkStatistics
from sentinel.disk.journal import STREAMS, Batch, Journal
from sentinel.errors import JournalError
from sentinel.influx.sender import LettersFile, Sender
from sentinel.influx.server import Server
from sentinel.influx.track import Track

CHUNK_LINES = 50_000
SPLIT_BATCHES = 60
"""A backlog so long is drained in turn with what is new: some 20 s of commits."""

ENDING_S = 0.05
"""How often it is looked, at the end, whether the others have delivered everything."""

ACCOUNTS = "accounts"


class InfluxSink:
    """The journal's way into InfluxDB. ``draw`` gives floats in [0, 1) for jitter."""

    def __init__(
        self,
        journal: Journal,
        settings: Influx,
        server: Server,
        data_dir: Path,
        *,
        now_ns: Callable[[], int],
        draw: Callable[[], float],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.statistics = SinkStatistics(by_design_s=settings.interval_s)
        self._journal = journal
        self._settings = settings
        self._server = server
        self._monotonic_s = monotonic_s
        self._sender = Sender(
            settings,
            server,
            self.statistics,
            [journal.set_aside, LettersFile(data_dir / DEAD_LETTERS).keep],
            now_ns=now_ns,
            draw=draw,
            monotonic_s=monotonic_s,
        )
        self._tracks: list[Track] = []
        self._cursor = 0

    async def run(self, drain: asyncio.Event) -> None:
        """Delivers until ``drain`` is set and everything written by then is delivered."""
        self._cursor = await self._journal.register_sink(SINK)
        self._tracks = [Track(stream, self._cursor, is_ordered=stream == ACCOUNTS) for stream in STREAMS]
        self._sender.begin()
        async with self._server, asyncio.TaskGroup() as tasks:
            for track in self._tracks:
                tasks.create_task(self._follow(self._deliver_newest, track, drain))
                if not track.is_ordered:
                    tasks.create_task(self._follow(self._deliver_oldest, track, drain))

    @property
    def _delivered_id(self) -> int:
        """Everything up to here is delivered, of every stream."""
        return min(track.delivered_id for track in self._tracks)

    async def _follow(self, deliver: Callable[[Track], Awaitable[bool]], track: Track, drain: asyncio.Event) -> None:
        while True:
            is_ending = drain.is_set()
            track.settle(float("inf") if is_ending else self._monotonic_s())
            is_busy = await deliver(track)
            await self._advance()
            if is_busy:
                continue
            if is_ending and self._delivered_id >= await self._journal.last_id():
                return
            with suppress(TimeoutError):
                # wait_for of 3.11 can lose a cancellation
                async with asyncio.timeout(ENDING_S if is_ending else self._settings.interval_s):
                    await self._journal.wait_appended()

    async def _deliver_newest(self, track: Track) -> bool:
        """A chunk of what is newest; False if there is nothing."""
        last_id = await self._journal.last_id()
        if not track.is_ordered and last_id - track.newest_id >= SPLIT_BATCHES:
            track.set_out(last_id)
            logger.bind(sink=SINK, stream=track.stream).info("sink_interleaves")
            return True
        after_id = track.newest_id
        batches = await self._read(track.stream, after_id, last_id)
        if not batches:
            track.newest_id = max(after_id, last_id)
            return False
        is_sure = await self._sender.deliver(batches, is_ordered=track.is_ordered)
        track.newest_id = batches[-1].id
        if track.is_ordered and not is_sure:
            track.doubt(after_id, self._monotonic_s() + self._settings.timeout_s)
        return True

    async def _deliver_oldest(self, track: Track) -> bool:
        """After an outage, a chunk of what is oldest; False if there is nothing."""
        if not track.outages:
            return False
        first_id, last_id = track.outages[0].first_id, track.outages[0].last_id
        batches = await self._read(track.stream, first_id, last_id)
        await self._sender.deliver(batches, is_ordered=False)
        track.drained(batches[-1].id if batches else last_id)
        return True

    async def _read(self, stream: str, after_id: int, last_id: int) -> list[Batch]:
        """The next batches up to ``last_id``: as much as is soon delivered, so that old and new take turns."""
        capacity = self._sender.capacity
        limit = CHUNK_LINES if capacity.is_full else min(CHUNK_LINES, 2 * capacity.requests * capacity.lines)
        batches = await self._journal.read_after(after_id, (stream,), limit_lines=limit)
        return [batch for batch in batches if batch.id <= last_id]

    async def _advance(self) -> None:
        """A disk that refuses costs no line: the next cursor is as good, and after a restart more is sent again."""
        reached = self._delivered_id
        if reached <= self._cursor:
            return
        try:
            await self._journal.advance(SINK, reached)
        except JournalError as error:
            logger.bind(sink=SINK, reason=str(error)).error("sink_cursor_not_stored")
        else:
            self._cursor = max(self._cursor, reached)
