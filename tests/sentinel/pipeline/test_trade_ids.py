"""How far the venue's ids are believed: resets, ids used twice, wild numbers, and jumps that are real."""

from __future__ import annotations

import json

import pytest

from book.events import Trade
from feeds.market import Market
from sentinel.pipeline import LanePlan, Repair, RepairAnswer
from sentinel.pipeline.numberings import CREDIBLE
from tests.sentinel.pipeline.venue import (
    MS,
    START,
    SYMBOL,
    Connection,
    S,
    Told,
    exchange_lane,
    heartbeat,
    opened,
    plan,
)

WILD = 10**12


def clock(ns: int) -> str:
    seconds = (ns - START) // S + 20  # START is 14:13:20
    return f"2026-09-21T14:{13 + seconds // 60:02d}:{seconds % 60:02d}.{ns % S // 1000:06d}Z"


def match(trade_id: int, ns: int, price: float = 100.5, kind: str = "match") -> bytes:
    trade = {"type": kind, "trade_id": trade_id, "product_id": SYMBOL, "price": str(price), "size": "0.25"}
    return json.dumps(trade | {"side": "buy", "sequence": 1, "time": clock(ns)}).encode()


def market_trade(wire: Connection, trade_id: int, ns: int) -> bytes:
    trade = {"product_id": SYMBOL, "trade_id": str(trade_id), "price": "100.5", "size": "0.25", "side": "BUY"}
    return wire.frame("market_trades", [{"type": "update", "trades": [trade | {"time": clock(ns)}]}])


def rest(trade_id: int, ns: int, price: float = 100.5) -> Trade:
    return Trade(SYMBOL, trade_id, price, 0.25, "sell", ns, is_live=False)


class Story:
    """One collector, told trades 100 ms apart; the venue's time goes on whatever the ids do."""

    def __init__(self, *plans: LanePlan, checkpoint: bytes | None = None, now_ns: int = START) -> None:
        self.pipe = opened(*(plans or (exchange_lane(),)), checkpoint=checkpoint)
        self.told = Told()
        self.now_ns = now_ns

    def trade(self, *ids: int, price: float = 100.5, kind: str = "match", lane: int = 0) -> None:
        for trade_id in ids:
            self.now_ns += 100 * MS
            self.pipe.receive(lane, match(trade_id, self.now_ns, price, kind), self.now_ns + MS)

    def beat(self, last_id: int) -> None:
        self.now_ns += 100 * MS
        self.pipe.receive(0, heartbeat(last_id), self.now_ns + MS)

    def wait(self, seconds: float) -> list[Repair]:
        """Ticks on; the repairs asked for meanwhile."""
        for _ in range(round(seconds * 10)):
            self.now_ns += 100 * MS
            self.pipe.tick(self.now_ns)
        asked = [command for command in self.pipe.commands if isinstance(command, Repair)]
        self.pipe.commands.clear()
        return asked

    def answer(self, first: int, last: int, *trades: Trade) -> None:
        self.now_ns += 100 * MS
        self.pipe.repaired(RepairAnswer(SYMBOL, first, last, trades, is_complete=True), self.now_ns)

    def restart(self) -> Story:
        again = Story(checkpoint=self.pipe.checkpoint(), now_ns=self.now_ns + 10 * S)
        self.told.take(self.pipe)
        again.told = self.told
        again.pipe.start(again.now_ns)
        return again

    def ids(self) -> list[int]:
        self.told.take(self.pipe)
        return [int(dict(point.fields)["trade_id"]) for point in self.told.trades]

    def gaps(self, cause: str = "trades") -> list[tuple[int, int, int, int]]:
        self.told.take(self.pipe)
        found = [gap for gap in self.told.gap_list("trades") if gap["cause"] == cause]
        return sorted(
            (gap["start_seq"], gap["end_seq"], gap["missing_count"], gap["repaired_count"])  # type: ignore[misc]
            for gap in found
        )

    @property
    def missing(self) -> int:
        return sum(missing - repaired for cause in ("trades", "reset") for *_, missing, repaired in self.gaps(cause))


def test_an_id_that_nobody_confirmed_before_a_kill_is_still_doubted_after_it() -> None:
    """The first trade after a reset, received and then held back, is in no other place than the checkpoint."""
    story = Story()
    story.trade(*range(1000, 1011))
    story.trade(1)
    story = story.restart()
    story.trade(2, 3)
    assert story.ids() == [*range(1000, 1011), 1, 2, 3]
    assert story.gaps("reset") == [(1010, 1, 0, 0)]


def test_ids_that_start_again_at_one_are_a_reset_and_a_loss_after_it_is_named() -> None:
    story = Story()
    story.trade(*range(1000, 1011))
    story.trade(1, 2, 3, 9, 10)
    assert story.wait(1.5) == [Repair(SYMBOL, 4, 8)]
    assert story.ids() == [*range(1000, 1011), 1, 2, 3, 9, 10]
    assert story.gaps() == [(4, 8, 5, 0)]
    assert story.gaps("reset") == [(1010, 1, 0, 0)]
    story.answer(4, 8, *(rest(n, story.now_ns - 1650 * MS + n) for n in range(4, 9)))
    assert story.missing == 0
    assert len(story.ids()) == 21
    story.pipe.stop(story.now_ns)
    story.told.take(story.pipe)
    assert (story.told.total("trades"), story.told.total("missing"), story.told.total("repaired")) == (21, 5, 5)


def test_the_first_ids_of_a_new_numbering_are_missed_if_they_did_not_come() -> None:
    story = Story()
    story.trade(*range(1000, 1011))
    story.trade(4, 5)
    assert story.wait(1.5) == [Repair(SYMBOL, 1, 3)]
    assert story.gaps() == [(1, 3, 3, 0)]


def test_a_venue_that_falls_back_behind_its_own_ids_does_not_begin_at_one() -> None:
    story = Story()
    story.trade(*range(1000, 1011))
    story.trade(1005, 1006, 1009, price=99.0)
    assert story.wait(1.5) == [Repair(SYMBOL, 1007, 1008)]
    assert story.ids()[-3:] == [1005, 1006, 1009]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_ids_used_again_for_other_trades_lose_none_of_them(is_restarted: bool) -> None:
    story = Story()
    story.trade(*range(1, 11))
    if is_restarted:
        story.wait(1)
        story = story.restart()
    story.trade(*range(1, 11), price=101.0)
    story.wait(2)
    assert story.ids() == [*range(1, 11)] * 2
    points = {(point.tags, point.time_ns) for point in story.told.trades}
    assert len(points) == 20
    assert story.missing == 0
    assert story.gaps("reset") == [(10, 1, 0, 0)]


def test_a_reset_while_the_collector_was_away() -> None:
    story = Story()
    story.trade(*range(50_000, 50_010))
    story = story.restart()
    story.trade(20, kind="last_match")
    story.trade(21, 22)
    assert story.wait(1.5) == [Repair(SYMBOL, 1, 19)]
    assert story.ids()[-3:] == [20, 21, 22]
    again = story.restart()
    again.trade(23, 25)
    assert Repair(SYMBOL, 24, 24) in again.wait(1.5)
    assert again.gaps("reset") == [(50_009, 20, 0, 0)]


def test_a_gap_open_at_a_reset_stays_one_and_the_new_ids_do_not_fill_it() -> None:
    story = Story()
    story.trade(5, 9, 10)
    lost_ns = story.now_ns - 150 * MS
    assert story.wait(1.5) == [Repair(SYMBOL, 6, 8)]
    story.trade(*range(1, 11), price=99.0)
    story.answer(6, 8, *(rest(n, story.now_ns - 1000 * (11 - n), 99.0) for n in (6, 7, 8)))
    assert story.gaps() == [(6, 8, 3, 0)]
    assert story.ids() == [5, 9, 10, *range(1, 11)]
    story = story.restart()
    assert Repair(SYMBOL, 6, 8) in story.wait(3)
    story.answer(6, 8, *(rest(n, lost_ns + n * 1000) for n in (6, 7, 8)))
    assert story.gaps() == [(6, 8, 3, 3)]
    story.trade(11, 12)
    story.wait(2)
    assert story.missing == 0


def test_trades_of_before_a_reset_that_come_late_are_held_already() -> None:
    story = Story()
    story.trade(*range(1000, 1011))
    late = match(1010, story.now_ns)
    story.trade(1, 2, 3)
    story.pipe.receive(0, late, story.now_ns + 2 * MS)
    story.wait(2)
    assert story.ids() == [*range(1000, 1011), 1, 2, 3]
    assert (story.missing, len(story.gaps("reset"))) == (0, 1)


def test_rest_confirms_a_reset_of_a_quiet_product_and_a_heartbeat_does() -> None:
    for is_told_by_rest in (True, False):
        story = Story()
        story.trade(*range(1000, 1011))
        story.trade(1)
        if is_told_by_rest:
            traded_ns = story.now_ns
            assert story.wait(1.2) == [Repair(SYMBOL, 1, 1)]
            story.answer(1, 1, Trade(SYMBOL, 1, 100.5, 0.25, "sell", traded_ns, is_live=False))
        else:
            story.beat(1)
        assert story.ids()[-1] == 1
        assert story.gaps("reset") == [(1010, 1, 0, 0)]
        story.trade(2)
        story.wait(2)
        assert story.missing == 0


def test_one_trade_under_a_used_id_is_named_if_nobody_confirms_it_and_stored_if_rest_does() -> None:
    story = Story()
    story.trade(*range(1, 11))
    story.trade(5, price=250.0)
    odd_ns = story.now_ns
    story.trade(11)
    assert story.wait(1.2) == [Repair(SYMBOL, 5, 5)]
    story.trade(12)
    confirmed = story.restart()  # of which nothing is known of the odd one
    story.answer(5, 5, rest(5, START + 500 * MS))
    assert story.gaps("reset") == [(5, 5, 1, 0)]
    assert story.pipe.products[Market.parse(SYMBOL)].trades.ledger.tail == 12
    confirmed.trade(13)
    assert confirmed.ids()[-1] == 13

    other = Story()
    other.trade(*range(1, 11))
    other.trade(5, price=250.0)
    other.trade(11)
    other.wait(1.2)
    other.answer(5, 5, Trade(SYMBOL, 5, 250.0, 0.25, "sell", odd_ns, is_live=False))
    other.trade(12, 13)
    assert other.wait(2) == []
    assert other.ids() == [*range(1, 12), 5, 12, 13]
    assert other.missing == 0


def test_a_used_id_on_a_trade_that_rest_then_has_under_its_own_is_no_loss() -> None:
    story = Story()
    story.trade(*range(1, 11))
    story.trade(3)
    odd_ns = story.now_ns
    story.trade(12)
    assert sorted(story.wait(1.5), key=lambda repair: repair.first) == [Repair(SYMBOL, 3, 3), Repair(SYMBOL, 11, 11)]
    story.answer(3, 3, rest(3, START + 300 * MS))
    assert story.gaps("reset") == [(3, 3, 1, 0)]
    story.answer(11, 11, Trade(SYMBOL, 11, 100.5, 0.25, "sell", odd_ns, is_live=False))
    assert story.missing == 0
    assert sorted(story.ids()) == list(range(1, 13))


@pytest.mark.parametrize("kind", ["match", "last_match"])
def test_one_wild_id_changes_nothing(kind: str) -> None:
    story = Story()
    story.trade(*range(1, 5))
    story.trade(WILD, kind=kind)
    story.trade(6, 7)
    assert sorted(story.wait(1.5), key=lambda repair: repair.first) == [
        Repair(SYMBOL, 5, 5),
        Repair(SYMBOL, WILD, WILD),
    ]
    story.answer(WILD, WILD)
    story.answer(5, 5, rest(5, START + 500 * MS))
    story.trade(8)
    story.trade(WILD, kind=kind)  # said once more by the same voice
    assert story.wait(5) == []
    assert story.ids() == [1, 2, 3, 4, 6, 7, 5, 8]
    assert story.missing == 0
    assert story.pipe.products[Market.parse(SYMBOL)].trades.ledger.tail == 8
    assert story.pipe.products[Market.parse(SYMBOL)].trades.conflicts == 1


def test_one_wild_id_from_the_other_feed_changes_nothing() -> None:
    story = Story(exchange_lane(), plan(1, "trades"))
    wire = Connection()
    story.trade(1, 2)
    story.pipe.receive(1, market_trade(wire, WILD, story.now_ns), story.now_ns)
    story.trade(3, 4)
    assert story.wait(1.5) == [Repair(SYMBOL, WILD, WILD)]
    story.answer(WILD, WILD)
    assert (story.ids(), story.missing) == ([1, 2, 3, 4], 0)


def test_one_wild_heartbeat_changes_nothing_however_often_it_is_repeated() -> None:
    story = Story()
    story.trade(1, 2)
    story.beat(WILD)
    story.beat(WILD)
    story.trade(3)
    assert story.wait(3) == [Repair(SYMBOL, WILD, WILD)]
    story.answer(WILD, WILD)
    story.beat(WILD)
    story.beat(3)
    assert story.wait(3) == []
    assert (story.ids(), story.gaps(), story.missing) == ([1, 2, 3], [], 0)


@pytest.mark.parametrize("is_trade", [False, True])
def test_another_trade_that_rest_has_under_a_wild_id_confirms_nothing(is_trade: bool) -> None:
    story = Story()
    story.trade(1, 2)
    if is_trade:
        story.trade(WILD)
    else:
        story.beat(WILD)
    story.trade(3)
    assert story.wait(1.5) == [Repair(SYMBOL, WILD, WILD)]
    story.answer(WILD, WILD, rest(WILD, START - 3600 * S, 77.0))
    for trade_id in range(4, 12):  # for as long as trades that a heartbeat names may take
        story.trade(trade_id)
        assert story.wait(1) == []
    assert (story.ids(), story.gaps(), story.missing) == ([*range(1, 12)], [], 0)


def test_a_wild_id_before_any_other_does_not_make_strays_of_all_that_come() -> None:
    story = Story()
    story.trade(WILD, 1001, 1002, 1005)
    assert story.wait(1.5) == [Repair(SYMBOL, 1003, 1004)]
    assert story.gaps() == [(1003, 1004, 2, 0)]


def test_a_far_jump_is_believed_with_its_second_witness() -> None:
    far = 3_000_000
    witnesses = {
        "trade": lambda story: story.trade(far + 1),
        "gap and trade": lambda story: story.trade(far + 3),
        "heartbeat": lambda story: story.beat(far),
        "rest": lambda story: (story.wait(1.1), story.answer(far, far, rest(far, story.now_ns))),
    }
    for name, speak in witnesses.items():
        story = Story()
        story.trade(100)
        story = story.restart()
        story.trade(far, kind="last_match")
        assert story.ids() == [100], name
        speak(story)
        assert Repair(SYMBOL, 101, far - 1) in story.wait(2), name
        assert (101, far - 1, far - 101, 0) in story.gaps(), name
        assert far in story.ids(), name


def test_a_far_heartbeat_is_believed_with_a_second_id_and_its_trades_are_fetched() -> None:
    story = Story()
    story.trade(100)
    story.beat(50_000)
    story.beat(50_003)
    assert story.wait(2) == [Repair(SYMBOL, 101, 50_000), Repair(SYMBOL, 50_001, 50_003)]


def test_a_jump_within_the_bound_needs_no_second_witness() -> None:
    story = Story()
    story.trade(100, 100 + CREDIBLE)
    assert story.wait(1.5) == [Repair(SYMBOL, 101, 99 + CREDIBLE)]


def test_two_witnesses_whose_clocks_differ_a_little_make_no_reset() -> None:
    story = Story(exchange_lane(), plan(1, "trades"))
    wire = Connection()
    for trade_id in range(1, 30):
        story.trade(trade_id)
        story.pipe.receive(1, market_trade(wire, trade_id, story.now_ns + 5 * MS), story.now_ns + 6 * MS)
    story.wait(2)
    assert story.ids() == list(range(1, 30))
    assert story.told.gap_list() == []
    assert story.pipe.products[Market.parse(SYMBOL)].trades.conflicts == 29


def test_numberings_without_end_are_forgotten_and_what_they_miss_is_given_up() -> None:
    story = Story()
    for _ in range(6):
        story.trade(1, 2, 5)
        story.wait(1.5)
    given_up = [gap for gap in story.told.gap_list("trades") if gap.get("given_up")]
    story.told.take(story.pipe)
    given_up = [gap for gap in story.told.gap_list("trades") if gap.get("given_up")]
    assert len(given_up) == 2
    assert len(story.gaps()) == 6


def test_a_heartbeat_of_before_a_reset_makes_nothing_missing_and_one_that_goes_on_does() -> None:
    story = Story()
    story.trade(*range(990, 1001))
    story.trade(1, 2, 3)
    story.beat(1000)
    for _ in range(9):
        story.wait(1)
        story.beat(3)
    assert story.gaps() == []
    story.beat(1000)
    story.wait(2)
    assert story.gaps() == [(4, 1000, 997, 0)]


def test_what_a_run_doubted_whose_clock_was_ahead_is_asked_for_by_the_next_one() -> None:
    """It was killed: a run that is stopped asks for nothing more."""
    ahead_ns, plans = 3600 * S, (plan(0, "book"), exchange_lane(1))
    first, wire = opened(*plans), Connection()
    first.receive(0, wire.snapshot(99.0, 101.0), START + ahead_ns)
    first.receive(1, match(100, START), START + ahead_ns)
    first.receive(1, match(WILD, START + MS), START + ahead_ns + MS)
    first.receive(0, wire.beat(), START + ahead_ns + S)
    second = opened(*plans, checkpoint=first.checkpoint())
    second.start(START + 2 * S)
    second.commands.clear()
    for tenths in range(40):
        second.tick(START + 2 * S + tenths * 100 * MS)
    asked = [command for command in second.commands if isinstance(command, Repair)]
    assert asked == [Repair(SYMBOL, WILD, WILD)]
