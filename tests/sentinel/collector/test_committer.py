"""Lines on their way to a journal that refuses now and then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import sentinel.contract.lines as contract
from feeds.market import Market
from sentinel.collector.committer import LAST_TRIES, Committer
from sentinel.errors import JournalWriteFailed
from sentinel.pipeline import Note, Output
from tests.servers.waiting import HOUR_S, until

MARKET = Market("coinbase", "BTC-USD")


class Lines:
    """A pipeline that has one new trade line at each take, numbered."""

    def __init__(self) -> None:
        self.taken = 0
        self.told: list[str] = []

    def take(self) -> Output:
        self.taken += 1
        return Output(
            [contract.Lines(self.taken, b"trade %d" % self.taken)], [], [], [Note("gap_open", {"symbol": "BTC-USD"})]
        )

    def checkpoint(self) -> bytes:
        return b"state %d" % self.taken

    def tails(self) -> dict[Market, tuple[int, int]]:
        return {MARKET: (self.taken, 10 * self.taken)}

    def suspend(self) -> None:
        self.told.append("suspend")

    def resume(self) -> None:
        self.told.append("resume")

    def stop_taping(self) -> None:
        self.told.append("stop_taping")


class Disk:
    """A store that refuses while ``is_full``."""

    def __init__(self) -> None:
        self.is_full = False
        self.stored: list[bytes] = []
        self.checkpoint: bytes | None = None

    async def append(self, batches: Mapping[str, Sequence[contract.Lines]], checkpoint: bytes | None = None) -> None:
        await asyncio.sleep(0)
        if self.is_full:
            raise JournalWriteFailed("disk full")
        self.stored += [lines.text for part in batches.values() for lines in part]
        self.checkpoint = checkpoint


class FullTape:
    """Has so many more bytes at each cut."""

    held_bytes = 0

    def write(self, kind: object, lane: int, received_ns: int, payload: bytes) -> None: ...

    def amend(self, facts: dict[str, Any]) -> None: ...

    def cut(self) -> None:
        self.held_bytes += 10

    def store(self) -> None:
        raise OSError("no space left")


async def test_lines_and_their_state_are_stored_together() -> None:
    lines, disk = Lines(), Disk()
    committer = Committer(lines, disk, 1000, commit_every_s=HOUR_S)
    await committer.commit()
    await committer.commit()
    assert disk.stored == [b"trade 1", b"trade 2"]
    assert disk.checkpoint == b"state 2"
    assert committer.lines_stored == 2


async def test_what_the_disk_refuses_is_stored_later_and_once() -> None:
    lines, disk = Lines(), Disk()
    committer = Committer(lines, disk, 1000, commit_every_s=HOUR_S)
    disk.is_full = True
    for _ in range(3):
        assert await committer.attempt() is False
    assert committer.tails == {}  # others must not count on what is not on disk
    disk.is_full = False
    assert await committer.attempt() is True
    assert committer.tails == {MARKET: (4, 40)}
    await committer.attempt()
    assert disk.stored == [b"trade %d" % number for number in range(1, 6)]
    assert lines.told == []


async def test_beyond_the_bound_nothing_is_collected_until_the_disk_is_back() -> None:
    lines, disk = Lines(), Disk()
    committer = Committer(lines, disk, memory_bytes=15, commit_every_s=HOUR_S)
    disk.is_full = True
    await committer.attempt()
    await committer.attempt()
    assert lines.told == []
    await committer.attempt()
    await committer.attempt()
    assert lines.told == ["suspend"]
    disk.is_full = False
    await committer.attempt()
    assert lines.told == ["suspend", "resume"]
    assert disk.stored == [b"trade %d" % number for number in range(1, 6)]


async def test_the_bound_holds_whatever_keeps_lines_from_being_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, disk = Lines(), Disk()
    committer = Committer(lines, disk, memory_bytes=15, commit_every_s=HOUR_S)
    with monkeypatch.context() as broken:
        broken.setattr(lines, "checkpoint", lambda: 1 // 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await committer.attempt()
    assert lines.told == ["suspend"]
    await committer.attempt()
    assert lines.told == ["suspend", "resume"]
    assert disk.stored == [b"trade %d" % number for number in range(1, 5)]


async def test_stop_commits_once_more() -> None:
    lines, disk = Lines(), Disk()
    committer = Committer(lines, disk, 1000, commit_every_s=HOUR_S)
    committer.stop()
    await committer.run()
    assert disk.checkpoint == b"state %d" % lines.taken
    assert disk.stored


@pytest.mark.parametrize("refusals", [1, LAST_TRIES - 1])
async def test_the_last_lines_wait_for_a_disk_that_comes_back(refusals: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, disk = Lines(), Disk()
    committer = Committer(lines, disk, 1000, commit_every_s=0.001)
    append, refused = disk.append, []

    async def refuse(batches: Mapping[str, Sequence[bytes]], checkpoint: bytes | None = None) -> None:
        disk.is_full = len(refused) < refusals
        refused.append(checkpoint)
        await append(batches, checkpoint)

    monkeypatch.setattr(disk, "append", refuse)
    committer.stop()
    await committer.run()
    assert disk.stored == [b"trade %d" % number for number in range(1, refusals + 2)]
    assert disk.checkpoint == b"state %d" % lines.taken


async def test_losing_the_last_lines_is_an_error() -> None:
    lines, disk = Lines(), Disk()
    disk.is_full = True
    committer = Committer(lines, disk, 1000, commit_every_s=0.001)
    committer.stop()
    with pytest.raises(JournalWriteFailed):
        await committer.run()


async def test_a_tape_that_cannot_be_written_is_given_up_before_it_fills_the_memory() -> None:
    lines, disk = Lines(), Disk()
    committer = Committer(lines, disk, 100, FullTape(), commit_every_s=HOUR_S)
    for _ in range(10):
        await committer.attempt()
    assert lines.told == []
    await committer.attempt()
    await committer.attempt()
    assert lines.told == ["stop_taping"]
    assert len(disk.stored) == 12


async def test_while_the_disk_does_not_answer_memory_is_bounded_and_it_is_told() -> None:
    """A sync that takes minutes raises nothing."""
    lines, disk, answer = Lines(), Disk(), asyncio.Event()
    append, batches = disk.append, []

    async def hang(found: Mapping[str, Sequence[contract.Lines]], checkpoint: bytes | None = None) -> None:
        batches.append(([lines.text for lines in found["trades"]], checkpoint))
        await answer.wait()
        await append(found, checkpoint)

    disk.append = hang  # type: ignore[method-assign]
    committer = Committer(lines, disk, 50, FullTape(), commit_every_s=0.001)
    stalled = asyncio.create_task(committer.attempt())
    await until(lambda: committer.refusal is not None and len(lines.told) > 1)
    assert sorted(lines.told) == ["stop_taping", "suspend"]
    assert committer.tails == {}  # others must not count on what is not on disk
    answer.set()
    assert await stalled is True
    assert batches == [([b"trade 1"], b"state 1")]  # the state is that of its lines
    assert (committer.refusal, lines.told[-1], committer.tails) == (None, "resume", {MARKET: (1, 10)})
    await committer.attempt()
    assert disk.stored == [b"trade %d" % number for number in range(1, lines.taken + 1)]
    assert disk.checkpoint == b"state %d" % lines.taken
    assert committer.lines_stored == lines.taken


async def test_it_ends_in_order_when_a_disk_that_did_not_answer_is_back() -> None:
    lines, disk, answer = Lines(), Disk(), asyncio.Event()
    append, asked = disk.append, []

    async def hang(found: Mapping[str, Sequence[contract.Lines]], checkpoint: bytes | None = None) -> None:
        asked.append(checkpoint)
        await answer.wait()
        await append(found, checkpoint)

    disk.append = hang  # type: ignore[method-assign]
    committer = Committer(lines, disk, 1000, commit_every_s=0.001)
    running = asyncio.create_task(committer.run())
    await until(lambda: committer.refusal is not None)
    committer.stop()
    answer.set()
    await running
    assert disk.stored == [b"trade %d" % number for number in range(1, lines.taken + 1)]
    assert disk.checkpoint == asked[-1] == b"state %d" % lines.taken


async def test_the_loop_decides_what_is_in_a_block_and_a_thread_only_stores_it() -> None:
    class Threads(FullTape):
        def cut(self) -> None:
            assert threading.current_thread() is threading.main_thread()
            self.done = ["cut"]

        def store(self) -> None:
            assert threading.current_thread() is not threading.main_thread()
            self.done.append("stored")

    tape = Threads()
    await Committer(Lines(), Disk(), 1000, tape).commit()
    assert tape.done == ["cut", "stored"]
