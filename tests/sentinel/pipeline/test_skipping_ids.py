"""Ids that skip as a rule: they say nothing of what is missing, and REST is asked only where a connection was lost."""

from __future__ import annotations

import json

import pytest

from book.events import Trade
from book.trade_ledger import Range
from feeds.bybit_linear.venue import BybitLinear, BybitLinearFeed
from feeds.market import Market
from feeds.protocol import Subscription
from feeds.rest import Reply
from sentinel.pipeline import LanePlan, Pipeline, Repair, RepairAnswer, Settings
from sentinel.pipeline.numbering import SKIPS_KEPT
from tests.sentinel.pipeline.venue import MS, START, S, Told

MARKET = Market("bybit_linear", "BTCUSDT")
PLANS = [LanePlan(lane, "bybit_linear", Subscription(frozenset({"trades"}), (MARKET.symbol,))) for lane in (0, 1)]


def opened(checkpoint: bytes | None = None, now_ns: int = START) -> Pipeline:
    pipe = Pipeline(Settings("tester"), PLANS, lambda plan: BybitLinearFeed(plan.subscription), checkpoint)
    pipe.start(now_ns)
    for lane in (0, 1):
        pipe.opened(lane, now_ns)
    pipe.commands.clear()
    return pipe


def fill(ms: int, *names: str) -> bytes:
    """Trades of one step, and of one millisecond."""
    listed = ",".join(
        f'{{"T":{START // MS + ms},"s":"BTCUSDT","S":"Sell","v":"0.25","p":"100.5","i":"{name}-a9188a0a","seq":7000}}'
        for name in names or (str(ms),)
    )
    return f'{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[{listed}]}}'.encode()


Row = tuple[str, int, int]
"""Name, millisecond and step of a trade; its size is that of its name."""


def sweep(*rows: Row) -> bytes:
    """A frame of the stream."""
    trade = {"s": "BTCUSDT", "S": "Sell", "p": "100.5"}
    data = [
        trade | {"T": START // MS + ms, "v": str(ord(name)), "i": f"{name}-a", "seq": seq} for name, ms, seq in rows
    ]
    return json.dumps({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1, "data": data}).encode()


def repair(pipe: Pipeline, now_ns: int, *rows: Row) -> int:
    """Whatever is asked is answered by the venue's REST, which has these, oldest first; returns how often."""
    trade = {"symbol": "BTCUSDT", "side": "Sell", "price": "100.5"}
    listed = [
        trade | {"time": str(START // MS + ms), "size": str(ord(name)), "execId": f"{name}-a", "seq": str(seq)}
        for name, ms, seq in reversed(rows)
    ]
    reply = Reply(200, json.dumps({"retCode": 0, "result": {"list": listed}}).encode())
    questions = asked(pipe)
    for first, last in questions:
        talk = BybitLinear().rest().trades("BTCUSDT", first, last)
        next(talk)
        with pytest.raises(StopIteration) as done:
            talk.send(reply)
        page = done.value.value
        told = tuple(record for record in page.records if isinstance(record, Trade))
        answer = RepairAnswer("BTCUSDT", page.first, page.last, told, True, exchange=MARKET.exchange)
        pipe.repaired(answer, now_ns)
    return len(questions)


def stored(told: Told) -> dict[str, int]:
    """Ids since the start, by names; a trade that is stored twice is an error."""
    found = [(chr(int(float(dict(point.fields)["size"]))), point) for point in told.trades]
    ids = {name: int(dict(point.fields)["trade_id"]) - START for name, point in found}
    assert len(ids) == len(found)
    assert {name: point.time_ns - START for name, point in found} == ids
    return ids


def asked(pipe: Pipeline) -> list[tuple[int, int]]:
    found = [(command.first, command.last) for command in pipe.commands if isinstance(command, Repair)]
    pipe.commands.clear()
    return found


def ids(told: Told) -> list[int]:
    return sorted(int(dict(point.fields)["trade_id"]) - START for point in told.trades)


def test_each_trade_is_kept_once_and_none_is_doubted_or_asked_for() -> None:
    pipe, told = opened(), Told()
    for ms in range(0, 5000, 7):
        pipe.receive(0, fill(ms), START + ms * MS)
        pipe.receive(1, fill(ms), START + ms * MS)
    pipe.receive(0, fill(4998, "x", "y"), START + 5 * S)  # three of one millisecond
    pipe.receive(0, fill(4990), START + 5 * S)  # late
    pipe.tick(START + 3600 * S)
    assert asked(pipe) == []
    pipe.stop(START + 3600 * S)
    told.take(pipe)
    in_time = [ms * MS for ms in range(0, 5000, 7)]
    assert ids(told) == sorted([*in_time, 4990 * MS, 4998 * MS + 1, 4998 * MS + 2])
    assert told.gap_list("trades") == []
    assert pipe.products[MARKET].trades.conflicts == 0
    assert len(pipe.products[MARKET].trades.ledger.held()) <= SKIPS_KEPT + 2


def test_what_was_skipped_while_a_connection_was_lost_is_asked_for_a_few_times() -> None:
    pipe, told = opened(), Told()
    pipe.receive(0, fill(0), START)
    pipe.closed(0, "disconnected", START + S)
    pipe.opened(0, START + 2 * S)
    pipe.receive(0, fill(2500), START + 2500 * MS)
    pipe.receive(0, fill(2600), START + 2600 * MS)
    lost = START + 1, START + 2500 * MS - 1
    pipe.tick(START + 2600 * MS)  # at once: REST has the newest only
    answers = 0
    for second in range(3, 3600):
        for first, last in asked(pipe):
            assert (first, last) == lost
            trades = [Trade("BTCUSDT", START + 1500 * MS, 100.5, 0.25, "sell", START + 1500 * MS, is_live=False)]
            pipe.repaired(
                RepairAnswer("BTCUSDT", first, last, tuple(trades), True, exchange="bybit_linear"), START + second * S
            )
            answers += 1
        pipe.tick(START + second * S)
    assert answers == 3
    pipe.stop(START + 3600 * S)
    told.take(pipe)
    assert ids(told) == [0, 1500 * MS, 2500 * MS, 2600 * MS]
    (gap,) = told.gap_list("trades")
    assert (gap["missing_count"], gap["repaired_count"]) == (1, 1)


def test_the_time_nobody_ran_is_asked_for() -> None:
    pipe = opened()
    pipe.receive(0, fill(0), START)
    again = opened(pipe.checkpoint(), START + 60 * S)
    again.receive(0, fill(61_000), START + 61 * S)
    again.receive(0, fill(61_500), START + 61 * S)
    again.tick(START + 70 * S)
    assert asked(again) == [(START + 1, START + 61 * S - 1)]
    assert again.products[MARKET].trades.ledger.missing(Range(START, START + 61 * S))


A, B, C, D, E = ("a", 5, 7_001), ("b", 5, 7_001), ("c", 5, 7_004), ("d", 5, 7_009), ("e", 5, 7_009)
"""Three steps of a millisecond."""

FIRST = "f"
"""A trade before them."""

PLACED = {"a": 5_001_000, "b": 5_001_001, "c": 5_004_000, "d": 5_009_000, "e": 5_009_001}


@pytest.mark.parametrize("lost", [{0}, {1}, {0, 1}])
@pytest.mark.parametrize("is_new_run", [False, True])
def test_what_is_lost_of_a_millisecond_gets_its_own_id_and_no_other_trade_gets_it(
    lost: set[int], *, is_new_run: bool
) -> None:
    """What the connection brought is cut within the millisecond, or before it."""
    pipe, told = opened(), Told()
    pipe.receive(0, sweep((FIRST, 0, 7_000)), START)
    if 0 not in lost:
        pipe.receive(0, sweep(A, B), START + 6 * MS)
    told.take(pipe)
    if is_new_run:
        pipe = opened(pipe.checkpoint(), START + 7 * MS)
    else:
        pipe.closed(0, "disconnected", START + 6 * MS)
        pipe.opened(0, START + 7 * MS)
    if 1 not in lost:
        pipe.receive(0, sweep(C), START + 8 * MS)
    pipe.receive(0, sweep(D, E), START + 8 * MS)
    pipe.tick(START + S)
    assert repair(pipe, START + S, A, B, C, D, E) == 1
    told.take(pipe)
    assert stored(told) == {FIRST: 0} | PLACED
    assert pipe.products[MARKET].trades.conflicts == 0


def test_two_connections_that_lost_different_steps_of_a_millisecond_agree() -> None:
    pipe, told = opened(), Told()
    for lane, frames in ((1, [(C,), (D, E)]), (0, [(A, B), (D, E)])):
        for frame in frames:
            pipe.receive(lane, sweep(*frame), START + 6 * MS)
    told.take(pipe)
    assert stored(told) == PLACED
    assert pipe.products[MARKET].trades.conflicts == 0


def test_a_step_that_came_in_part_is_not_filled_for_places_may_be_wrong_there() -> None:
    """It has not been seen to come in part. Then a trade is missing, and none is stored twice."""
    pipe, told = opened(), Told()
    pipe.receive(0, sweep(("a", 5, 7_001), ("c", 5, 7_001)), START + 6 * MS)
    pipe.closed(0, "disconnected", START + 6 * MS)
    pipe.opened(0, START + 7 * MS)
    pipe.receive(0, sweep(("e", 5, 7_009)), START + 8 * MS)
    pipe.tick(START + S)
    rows = [("a", 5, 7_001), ("b", 5, 7_001), ("c", 5, 7_001), ("d", 5, 7_004), ("e", 5, 7_009)]
    assert repair(pipe, START + S, *rows) == 1
    told.take(pipe)
    assert stored(told) == {"a": 5_001_000, "c": 5_001_001, "d": 5_004_000, "e": 5_009_000}
