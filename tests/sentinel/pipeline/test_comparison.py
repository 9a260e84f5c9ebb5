"""Unnumbered books against REST: a whole stream is never doubted, a lost change is found however deep it lies."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from feeds.coinbase_exchange.protocol import CoinbaseExchangeFeed
from feeds.market import Market
from feeds.protocol import Subscription
from sentinel.contract.line_protocol import decode
from sentinel.pipeline import BookAnswer, LanePlan, Pipeline, Send, Settings

MS = 1_000_000
S = 1_000 * MS
START_NS = 1_700_000_000 * S
END_NS = START_NS + 30 * S
FIXED = {("buy", 99.0): 1.0, ("buy", 90.0): 1.0, ("sell", 101.0): 1.0, ("sell", 110.0): 1.0}
"""Levels that never change: the touch, and the ends of every answer."""

Change = tuple[int, str, float, float]
"""When it came about, its side, its price and its new size."""


class Stream:
    """One product's ``level2`` or ``level2_batch`` from its snapshot on."""

    def __init__(self, *, is_batched: bool = False, copies: int = 1) -> None:
        subscription = Subscription(frozenset({"book"}), ("BTC-USD",))
        channel = {} if is_batched else {"book_channel": "level2", "authenticate": dict}
        plans = [LanePlan(lane, "coinbase_exchange", subscription, lane) for lane in range(copies)]
        self.pipeline = Pipeline(Settings("judge"), plans, lambda _: CoinbaseExchangeFeed(subscription, **channel))
        self.pipeline.start(START_NS)
        for lane in range(copies):
            self.pipeline.opened(lane, START_NS)
            self.snapshot(FIXED, START_NS, lane)
        self.pipeline.commands.clear()

    def snapshot(self, levels: dict[tuple[str, float], float], now_ns: int, lane: int = 0) -> None:
        sides = {side: [[str(p), str(size)] for (of, p), size in levels.items() if of == side] for side in SIDES}
        self.say({"type": "snapshot", "bids": sides["buy"], "asks": sides["sell"]}, now_ns, lane)

    def change(self, side: str, price: float, size: float, now_ns: int, lane: int = 0) -> None:
        self.say({"type": "l2update", "changes": [[side, str(price), str(size)]]}, now_ns, lane)

    def beat(self, now_ns: int) -> None:
        for lane in range(len(self.pipeline.lanes)):
            self.say({"type": "heartbeat", "sequence": 1, "last_trade_id": 0}, now_ns, lane)
        self.pipeline.tick(now_ns)

    def say(self, message: dict[str, object], now_ns: int, lane: int = 0) -> None:
        self.pipeline.receive(lane, json.dumps({**message, "product_id": "BTC-USD"}).encode(), now_ns)

    def causes(self) -> list[str]:
        """Of the gaps of the book since the last look, each time one is written."""
        points = [decode(lines.text) for lines in self.pipeline.take().accounts]
        return [dict(point.tags)["cause"] for point in points if point.measurement == "gaps"]


SIDES = ("buy", "sell")


def rest(changes: list[Change], taken_ns: int) -> BookAnswer:
    """The book that a venue shows which has come as far as ``taken_ns``."""
    levels, last_ns = dict(FIXED), START_NS
    for at_ns, side, price, size in changes:
        if at_ns <= taken_ns:
            levels[side, price] = size
            last_ns = at_ns
    bids, asks = ({p: size for (of, p), size in levels.items() if of == side and size} for side in SIDES)
    return BookAnswer("BTC-USD", last_ns, bids, asks)


@st.composite
def markets(draw: st.DrawFn) -> list[Change]:
    """Changes in their order, of few levels and few sizes, so that a level often returns to what it was."""
    moments = sorted(draw(st.lists(st.integers(1, 25_000), max_size=40)))
    sides = st.sampled_from(SIDES)
    changes = []
    for ms in moments:
        side = draw(sides)
        price = draw(st.integers(92, 94)) + (14 if side == "sell" else 0)
        changes.append((START_NS + ms * MS, side, float(price), float(draw(st.integers(0, 2)))))
    return changes


def play(
    stream: Stream,
    changes: list[Change],
    delays_ms: list[int],
    answers: list[tuple[int, int]],
    lost: Change | None = None,
) -> list[str]:
    """``delays_ms``: how far the stream was behind at each change. ``answers``: when each came, and how old it was.
    Only REST knows of ``lost``."""
    inputs: list[tuple[int, int, object]] = [(START_NS + second * S // 2, 2, None) for second in range(1, 61)]
    arrival_ns = START_NS
    for change, delay_ms in zip(changes, delays_ms, strict=False):
        arrival_ns = max(arrival_ns, change[0] + delay_ms * MS)  # a socket keeps the order
        inputs.append((arrival_ns, 0, change))
    truth = changes if lost is None else sorted([*changes, lost])
    inputs += [(START_NS + at * MS, 1, rest(truth, START_NS + (at - age) * MS)) for at, age in answers]
    for now_ns, _, what in sorted(inputs, key=lambda entry: entry[:2]):
        if what is None:
            stream.beat(now_ns)
        elif isinstance(what, BookAnswer):
            stream.pipeline.compared(what, now_ns)
        else:
            _, side, price, size = what
            stream.change(side, price, size, now_ns)
    return stream.causes()


@given(
    changes=markets(),
    delays_ms=st.lists(st.integers(0, 1900), min_size=40, max_size=40),
    answers=st.lists(st.tuples(st.integers(1, 29_000), st.integers(0, 20_000)), max_size=20),
    is_batched=st.booleans(),
)
def test_a_whole_stream_is_never_doubted(
    changes: list[Change], delays_ms: list[int], answers: list[tuple[int, int]], is_batched: bool
) -> None:
    """However old the answers are and however far the stream is behind them, up to the lag allowed for."""
    stream = Stream(is_batched=is_batched)
    assert play(stream, changes, delays_ms, answers) == []
    assert not any(isinstance(command, Send) for command in stream.pipeline.commands)


@given(changes=markets(), is_batched=st.booleans(), side=st.sampled_from(SIDES))
def test_a_lost_change_is_found(changes: list[Change], is_batched: bool, side: str) -> None:
    """One of a level that nothing else touches, by the second answer that sees it."""
    lost = (START_NS + 2 * S, side, 95.0 if side == "buy" else 105.0, 3.0)
    moving = [(START_NS + at * S, "buy", 91.0, float(at)) for at in (9, 19)]
    stream = Stream(is_batched=is_batched)
    answers = [(9_600, 0), (19_600, 0)]
    assert play(stream, sorted([*changes, *moving]), [0] * 42, answers, lost) == ["witness"]
    (asked,) = (command for command in stream.pipeline.commands if isinstance(command, Send))
    assert [json.loads(message)["type"] for message in asked.messages] == ["unsubscribe", "subscribe"]


def lacking(*, is_batched: bool = False) -> tuple[Stream, BookAnswer]:
    """A stream that has lost a bid at 95, and what REST says."""
    lost: Change = (START_NS + S, "buy", 95.0, 3.0)
    return Stream(is_batched=is_batched), replace(rest([lost], lost[0]), venue_ns=START_NS + 60 * S)


def pass_time(stream: Stream, first_s: int, last_s: int) -> list[str]:
    for second in range(first_s, last_s + 1):
        stream.beat(START_NS + second * S)
    return stream.causes()


def test_one_answer_is_not_enough() -> None:
    stream, answer = lacking()
    stream.pipeline.compared(answer, START_NS + S)
    assert pass_time(stream, 2, 20) == []


def test_an_answer_from_before_the_last_one_is_none() -> None:
    """A cache that is stuck gives the same answer again and again."""
    stream, answer = lacking()
    for second in (1, 2, 3):
        stream.pipeline.compared(replace(answer, venue_ns=START_NS + S // 2), START_NS + second * S)
        stream.beat(START_NS + second * S)
    assert pass_time(stream, 3, 20) == []


def test_a_clock_that_is_ahead_makes_no_answer_look_old() -> None:
    """The venue's times are an hour before ours, and the wall clock has told so."""
    stream, answer = lacking()
    stream.pipeline.step(-3600 * S, START_NS)
    for second in (1, 2):
        stream.beat(START_NS + second * S)
        venue_ns = START_NS + second * S - 3600 * S
        stream.pipeline.compared(replace(answer, venue_ns=venue_ns), START_NS + second * S)
    assert pass_time(stream, 3, 6) == ["witness"]


def test_what_the_stream_says_after_the_second_answer_still_counts() -> None:
    stream, answer = lacking()
    stream.pipeline.compared(answer, START_NS + S)
    stream.beat(START_NS + 2 * S)
    stream.pipeline.compared(answer, START_NS + 2 * S)
    stream.change("buy", 95.0, 3.0, START_NS + 3 * S + S // 2)
    assert pass_time(stream, 4, 20) == []


def test_what_the_stream_says_between_the_answers_makes_the_second_one_the_first() -> None:
    """The first was older than our stream, the second is older than the change that came in between."""
    stream, answer = lacking()
    stream.pipeline.compared(answer, START_NS + S)
    stream.beat(START_NS + S)
    stream.change("buy", 95.0, 1.0, START_NS + S + S // 2)
    stream.pipeline.compared(answer, START_NS + 2 * S)
    assert pass_time(stream, 2, 20) == []


def test_nothing_is_judged_before_a_frame_shows_that_the_socket_was_read() -> None:
    """The process stood still: what it waited for may lie there."""
    stream, answer = lacking()
    stream.pipeline.compared(answer, START_NS + S)
    stream.beat(START_NS + 2 * S)
    stream.pipeline.compared(answer, START_NS + 2 * S)
    stream.pipeline.tick(START_NS + 4 * S + S // 4)
    stream.change("buy", 95.0, 3.0, START_NS + 4 * S + S // 4)
    assert pass_time(stream, 5, 20) == []


def test_levels_beyond_the_ends_of_an_answer_are_not_compared() -> None:
    stream = Stream()
    stream.change("buy", 50.0, 1.0, START_NS + S)
    stream.change("sell", 150.0, 1.0, START_NS + S)
    for second in (1, 2, 3):
        stream.pipeline.compared(replace(rest([], START_NS), venue_ns=START_NS + 60 * S), START_NS + second * S)
    assert pass_time(stream, 3, 20) == []


@pytest.mark.parametrize("level", [("buy", 95.0), ("sell", 105.0)])
def test_a_level_too_many_is_found_and_a_fresh_snapshot_ends_the_gap(level: tuple[str, float]) -> None:
    stream = Stream()
    stream.change(*level, 1.0, START_NS + S)
    answer = replace(rest([], START_NS), venue_ns=START_NS + 60 * S)
    for second in (1, 2):
        stream.pipeline.compared(answer, START_NS + second * S)
    assert pass_time(stream, 2, 4) == ["witness"]
    assert not stream.pipeline.products[Market.parse("BTC-USD")].books.is_proved
    stream.snapshot(FIXED, START_NS + 5 * S)
    assert stream.pipeline.products[Market.parse("BTC-USD")].books.is_proved


def test_a_venue_that_contradicts_itself_is_not_asked_again_and_again() -> None:
    """Its stream and its REST do not agree on a level: one fresh book is what can be done about it."""
    stream, answer = lacking()
    causes = []
    for second in range(1, 60):
        stream.pipeline.compared(answer, START_NS + second * S)
        causes += pass_time(stream, second, second)
        if not stream.pipeline.products[Market.parse("BTC-USD")].books.is_proved:
            stream.snapshot(FIXED, START_NS + second * S + S // 2)
    assert causes == ["witness", "witness"]  # it opened and it ended


def test_the_other_copy_goes_on_when_one_is_contradicted() -> None:
    stream, answer = Stream(copies=2), rest([(START_NS + S, "buy", 95.0, 3.0)], START_NS + S)
    stream.change("buy", 95.0, 3.0, START_NS + S, lane=1)
    answer = replace(answer, venue_ns=START_NS + 60 * S)
    for second in (1, 2):
        stream.pipeline.compared(answer, START_NS + second * S)
    assert pass_time(stream, 2, 20) == []
    first, second = stream.pipeline.products[Market.parse("BTC-USD")].books.lanes.values()
    assert (first.is_proved, second.is_proved) == (False, True)
