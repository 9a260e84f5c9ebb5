"""Sends lines to InfluxDB until each is accepted or set aside, whatever the server does.

* Accepted: go on.
* The server is busy, broken or away: wait, at least as long as it asks, and try for ever.
* The request is too large, or not answered in time: halve it (``capacity``).
* Lines are refused: bisect. Every server stores or refuses at least as much as we find out, so the guilty line is set
  aside with the server's words, and all others go through.
* The first request into an hour goes alone, and twice (``first_writes``).
* We are refused, or the bucket is missing: say so, wait, and read the token again; a person has to act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from loguru import logger
from msgspec import Struct

from sentinel.config import Influx
from sentinel.disk.delivery import SINK, SinkStatistics, State
from sentinel.disk.files import append
from sentinel.disk.journal import DeadLetter
from sentinel.errors import JournalError
from sentinel.influx.answers import Accepted, Barred, Later, Outcome, Refused, TooLarge, Unanswered
from sentinel.influx.buckets import bucket_at
from sentinel.influx.capacity import Capacity
from sentinel.influx.first_writes import FirstWrites
from sentinel.influx.server import Server
from sentinel.influx.slots import Slots
from sentinel.timing.backoff import Backoff
from sentinel.timing.instants import NS_PER_S

LONGEST_PAUSE_S = 30.0
HOUR_NS = 3600 * NS_PER_S


class Refusal(Struct, frozen=True):
    """A line no server will ever take."""

    line: bytes
    words: str
    is_about_lines: bool


class Bundle(Struct):
    """Lines of one stream for one bucket, and the times of the first and the last point."""

    lines: list[bytes]
    first_ns: int
    last_ns: int

    def add(self, lines: Iterable[bytes], first_ns: int, last_ns: int) -> None:
        self.lines.extend(lines)
        self.first_ns, self.last_ns = min(self.first_ns, first_ns), max(self.last_ns, last_ns)


class Sending(Struct):
    """Lines of one stream on their way to one bucket, of points from ``first_ns`` to ``last_ns``; ``is_in_doubt`` once
    an attempt was not answered."""

    stream: str
    bucket: str
    first_ns: int
    last_ns: int
    backoff: Backoff
    is_in_doubt: bool = False

    @property
    def place(self) -> tuple[str, str]:
        return self.stream, self.bucket

    def hours(self, lines: Iterable[bytes]) -> set[int]:
        """The hours of these of its lines: nearly always all are of one, and need not be looked at."""
        first, last = self.first_ns // HOUR_NS, self.last_ns // HOUR_NS
        return {first} if first == last else {_time_ns(line) // HOUR_NS for line in lines}


class Lot(Protocol):
    """Lines of one stream and the times of the first and the last point: a batch of the journal, or a message."""

    @property
    def stream(self) -> str: ...

    @property
    def first_ns(self) -> int: ...

    @property
    def last_ns(self) -> int: ...

    def lines(self) -> list[bytes]: ...


class Sender:
    """The way into InfluxDB of any number of lots. ``draw`` gives floats in [0, 1) for jitter.

    Args:
        keep: keeps lines that no server will ever take, before they are done with; a disk that refuses is asked again.
    """

    def __init__(
        self,
        settings: Influx,
        server: Server,
        statistics: SinkStatistics,
        keep: Sequence[Callable[[Sequence[DeadLetter]], Awaitable[None]]],
        *,
        now_ns: Callable[[], int],
        draw: Callable[[], float],
        monotonic_s: Callable[[], float],
    ) -> None:
        self.statistics = statistics
        self.capacity = Capacity(settings.batch_points, settings.concurrency, settings.timeout_s)
        self._settings = settings
        self._server = server
        self._keep = keep
        self._now_ns = now_ns
        self._draw = draw
        self._monotonic_s = monotonic_s
        self._first_writes = FirstWrites(monotonic_s)
        self._slots = Slots(lambda: self.capacity.requests)
        self._troubles: dict[tuple[str, str], Later | Unanswered | Barred] = {}

    def begin(self) -> None:
        """What troubled an earlier run is forgotten."""
        self._troubles.clear()

    async def deliver(self, lots: Sequence[Lot], *, is_ordered: bool) -> bool:
        """Every line of the lots, in requests of bounded size, several at once if their order is of no matter.

        Returns whether each was answered at once.
        """
        sendings: list[Sending] = []
        left = (
            (stream, bucket, bundle, part)
            for (stream, bucket), bundle in self._by_bucket(lots).items()
            for part in self._parts(bundle.lines)
        )

        async def send_in_turn() -> None:
            for stream, bucket, bundle, lines in left:
                backoff = Backoff(self._draw, 0.25, LONGEST_PAUSE_S)
                sending = Sending(stream, bucket, bundle.first_ns, bundle.last_ns, backoff)
                sendings.append(sending)
                await self._send(sending, lines)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(1 if is_ordered else self._settings.concurrency):
                tasks.create_task(send_in_turn())
        return not any(sending.is_in_doubt for sending in sendings)

    def _parts(self, lines: list[bytes]) -> Iterator[list[bytes]]:
        """Each as large as the store takes when its turn comes: what is cut while it takes one line at a time would be
        sent so for long after it has recovered."""
        first = 0
        while first < len(lines):
            past = first + self.capacity.lines
            yield lines[first:past]
            first = past

    def _by_bucket(self, lots: Sequence[Lot]) -> dict[tuple[str, str], Bundle]:
        """Trades go to one bucket, everything else to the other; with rotation by the month of each point."""
        settings = self._settings
        found: dict[tuple[str, str], Bundle] = {}

        def add(lot: Lot, bucket: str, lines: list[bytes], first_ns: int, last_ns: int) -> None:
            found.setdefault((lot.stream, bucket), Bundle([], first_ns, last_ns)).add(lines, first_ns, last_ns)

        for lot in lots:
            name = settings.bucket_trades if lot.stream == "trades" else settings.bucket_book
            first, last = (bucket_at(name, settings.rotation, ns) for ns in (lot.first_ns, lot.last_ns))
            if first == last:
                add(lot, first, lot.lines(), lot.first_ns, lot.last_ns)
                continue
            for line in lot.lines():
                time_ns = _time_ns(line)
                add(lot, bucket_at(name, settings.rotation, time_ns), [line], time_ns, time_ns)
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
            if len(lines) > self.capacity.lines:  # the store takes less than when the request was made
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

    async def _bisect_all(self, sending: Sending, parts: Iterable[list[bytes]]) -> list[Refusal]:
        return [refusal for part in parts for refusal in await self._bisect(sending, part)]

    async def _write(self, sending: Sending, lines: list[bytes]) -> Outcome:
        """One request, again and again until the server has said what it thinks of these lines, or says nothing."""
        body, hours = b"\n".join(lines), sending.hours(lines)
        while True:
            async with self._first_writes.turn(sending.bucket, hours) as times, self._slots.one():
                for _ in range(times):
                    outcome = await self._ask(sending.bucket, body, len(lines))
                    if not isinstance(outcome, Accepted):
                        break
                else:
                    self._first_writes.wrote(sending.bucket, hours)
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

    async def _ask(self, bucket: str, body: bytes, lines: int) -> Outcome:
        self.statistics.requests += 1
        under_way, began_s = self._slots.taken, self._monotonic_s()
        outcome = await self._server.write(bucket, body)
        self._learn(outcome, lines, under_way, self._monotonic_s() - began_s)
        return outcome

    def _learn(self, outcome: Outcome, lines: int, under_way: int, took_s: float) -> None:
        match outcome:
            case Unanswered():
                self.capacity.unanswered(lines, under_way)
            case TooLarge():
                self.capacity.too_large(lines)
            case Accepted() | Refused():
                self.capacity.answered(lines, took_s)

    async def _wait(self, sending: Sending, outcome: Later | Unanswered | Barred) -> None:
        pause_s = sending.backoff.next_s()
        if not isinstance(outcome, Barred):
            pause_s = max(pause_s, outcome.after_s)
        self._troubles[sending.place] = outcome
        self.statistics.failed(outcome.words)
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
        """Not before they are kept in every place are the lines done with."""
        now_ns = self._now_ns()
        letters = [DeadLetter(SINK, stream, refusal.line, refusal.words, now_ns) for refusal in refusals]
        for keep in self._keep:
            await self._insist(partial(keep, letters))
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


class LettersFile:
    """Line protocol that can be mended and sent again, with the server's words."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        await asyncio.to_thread(append, self._path, b"".join(map(letter, letters)))


def letter(dead: DeadLetter) -> bytes:
    """A line that was refused, behind a comment."""
    return f"# {dead.reason}\n".encode() + dead.line + b"\n"


def _time_ns(line: bytes) -> int:
    return int(line[line.rfind(b" ") + 1 :])
