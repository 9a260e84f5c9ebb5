"""Nothing is removed for its age because a clock is wrong: neither ours nor a venue's alone makes anything old."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from sentinel.config import Journal as JournalLimits
from sentinel.config import Tape as TapeLimits
from sentinel.disk.journal import Journal
from sentinel.run import retention
from sentinel.timing.clock import Clock
from tests.sentinel.pipeline.venue import START, S, exchange_lane, match, opened
from tests.sentinel.timed import timed

DAY = 86_400 * S
YEAR = 365 * DAY
AGO_S = 3600.0


class Host:
    """A collector's clock and pipeline; ``wall_ns`` is what the host believes."""

    def __init__(self) -> None:
        self.wall_ns = self.elapsed_ns = START
        self.clock = Clock(lambda: self.wall_ns, lambda: self.elapsed_ns)
        self.pipe = opened(exchange_lane())
        self.trades = -1
        self.aged_ns = retention.aged_by(self.clock, self.pipe)

    def step(self, ahead_ns: int) -> None:
        self.wall_ns += ahead_ns
        self.clock.anchor()

    def hears(self, text: str) -> None:
        """A trade that is of ``text`` by the venue's clock."""
        self.trades += 1
        frame = match(20_000 + self.trades)
        self.pipe.receive(0, frame.replace(b"2026-09-21", text.encode()), self.clock.now_ns())


@pytest.fixture
def host() -> Host:
    return Host()


def test_until_a_venue_has_told_the_time_nothing_is_old(host: Host) -> None:
    host.step(YEAR)
    assert host.aged_ns() == 0


def test_of_our_clock_and_the_venues_the_earlier_counts(host: Host) -> None:
    host.hears("2026-09-21")
    assert host.aged_ns() == START
    host.step(YEAR)
    host.hears("2026-09-21")
    assert START <= host.aged_ns() < START + S, "our clock is a year ahead"
    host.hears("2027-09-21")
    assert START + YEAR <= host.aged_ns() < START + YEAR + S, "so is the venue's: a year has passed"


def test_a_trade_from_the_future_makes_nothing_old(host: Host) -> None:
    for text in ("2026-09-22", "2027-09-21", "2026-09-20"):
        host.hears(text)
        assert host.aged_ns() <= START
    host.step(YEAR)
    host.hears("2026-09-21")
    assert host.aged_ns() < START + S, "one from the future has said nothing for good"


async def once(pruning: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """One round of what goes on for ever."""
    rounds = 0

    async def sleep(_: float) -> None:
        nonlocal rounds
        rounds += 1
        if rounds > 1:
            raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(retention.asyncio, "sleep", sleep)
        with pytest.raises(asyncio.CancelledError):
            await pruning()  # type: ignore[misc]


async def test_a_step_of_a_year_removes_neither_lines_nor_tapes(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tapes = tmp_path / "tapes"
    tapes.mkdir()
    for number in range(3):
        (tapes / f"tape-{START + number * S}.swtape").write_bytes(b"")
    journal = Journal.open(tmp_path / "journal.sqlite3")
    try:
        await journal.append(timed({"trades": [b"m a=1 %d" % START]}))

        async def prune() -> tuple[int, int]:
            lines, files = JournalLimits(max_age_s=AGO_S), TapeLimits(keep_s=AGO_S)
            await once(lambda: retention.of_journal(journal, lines, host.aged_ns), monkeypatch)
            await once(lambda: retention.of_tapes(tapes, files, host.aged_ns), monkeypatch)
            return len(await journal.read_after(0)), len(list(tapes.glob("*.swtape")))

        host.hears("2026-09-21")
        host.step(YEAR)
        assert await prune() == (1, 3)
        host.hears("2027-09-21")
        assert await prune() == (0, 1)
    finally:
        journal.close()
