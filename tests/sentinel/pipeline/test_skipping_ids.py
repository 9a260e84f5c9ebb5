"""Ids that skip as a rule: they say nothing of what is missing, and REST is asked only where a connection was lost."""

from __future__ import annotations

from book.events import Trade
from book.trade_ledger import Range
from feeds.bybit_linear.venue import BybitLinearFeed
from feeds.market import Market
from feeds.protocol import Subscription
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
    """Trades of one millisecond."""
    listed = ",".join(
        f'{{"T":{START // MS + ms},"s":"BTCUSDT","S":"Sell","v":"0.25","p":"100.5","i":"{name}-a9188a0a"}}'
        for name in names or (str(ms),)
    )
    return f'{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[{listed}]}}'.encode()


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
