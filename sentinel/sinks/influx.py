"""Follows the journal into InfluxDB: each line once in effect, whatever the server does.

Lines are sent in the order they were written, in requests of ``batch_points``. The cursor moves when everything up
to it was accepted or set aside, so a crash or a lost answer leads to lines being sent again, onto the same points.

* Accepted: go on.
* The server is busy, broken or away: wait, at least as long as it asks, and try for ever.
* The request is too large: halve it.
* Lines are refused: bisect. Every server stores or refuses at least as much as we find out, so the guilty line is set
  aside with the server's words, in the journal and in a file, and all others go through.
* We are refused, or the bucket is missing: say so, wait, and read the token again; a person has to act.

After an outage the backlog is long. Then what is new is sent in turn with what is old, so that live data is seconds
behind, not hours, while the backlog drains. The accounts rewrite points (a gap that closes), and the last writer wins:
they always go in order, one request after the other, and wait for their turn behind a backlog.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from loguru import logger
from msgspec import Struct

from sentinel.backoff import Backoff
from sentinel.config import Influx
from sentinel.errors import JournalError
from sentinel.influx.answers import Accepted, Barred, Later, Outcome, Refused, TooLarge
from sentinel.influx.buckets import bucket_at
from sentinel.influx.server import Server
from sentinel.journal import STREAMS, Batch, DeadLetter, Journal
from sentinel.sinks.statistics import SINK, SinkStatistics, State

CHUNK_LINES = 50_000
SPLIT_BATCHES = 60
"""A backlog so long is drained in turn with what is new: some 20 s of commits."""

ACCOUNTS = "accounts"
UNORDERED = tuple(stream for stream in STREAMS if stream != ACCOUNTS)

DEAD_LETTERS_FILE = "dead_letters.lp"
LONGEST_PAUSE_S = 30.0


class Span(Struct):
    """Batches with ``first < id <= last``, of an outage; ``first`` rises as they are delivered."""

    first: int
    last: int


class Refusal(Struct, frozen=True):
    """A line no server will ever take."""

    line: bytes
    words: str
    is_about_lines: bool


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
    ) -> None:
        self.statistics = SinkStatistics()
        self._journal = journal
        self._settings = settings
        self._server = server
        self._letters_file = data_dir / DEAD_LETTERS_FILE
        self._now_ns = now_ns
        self._draw = draw
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._outages: deque[Span] = deque()
        self._newest_id = 0

    async def run(self, drain: asyncio.Event) -> None:
        """Delivers until ``drain`` is set and everything written by then is delivered."""
        self._newest_id = await self._journal.register_sink(SINK)
        async with self._server:
            while True:
                is_ending = drain.is_set()
                if not await self._deliver_some():
                    if is_ending:
                        return
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._journal.wait_appended(), self._settings.interval_s)

    async def _deliver_some(self) -> bool:
        """A chunk of what is newest and, after an outage, one of what is oldest; False if all is done."""
        last = await self._journal.last_id()
        if last - self._newest_id >= SPLIT_BATCHES:
            self._outages.append(Span(self._newest_id, last))
            self._newest_id = last
            logger.bind(sink=SINK).info("sink_interleaves")
        if not self._outages:
            return await self._deliver_newest(STREAMS)
        await self._deliver_newest(UNORDERED)
        await self._deliver_oldest(self._outages[0])
        return True

    async def _deliver_newest(self, streams: Sequence[str]) -> bool:
        batches = await self._journal.read_after(self._newest_id, limit_lines=CHUNK_LINES)
        if not batches:
            return False
        await self._deliver([batch for batch in batches if batch.stream in streams])
        self._newest_id = batches[-1].id
        if not self._outages:
            await self._advance(self._newest_id)
        return True

    async def _deliver_oldest(self, span: Span) -> None:
        batches = await self._journal.read_after(span.first, limit_lines=CHUNK_LINES)
        batches = [batch for batch in batches if batch.id <= span.last]
        if batches:
            await self._deliver(batches)
            span.first = batches[-1].id
            await self._advance(span.first)
            return
        if len(self._outages) == 1:
            await self._deliver_accounts(span.last, self._newest_id)
            await self._advance(self._newest_id)
        self._outages.popleft()

    async def _deliver_accounts(self, first: int, last: int) -> None:
        """Those that waited while the backlog drained."""
        while batches := await self._journal.read_after(first, (ACCOUNTS,), limit_lines=CHUNK_LINES):
            await self._deliver([batch for batch in batches if batch.id <= last])
            first = batches[-1].id

    async def _advance(self, batch_id: int) -> None:
        """A disk that refuses costs no line: the next cursor is as good, and after a restart more is sent again."""
        try:
            await self._journal.advance(SINK, batch_id)
        except JournalError as error:
            logger.bind(sink=SINK, reason=str(error)).error("sink_cursor_not_stored")

    async def _deliver(self, batches: Sequence[Batch]) -> None:
        """Every line of the batches, in requests of bounded size, several at once."""
        in_order: list[tuple[str, str, list[bytes]]] = []
        at_once: list[tuple[str, str, list[bytes]]] = []
        for (stream, bucket), lines in self._by_bucket(batches).items():
            for first in range(0, len(lines), self._settings.batch_points):
                request = stream, bucket, lines[first : first + self._settings.batch_points]
                (in_order if stream == ACCOUNTS else at_once).append(request)
        async with asyncio.TaskGroup() as tasks:
            for request in at_once:
                tasks.create_task(self._send(*request))
            for request in in_order:
                await self._send(*request)
        if batches:
            self.statistics.delivered_ns = max(batch.last_ns for batch in batches)

    def _by_bucket(self, batches: Sequence[Batch]) -> dict[tuple[str, str], list[bytes]]:
        """Trades go to one bucket, everything else to the other; with rotation by the month of each point."""
        settings = self._settings
        found: dict[tuple[str, str], list[bytes]] = {}
        for batch in batches:
            name = settings.bucket_trades if batch.stream == "trades" else settings.bucket_book
            first, last = (bucket_at(name, settings.rotation, ns) for ns in (batch.first_ns, batch.last_ns))
            if first == last:
                found.setdefault((batch.stream, first), []).extend(batch.lines())
                continue
            for line in batch.lines():
                bucket = bucket_at(name, settings.rotation, int(line[line.rfind(b" ") + 1 :]))
                found.setdefault((batch.stream, bucket), []).append(line)
        return found

    async def _send(self, stream: str, bucket: str, lines: list[bytes]) -> None:
        """Until every line is accepted or set aside."""
        backoff = Backoff(self._draw, 0.25, LONGEST_PAUSE_S)
        while True:
            refusals = await self._bisect(bucket, lines, backoff)
            blamed = [refusal for refusal in refusals if refusal.is_about_lines]
            if len(blamed) == len(refusals) or len(refusals) < len(lines):
                break
            # the server refuses every line and does not say why it should be the lines: then it is the request
            await self._wait(Barred(refusals[0].words), backoff)
        if refusals:
            await self._set_aside(stream, refusals)
        self.statistics.lines_delivered += len(lines) - len(refusals)

    async def _bisect(self, bucket: str, lines: list[bytes], backoff: Backoff) -> list[Refusal]:
        """Sends the lines, in halves where that is needed; gives those that are refused."""
        outcome = await self._write(bucket, lines, backoff)
        match outcome:
            case Accepted():
                return []
            case Refused(words, is_about_lines, dropped) if len(lines) in (1, dropped):
                return [Refusal(line, words, is_about_lines) for line in lines]
            case TooLarge(words) if len(lines) == 1:
                return [Refusal(lines[0], words, is_about_lines=True)]
            case _:
                half = len(lines) // 2
                return [
                    *await self._bisect(bucket, lines[:half], backoff),
                    *await self._bisect(bucket, lines[half:], backoff),
                ]

    async def _write(self, bucket: str, lines: list[bytes], backoff: Backoff) -> Outcome:
        """One request, again and again until the server has said what it thinks of these lines."""
        body = b"\n".join(lines)
        while True:
            async with self._slots:
                self.statistics.requests += 1
                outcome = await self._server.write(bucket, body)
            if not isinstance(outcome, Later | Barred):
                self._recovered()
                backoff.reset()
                return outcome
            await self._wait(outcome, backoff)

    async def _wait(self, outcome: Later | Barred, backoff: Backoff) -> None:
        pause_s = backoff.next_s()
        if isinstance(outcome, Later):
            pause_s = max(pause_s, outcome.after_s)
        state: State = "barred" if isinstance(outcome, Barred) else "waiting"
        if self.statistics.state != state:
            level = "ERROR" if state == "barred" else "WARNING"
            logger.bind(sink=SINK, reason=outcome.words).log(level, f"sink_{state}")
        self.statistics.state = state
        self.statistics.last_error = outcome.words
        await asyncio.sleep(pause_s)
        if isinstance(outcome, Barred):
            await self._server.renew()

    def _recovered(self) -> None:
        if self.statistics.state != "delivering":
            self.statistics.state = "delivering"
            logger.bind(sink=SINK).info("sink_recovered")

    async def _set_aside(self, stream: str, refusals: Sequence[Refusal]) -> None:
        """Not before the journal has them are the lines done with."""
        now_ns = self._now_ns()
        letters = [DeadLetter(SINK, stream, refusal.line, refusal.words, now_ns) for refusal in refusals]
        backoff = Backoff(self._draw, 1.0, LONGEST_PAUSE_S)
        while True:
            try:
                await self._journal.set_aside(letters)
                await asyncio.to_thread(self._append_letters, letters)
                break
            except (JournalError, OSError) as error:
                logger.bind(sink=SINK, reason=str(error)).error("lines_not_set_aside")
                await asyncio.sleep(backoff.next_s())
        self.statistics.lines_set_aside += len(letters)
        logger.bind(sink=SINK, lines=len(letters), reason=letters[0].reason).error("lines_set_aside")

    def _append_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Beside the journal, as line protocol that can be mended and sent again."""
        text = b"".join(f"# {letter.reason}\n".encode() + letter.line + b"\n" for letter in letters)
        with self._letters_file.open("ab") as file:
            file.write(text)
