"""Follows the journal into InfluxDB: each line once in effect, whatever the server does.

Each stream is followed on a track of its own. The cursor moves when everything up to it was accepted or set aside in
every stream, so a crash or a lost answer leads to lines being sent again, onto the same points.

* Accepted: go on.
* The server is busy, broken or away: wait, at least as long as it asks, and try for ever.
* The request is too large, or not answered in time: halve it (``capacity``).
* Lines are refused: bisect. Every server stores or refuses at least as much as we find out, so the guilty line is set
  aside with the server's words, in the journal and in a file, and all others go through.
* We are refused, or the bucket is missing: say so, wait, and read the token again; a person has to act.

After an outage the backlog is long. Then what is new is sent in turn with what is old, so that live data is seconds
behind, not hours, while the backlog drains: samples and trades are written once, and their order is of no matter. The
accounts rewrite points (a gap that closes), and the last writer wins: they always go in order, one request after the
other. What of them was not answered may still be stored, over what was sent since: it is sent once more a while later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from loguru import logger
from msgspec import Struct

from sentinel.config import Influx
from sentinel.disk.data_dir import DEAD_LETTERS
from sentinel.disk.delivery import SINK, SinkStatistics, State
from sentinel.disk.journal import STREAMS, Batch, DeadLetter, Journal
from sentinel.errors import JournalError
from sentinel.influx.answers import Accepted, Barred, Later, Outcome, Refused, TooLarge, Unanswered
from sentinel.influx.buckets import bucket_at
from sentinel.influx.capacity import Capacity
from sentinel.influx.server import Server
from sentinel.influx.slots import Slots
from sentinel.influx.track import Track
from sentinel.timing.backoff import Backoff

CHUNK_LINES = 50_000
SPLIT_BATCHES = 60
"""A backlog so long is drained in turn with what is new: some 20 s of commits."""

ENDING_S = 0.05
"""How often it is looked, at the end, whether the others have delivered everything."""

ACCOUNTS = "accounts"

LONGEST_PAUSE_S = 30.0


class Refusal(Struct, frozen=True):
    """A line no server will ever take."""

    line: bytes
    words: str
    is_about_lines: bool


class Sending(Struct):
    """Lines of one stream on their way to one bucket; ``is_in_doubt`` once an attempt was not answered."""

    stream: str
    bucket: str
    backoff: Backoff
    is_in_doubt: bool = False

    @property
    def place(self) -> tuple[str, str]:
        return self.stream, self.bucket


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
        self._letters_file = data_dir / DEAD_LETTERS
        self._now_ns = now_ns
        self._draw = draw
        self._monotonic_s = monotonic_s
        self._capacity = Capacity(settings.batch_points, settings.concurrency, settings.timeout_s)
        self._slots = Slots(lambda: self._capacity.requests)
        self._troubles: dict[tuple[str, str], Later | Unanswered | Barred] = {}
        self._tracks: list[Track] = []
        self._cursor = 0

    async def run(self, drain: asyncio.Event) -> None:
        """Delivers until ``drain`` is set and everything written by then is delivered."""
        self._cursor = await self._journal.register_sink(SINK)
        self._tracks = [Track(stream, self._cursor, is_ordered=stream == ACCOUNTS) for stream in STREAMS]
        self._troubles.clear()
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
        is_sure = await self._deliver(batches, is_ordered=track.is_ordered)
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
        await self._deliver(batches, is_ordered=False)
        track.drained(batches[-1].id if batches else last_id)
        return True

    async def _read(self, stream: str, after_id: int, last_id: int) -> list[Batch]:
        """The next batches up to ``last_id``: as much as is soon delivered, so that old and new take turns."""
        capacity = self._capacity
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

    async def _deliver(self, batches: Sequence[Batch], *, is_ordered: bool) -> bool:
        """Every line of the batches, in requests of bounded size, several at once if their order is of no matter.

        Returns whether each was answered at once.
        """
        sendings = [
            (Sending(stream, bucket, Backoff(self._draw, 0.25, LONGEST_PAUSE_S)), part)
            for (stream, bucket), lines in self._by_bucket(batches).items()
            for part in self._parts(lines)
        ]
        left = iter(sendings)

        async def send_in_turn() -> None:
            for sending, lines in left:
                await self._send(sending, lines)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(1 if is_ordered else self._settings.concurrency):
                tasks.create_task(send_in_turn())
        return not any(sending.is_in_doubt for sending, _ in sendings)

    def _parts(self, lines: list[bytes]) -> list[list[bytes]]:
        size = self._capacity.lines
        return [lines[first : first + size] for first in range(0, len(lines), size)]

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

    async def _send(self, sending: Sending, lines: list[bytes]) -> None:
        """Until every line is accepted or set aside."""
        while True:
            refusals = await self._bisect(sending, lines)
            blamed = [refusal for refusal in refusals if refusal.is_about_lines]
            if len(blamed) == len(refusals) or len(refusals) < len(lines):
                break
            # the server refuses every line and does not say why it should be the lines: then it is the request
            await self._wait(sending, Barred(refusals[0].words))
        if refusals:
            await self._set_aside(sending.stream, refusals)
        self.statistics.lines_delivered += len(lines) - len(refusals)

    async def _bisect(self, sending: Sending, lines: list[bytes]) -> list[Refusal]:
        """Sends the lines, in parts where that is needed; gives those that are refused."""
        outcome: Outcome = Unanswered("")
        while isinstance(outcome, Unanswered):
            if len(lines) > self._capacity.lines:  # the store takes less than when the request was made
                return await self._bisect_all(sending, self._parts(lines))
            outcome = await self._write(sending, lines)
        match outcome:
            case Accepted():
                return []
            case Refused(words, is_about_lines, dropped) if len(lines) in (1, dropped):
                return [Refusal(line, words, is_about_lines) for line in lines]
            case TooLarge(words) if len(lines) == 1:
                return [Refusal(lines[0], words, is_about_lines=True)]
            case _:
                half = len(lines) // 2
                return await self._bisect_all(sending, [lines[:half], lines[half:]])

    async def _bisect_all(self, sending: Sending, parts: Sequence[list[bytes]]) -> list[Refusal]:
        return [refusal for part in parts for refusal in await self._bisect(sending, part)]

    async def _write(self, sending: Sending, lines: list[bytes]) -> Outcome:
        """One request, again and again until the server has said what it thinks of these lines, or says nothing."""
        body = b"\n".join(lines)
        while True:
            async with self._slots.one():
                self.statistics.requests += 1
                under_way, began_s = self._slots.taken, self._monotonic_s()
                outcome = await self._server.write(sending.bucket, body)
                self._learn(outcome, len(lines), under_way, self._monotonic_s() - began_s)
            match outcome:
                case Unanswered():
                    sending.is_in_doubt = True
                    await self._wait(sending, outcome)
                    return outcome
                case Later() | Barred():
                    await self._wait(sending, outcome)
                case _:
                    self._recovered(sending)
                    return outcome

    def _learn(self, outcome: Outcome, lines: int, under_way: int, took_s: float) -> None:
        match outcome:
            case Unanswered():
                self._capacity.unanswered(lines, under_way)
            case TooLarge():
                self._capacity.too_large(lines)
            case Accepted() | Refused():
                self._capacity.answered(lines, took_s)

    async def _wait(self, sending: Sending, outcome: Later | Unanswered | Barred) -> None:
        pause_s = sending.backoff.next_s()
        if not isinstance(outcome, Barred):
            pause_s = max(pause_s, outcome.after_s)
        self._troubles[sending.place] = outcome
        self.statistics.last_error = outcome.words
        self._tell_state()
        await asyncio.sleep(pause_s)
        if isinstance(outcome, Barred):
            await self._server.renew()

    def _recovered(self, sending: Sending) -> None:
        sending.backoff.reset()
        self._troubles.pop(sending.place, None)
        self._tell_state()

    def _tell_state(self) -> None:
        """The worst there is of all streams and buckets: what is well does not hide what is not."""
        barred = [outcome for outcome in self._troubles.values() if isinstance(outcome, Barred)]
        state: State = "barred" if barred else "waiting" if self._troubles else "delivering"
        if state == self.statistics.state:
            return
        self.statistics.state = state
        if state == "delivering":
            logger.bind(sink=SINK).info("sink_recovered")
        else:
            level = "ERROR" if state == "barred" else "WARNING"
            words = next(iter(barred or self._troubles.values())).words
            logger.bind(sink=SINK, reason=words).log(level, f"sink_{state}")

    async def _set_aside(self, stream: str, refusals: Sequence[Refusal]) -> None:
        """Not before the journal has them are the lines done with."""
        now_ns = self._now_ns()
        letters = [DeadLetter(SINK, stream, refusal.line, refusal.words, now_ns) for refusal in refusals]
        await self._insist(partial(self._journal.set_aside, letters))
        await self._insist(partial(asyncio.to_thread, self._append_letters, letters))
        self.statistics.lines_set_aside += len(letters)
        self.statistics.set_aside_ns = now_ns
        logger.bind(sink=SINK, lines=len(letters), reason=letters[0].reason).error("lines_set_aside")

    async def _insist(self, store: Callable[[], Awaitable[object]]) -> None:
        """Until the disk takes it; each place for itself, so that none has a line twice for the other's trouble."""
        backoff = Backoff(self._draw, 1.0, LONGEST_PAUSE_S)
        while True:
            try:
                await store()
                return
            except (JournalError, OSError) as error:
                logger.bind(sink=SINK, reason=str(error)).error("lines_not_set_aside")
                await asyncio.sleep(backoff.next_s())

    def _append_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Beside the journal, as line protocol that can be mended and sent again."""
        text = b"".join(f"# {letter.reason}\n".encode() + letter.line + b"\n" for letter in letters)
        with self._letters_file.open("ab") as file:
            file.write(text)
