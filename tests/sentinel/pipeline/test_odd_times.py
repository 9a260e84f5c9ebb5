"""One trade whose time cannot be: of next year, of last year, of no time at all, or of more than 64 bits hold."""

from __future__ import annotations

import json

import pytest

from sentinel.pipeline import Repair
from tests.sentinel.pipeline.venue import MS, START, SYMBOL, Told, exchange_lane, heartbeat, match, opened

FIRST, ODD, LAST = 20_000, 20_010, 20_039


def played(time: str) -> tuple[Told, list[Repair]]:
    """Forty trades, of which one bears this time."""
    pipe, told, now_ns = opened(exchange_lane()), Told(), START
    asked: list[Repair] = []
    for trade_id in range(FIRST, LAST + 1):
        frame = match(trade_id)
        if trade_id == ODD:
            frame = frame.replace(json.loads(frame)["time"].encode(), time.encode())
        now_ns += 300 * MS
        pipe.receive(0, frame, now_ns)
        pipe.tick(now_ns + MS)
    pipe.receive(0, heartbeat(LAST), now_ns)
    pipe.tick(now_ns + 5_000 * MS)
    asked += [command for command in pipe.commands if isinstance(command, Repair)]
    told.take(pipe)
    return told, asked


@pytest.mark.parametrize(
    ("time", "time_ns"),
    [
        ("2027-09-21T14:13:20Z", 1_821_536_000 * 10**9),
        ("2025-09-21T14:13:20Z", 1_758_464_000 * 10**9),
        ("2026-09-21T23:59:60Z", 1_790_035_200 * 10**9),
        ("2262-01-01T00:00:00Z", 9_214_646_400 * 10**9),
    ],
)
def test_a_time_that_can_be_is_the_venues_word_and_disturbs_no_other_trade(time: str, time_ns: int) -> None:
    told, asked = played(time)
    assert {int(dict(point.fields)["trade_id"]): point.time_ns for point in told.trades}[ODD] == time_ns + ODD % 1000
    assert len(told.trades) == LAST + 1 - FIRST
    assert told.gap_list() == []
    assert asked == []


@pytest.mark.parametrize("time", ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:60Z"])
def test_a_time_that_is_none_is_a_trade_to_be_repaired(time: str) -> None:
    told, asked = played(time)
    assert ODD not in {dict(point.fields)["trade_id"] for point in told.trades}
    assert len(told.trades) == LAST - FIRST
    (gap,) = told.gap_list()
    assert (gap["start_seq"], gap["end_seq"], gap["missing_count"]) == (ODD, ODD, 1)
    assert asked == [Repair(SYMBOL, ODD, ODD)]
