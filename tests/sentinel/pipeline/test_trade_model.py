"""A venue that numbers its trades, and all that can come between it and the store at once: every trade it published
since the first one heard is stored once, or is in a gap; and once REST answers in peace, nothing is missing.
"""

from __future__ import annotations

from bisect import bisect_right

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from book.events import Trade
from sentinel.pipeline import Repair, RepairAnswer
from tests.sentinel.pipeline.test_trade_ids import match
from tests.sentinel.pipeline.venue import MS, START, SYMBOL, S, Told, exchange_lane, heartbeat, opened

COUNTS = st.integers(1, 4)


class TradesModel(RuleBasedStateMachine):
    """Trades lost, doubled, late and wild; heartbeats; REST late, empty or in pages; disk, stops, kills; resets."""

    def __init__(self) -> None:
        super().__init__()
        self.pipe, self.told = opened(exchange_lane()), Told()
        self.now_ns = START
        self.published: list[list[Trade]] = [[]]  # by numbering
        self.next_id = 500
        self.repairs: list[Repair] = []
        self.is_suspended = False
        self.is_wild_to_come = True
        self.hear(self.trade())

    # The venue

    def trade(self) -> bytes:
        self.now_ns += 60 * MS
        self.published[-1].append(Trade(SYMBOL, self.next_id, 100.5, 0.25, "sell", self.now_ns, is_live=False))
        self.next_id += 1
        return match(self.next_id - 1, self.now_ns)

    def hear(self, frame: bytes, *, is_true: bool = True) -> None:
        if is_true:
            self.heard_id = self.published[-1][-1].trade_id
        self.pipe.receive(0, frame, self.now_ns + MS)

    @rule(count=COUNTS)
    def trades_come(self, count: int) -> None:
        for _ in range(count):
            self.hear(self.trade())

    @rule(count=COUNTS)
    def trades_are_lost(self, count: int) -> None:
        for _ in range(count):
            self.trade()

    @rule()
    def two_trades_come_in_the_wrong_order_and_twice(self) -> None:
        frames = [self.trade(), self.trade()]
        for frame in (*reversed(frames), *frames):
            self.hear(frame)

    @rule()
    def a_heartbeat_comes(self) -> None:
        self.hear(heartbeat(self.published[-1][-1].trade_id))

    @precondition(lambda self: self.is_wild_to_come)
    @rule(wild=st.integers(10**6, 10**12), is_trade=st.booleans())
    def one_wild_number_comes(self, wild: int, is_trade: bool) -> None:
        self.is_wild_to_come = False
        self.hear(match(wild, self.now_ns, 77.0) if is_trade else heartbeat(wild), is_true=False)

    @precondition(lambda self: len(self.published) < 3 and len(self.published[-1]) > 20)
    @rule()
    def the_ids_begin_again(self) -> None:
        self.peace()  # the last trades of a numbering that nobody heard of are not known to any
        self.published.append([])
        self.next_id = 1
        self.now_ns += S
        for _ in range(2):
            self.hear(self.trade())

    # The world

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.now_ns += 100 * MS
            self.pipe.tick(self.now_ns)
            self.pipe.lanes[0].heard_ns = self.now_ns  # it is not about silence
        self.gather()

    def gather(self) -> None:
        self.repairs += [command for command in self.pipe.commands if isinstance(command, Repair)]
        self.pipe.commands.clear()

    @rule(is_kept=st.booleans(), is_in_pages=st.booleans(), data=st.data())
    def rest_answers(self, is_kept: bool, is_in_pages: bool, data: st.DataObject) -> None:
        if not self.repairs:
            return
        repair = self.repairs.pop(data.draw(st.integers(0, len(self.repairs) - 1)))
        self.answer(repair, is_empty=not is_kept, is_in_pages=is_in_pages)

    def answer(self, repair: Repair, *, is_empty: bool = False, is_in_pages: bool = False) -> None:
        self.now_ns += 10 * MS
        of_now = self.published[-1]  # REST knows only the present numbering
        found = () if is_empty else tuple(t for t in of_now if repair.first <= t.trade_id <= repair.last)
        if is_in_pages and len(found) > 1:
            page, found = found[-1:], found[:-1]
            answer = RepairAnswer(SYMBOL, page[0].trade_id, repair.last, page, is_complete=False)
            self.pipe.repaired(answer, self.now_ns)
        self.pipe.repaired(RepairAnswer(SYMBOL, repair.first, repair.last, found, is_complete=True), self.now_ns)

    @rule()
    def the_disk_refuses_or_is_back(self) -> None:
        if self.is_suspended:
            self.pipe.resume(self.now_ns)
        else:
            self.pipe.suspend(self.now_ns)
        self.is_suspended = not self.is_suspended

    @rule(is_orderly=st.booleans())
    def the_collector_is_started_anew(self, is_orderly: bool) -> None:
        if is_orderly:
            self.pipe.stop(self.now_ns)
            known = [trade.trade_id for trade in self.published[-1] if trade.trade_id <= self.heard_id]
            assert not self.unnamed(len(self.published) - 1, known), "a stop keeps silent about a loss"
        self.told.take(self.pipe)
        self.pipe = opened(exchange_lane(), checkpoint=self.pipe.checkpoint())
        self.is_suspended = False
        self.repairs.clear()
        self.now_ns += S
        self.pipe.start(self.now_ns)
        self.pipe.opened(0, self.now_ns)
        self.pipe.commands.clear()
        last = self.published[-1][-1]
        self.hear(match(last.trade_id, last.venue_ns, kind="last_match"))

    def peace(self) -> None:
        """All is well for as long as it takes."""
        if self.is_suspended:
            self.the_disk_refuses_or_is_back()
        self.hear(self.trade())
        for _ in range(60):
            self.time_passes(1.0)
            while self.repairs:
                self.answer(self.repairs.pop())

    # What must hold

    def stored(self) -> set[tuple[int, int]]:
        self.told.take(self.pipe)
        points = [point.time_ns for point in self.told.trades]
        assert len(points) == len(set(points)), "a trade was stored twice, or two on one point"
        return {(int(dict(point.fields)["trade_id"]), point.time_ns) for point in self.told.trades}

    @invariant()
    def nothing_is_invented(self) -> None:
        truth = {(t.trade_id, t.venue_ns + t.trade_id % 1000) for some in self.published for t in some}
        assert self.stored() <= truth

    def missing(self) -> set[tuple[int, int]]:
        """Numbering and id of what the gaps say is not there."""
        self.told.take(self.pipe)
        gaps = self.told.gap_list("trades")
        resets = sorted(int(str(gap["start_ns"])) for gap in gaps if gap["cause"] == "reset")
        assert len(resets) == len(self.published) - 1
        return {
            (bisect_right(resets, int(str(gap["start_ns"])) - 1), number)
            for gap in gaps
            if gap["cause"] == "trades" and gap["repaired_count"] != gap["missing_count"]
            for number in range(int(str(gap["start_seq"])), int(str(gap["end_seq"])) + 1)
        }

    def unnamed(self, era: int, known: list[int]) -> set[int]:
        """What is neither stored nor in a gap, of these ids."""
        stored, named = self.stored(), {number for of, number in self.missing() if of == era}
        points = {trade.trade_id: trade.venue_ns + trade.trade_id % 1000 for trade in self.published[era]}
        return {number for number in known if (number, points[number]) not in stored and number not in named}

    def teardown(self) -> None:
        try:
            self.peace()
            for era, some in enumerate(self.published):
                assert not self.unnamed(era, [trade.trade_id for trade in some]), "lost in silence"
            assert all(era < len(self.published) - 1 for era, _ in self.missing()), "not repaired in peace"
        finally:
            super().teardown()


TestTradesModel = TradesModel.TestCase
TestTradesModel.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
