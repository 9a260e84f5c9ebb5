"""Accounts as they are stored are read as they were written, and what a checkpoint holds besides is not forgotten."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from msgspec.structs import replace

from feeds.market import Market
from sentinel.contract.gaps import Gap
from sentinel.contract.line_protocol import Point, decode
from sentinel.coverage.accounts import CoverageRow, GapRow, Rows, coverage_row, from_points, gap_row, merged, unwritten
from sentinel.pipeline.accounts import MINUTE_NS, Account
from sentinel.pipeline.checkpoint import decode_checkpoint
from sentinel.pipeline.lines import ProductLines
from tests.sentinel.pipeline.venue import MS, START, SYMBOL, Connection, S, exchange_lane, match, opened, plan

M = MINUTE_NS
MARKET = Market("elsewhere", "BTC-USD")
LINES = ProductLines(*MARKET, "here", (Fraction(5),))
ROW = CoverageRow(MARKET, "here", M, 600, 590, 10, 3, 11, 13, 2, "sequence")
ACCOUNT = Account(
    samples_due=600, samples_written=590, samples_withheld=10, trades=3, first_trade_id=11, last_trade_id=13, repaired=2
)
GAPS = (
    Gap("book", "silence", M + 5),
    Gap("book", "silence", M + 5, M + 9),
    Gap("trades", "trades", 5, 9, 11, 13, missing_count=3, repaired_count=1, given_up=True),
)


def point(lines: Any) -> Point:
    return decode(lines.text)


def test_what_the_pipeline_writes_is_read() -> None:
    minute = point(LINES.coverage(M, ACCOUNT, "sequence"))
    assert from_points([minute]) == Rows([ROW], [])
    for gap in GAPS:
        assert from_points([point(LINES.gap(gap))]) == Rows([], [GapRow(MARKET, "here", gap)])


def test_a_minute_and_a_gap_written_again_count_once_and_as_they_were_last() -> None:
    open_one, closed, lost = GAPS
    other = point(ProductLines(*MARKET, "there", ()).gap(open_one))
    found = from_points([*(point(LINES.gap(gap)) for gap in (open_one, lost, closed)), other])
    assert found.gaps == [
        GapRow(MARKET, "here", closed),
        GapRow(MARKET, "here", lost),
        GapRow(MARKET, "there", open_one),
    ]


def test_accounts_of_a_minute_only_grow() -> None:
    fewer = replace(ROW, samples_due=300, samples_written=300, samples_withheld=0)
    for parts in ((fewer, ROW), (ROW, fewer)):
        assert merged([Rows([part]) for part in parts]).coverage == [ROW]
    later = replace(ROW, repaired=3)
    assert merged([Rows([ROW]), Rows([later])]).coverage == [later], "of two as long the later one holds"
    less = replace(ROW, samples_due=ROW.samples_due - 1)
    assert merged([Rows([ROW, less])]).coverage == [less], "written again for less: some of it was withdrawn"


def test_a_store_may_leave_out_what_is_nothing_and_bring_integers_as_doubles() -> None:
    tags = {"exchange": "elsewhere", "symbol": "BTC-USD", "collector": "here"}
    read = coverage_row(tags | {"samples_due": 600.0, "trades": None}, M)
    assert read == CoverageRow(MARKET, "here", M, 600, 0, 0, 0, 0, 0, 0, "none")
    assert isinstance(read.samples_due, int)
    gap = {"channel": "book", "cause": "silence", "end_ns": None, "given_up": None, "missing_count": 2.0}
    assert gap_row(tags | gap, 5) == GapRow(MARKET, "here", Gap("book", "silence", 5, missing_count=2))


def test_what_a_killed_collector_had_not_written_is_in_its_checkpoint() -> None:
    pipe, wire = opened(exchange_lane(), plan(1, "book")), Connection()
    pipe.receive(1, wire.snapshot(99.0, 101.0), START + 10 * MS)
    pipe.receive(0, match(1), START + 20 * MS)
    pipe.receive(0, match(5), START + 30 * MS)  # 2 to 4 are jumped over, and not announced yet
    pipe.receive(1, wire.beat(), START + S + MS)
    pipe.tick(START + S + 2 * MS)
    rows = unwritten(decode_checkpoint(pipe.checkpoint()))
    (minute,) = rows.coverage
    assert (minute.market, minute.collector, minute.minute_ns) == (
        Market("coinbase", SYMBOL),
        "tester",
        START - START % M,
    )
    assert (minute.samples_due, minute.samples_written, minute.trades) == (10, 10, 2)
    assert minute.until_ns == START + S + 100 * MS
    (gap,) = rows.gaps
    assert (gap.gap.start_seq, gap.gap.end_seq, gap.gap.missing_count, gap.gap.repaired_count) == (2, 4, 3, 0)


def test_a_gap_that_is_announced_is_told_once() -> None:
    pipe = opened(exchange_lane())
    pipe.receive(0, match(1), START + 20 * MS)
    pipe.receive(0, match(5), START + 30 * MS)
    for second in range(1, 5):
        pipe.tick(START + second * S)
    announced = [decode(lines.text) for lines in pipe.take().accounts if lines.text.startswith(b"gaps")]
    assert from_points(announced).gaps == unwritten(decode_checkpoint(pipe.checkpoint())).gaps
    assert len(announced) == 1
