"""What goes from the stream onto disk: which hours, in which order, and how far that is."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import zstandard
from msgspec.structs import replace

from sentinel.archive.archiver import Hour
from sentinel.archive.shared import Unreadable
from sentinel.cluster.places import Reach
from sentinel.cluster.spool import RECENT_NS, Message, Spool, Spooler, Window
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS

NOW_NS = MIDNIGHT_NS + HOUR_NS + 120_000_000_000
HOURLY = Window(NOW_NS, MIDNIGHT_NS + HOUR_NS, is_whole=False)
WHOLE = Window(NOW_NS, MIDNIGHT_NS + HOUR_NS, is_whole=True)
FIRST, SECOND = MIDNIGHT_NS, MIDNIGHT_NS + HOUR_NS


def message(
    sequence: int, time_ns: int, *, batch: int | None = None, stream: str = "trades", stored_ns: int = MIDNIGHT_NS
) -> Message:
    body = zstandard.compress(b"m,exchange=e,symbol=s said=%di %d" % (sequence, time_ns))
    number = sequence if batch is None else batch
    return Message(sequence, stored_ns, "one", "j", number, 0, stream, time_ns, time_ns, body)


async def spooled(folder: Path, begun: Reach, window: Window, *messages: Message) -> Spool:
    async def all_of_them() -> AsyncGenerator[Message]:
        for one in messages:
            yield one

    return await Spooler(folder / "spool", begun, window).fill(all_of_them())


def said(folder: Path) -> list[int]:
    """The messages of a journal, in its order."""
    if not (folder / JOURNAL).exists():
        return []
    with JournalReader(folder / JOURNAL) as reader:
        lines = [text for batch in reader.batches() for text in batch.lines()]
    return [int(text.partition(b"said=")[2].partition(b"i ")[0]) for text in lines]


async def test_the_place_stays_before_the_first_line_of_the_hour_under_way(tmp_path: Path) -> None:
    spool = await spooled(tmp_path, Reach(), HOURLY, message(3, FIRST), message(5, SECOND), message(8, FIRST))
    assert spool.hours == [Hour(FIRST, "trades")]
    assert said(spool.data_dir) == [3, 8]
    assert spool.reached == Reach(3, 8, HOURLY.before_ns, was_whole=False, batches={"one/j": 3})


async def test_what_was_written_before_is_read_again_only_if_its_hour_has_ended_since(tmp_path: Path) -> None:
    begun = Reach(3, 8, MIDNIGHT_NS, batches={"one/j": 3})
    early = message(5, FIRST - HOUR_NS)
    spool = await spooled(tmp_path, begun, HOURLY, early, message(6, FIRST), message(9, FIRST - HOUR_NS))
    assert said(spool.data_dir) == [6, 9]
    assert spool.hours == [Hour(FIRST - HOUR_NS, "trades"), Hour(FIRST, "trades")]
    begun = Reach(3, 8, MIDNIGHT_NS, was_whole=True)
    spool = await spooled(tmp_path / "whole", begun, WHOLE, early, message(6, FIRST), message(9, SECOND))
    assert said(spool.data_dir) == [9]
    assert spool.reached.cursor == 9


async def test_a_line_of_a_clock_that_is_far_ahead_is_not_waited_for(tmp_path: Path) -> None:
    spool = await spooled(tmp_path, Reach(), HOURLY, message(3, SECOND + 5 * HOUR_NS), message(4, FIRST))
    assert spool.hours == [Hour(FIRST, "trades"), Hour(SECOND + 5 * HOUR_NS, "trades")]
    assert spool.reached.cursor == 4


async def test_accounts_are_in_the_order_of_their_journal_whatever_that_of_the_stream(tmp_path: Path) -> None:
    of_accounts = [message(number, FIRST, batch=batch, stream="accounts") for number, batch in ((3, 9), (4, 7), (5, 8))]
    spool = await spooled(tmp_path, Reach(), HOURLY, *of_accounts)
    assert said(spool.data_dir) == [4, 5, 3]


async def test_the_place_stays_so_long_behind_that_batches_out_of_order_are_read_together(tmp_path: Path) -> None:
    recent_ns = NOW_NS - RECENT_NS + 1
    spool = await spooled(tmp_path, Reach(), WHOLE, message(3, FIRST), message(4, FIRST, stored_ns=recent_ns))
    assert said(spool.data_dir) == [3, 4]
    assert spool.reached == Reach(3, 4, WHOLE.before_ns, was_whole=True, batches={"one/j": 3})


async def test_what_an_old_batch_says_again_gives_way_to_what_is_there(tmp_path: Path) -> None:
    begun = Reach(20, 20, SECOND, batches={"one/j": 12})
    again = message(21, FIRST, batch=5, stream="accounts")
    spool = await spooled(tmp_path, begun, HOURLY, again, message(22, FIRST, batch=13, stream="accounts"))
    assert (said(spool.older), said(spool.data_dir)) == ([21], [22])
    assert spool.older_hours == spool.hours == [Hour(FIRST, "accounts")]


async def test_a_body_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="message 3 of the stream cannot be read"):
        await spooled(tmp_path, Reach(), HOURLY, replace(message(3, FIRST), body=b"no zstd"))
