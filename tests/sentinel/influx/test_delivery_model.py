"""Whatever happens to store and collector, in any order: at the end the store has of each point what was written last.

The store answers only when a step says how: it takes lines, is away, is too slow for so many, loses its answer, or
stores what it never answered at a later moment, over what was sent since. Killing the collector is a new sink that goes
on at the stored cursor.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from sentinel.config import Influx
from sentinel.disk.delivery import SINK
from sentinel.disk.journal import STREAMS, Journal
from sentinel.influx import sink as influx
from sentinel.influx.answers import Accepted, Later, Outcome, Refused, Unanswered
from sentinel.influx.server import Server
from sentinel.influx.sink import InfluxSink
from tests.sentinel.timed import timed
from tests.servers.waiting import LONGEST_S

TIMEOUT_S = 10.0
SLOW_LINES = 2
PATIENCE_S = 0.05
How = Literal["takes", "is away", "is slow", "loses its answer", "stores it later"]


class Append(Struct, frozen=True):
    """Commits of so many points in each stream; those of the accounts are the same few again and again."""

    commits: int
    trades: int
    book: int
    accounts: int


class Answer(Struct, frozen=True):
    """So many requests at most."""

    requests: int
    how: How


class Land(Struct, frozen=True):
    """What was not answered is stored now, and the time allowed passes."""


class Kill(Struct, frozen=True):
    """And a new sink."""


Step = Append | Answer | Land | Kill
STEPS = st.lists(
    st.one_of(
        st.builds(Append, st.sampled_from([1, 2, 5, 20]), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)),
        st.builds(
            Answer,
            st.integers(1, 6),
            st.sampled_from(["takes", "takes", "takes", "is away", "is slow", "loses its answer", "stores it later"]),
        ),
        st.builds(Land),
        st.builds(Kill),
    ),
    min_size=1,
    max_size=25,
)


class Store(Server):
    """In memory; ``points`` by series and time, as they were stored last."""

    def __init__(self) -> None:
        self.points: dict[bytes, bytes] = {}
        self.to_come: deque[How] = deque()
        self.is_well = False
        self._late: list[bytes] = []
        self._told = asyncio.Event()

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def renew(self) -> None:
        return None

    async def write(self, bucket: str, body: bytes) -> Outcome:
        while not self.to_come and not self.is_well:
            self._told.clear()
            await self._told.wait()
        lines = body.split(b"\n")
        match self.to_come.popleft() if self.to_come else "takes":
            case "is away":
                return Later("refused")
            case "is slow" if len(lines) > SLOW_LINES:
                self._keep(lines)
                return Unanswered("too slow")
            case "loses its answer":
                self._keep(lines)
                return Unanswered("lost")
            case "stores it later":
                self._late += lines
                return Unanswered("late")
        if any(b"odd" in line for line in lines):
            return Refused("unable to parse 'odd'", is_about_lines=True)
        self._keep(lines)
        return Accepted()

    async def answer(self, requests: int, how: How) -> None:
        self.to_come.extend([how] * requests)
        self._told.set()
        while self.to_come:
            left = len(self.to_come)
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    while len(self.to_come) == left:
                        await asyncio.sleep(0)
            if len(self.to_come) == left:  # there are fewer to answer
                self.to_come.clear()

    def land(self) -> None:
        self._keep(self._late)
        self._late = []

    def be_well(self) -> None:
        self.is_well = True
        self._told.set()

    def _keep(self, lines: list[bytes]) -> None:
        self.points |= {key(line): line for line in lines if b"odd" not in line}


def key(line: bytes) -> bytes:
    return line.split(b" ")[0] + line[line.rfind(b" ") :]


class World:
    """A journal, the store, and a sink between them that may be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal.open(folder / "journal.sqlite3")
        self.store = Store()
        self.written: dict[bytes, bytes] = {}
        self.now_s = 0.0
        self._number = 0
        self.start()

    def start(self) -> None:
        asked = Influx(url="http://127.0.0.1:1", batch_points=4, interval_s=0.001, timeout_s=TIMEOUT_S)
        self.drain = asyncio.Event()
        self.sink = InfluxSink(
            self.journal, asked, self.store, self.folder,
            now_ns=lambda: 0, draw=lambda: 0.0, monotonic_s=lambda: self.now_s,
        )  # fmt: skip
        self.running = asyncio.create_task(self.sink.run(self.drain))

    async def kill(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    async def take(self, step: Step) -> None:
        match step:
            case Append(commits):
                for _ in range(commits):
                    await self.append(step)
            case Answer(requests, how):
                await self.store.answer(requests, how)
            case Land():
                self.store.land()
                self.now_s += TIMEOUT_S
            case Kill():
                await self.kill()
                self.store.land()  # what a dead collector had under way is over before the next has anything to send
                self.start()

    async def append(self, step: Append) -> None:
        lines: dict[str, list[bytes]] = {}
        for stream, count in zip(STREAMS, (step.trades, step.book, step.accounts), strict=True):
            for _ in range(count):
                self._number += 1
                time_ns = self._number % 3 if stream == "accounts" else self._number
                odd = "odd " if self._number % 11 == 0 and stream != "accounts" else ""
                lines.setdefault(stream, []).append(f"{stream} {odd}value={self._number}i {time_ns}".encode())
        await self.journal.append(timed(lines))
        self.written |= {key(line): line for part in lines.values() for line in part if b"odd" not in line}

    async def end(self) -> int:
        """The store recovers, and everything is delivered; gives how many lines still wait."""
        self.store.land()
        self.store.be_well()
        self.drain.set()
        async with asyncio.timeout(LONGEST_S):
            await self.running
        return (await self.journal.backlog(SINK)).line_count


async def run(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            for step in steps:
                await world.take(step)
            assert await world.end() == 0
            assert world.store.points == world.written
        finally:
            await world.kill()
            world.journal.close()


@pytest.fixture(autouse=True)
def _small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(influx, "SPLIT_BATCHES", 3)
    monkeypatch.setattr(influx, "CHUNK_LINES", 6)


@settings(
    max_examples=60,
    deadline=None,
    phases=(Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(STEPS)
def test_the_store_ends_with_what_was_written_last(steps: list[Step]) -> None:
    asyncio.run(run(steps))


def test_between_two_outages_no_account_is_skipped() -> None:
    """Two outages, and a gap written between them."""
    outage = Append(commits=20, trades=1, book=1, accounts=0)
    between = Append(commits=1, trades=0, book=0, accounts=2)
    some = Answer(4, "takes")
    asyncio.run(run([outage, some, some, between, some, outage, *[Answer(20, "takes")] * 5, Kill()]))


def test_what_was_not_answered_does_not_come_back_over_what_was_sent_since() -> None:
    one = Append(commits=1, trades=0, book=0, accounts=1)
    late = Answer(1, "stores it later")
    asyncio.run(run([one, late, Answer(1, "takes"), *[one, Answer(1, "takes")] * 3, Land(), Answer(9, "takes")]))
