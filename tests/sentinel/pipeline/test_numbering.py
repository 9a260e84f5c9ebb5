"""What becomes of a hole in the ids: while nothing can be written, over days, at a stop and after a kill."""

from __future__ import annotations

from feeds.market import Market
from sentinel.pipeline import Repair, RepairAnswer
from sentinel.pipeline.checkpoint import decode_checkpoint
from sentinel.pipeline.trades import TradesState
from tests.sentinel.pipeline.test_trades import ids, rest
from tests.sentinel.pipeline.venue import MS, START, SYMBOL, S, Told, exchange_lane, heartbeat, match, opened

HOUR = 3600 * S


def repairs(pipe) -> list[Repair]:
    asked = [command for command in pipe.commands if isinstance(command, Repair)]
    pipe.commands.clear()
    return asked


def nothing(repair: Repair) -> RepairAnswer:
    return RepairAnswer(SYMBOL, repair.first, repair.last, (), is_complete=True)


def state_of(pipe) -> TradesState:
    return decode_checkpoint(pipe.checkpoint())[Market.parse(SYMBOL)].trades


def wait(pipe, now_ns: int, seconds: float, *, step_ns: int = 100 * MS) -> int:
    for _ in range(round(seconds * S / step_ns)):
        now_ns += step_ns
        pipe.tick(now_ns)
    return now_ns


# While nothing can be written


def test_an_answer_that_comes_while_nothing_can_be_written_is_asked_for_again() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(1), START)
    pipe.receive(0, match(5), START + MS)
    pipe.tick(START + 2 * S)
    assert repairs(pipe) == [Repair(SYMBOL, 2, 4)]
    pipe.suspend(START + 3 * S)
    pipe.repaired(RepairAnswer(SYMBOL, 2, 4, rest(2, 3, 4), is_complete=True), START + 4 * S)
    pipe.resume(START + 5 * S)
    wait(pipe, START + 5 * S, 0.2)
    assert repairs(pipe) == [Repair(SYMBOL, 2, 4)]
    pipe.repaired(RepairAnswer(SYMBOL, 2, 4, rest(2, 3, 4), is_complete=True), START + 6 * S)
    told.take(pipe)
    assert sorted(ids(told)) == [1, 2, 3, 4, 5]
    assert [gap["repaired_count"] for gap in told.gap_list("trades")] == [3]


def test_a_page_lost_to_a_full_disk_is_asked_for_again_and_says_nothing_against_the_venue() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(1), START)
    pipe.receive(0, match(3000), START + MS)
    pipe.tick(START + 2 * S)
    pipe.commands.clear()
    pipe.suspend(START + 2 * S)
    pipe.repaired(RepairAnswer(SYMBOL, 2000, 2999, rest(*range(2000, 3000)), is_complete=False), START + 3 * S)
    pipe.resume(START + 4 * S)
    pipe.repaired(RepairAnswer(SYMBOL, 2, 2999, rest(*range(2, 2000)), is_complete=True), START + 5 * S)
    pipe.tick(START + 5 * S)
    (repair,) = repairs(pipe)
    assert repair.first <= 2000
    assert repair.last == 2999
    assert [patience.answers for patience in state_of(pipe).patience] == [0]
    pipe.repaired(RepairAnswer(SYMBOL, repair.first, 2999, rest(*range(2000, 3000)), is_complete=True), START + 6 * S)
    told.take(pipe)
    assert pipe.products[Market.parse(SYMBOL)].trades.open_gaps == []
    assert sorted(ids(told)) == list(range(1, 3001))


def test_trades_heard_while_nothing_can_be_written_are_asked_for_though_nothing_follows() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(1), START)
    pipe.suspend(START + S)
    for trade_id in range(2, 8):
        pipe.receive(0, match(trade_id), START + S + trade_id * MS)
    pipe.receive(0, heartbeat(9), START + 2 * S)
    pipe.resume(START + 60 * S)
    pipe.tick(START + 60 * S)
    assert repairs(pipe) == [Repair(SYMBOL, 2, 9)]
    pipe.repaired(RepairAnswer(SYMBOL, 2, 9, rest(*range(2, 10)), is_complete=True), START + 61 * S)
    pipe.stop(START + 62 * S)
    told.take(pipe)
    assert sorted(ids(told)) == list(range(1, 10))
    assert (told.total("missing"), told.total("repaired"), told.total("trades")) == (8, 8, 9)


def test_the_first_trade_of_all_is_not_lost_to_a_full_disk() -> None:
    pipe = opened(exchange_lane())
    pipe.suspend(START)
    pipe.receive(0, match(7, "last_match"), START + MS)
    pipe.receive(0, match(8), START + 2 * MS)
    pipe.resume(START + 3 * S)
    pipe.tick(START + 3 * S)
    assert repairs(pipe) == [Repair(SYMBOL, 7, 8)]


def test_a_stop_while_nothing_can_be_written_names_what_was_heard() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(1), START)
    pipe.suspend(START + S)
    pipe.receive(0, match(2), START + S + MS)
    pipe.stop(START + 2 * S)
    told.take(pipe)
    assert [(gap["start_seq"], gap["end_seq"]) for gap in told.gap_list("trades")] == [(2, 2)]


# Over days


def give_up(pipe, told: Told, now_ns: int) -> tuple[int, int]:
    """Days in which REST has nothing; how often it was asked, and the time."""
    asked = 0
    for _ in range(3 * 24 * 60):
        now_ns += 60 * S
        pipe.tick(now_ns)
        for repair in repairs(pipe):
            asked += 1
            pipe.repaired(nothing(repair), now_ns)
        told.take(pipe)
    return asked, now_ns


def test_ids_that_rest_never_has_are_asked_for_ever_more_rarely_and_given_up_by_a_rule() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(1), START)
    pipe.receive(0, match(4), START + MS)
    asked, now_ns = give_up(pipe, told, START)
    assert 12 <= asked <= 20
    (gap,) = told.gap_list("trades")
    assert (gap["missing_count"], gap["repaired_count"], gap["given_up"]) == (2, 0, True)
    trades = pipe.products[Market.parse(SYMBOL)].trades
    assert (trades.open_gaps, trades.given_up_count) == ([], 2)
    again = opened(exchange_lane(), checkpoint=pipe.checkpoint())
    asked, now_ns = give_up(again, told, now_ns)
    assert asked == 0
    again.opened(0, now_ns)
    again.receive(0, match(2), now_ns + S)
    again.tick(now_ns + 2 * S)
    told.take(again)
    (gap,) = told.gap_list("trades")
    assert (gap["repaired_count"], gap["given_up"]) == (1, True)
    again.receive(0, match(3), now_ns + 3 * S)
    again.tick(now_ns + 4 * S)
    told.take(again)
    (gap,) = told.gap_list("trades")
    assert (gap["repaired_count"], gap["given_up"]) == (2, False)
    assert again.products[Market.parse(SYMBOL)].trades.given_up_count == 0


def test_patience_survives_a_restart() -> None:
    pipe, told, now_ns = opened(exchange_lane()), Told(), START
    pipe.receive(0, match(1), START)
    pipe.receive(0, match(4), START + MS)
    for _ in range(3 * 24):
        now_ns += HOUR
        pipe.tick(now_ns)
        for repair in repairs(pipe):
            pipe.repaired(nothing(repair), now_ns)
        told.take(pipe)
        pipe = opened(exchange_lane(), checkpoint=pipe.checkpoint())
    assert [gap["given_up"] for gap in told.gap_list("trades")] == [True]


def test_a_collector_that_is_restarted_again_and_again_still_asks_and_can_store_its_state() -> None:
    """Each start asks at once and each answer doubled the pause: after 34 of them it was no number that a checkpoint
    can hold, and nothing could be stored any more. Found by a soak of two hours."""
    pipe, told, now_ns = opened(exchange_lane()), Told(), START
    pipe.receive(0, match(1), START)
    pipe.receive(0, match(4), START + MS)
    for _ in range(100):
        now_ns += S
        pipe.tick(now_ns)
        for repair in repairs(pipe):
            pipe.repaired(nothing(repair), now_ns)
        told.take(pipe)
        pipe = opened(exchange_lane(), checkpoint=pipe.checkpoint())
    asked, _ = give_up(pipe, told, now_ns)
    assert asked in (1, 2)
    assert [gap["given_up"] for gap in told.gap_list("trades")] == [True]


def test_a_rest_that_is_down_gives_nothing_up() -> None:
    pipe, told, now_ns = opened(exchange_lane()), Told(), START
    pipe.receive(0, match(1), START)
    pipe.receive(0, match(4), START + MS)
    for _ in range(30 * 24):
        now_ns += HOUR
        pipe.tick(now_ns)
    told.take(pipe)
    assert len(repairs(pipe)) == 1
    assert len(pipe.products[Market.parse(SYMBOL)].trades.open_gaps) == 1


def test_a_tick_looks_only_at_what_is_due() -> None:
    """Thousands of holes whose time has not come: nothing of them is touched."""
    pipe = opened(exchange_lane())
    for trade_id in range(1, 6001, 2):
        pipe.receive(0, match(trade_id), START)
    pipe.tick(START + 2 * S)
    for repair in repairs(pipe):
        pipe.repaired(nothing(repair), START + 2 * S)
    trades = pipe.products[Market.parse(SYMBOL)].trades
    assert len(trades.open_gaps) == 3000 - 1
    assert not trades.is_due(START + 3 * S)
    looks = []
    missing = type(trades.ledger).missing
    try:
        type(trades.ledger).missing = lambda self, within=None: looks.append(within) or missing(self, within)
        pipe.receive(0, match(6001), START + 3 * S)
        pipe.receive(0, match(2), START + 3 * S)
        wait(pipe, START + 3 * S, 0.9)
        pipe.repaired(RepairAnswer(SYMBOL, 4, 4, rest(4), is_complete=True), START + 3 * S)
    finally:
        type(trades.ledger).missing = missing
    assert len(looks) < 10


# At a stop and after a kill


def test_a_stop_names_what_was_jumped_over_a_moment_before_and_the_next_start_does_not_twice() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(100), START)
    pipe.receive(0, match(104), START + 100 * MS)
    pipe.receive(0, heartbeat(106), START + 200 * MS)
    pipe.stop(START + 300 * MS)
    told.take(pipe)
    found = sorted((gap["start_seq"], gap["end_seq"], gap["missing_count"]) for gap in told.gap_list("trades"))
    assert found == [(101, 103, 3), (105, 106, 2)]
    assert told.total("missing") == 5
    again = opened(exchange_lane(), checkpoint=pipe.checkpoint())
    again.start(START + 60 * S)
    again.receive(0, match(109, "last_match"), START + 61 * S)
    again.receive(0, heartbeat(109), START + 61 * S)
    wait(again, START + 61 * S, 2)
    asked = repairs(again)
    assert sorted(repair.first for repair in asked) == [101, 105, 107]
    for repair in asked:
        answer = rest(*range(repair.first, repair.last + 1))
        again.repaired(RepairAnswer(SYMBOL, repair.first, repair.last, answer, is_complete=True), START + 64 * S)
    told.take(again)
    found = sorted((gap["start_seq"], gap["end_seq"], gap["repaired_count"]) for gap in told.gap_list("trades"))
    assert found == [(101, 103, 3), (105, 106, 2), (107, 108, 2)]
    assert again.products[Market.parse(SYMBOL)].trades.open_gaps == []


def test_the_checkpoint_holds_what_only_a_heartbeat_has_named() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(100), START)
    pipe.receive(0, match(102), START + 100 * MS)
    pipe.receive(0, heartbeat(104), START + 200 * MS)
    pipe.receive(0, heartbeat(105), START + 300 * MS)
    holes = [(hole.range.first, hole.range.last) for hole in state_of(pipe).jumps]
    assert holes == [(101, 101), (103, 104), (105, 105)]
    assert len({hole.start_ns for hole in state_of(pipe).jumps}) == 3
    again = opened(exchange_lane(), checkpoint=pipe.checkpoint())  # killed: nothing follows any more
    wait(again, START + 60 * S, 2)
    told.take(again)
    assert sorted((g["start_seq"], g["end_seq"]) for g in told.gap_list("trades")) == holes


def test_gaps_behind_one_trade_are_points_of_their_own() -> None:
    pipe, told = opened(exchange_lane()), Told()
    pipe.receive(0, match(7), START)
    pipe.receive(0, heartbeat(9), START + 100 * MS)
    now_ns = wait(pipe, START + 100 * MS, 2)
    pipe.receive(0, heartbeat(11), now_ns)
    now_ns = wait(pipe, now_ns, 2)
    pipe.receive(0, match(15), now_ns)
    wait(pipe, now_ns, 2)
    told.take(pipe)
    assert sorted((g["start_seq"], g["end_seq"]) for g in told.gap_list("trades")) == [(8, 9), (10, 11), (12, 14)]
    pipe.stop(now_ns + 3 * S)
    told.take(pipe)
    assert told.total("missing") == 7
