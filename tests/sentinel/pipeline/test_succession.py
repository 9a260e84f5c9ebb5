"""A connection that is to end is replaced before it does: its successor proves its books first, and nothing is lost."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest

from book.events import Closing, Meaning
from feeds.market import Market as Key
from feeds.protocol import FeedFacts
from sentinel.contract.lines import Lines
from sentinel.disk.taped import input_of, record_of
from sentinel.pipeline import FetchedBook, LanePlan, Output, Pipeline, Retire, Settings, Succeed
from sentinel.pipeline.inputs import Closed, Frame, Input, Opened, Replan, Stop, Tick, spare_of
from tests.sentinel.pipeline.chained_venue import RANGE, ChainedFeed, frame
from tests.sentinel.pipeline.venue import MS, START, S, Told, opened, plan, points

BTC, ETH, SOL = "BTC-USD", "ETH-USD", "SOL-USD"
OLD, NEW = 0, spare_of(0)
"""The only lane, and its spare."""

STEP = 20 * MS
CLOSING = b'{"event":"closing"}'


class ClosingFeed(ChainedFeed):
    """One that can also say that the venue closes."""

    def receive(self, frame: bytes) -> Meaning:
        return Meaning(None, (Closing("upgrade"),)) if frame == CLOSING else super().receive(frame)


class Market:
    """A venue of two books, each changed every ``STEP``, and a collector of it.

    ``listening`` are the slots that hear of it."""

    def __init__(self, facts: FeedFacts = RANGE, symbols: Sequence[str] = (BTC, ETH)) -> None:
        self.symbols = symbols
        plans = [plan(0, "book", products=tuple(symbols))]
        self.pipe = Pipeline(Settings("tester"), plans, lambda planned: ClosingFeed(planned.subscription, facts))
        self.now_ns = START
        self.count = 100
        self.listening: set[int] = set()
        self.lines: list[Lines] = []
        self.told = Told()
        self.retired: list[int] = []

    @property
    def later_ns(self) -> int:
        """Between a tick and the next change."""
        return self.now_ns + 15 * MS

    def open(self, slot: int) -> None:
        self.pipe.opened(slot, self.later_ns)
        self.listening.add(slot)
        said = json.dumps({"event": "subscribed", "products": list(self.symbols)}).encode()
        self.pipe.receive(slot, said, self.later_ns)

    def fetch(self, slot: int, *symbols: str) -> None:
        for symbol in symbols or self.symbols:
            book = FetchedBook(slot, symbol, self.count, {99.0: float(self.count)}, {101.0: 1.0})
            self.pipe.fetched(book, self.later_ns)

    def run(self, duration_ns: int) -> None:
        for _ in range(duration_ns // STEP):
            self.now_ns += STEP
            self.count += 1
            for slot in sorted(self.listening):
                for symbol in self.symbols:
                    changes = [("99.0", str(self.count))]
                    self.pipe.receive(
                        slot, frame("delta", symbol, changes, [], first=self.count, last=self.count), self.now_ns
                    )
            self.pipe.tick(self.now_ns + 10 * MS)
            self.take()

    def end(self, slot: int) -> None:
        self.listening.discard(slot)
        self.pipe.closed(slot, "disconnected", self.later_ns)
        self.take()

    def take(self) -> None:
        for command in list(self.pipe.commands):
            if isinstance(command, Retire):
                self.retired.append(command.lane)
                self.listening.discard(command.lane)
                self.pipe.commands.remove(command)
                self.pipe.closed(command.lane, "disconnected", self.now_ns + 12 * MS)
        output = self.pipe.take()
        self.lines += output.book
        self.told_of(output)

    def told_of(self, output: Output) -> None:
        for point in points(output.accounts):
            (self.told.gaps if point.measurement == "gaps" else self.told.coverage)[(point.tags, point.time_ns)] = point

    def stop(self) -> None:
        self.pipe.stop(self.now_ns + 16 * MS)
        self.take()

    @property
    def text(self) -> list[bytes]:
        return [line for lines in self.lines for line in lines.text.split(b"\n")]


def undisturbed(duration_ns: int) -> Market:
    market = Market()
    market.open(OLD)
    market.fetch(OLD)
    market.run(duration_ns)
    market.stop()
    return market


def test_a_successor_that_proves_its_books_takes_over_and_the_lines_are_as_if_nothing_had_happened() -> None:
    market = Market()
    market.open(OLD)
    market.fetch(OLD)
    market.run(1 * S)
    market.pipe.receive(OLD, CLOSING, market.now_ns)
    assert [command for command in market.pipe.commands if isinstance(command, Succeed)] == [Succeed(OLD)]
    market.open(NEW)
    market.run(300 * MS)
    market.fetch(NEW)
    market.run(900 * MS)
    assert market.retired == []  # what was on its way may yet come
    market.run(300 * MS)
    assert market.retired == [OLD]
    assert market.pipe.lanes == [market.pipe.slots[NEW]]
    assert market.pipe.slots[OLD].books == {}
    market.run(1500 * MS)
    market.stop()
    assert market.told.gap_list() == []
    assert market.text == undisturbed(4 * S).text
    assert market.told.total("samples_withheld") == 0


def test_succession_goes_back_and_forth() -> None:
    market = Market()
    market.open(OLD)
    market.fetch(OLD)
    market.run(1 * S)
    for slot in (NEW, OLD, NEW, OLD):
        market.open(slot)
        market.fetch(slot)
        market.run(2 * S)
    market.stop()
    assert market.retired == [OLD, NEW, OLD, NEW]
    assert market.told.gap_list() == []
    assert market.text == undisturbed(9 * S).text


def test_one_book_that_the_successor_has_not_proved_keeps_the_old_connection() -> None:
    market = Market()
    market.open(OLD)
    market.fetch(OLD)
    market.run(1 * S)
    market.open(NEW)
    market.fetch(NEW, BTC)
    market.run(5 * S)
    assert market.retired == []
    market.end(OLD)  # the venue ends it all the same
    market.run(1 * S)
    market.stop()
    (gap,) = market.told.gap_list()
    assert (gap["symbol"], gap["cause"]) == (ETH, "disconnected")
    assert market.pipe.lanes == [market.pipe.slots[NEW]]
    btc = [
        point.time_ns
        for point in points(market.lines)
        if point.measurement == "top" and (("symbol", BTC) in point.tags)
    ]
    assert btc == list(range(btc[0], START + 7 * S - 100 * MS + 1, 100 * MS))


def test_a_successor_that_does_not_come_or_is_lost_costs_nothing() -> None:
    market = Market()
    market.open(OLD)
    market.fetch(OLD)
    market.run(1 * S)
    market.pipe.closed(NEW, "disconnected", market.now_ns)  # it could not be opened
    market.open(NEW)
    market.run(300 * MS)
    market.end(NEW)
    market.run(200 * MS)
    assert market.pipe.slots[NEW].books == {}
    market.open(NEW)
    market.fetch(NEW)
    market.run(500 * MS)
    market.end(NEW)
    market.run(2 * S)
    market.stop()
    assert market.retired == []
    assert market.told.gap_list() == []
    assert market.text == undisturbed(4 * S).text


def test_between_two_ends_the_successor_that_comes_later_goes_on() -> None:
    """The old connection ends before the new one is there: a gap like any other, ended by the new one."""
    market = Market()
    market.open(OLD)
    market.fetch(OLD)
    market.run(1 * S)
    market.end(OLD)
    market.run(500 * MS)
    market.open(NEW)
    market.fetch(NEW)
    market.run(1 * S)
    market.stop()
    gaps = market.told.gap_list()
    assert {(gap["symbol"], gap["cause"]) for gap in gaps} == {(BTC, "disconnected"), (ETH, "disconnected")}
    assert all("end_ns" in gap for gap in gaps)
    assert market.pipe.lanes == [market.pipe.slots[NEW]]
    assert market.pipe.slots[OLD].books == {}


def test_a_quiet_book_is_waited_for_until_the_old_one_has_said_all_it_can() -> None:
    market = Market(symbols=(BTC,))
    market.open(OLD)
    market.fetch(OLD)
    market.run(1 * S)
    last = market.count
    for _ in range(100):  # two quiet seconds
        market.now_ns += STEP
        market.pipe.tick(market.now_ns)
    market.open(NEW)
    market.fetch(NEW)
    for _ in range(200):
        market.now_ns += STEP
        market.pipe.tick(market.now_ns)
        market.take()
    assert market.retired == []
    assert market.count == last
    market.run(2 * S)
    assert market.retired == [OLD]
    market.stop()
    assert market.told.gap_list() == []
    times = [point.time_ns for point in points(market.lines) if point.measurement == "top"]
    assert times == list(range(times[0], market.now_ns + 1 - 100 * MS, 100 * MS))


@pytest.mark.parametrize("at_ns", [0, 500 * MS])
def test_the_clock_may_step_meanwhile(at_ns: int) -> None:
    market = Market()
    market.open(OLD)
    market.fetch(OLD)
    market.run(1 * S)
    market.open(NEW)
    market.fetch(NEW)
    market.run(at_ns)
    market.now_ns += 60 * S
    market.pipe.step(60 * S, market.now_ns)
    market.run(600 * MS)
    assert market.retired == ([] if at_ns < 500 * MS else [OLD])
    market.run(1 * S)
    assert market.retired == [OLD]
    market.stop()
    assert {gap["cause"] for gap in market.told.gap_list()} == {"clock"}


def test_a_numbered_connection_is_replaced_alike() -> None:
    """Where a counter proves all books of a connection, and trades come along."""
    pipe = opened(plan(0))
    told = Told()

    def head(channel: str, number: int) -> str:
        return f'{{"channel":"{channel}","timestamp":"2026-09-07T01:57:58Z","sequence_num":{number},"events":'

    def book(number: int, kind: str, size: int) -> bytes:
        update = f'{{"side":"bid","price_level":"99","new_quantity":"{size}"}}'
        ask = '{"side":"offer","price_level":"101","new_quantity":"1"}'
        levels = f"{update},{ask}" if kind == "snapshot" else update
        return (
            head("l2_data", number) + f'[{{"type":"{kind}","product_id":"BTC-USD","updates":[{levels}]}}]}}'
        ).encode()

    served = '[{"subscriptions":{"level2":["BTC-USD"],"market_trades":["BTC-USD"],"heartbeats":["heartbeats"]}}]}'
    numbers = {OLD: 0, NEW: 0}
    begun: set[int] = set()
    retired: list[int] = []
    for step in range(1, 151):
        now_ns = START + step * STEP
        for slot in (OLD, NEW):
            if (slot == OLD and retired) or (slot == NEW and step < 50):
                continue
            if slot not in begun:
                begun.add(slot)
                if slot == NEW:
                    pipe.opened(NEW, now_ns)
                pipe.receive(slot, (head("subscriptions", 0) + served).encode(), now_ns)
                pipe.receive(slot, book(1, "snapshot", step), now_ns)
                numbers[slot] = 1
            else:
                numbers[slot] += 1
                pipe.receive(slot, book(numbers[slot], "update", step), now_ns)
        pipe.tick(now_ns + 10 * MS)
        retired += [command.lane for command in pipe.commands if isinstance(command, Retire)]
        pipe.commands.clear()
    assert retired == [OLD]
    pipe.stop(START + 151 * STEP)
    told.take(pipe)
    assert told.gap_list() == []
    assert told.instants() == [START + k * 100 * MS for k in range(1, 30)]
    sizes = [dict(point.fields)["bid_size"] for point in told.tops]
    assert sizes == [5.0 * k for k in range(1, 30)]
    assert [dict(point.fields)["updates"] for point in told.tops[1:]] == [5] * 28
    counts = pipe.lanes[0].counts
    assert (counts.residue, counts.lost) == (0, 0)
    assert told.total("frames_applied") == sum(numbers.values())


def test_frames_of_lane_and_spare_are_counted_together() -> None:
    market = Market(symbols=(BTC,))
    market.open(OLD)
    market.fetch(OLD)
    market.run(1 * S)
    market.open(NEW)
    market.fetch(NEW)
    market.run(2 * S)
    market.stop()
    assert market.pipe.slots[OLD].counts is market.pipe.slots[NEW].counts
    counts = market.pipe.lanes[0].counts
    assert counts.residue == 0
    assert market.told.total("frames_applied") == counts.applied


def play_at_random(seed: int) -> Market:
    """Connections come, prove some books or all of them, and end, in any order, on lane and spare."""
    rng = random.Random(seed)
    market = Market()
    for _ in range(60):
        slot = rng.choice((OLD, NEW))
        match rng.choice(("open", "fetch", "fetch one", "end", "run", "run", "run")):
            case "open" if slot not in market.listening:
                market.open(slot)
            case "fetch" if slot in market.listening:
                market.fetch(slot)
            case "fetch one" if slot in market.listening:
                market.fetch(slot, rng.choice((BTC, ETH)))
            case "end" if slot in market.listening:
                market.end(slot)
            case "run":
                market.run(rng.choice((1, 3, 10, 60)) * STEP)
    market.stop()
    return market


@pytest.mark.parametrize("seed", range(50))
def test_whatever_comes_and_goes_samples_are_the_truth_and_what_is_missing_is_named(seed: int) -> None:
    market = play_at_random(seed)
    assert market.text == play_at_random(seed).text
    for symbol in (BTC, ETH):
        tops = [
            point for point in points(market.lines) if point.measurement == "top" and ("symbol", symbol) in point.tags
        ]
        for point in tops:
            elapsed = point.time_ns - START
            assert dict(point.fields)["bid_size"] == 100 + elapsed // STEP
        gaps = [gap for gap in market.told.gap_list() if gap["symbol"] == symbol]
        written = {point.time_ns for point in tops}
        assert len(written) == len(tops)
        due = range(min(written), max(written) + 1, 100 * MS) if written else ()
        for instant in due:
            named = any(int(gap["start_ns"]) <= instant < int(gap.get("end_ns", market.now_ns)) for gap in gaps)
            assert instant in written or named, (symbol, instant - START)
        assert market.told.total("samples_due", symbol) == len(tops) + market.told.total("samples_withheld", symbol)
    assert market.pipe.lanes[0].counts.residue == 0


# Products join and leave meanwhile


class Taped(Market):
    """A market on two lanes of which every input is kept. ``carried`` are the products of each lane."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[tuple[Input, int]] = []
        self.carried: list[tuple[str, ...]] = [(BTC, ETH)]

    def give(self, given: Input, now_ns: int) -> None:
        self.inputs.append((given, now_ns))
        self.pipe.feed(given, now_ns)
        self.take()

    @property
    def plans(self) -> tuple[LanePlan, ...]:
        return tuple(plan(lane, "book", products=products) for lane, products in enumerate(self.carried))

    def replan(self, *carried: tuple[str, ...]) -> None:
        self.carried = list(carried)
        self.give(Replan(self.plans), self.later_ns)

    def open(self, slot: int) -> None:
        self.give(Opened(slot), self.later_ns)
        self.listening.add(slot)
        said = json.dumps({"event": "subscribed", "products": list(self.of(slot))}).encode()
        self.give(Frame(slot, said), self.later_ns)

    def of(self, slot: int) -> tuple[str, ...]:
        return self.carried[slot % spare_of(0)]

    def fetch(self, slot: int, *symbols: str) -> None:
        for symbol in symbols or self.of(slot):
            book = FetchedBook(slot, symbol, self.count, {99.0: float(self.count)}, {101.0: 1.0})
            self.give(book, self.later_ns)

    def run(self, duration_ns: int) -> None:
        for _ in range(duration_ns // STEP):
            self.now_ns += STEP
            self.count += 1
            for slot in sorted(self.listening):
                for symbol in self.of(slot):
                    change = frame("delta", symbol, [("99.0", str(self.count))], [], first=self.count, last=self.count)
                    self.give(Frame(slot, change), self.now_ns)
            self.give(Tick(), self.now_ns + 10 * MS)

    def end(self, slot: int) -> None:
        self.listening.discard(slot)
        self.give(Closed(slot, "disconnected"), self.later_ns)

    def take(self) -> None:
        for command in list(self.pipe.commands):
            if isinstance(command, Retire):
                self.retired.append(command.lane)
                self.listening.discard(command.lane)
                self.pipe.commands.remove(command)
                self.give(Closed(command.lane, "disconnected"), self.now_ns + 12 * MS)
        super().take()

    def stop(self) -> None:
        self.give(Stop(), self.now_ns + 16 * MS)

    def replayed(self) -> list[bytes]:
        """The lines of the same inputs from a tape."""
        again = Market()
        for given, now_ns in self.inputs:
            again.pipe.feed(input_of(record_of(given, now_ns)), now_ns)
            again.lines += again.pipe.take().book
        return again.text

    def tops(self, symbol: str) -> list[tuple[int, object]]:
        found = [
            point for point in points(self.lines) if point.measurement == "top" and ("symbol", symbol) in point.tags
        ]
        return [(point.time_ns, dict(point.fields)["bid_size"]) for point in found]


def truth(first_ns: int, end_ns: int) -> list[tuple[int, object]]:
    """The samples of any book of the market."""
    first_ns += -first_ns % (100 * MS)
    return [(at_ns, 100.0 + (at_ns - START) // STEP) for at_ns in range(first_ns, end_ns, 100 * MS)]


def handing_over() -> Taped:
    """One whose successor has proved one book of two."""
    market = Taped()
    market.open(OLD)
    market.fetch(OLD)
    market.run(1 * S)
    market.open(NEW)
    market.fetch(NEW, BTC)
    market.run(300 * MS)
    return market


def test_what_joins_while_a_successor_proves_has_a_lane_and_a_spare_of_its_own() -> None:
    market = handing_over()
    market.replan((BTC, ETH), (SOL,))
    market.open(1)
    market.fetch(1)
    market.run(300 * MS)
    market.fetch(NEW, ETH)
    market.run(1500 * MS)
    assert market.retired == [OLD]
    market.open(spare_of(1))
    market.fetch(spare_of(1))
    market.run(1500 * MS)
    assert market.retired == [OLD, 1]
    assert market.pipe.lanes == [market.pipe.slots[NEW], market.pipe.slots[spare_of(1)]]
    market.stop()
    assert market.told.gap_list() == []
    for symbol, since_ns in ((BTC, START + 1), (ETH, START + 1), (SOL, START + 1300 * MS + 1)):
        assert market.tops(symbol) == truth(since_ns, market.now_ns)
    assert market.replayed() == market.text
    assert market.pipe.lanes[1].counts.residue == 0


def test_what_leaves_while_a_successor_proves_keeps_nobody_waiting() -> None:
    market = handing_over()
    market.run(3 * S)
    assert market.retired == []  # ETH has not been proved
    market.replan((BTC,))
    market.run(1500 * MS)
    assert market.retired == [OLD]
    market.stop()
    assert [(gap["symbol"], gap["cause"]) for gap in market.told.gap_list()] == [(ETH, "delisted")]
    assert market.tops(BTC) == truth(START + 1, market.now_ns)
    assert market.tops(ETH) == truth(START + 1, START + 4300 * MS)
    books = market.pipe.products[Key("coinbase", ETH)].books
    assert (books.lanes, market.pipe.slots[NEW].books.keys()) == ({}, {BTC})
    assert market.replayed() == market.text
    assert market.told.total("frames_applied", ETH) == 215 + 165  # of both connections


def test_a_lane_whose_products_have_left_ends_with_its_spare_and_is_taken_again() -> None:
    market = handing_over()
    market.replan(())
    lane, spare = market.pipe.slots[OLD], market.pipe.slots[NEW]
    assert [(each.feed, each.books, each.products) for each in (lane, spare)] == [(None, {}, {})] * 2
    for slot in (OLD, NEW):  # the service has ended them
        market.end(slot)
    market.run(1 * S)
    market.replan((SOL,))
    for slot in (OLD, NEW):
        market.open(slot)
        market.fetch(slot)
        market.run(1500 * MS)
    market.stop()
    assert market.retired == [OLD]
    assert market.pipe.lanes == [spare]
    assert {gap["cause"] for gap in market.told.gap_list()} == {"delisted"}
    assert market.tops(SOL) == truth(START + 2300 * MS + 1, market.now_ns)
    assert market.replayed() == market.text


def test_what_the_venue_says_of_a_product_outlives_a_succession_and_not_a_new_beginning() -> None:
    market = handing_over()
    product = market.pipe.products[Key("coinbase", ETH)]
    market.pipe.slots[OLD].states[ETH] = "halted"
    product.heed_state(market.now_ns)
    market.fetch(NEW, ETH)
    market.run(1500 * MS)
    assert market.retired == [OLD]
    assert (product.state_at_venue, product.books.is_halted) == ("halted", True)
    market.end(NEW)
    market.open(NEW)
    assert (product.state_at_venue, product.books.is_halted) == ("trading", False)
