"""Every trade once; every missing id named, fetched, and named again when it is there."""

from __future__ import annotations

import pytest
from msgspec import structs

from book.events import Trade
from feeds.market import Market
from sentinel.pipeline import Pipeline, Repair, RepairAnswer
from tests.sentinel.pipeline.test_trade_ids import match as match_at
from tests.sentinel.pipeline.venue import (
    MS,
    START,
    SYMBOL,
    Connection,
    S,
    Told,
    exchange_lane,
    heartbeat,
    match,
    opened,
    plan,
)


def rest(*ids: int) -> tuple[Trade, ...]:
    trades = []
    for trade_id in ids:
        point_ns = START + trade_id // 1000 % 60 * S + trade_id % 1000 * MS
        trades.append(Trade(SYMBOL, trade_id, 100.5, 0.25, "sell", point_ns, is_live=False))
    return tuple(trades)


def ids(told: Told) -> list[int]:
    return [int(dict(point.fields)["trade_id"]) for point in told.trades]


def test_live_trades_carry_the_time_of_receipt_and_a_time_of_their_own() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(9, "last_match"), START + 10 * MS)
    pipe.receive(0, match(10), START + 20 * MS)
    told.take(pipe)
    history, live = told.trades
    assert "recv_ns" not in dict(history.fields)
    assert dict(live.fields) == {"price": 100.5, "size": 0.25, "trade_id": 10, "recv_ns": START + 20 * MS}
    assert dict(live.tags) == {"exchange": "coinbase", "symbol": SYMBOL, "side": "sell"}
    assert live.time_ns % 1000 == 10


def test_only_a_live_trade_has_a_delay_and_only_one_of_rest_is_counted_as_repaired() -> None:
    pipe = opened(exchange_lane())
    pipe.receive(0, match(1, "last_match"), START)
    for trade_id in (2, 4):
        pipe.receive(0, match(trade_id), START + 3 * S)
    pipe.tick(START + 5 * S)
    pipe.repaired(RepairAnswer(SYMBOL, 3, 3, rest(3), is_complete=True), START + 5 * S)
    trades = pipe.products[Market.parse(SYMBOL)].trades
    assert (trades.stored_count, trades.repaired_count) == (4, 1)
    assert sum(trades.delay.counts) == 2
    live = [point for point in _trades(pipe) if "recv_ns" in dict(point.fields)]
    delays = [int(dict(point.fields)["recv_ns"]) - point.time_ns // 1000 * 1000 for point in live]
    assert trades.delay.total_ns == sum(delays)


def test_two_witnesses_give_one_trade() -> None:
    pipe, wire, told = opened(plan(0, "trades"), exchange_lane(1)), Connection(), Told()
    pipe.receive(1, match(1, "last_match"), START)
    pipe.receive(1, match(2), START + 10 * MS)
    pipe.receive(0, wire.trades(2, 3), START + 20 * MS)
    pipe.receive(1, match(3), START + 30 * MS)
    pipe.receive(1, match(4), START + 40 * MS)
    pipe.stop(START + 50 * MS)
    told.take(pipe)
    assert ids(told) == [1, 2, 3, 4]
    assert pipe.products[Market.parse(SYMBOL)].trades.conflicts == 0
    assert told.total("trades") == 4


def test_what_one_witness_dropped_and_the_other_brings_in_time_is_no_gap() -> None:
    pipe, wire, told = opened(plan(0, "trades"), exchange_lane(1)), Connection(), Told()
    pipe.receive(1, match(1, "last_match"), START)
    pipe.receive(1, match(5), START + 10 * MS)
    pipe.receive(0, wire.trades(2, 3, 4, 5), START + 260 * MS)
    pipe.receive(0, wire.beat(), START + 2 * S)
    pipe.tick(START + 2 * S)
    told.take(pipe)
    assert sorted(ids(told)) == [1, 2, 3, 4, 5]
    assert told.gap_list() == []
    assert not [c for c in pipe.commands if isinstance(c, Repair)]


def test_a_jump_is_announced_asked_for_and_closed_by_rest() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(100, "last_match"), START)
    pipe.receive(0, match(104), START + 500 * MS)
    pipe.tick(START + 1400 * MS)
    assert pipe.commands == []
    pipe.receive(0, match(105), START + 1450 * MS)
    pipe.tick(START + 1500 * MS)
    assert pipe.commands == [Repair(SYMBOL, 101, 103)]
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["start_seq"], gap["end_seq"], gap["missing_count"], gap["repaired_count"]) == (101, 103, 3, 0)
    pipe.repaired(RepairAnswer(SYMBOL, 101, 103, rest(103, 102, 101), is_complete=True), START + 1700 * MS)
    pipe.stop(START + 1800 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["missing_count"], gap["repaired_count"]) == (3, 3)
    assert sorted(ids(told)) == [100, 101, 102, 103, 104, 105]
    repaired = [point for point in told.trades if dict(point.fields).get("repaired")]
    assert sorted(int(dict(point.fields)["trade_id"]) for point in repaired) == [101, 102, 103]
    assert (told.total("missing"), told.total("repaired"), told.total("trades")) == (3, 3, 6)


def test_a_repaired_trade_lands_on_the_point_the_live_one_would_have() -> None:
    lost, whole = opened(exchange_lane()), opened(exchange_lane())
    for trade_id in (1, 2, 3):
        whole.receive(0, match(trade_id), START)
        if trade_id != 2:
            lost.receive(0, match(trade_id), START)
    lost.tick(START + 2 * S)
    live = next(point for point in _trades(whole) if dict(point.fields)["trade_id"] == 2)
    answer = Trade(SYMBOL, 2, 100.5, 0.25, "sell", live.time_ns - 2, is_live=False)
    lost.repaired(RepairAnswer(SYMBOL, 2, 2, (answer,), is_complete=True), START + 2 * S)
    repaired = next(point for point in _trades(lost) if dict(point.fields)["trade_id"] == 2)
    assert (repaired.tags, repaired.time_ns) == (live.tags, live.time_ns)


def _trades(pipe: Pipeline) -> list:
    told = Told()
    told.take(pipe)
    return told.trades


def test_a_gap_that_rest_fills_in_part_is_split_and_asked_for_again() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(10, "last_match"), START)
    pipe.receive(0, match(20), START + MS)
    pipe.tick(START + 1100 * MS)
    pipe.commands.clear()
    some = rest(*(n for n in range(11, 20) if n not in (14, 15)))
    pipe.repaired(RepairAnswer(SYMBOL, 11, 19, some, is_complete=True), START + 1200 * MS)
    told.take(pipe)
    found = sorted((g["start_seq"], g["end_seq"], g["missing_count"], g["repaired_count"]) for g in told.gap_list())
    assert found == [(11, 13, 3, 3), (14, 15, 2, 0), (16, 19, 4, 4)]
    pipe.tick(START + 2 * S)
    assert pipe.commands == []
    pipe.receive(0, heartbeat(20), START + 2 * S)
    pipe.tick(START + 3300 * MS)
    assert pipe.commands == [Repair(SYMBOL, 14, 15)]
    pipe.repaired(RepairAnswer(SYMBOL, 14, 15, rest(14, 15), is_complete=True), START + 3400 * MS)
    told.take(pipe)
    assert all(g["missing_count"] == g["repaired_count"] for g in told.gap_list())
    assert pipe.products[Market.parse(SYMBOL)].trades.open_gaps == []


YEAR_NS = 365 * 86_400 * S


@pytest.mark.parametrize("off_ns", [-START, -YEAR_NS, -3600 * S, 3600 * S, YEAR_NS, 10 * YEAR_NS, 2**63 - 1 - START])
@pytest.mark.parametrize("is_tail", [False, True], ids=["between two trades", "told by a heartbeat"])
def test_what_rest_has_of_a_time_at_which_it_cannot_have_been_traded_stays_missing(off_ns: int, is_tail: bool) -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(100, "last_match"), START)
    pipe.receive(0, heartbeat(103) if is_tail else match(104), START + 500 * MS)
    for second in range(1, 9):
        pipe.tick(START + second * S)
        pipe.lanes[0].heard_ns = START + second * S
    assert [command for command in pipe.commands if isinstance(command, Repair)] == [Repair(SYMBOL, 101, 103)]
    true = rest(101, 102, 103)
    odd = structs.replace(true[1], venue_ns=max(1000, true[1].venue_ns + off_ns) // 1000 * 1000)
    answer = RepairAnswer(SYMBOL, 101, 103, (true[2], odd, true[0]), is_complete=True)
    pipe.repaired(answer, START + 9 * S)
    notes = told.take(pipe).notes
    assert 102 not in ids(told)
    assert [(gap["start_seq"], gap["repaired_count"]) for gap in told.gap_list()] == [(101, 1), (102, 0), (103, 1)]
    assert [note.event for note in notes].count("answer_doubted") == 1
    assert pipe.products[Market.parse(SYMBOL)].trades.conflicts == 1
    pipe.commands.clear()
    pipe.tick(START + 12 * S)
    assert Repair(SYMBOL, 102, 102) in pipe.commands, "it is asked for again"
    pipe.repaired(RepairAnswer(SYMBOL, 102, 102, true[1:2], is_complete=True), START + 13 * S)
    told.take(pipe)
    assert 102 in ids(told)
    assert all(gap["repaired_count"] == gap["missing_count"] for gap in told.gap_list())


def test_a_venue_whose_clock_is_ahead_is_believed_what_its_own_trades_say() -> None:
    """The end of a gap that only a heartbeat told of is by our clock."""
    pipe, told = opened(exchange_lane()), Told()
    slow_ns = START - 86_400 * S
    pipe.receive(0, match_at(100, START), slow_ns)
    pipe.receive(0, heartbeat(101), slow_ns + 500 * S)
    for second in range(501, 509):
        pipe.tick(slow_ns + second * S)
        pipe.lanes[0].heard_ns = slow_ns + second * S
    assert Repair(SYMBOL, 101, 101) in pipe.commands
    pipe.receive(0, match_at(102, START + 600 * S), slow_ns + 600 * S)
    answer = Trade(SYMBOL, 101, 100.5, 0.25, "sell", START + 500 * S, is_live=False)
    pipe.repaired(RepairAnswer(SYMBOL, 101, 101, (answer,), is_complete=True), slow_ns + 601 * S)
    told.take(pipe)
    assert sorted(ids(told)) == [100, 101, 102]


def test_an_answer_page_by_page_keeps_one_gap() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(1, "last_match"), START)
    pipe.receive(0, match(3000), START + MS)
    pipe.tick(START + 2 * S)
    pipe.repaired(RepairAnswer(SYMBOL, 2000, 2999, rest(*range(2000, 3000)), is_complete=True), START + 3 * S)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["start_seq"], gap["end_seq"], gap["repaired_count"]) == (2, 2999, 1000)
    pipe.repaired(RepairAnswer(SYMBOL, 2, 1999, rest(*range(2, 2000)), is_complete=True), START + 4 * S)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert gap["repaired_count"] == 2998


def test_a_trade_lost_at_the_very_end_is_noticed_by_the_heartbeat() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(7, "last_match"), START)
    pipe.receive(0, heartbeat(9), START + 300 * MS)
    pipe.tick(START + 1700 * MS)
    assert pipe.commands == []
    pipe.tick(START + 1800 * MS)
    assert pipe.commands == [Repair(SYMBOL, 8, 9)]
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["start_seq"], gap["end_seq"], gap["missing_count"]) == (8, 9, 2)


def test_a_heartbeat_just_ahead_of_its_trade_is_no_loss() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(7, "last_match"), START)
    pipe.receive(0, heartbeat(8), START + 300 * MS)
    pipe.receive(0, match(8), START + 400 * MS)
    pipe.receive(0, heartbeat(8), START + 1300 * MS)
    pipe.tick(START + 2 * S)
    told.take(pipe)
    assert (pipe.commands, told.gap_list()) == ([], [])


def test_history_reaches_back_but_opens_no_hole() -> None:
    pipe, wire, told = opened(plan(0, "trades"), exchange_lane(1)), Connection(), Told()
    pipe.receive(1, match(100, "last_match"), START)
    pipe.receive(0, wire.trades(90, 91, 95, 96, 97, 98, 99, 100, kind="snapshot"), START + 10 * MS)
    pipe.receive(0, wire.trades(40, 41), START + 20 * MS)  # sparse old ids have been seen on the wire
    pipe.tick(START + 2 * S)
    pipe.stop(START + 2 * S)
    told.take(pipe)
    assert sorted(ids(told)) == [40, 41, 90, 91, 95, 96, 97, 98, 99, 100]
    assert pipe.products[Market.parse(SYMBOL)].trades.ledger.first == 95
    assert (pipe.commands, told.gap_list()) == ([], [])
    assert told.total("trades") == 6


def test_trades_of_the_time_apart_are_found_by_the_first_id_after_it() -> None:
    pipe, _told = opened(exchange_lane()), Told()
    pipe.receive(0, match(50), START)
    pipe.closed(0, "disconnected", START + S)
    pipe.opened(0, START + 2 * S)
    pipe.commands.clear()
    pipe.receive(0, match(57, "last_match"), START + 2 * S)
    pipe.tick(START + 3 * S)
    assert pipe.commands == [Repair(SYMBOL, 51, 56)]


def test_a_restart_goes_on_where_the_ids_ended_and_asks_again_for_what_was_open() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(1, "last_match"), START)
    pipe.receive(0, match(4), START + MS)
    pipe.tick(START + 2 * S)
    pipe.receive(0, match(8), START + 2 * S)  # not yet announced when the checkpoint is taken
    told.take(pipe)
    again = opened(exchange_lane(), checkpoint=pipe.checkpoint())
    again.start(START + 60 * S)
    again.receive(0, match(8, "last_match"), START + 61 * S)
    again.tick(START + 61 * S)
    assert again.commands == [Repair(SYMBOL, 5, 7), Repair(SYMBOL, 2, 3)]
    told.take(again)
    assert ids(told).count(8) == 1
    assert sorted((g["start_seq"], g["end_seq"]) for g in told.gap_list("trades")) == [(2, 3), (5, 7)]


def test_trades_that_could_not_be_kept_are_fetched_when_the_disk_is_back() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(1), START)
    pipe.suspend(START + S)
    pipe.receive(0, match(2), START + S)
    pipe.resume(START + 2 * S)
    pipe.receive(0, match(3), START + 2 * S)
    pipe.tick(START + 4 * S)
    told.take(pipe)
    assert ids(told) == [1, 3]
    assert pipe.commands == [Repair(SYMBOL, 2, 2)]


def test_witnesses_that_disagree_on_the_time_are_counted_and_the_first_point_stays() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(1), START)
    pipe.receive(0, match(1).replace(b".001000Z", b".001001Z"), START)
    told.take(pipe)
    assert ids(told) == [1]
    assert pipe.products[Market.parse(SYMBOL)].trades.conflicts == 1
