"""The report of a market that moves between collectors, against a model of every instant and every id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings
from msgspec.structs import replace

from sentinel.contract.gaps import Gap
from sentinel.contract.line_protocol import decode
from sentinel.coverage.accounts import CoverageRow, GapRow, Rows, from_points
from sentinel.coverage.holes import accounts_of, sample_holes
from sentinel.gap_report.orphans import with_orphans
from sentinel.gap_report.report import ProductReport, Window, build
from sentinel.gap_report.timeline import State, book_states
from sentinel.pipeline.accounts import Account
from sentinel.pipeline.lines import ProductLines
from tests.sentinel.gap_report.moving import (
    CADENCE_NS,
    MARKET,
    MINUTE_NS,
    PER_MINUTE,
    START_NS,
    Moving,
    Stay,
    ns,
    stays,
)

histories = st.lists(stays(), min_size=2, max_size=4)


def judge(rows: Rows, moving: Moving, written: set[int], known: set[int], ids: set[int]) -> None:
    collectors = {row.collector for row in (*rows.coverage, *rows.gaps)}
    if len(collectors) < 2 or not known:
        return
    first, minutes = min(known), moving.end // PER_MINUTE + 1
    (product,) = build(rows, Window(START_NS, START_NS + minutes * MINUTE_NS)).products
    begun = (product.window.start_ns - START_NS) // CADENCE_NS
    assert begun == first
    expected = set(range(begun, minutes * PER_MINUTE))
    samples = product.samples
    assert (samples.written, samples.not_collected) == (len(written), len(expected - known))
    assert samples.due == samples.written + samples.withheld
    assert samples.due + samples.not_collected == len(expected)
    # the reader's holes, and the report's gaps, are the instants without a sample
    holes = sample_holes(accounts_of(rows.coverage, rows.gaps), (ns(begun), ns(minutes * PER_MINUTE)))
    for spans in (
        [(hole.start_ns, hole.end_ns) for hole in holes],
        [(gap.start_ns, gap.end_ns) for gap in product.gaps if gap.channel == "book"],
    ):
        told = {
            (at_ns - START_NS) // CADENCE_NS
            for start_ns, end_ns in spans
            for at_ns in range(start_ns, ns(minutes * PER_MINUTE) if end_ns is None else end_ns, CADENCE_NS)
        }
        assert told == expected - written
    # trades
    there = ids | moving.repaired
    assert product.trades.count == len(there)
    lacking = moving.named - there
    if expected <= known and ids:
        lacking |= {*range(min(ids), max(ids))} - there
        assert product.trades.missing == len(lacking)
    assert product.trades.missing >= len(lacking)
    assert product.is_complete == (written >= expected and not product.trades.missing)


@given(histories)
@settings(max_examples=60, report_multiple_bugs=False)
def test_a_market_that_moves_is_told_to_the_instant_and_to_the_id(of_each: list[list[Stay]]) -> None:
    moving = Moving(of_each)
    judge(moving.rows, moving, moving.accounted, moving.known, moving.entered)
    window = START_NS, START_NS + 20 * MINUTE_NS
    rows = with_orphans(moving.rows, window, moving.store)
    if len({row.collector for row in (*moving.rows.coverage, *moving.rows.gaps)}) > 1:
        judge(rows, moving, moving.written, moving.known | moving.written, moving.ids)


def minute(number: int, collector: str, ids: Iterable[int], due: range = range(PER_MINUTE)) -> CoverageRow:
    """A minute without a loss."""
    account = Account(samples_written=len(due))
    account.owe(ns(number * PER_MINUTE + due.start), ns(number * PER_MINUTE + due.stop), len(due))
    for trade_id in ids:
        account.enter_trade(trade_id)
    line = ProductLines(*MARKET, collector, (), tells_parts=True).coverage(ns(number * PER_MINUTE), account, "sequence")
    (row,) = from_points([decode(line.text)]).coverage
    return row


def gap(collector: str, *facts: Any, **more: Any) -> GapRow:
    return GapRow(MARKET, collector, Gap(*facts, **more))


def report_of(rows: Rows, minutes: int) -> ProductReport:
    (product,) = build(rows, Window(START_NS, START_NS + minutes * MINUTE_NS)).products
    return product


def test_who_was_away_does_not_claim_what_was_traded_meanwhile() -> None:
    there_and_back = [minute(0, "a", range(1, 101)), minute(2, "a", range(201, 301))]
    between = minute(1, "b", range(101, 201))
    lost = gap("b", "trades", "trades", ns(700), ns(701), 150, 150, 1)
    assert report_of(Rows([*there_and_back, between], [lost]), 3).trades.missing == 0, "it was entered after all"
    between = minute(1, "b", [number for number in range(101, 201) if number != 150])
    product = report_of(Rows([*there_and_back, between], [lost]), 3)
    assert (product.trades.count, product.trades.missing) == (299, 1)
    assert not product.is_complete


def test_ids_between_two_collectors_that_nobody_has_are_missing_though_nobody_names_them() -> None:
    rows = Rows([minute(0, "a", range(1, 101)), minute(1, "b", range(105, 201))])
    product = report_of(rows, 2)
    assert (product.trades.count, product.trades.missing) == (196, 4)
    (told,) = product.gaps
    assert (told.channel, told.start_seq, told.end_seq, told.missing_count) == ("trades", 101, 104, 4)
    away = Rows([minute(0, "a", range(1, 101)), minute(2, "b", range(105, 201))])
    product = report_of(away, 3)
    assert product.trades.missing == 0, "what was traded while nobody collected is time that is missing"
    assert [told.cause for told in product.gaps] == ["not_collected"]


def test_a_gap_that_its_dead_collector_never_closed_ends_where_another_has_a_book() -> None:
    rows = Rows([minute(0, "a", range(0)), minute(1, "b", range(0), range(30, 600)), minute(2, "b", range(0))])
    rows.gaps.append(gap("a", "book", "silence", ns(590)))
    rows.coverage[0] = replace(rows.coverage[0], samples_written=590, samples_withheld=10)
    product = report_of(rows, 3)
    assert [(told.cause, told.start_ns, told.end_ns) for told in product.gaps] == [
        ("silence", ns(590), ns(600)),
        ("not_collected", ns(600), ns(630)),
    ]
    assert book_states(product, product.window)[-1] is State.PROVED


def test_a_product_that_is_listed_again_elsewhere_is_not_delisted_for_good() -> None:
    rows = Rows([minute(0, "a", range(0)), minute(2, "b", range(0))], [gap("a", "book", "delisted", ns(600))])
    holes = sample_holes(accounts_of(rows.coverage, rows.gaps), (START_NS, START_NS + 4 * MINUTE_NS))
    assert [(hole.cause, hole.start_ns, hole.end_ns) for hole in holes] == [
        ("delisted", ns(600), ns(1200)),
        ("not_collected", ns(1800), ns(2400)),
    ]


def test_a_collector_that_leaves_and_comes_back_within_a_minute_says_when() -> None:
    account = Account()
    account.owe(ns(0), ns(100), 100)
    account.owe(ns(400), ns(600), 200)
    line = ProductLines(*MARKET, "a", (), tells_parts=True).coverage(START_NS, account, "sequence")
    assert b'due_ms="0-10000,40000-60000"' in line.text
    rows = from_points([decode(line.text)])
    assert accounts_of(rows.coverage, [])["a"].covered == [(ns(0), ns(100)), (ns(400), ns(600))]


def test_what_an_earlier_row_of_a_minute_said_of_it_does_not_outlive_it() -> None:
    """A store keeps the fields of a point that are not written again."""
    row = replace(minute(0, "a", range(0)), due=((ns(0), ns(100)),), ids=((5, 9),))
    assert accounts_of([row], [])["a"].covered == [(ns(0), ns(600))]
