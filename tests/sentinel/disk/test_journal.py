"""The journal against a model in memory, a killed writer, a second reader and a full disk."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from loguru import logger

from sentinel.contract.lines import Lines
from sentinel.disk.journal import STREAMS, DeadLetter, Journal, JournalReader, damage
from sentinel.errors import BatchDamaged, JournalError, JournalWriteFailed, UsageError
from tests import ROOT
from tests.sentinel.timed import timed
from tests.servers.waiting import LONGEST_S

T = TypeVar("T")
S_NS = 1_000_000_000


def line(time_ns: int, text: str = "x") -> bytes:
    return f'm text="{text}" {time_ns}'.encode()


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Journal]:
    journal = Journal.open(path)
    try:
        yield journal
    finally:
        journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


commits = st.dictionaries(
    st.sampled_from(STREAMS),
    st.lists(st.tuples(st.integers(0, 10_000), st.text("ab", max_size=400)), max_size=3),
)


class JournalModel(RuleBasedStateMachine):
    """Every operation on a real file and on plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "journal.sqlite3"
        self.runner = asyncio.Runner()
        self.journal = self.do(self._open())
        self.batches: list[tuple[int, str, list[bytes]]] = []
        self.last_id = 0
        self.cursors: dict[str, int] = {}
        self.checkpoint: bytes | None = None

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def _open(self) -> Journal:
        return Journal.open(self.path)

    def teardown(self) -> None:
        self.journal.close()
        self.runner.close()
        self.folder.cleanup()

    @initialize()
    def begin(self) -> None:
        assert self.do(self.journal.last_id()) == 0

    @rule(commit=commits, checkpoint=st.none() | st.binary(max_size=1000))
    def append(self, commit: dict[str, list[tuple[int, str]]], checkpoint: bytes | None) -> None:
        written = {stream: [line(time_s * S_NS, text) for time_s, text in items] for stream, items in commit.items()}
        self.do(self.journal.append(timed(written), checkpoint))
        for stream, lines in written.items():
            if lines:
                self.last_id += 1
                self.batches.append((self.last_id, stream, lines))
        if checkpoint is not None:
            self.checkpoint = checkpoint

    @rule(sink=st.sampled_from("ab"), from_start=st.booleans())
    def register(self, sink: str, from_start: bool) -> None:
        last = self.batches[-1][0] if self.batches else 0
        expected = self.cursors.setdefault(sink, 0 if from_start else last)
        assert self.do(self.journal.register_sink(sink, from_start=from_start)) == expected

    @precondition(lambda self: self.cursors)
    @rule(data=st.data())
    def advance(self, data: st.DataObject) -> None:
        sink = data.draw(st.sampled_from(sorted(self.cursors)))
        self.cursors[sink] = data.draw(st.integers(self.cursors[sink], max(self.cursors[sink], self.last_id)))
        self.do(self.journal.advance(sink, self.cursors[sink]))

    @rule(now_s=st.integers(0, 12_000), age_s=st.integers(1, 5000))
    def prune_by_age(self, now_s: int, age_s: int) -> None:
        past = min(self.cursors.values(), default=self.last_id)
        oldest_ns = (now_s - age_s) * S_NS
        young = [number for number, _, lines in self.batches if max(times(lines)) >= oldest_ns]
        until = min(past, young[0] - 1) if young else past
        gone = [batch for batch in self.batches if batch[0] <= until]
        pruned = self.do(self.journal.prune(now_s * S_NS, age_s, None))
        assert (pruned.batch_count, pruned.line_count) == (len(gone), sum(len(lines) for _, _, lines in gone))
        self.batches = self.batches[len(gone) :]

    @rule()
    def prune_by_size(self) -> None:
        past = min(self.cursors.values(), default=self.last_id)
        self.do(self.journal.prune(0, None, 0))
        self.batches = [batch for batch in self.batches if batch[0] > past]

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.journal = self.do(self._open())

    @rule(streams=st.lists(st.sampled_from(STREAMS), min_size=1, unique=True), after=st.integers(0, 20))
    def read_after(self, streams: list[str], after: int) -> None:
        found = self.do(self.journal.read_after(after, streams, limit_lines=3))
        wanted = [batch for batch in self.batches if batch[0] > after and batch[1] in streams]
        assert [(batch.id, batch.stream, batch.lines()) for batch in found] == wanted[: len(found)]
        assert len(found) == len(wanted) or sum(batch.line_count for batch in found) >= 3

    @rule(stream=st.sampled_from(STREAMS), since_s=st.integers(0, 10_000), length_s=st.integers(1, 500))
    def overlapping(self, stream: str, since_s: int, length_s: int) -> None:
        since_ns, until_ns = since_s * S_NS, (since_s + length_s) * S_NS
        with JournalReader(self.path) as reader:
            found = [batch.id for batch in reader.overlapping(stream, since_ns, until_ns)]
            span = reader.span(stream)
        mine = [(number, times(lines)) for number, of, lines in self.batches if of == stream]
        assert found == [number for number, at in mine if max(at) >= since_ns and min(at) < until_ns]
        if span is None:
            assert not mine
        else:
            assert all(span[0] <= min(at) and max(at) < span[1] for _, at in mine)

    @invariant()
    def everything_is_there(self) -> None:
        with JournalReader(self.path) as reader:
            assert [(batch.id, batch.stream, batch.lines()) for batch in reader.batches()] == self.batches
            assert reader.checkpoint() == self.checkpoint
            line_count, backlogs = reader.line_count(), reader.backlogs()
        assert line_count == sum(len(lines) for _, _, lines in self.batches)
        assert {sink: backlog.batch_count for sink, backlog in backlogs.items()} == {
            sink: sum(number > cursor for number, _, _ in self.batches) for sink, cursor in self.cursors.items()
        }


def times(lines: list[bytes]) -> list[int]:
    return [int(text.rsplit(b" ", 1)[1]) for text in lines]


JournalModel.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestJournal = JournalModel.TestCase


WRITER = """
import asyncio, itertools, sys
from pathlib import Path
from sentinel.disk.journal import Journal
from tests.sentinel.timed import timed

async def main():
    journal = Journal.open(Path(sys.argv[1]))
    for number in itertools.count():
        lines = [b"m n=%di %d" % (number, number * 10 + k) for k in range(10)]
        await journal.append(timed({"trades": lines, "book": lines}), b"%d" % number)
        print(number, flush=True)

asyncio.run(main())
"""


def test_a_killed_writer_leaves_every_commit_and_no_half_of_one(path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
            assert process.stdout is not None
            said = [int(process.stdout.readline()) for _ in range(20)]
            with JournalReader(path) as reader:  # a second process reads while the first one writes
                assert_whole(reader, said[-1])
            process.send_signal(signal.SIGKILL)
            said += [int(text) for text in process.stdout.read().splitlines()]
        with JournalReader(path) as reader:
            assert_whole(reader, said[-1])
        path.unlink()
        for rest in path.parent.glob("journal.*"):
            rest.unlink()


def assert_whole(reader: JournalReader, last_said: int) -> None:
    batches = list(reader.batches())
    numbers = [int(batch.lines()[0].split(b"=")[1].split(b"i")[0]) for batch in batches if batch.stream == "trades"]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > last_said, "a commit that was reported is not there"
    assert {batch.line_count for batch in batches} == {10}
    last = reader.checkpoint()
    assert last is not None
    assert int(last) >= len(numbers) - 1


async def test_only_one_collector_has_a_journal(path: Path) -> None:
    async with opened(path):
        with pytest.raises(UsageError, match="in use by another collector"):
            Journal.open(path)
    async with opened(path):
        pass


IN_2099_NS = 4_070_908_800 * S_NS
DAY_NS = 86_400 * S_NS


async def test_a_batch_of_2099_keeps_nothing_and_goes_with_what_was_written_after_it(path: Path) -> None:
    now_ns = 20_000 * DAY_NS
    async with opened(path) as journal:
        for time_ns in (IN_2099_NS, now_ns - 9 * DAY_NS, IN_2099_NS, now_ns - 8 * DAY_NS, IN_2099_NS, now_ns - DAY_NS):
            await journal.append(timed({"trades": [line(time_ns)]}))
        assert (await journal.prune(now_ns, 30 * 86_400, None)).batch_count == 0
        assert (await journal.prune(now_ns, 5 * 86_400, None)).batch_count == 4, (
            "the third of them is as young as the last"
        )
        assert (await journal.prune(now_ns + 9 * DAY_NS, 5 * 86_400, None)).batch_count == 2


async def test_a_batch_of_1970_takes_nothing_with_it(path: Path) -> None:
    now_ns = 20_000 * DAY_NS
    async with opened(path) as journal:
        for time_ns in (now_ns - 9 * DAY_NS, now_ns - 2 * DAY_NS, 5, now_ns - DAY_NS):
            await journal.append(timed({"trades": [line(time_ns)]}))
        assert (await journal.prune(now_ns, 5 * 86_400, None)).batch_count == 1
        assert [batch.id for batch in await journal.read_after(0)] == [2, 3, 4]


async def test_the_first_batch_since_is_the_first_that_was_written(path: Path) -> None:
    """The second one has the earliest of the points since, and was written later: a repair."""
    async with opened(path) as journal:
        for time_ns in (100, 50):
            await journal.append(timed({"trades": [line(time_ns)]}))
    with JournalReader(path) as reader:
        assert reader.first_id_since(40) == 1
        assert reader.first_id_since(60) == 1
        assert reader.first_id_since(101) is None


async def test_ids_are_never_used_again(path: Path) -> None:
    async with opened(path) as journal:
        await journal.append(timed({"trades": [line(1)], "book": [line(1)]}))
        await journal.prune(10**18, 1, None)
        await journal.append(timed({"trades": [line(2)]}))
        assert [batch.id for batch in await journal.read_after(0)] == [3]


async def test_a_full_disk_costs_nothing_that_was_stored(path: Path) -> None:
    async with opened(path) as journal:
        await journal.append(timed({"trades": [line(1)]}), b"one")
        journal._db.execute("PRAGMA max_page_count = 1")  # the smallest SQLite allows: what it has now
        with pytest.raises(JournalWriteFailed):
            await journal.append(timed({"trades": [line(2, os.urandom(200_000).hex())]}), b"two")
        assert journal.read_checkpoint() == b"one"
        journal._db.execute("PRAGMA max_page_count = 1000000")
        await journal.append(timed({"trades": [line(3)]}), b"three")
        assert [batch.lines() for batch in await journal.read_after(0)] == [[line(1)], [line(3)]]


async def test_a_sink_that_has_read_everything_is_woken(path: Path) -> None:
    async with opened(path) as journal:
        async with asyncio.timeout(LONGEST_S), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(journal.wait_appended())
            await asyncio.sleep(0)
            assert not waiting.done()
            await journal.append(timed({"trades": [line(1)]}))


async def test_dead_letters_are_kept_with_the_words_of_the_server(path: Path) -> None:
    letters = [DeadLetter("influx", "trades", line(number), f"reason {number}", number) for number in range(3)]
    async with opened(path) as journal:
        await journal.set_aside(letters)
        with JournalReader(path) as reader:
            assert reader.dead_letters() == letters
            assert reader.dead_letter_count() == 3


async def test_a_window_of_a_long_journal_is_found_by_index(path: Path) -> None:
    async with opened(path) as journal:
        plans = [journal._db.execute(f"EXPLAIN QUERY PLAN {query}").fetchall() for query in executed(path)]
    assert plans
    for plan in plans:
        assert not any(str(step[3]).startswith("SCAN batches") for step in plan), plan


def executed(path: Path) -> list[str]:
    """The statements behind ``overlapping`` and ``span``, with their values filled in."""
    seen: list[str] = []
    with JournalReader(path) as reader:
        reader._db.set_trace_callback(seen.append)
        assert list(reader.overlapping("trades", 5, 10)) == []
        reader.span("trades")
        reader._db.set_trace_callback(None)
    return seen


async def test_any_name_of_a_folder_will_do(tmp_path: Path) -> None:
    path = tmp_path / "a%20b?c#d" / "journal.sqlite3"
    async with opened(path) as journal:
        await journal.append(timed({"trades": [line(1)]}))
    with JournalReader(path) as reader:
        assert [batch.lines() for batch in reader.batches()] == [[line(1)]]


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100])
def test_what_is_no_journal_is_refused(path: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match="no journal at"):
        JournalReader(path)
    path.write_bytes(content)
    with pytest.raises(UsageError):
        JournalReader(path)


async def test_a_journal_of_another_version_is_refused(path: Path) -> None:
    async with opened(path) as journal:
        journal._db.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(UsageError, match="version 99"):
        Journal.open(path)
    with pytest.raises(UsageError, match="version 99"):
        JournalReader(path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        Journal.open(tmp_path / "file" / "journal.sqlite3")


async def test_a_journal_is_told_from_every_other_for_good_an_old_one_too(path: Path, tmp_path: Path) -> None:
    """Version 0.1 gave journals none."""
    async with opened(path) as journal, opened(tmp_path / "other.sqlite3") as other:
        found = await journal.identity()
        assert found != await other.identity()
        assert found == await journal.identity()
    async with opened(path) as journal:
        assert await journal.identity() == found
    path.unlink()
    async with opened(path) as journal:
        assert await journal.identity() != found


async def test_no_flipped_bit_of_what_is_stored_makes_up_a_line(path: Path) -> None:
    """SQLite has no checksums of its own: on the old code half of the flips gave other prices, ids and symbols."""
    bodies = [f"m,symbol=S{number} price={number}.5,id={number * 7919}i {number}" for number in range(40)]
    async with opened(path) as journal:
        for of_batch in (bodies[:1], bodies[1:]):
            await journal.append({"trades": [Lines(number, text.encode()) for number, text in enumerate(of_batch)]})
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = OFF")
        with JournalReader(path) as reader:
            whole = {batch.id: batch.lines() for batch in reader.batches()}
        stored = db.execute("SELECT id, body FROM batches").fetchall()
        for number, body in stored:
            for at in range(len(body)):
                flipped = bytearray(body)
                flipped[at] ^= 1 << at % 8
                db.execute("UPDATE batches SET body = ? WHERE id = ?", (bytes(flipped), number))
                db.commit()
                told: list[BatchDamaged] = []
                with JournalReader(path, told.append) as reader:
                    left = {batch.id: batch.lines() for batch in reader.batches()}
                # a bit or two of a zstd frame mean nothing
                assert left == ({other: whole[other] for other in whole if other != number} if told else whole)
            db.execute("UPDATE batches SET body = ? WHERE id = ?", (body, number))
            db.commit()


async def test_a_damaged_batch_is_one_line_unless_somebody_is_told(path: Path) -> None:
    async with opened(path) as journal:
        for number in range(3):
            await journal.append({"trades": [Lines(number, b"m v=%d %d" % (number, number))]})
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE batches SET body = x'28b52ffd00' WHERE id = 2")
        with (
            JournalReader(path) as reader,
            pytest.raises(BatchDamaged, match=r"batch 2 of the journal, trades from 1970"),
        ):
            list(reader.batches())
        said: list[str] = []
        handler = logger.add(lambda message: said.append(message.record["message"]), level="ERROR")
        try:
            assert [batch.id for batch in await journal.read_after(0)] == [1, 3]
        finally:
            logger.remove(handler)
        assert said == ["batch_damaged"]


async def test_a_line_of_an_older_version_that_has_lost_its_time_is_damage(path: Path) -> None:
    """Such bodies are stored as they are, without a checksum."""
    async with opened(path) as journal:
        await journal.append({"trades": [Lines(7, b"m v=1 7")]})
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE batches SET body = ?", (b"m v=1 w",))
    (found,) = damage(path)
    assert found is not None
    assert found.startswith("batch 1 of the journal is damaged")


async def test_a_damaged_checkpoint_is_one_line(path: Path) -> None:
    async with opened(path) as journal:
        await journal.append({}, b"state" * 100)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE checkpoint SET body = CAST(substr(body, 1, length(body) - 1) || x'00' AS BLOB)")
        with pytest.raises(JournalError, match="the checkpoint of the journal is damaged"):
            journal.read_checkpoint()
