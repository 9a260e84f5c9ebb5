"""Ids that need not be dense: one that is skipped is asked for and is no gap, unless REST has it."""

from __future__ import annotations

from collections.abc import Iterator

from book.events import Trade
from book.trade_ledger import Range, TradeLedger
from feeds.market import Market
from feeds.okx.protocol import OkxFeed, OkxTradesFeed
from feeds.protocol import Subscription
from sentinel.coverage.accounts import unwritten
from sentinel.pipeline import LanePlan, Pipeline, Repair, RepairAnswer, Settings
from sentinel.pipeline.checkpoint import decode_checkpoint
from sentinel.pipeline.questions import PAUSE_NS
from tests.sentinel.pipeline.venue import MS, START, S, Told

OKX = Market("okx", "BTC-USDT")
BOOK, TRADES = (
    LanePlan(0, "okx", Subscription(frozenset({"book"}), (OKX.symbol,))),
    LanePlan(1, "okx_trades", Subscription(frozenset({"trades"}), (OKX.symbol,))),
)


def opened(checkpoint: bytes | None = None) -> Pipeline:
    def make(plan: LanePlan) -> OkxFeed | OkxTradesFeed:
        return (OkxFeed if plan.venue == "okx" else OkxTradesFeed)(plan.subscription)

    pipe = Pipeline(Settings("tester"), [BOOK, TRADES], make, checkpoint)
    pipe.start(START)
    for lane in (0, 1):
        pipe.opened(lane, START)
    pipe.commands.clear()
    return pipe


def fill(trade_id: int) -> bytes:
    ms = START // MS + trade_id % 1000
    return (
        f'{{"arg":{{"channel":"trades-all","instId":"BTC-USDT"}},"data":[{{"instId":"BTC-USDT","tradeId":"{trade_id}",'
        f'"px":"100.5","sz":"0.25","side":"sell","ts":"{ms}"}}]}}'
    ).encode()


def rest(*ids: int) -> tuple[Trade, ...]:
    return tuple(
        Trade(OKX.symbol, trade_id, 100.5, 0.25, "sell", START + trade_id % 1000 * MS, is_live=False)
        for trade_id in ids
    )


def asked(pipe: Pipeline) -> list[tuple[int, int]]:
    found = [(command.first, command.last) for command in pipe.commands if isinstance(command, Repair)]
    pipe.commands.clear()
    return found


def answer(
    pipe: Pipeline, first: int, last: int, ids: tuple[int, ...], now_ns: int, *, is_complete: bool = True
) -> None:
    pipe.repaired(RepairAnswer(OKX.symbol, first, last, rest(*ids), is_complete, exchange="okx"), now_ns)


def ids(told: Told) -> list[int]:
    return sorted(int(dict(point.fields)["trade_id"]) for point in told.trades)


def skipped(pipe: Pipeline) -> int:
    """Trades 100 and 104, and the time until that is asked for."""
    pipe.receive(1, fill(100), START)
    pipe.receive(1, fill(104), START + 500 * MS)
    assert asked(pipe) == []
    pipe.tick(START + 3 * S)
    assert asked(pipe) == [(101, 103)]
    return START + 3 * S


def test_what_rest_has_not_got_is_no_trade_and_is_asked_for_ever_more_rarely_for_an_hour() -> None:
    pipe, told = opened(), Told()
    now_ns = skipped(pipe)
    for number in range(11):
        pause_ns = PAUSE_NS << number
        answer(pipe, 101, 103, (), now_ns)
        pipe.tick(now_ns + pause_ns - MS)
        assert asked(pipe) == []
        now_ns += pause_ns
        pipe.tick(now_ns)
        assert asked(pipe) == [(101, 103)]
    assert now_ns > START + 3600 * S
    answer(pipe, 101, 103, (), now_ns)
    pipe.tick(now_ns + 3600 * S)
    assert asked(pipe) == []
    pipe.stop(now_ns + 3600 * S)
    told.take(pipe)
    assert ids(told) == [100, 104]
    assert told.gap_list("trades") == []
    assert told.total("missing", OKX.symbol) == 0
    assert pipe.products[OKX].trades.open_gaps == []
    assert {dict(point.fields)["trade_proof"] for point in told.coverage.values()} == {"none"}


def test_what_rest_has_much_later_is_stored_and_named() -> None:
    pipe, told = opened(), Told()
    now_ns = skipped(pipe)
    for number in range(6):
        answer(pipe, 101, 103, (), now_ns)
        now_ns += PAUSE_NS << number
        pipe.tick(now_ns)
        assert asked(pipe) == [(101, 103)]
    answer(pipe, 101, 103, (101, 102, 103), now_ns)
    pipe.tick(now_ns + 3600 * S)
    assert asked(pipe) == []
    told.take(pipe)
    assert ids(told) == [100, 101, 102, 103, 104]
    (gap,) = told.gap_list("trades")
    assert (gap["missing_count"], gap["repaired_count"]) == (3, 3)


def test_where_many_ids_are_skipped_each_is_asked_for_three_times() -> None:
    pipe = opened()
    for trade_id in range(100, 134, 2):
        pipe.receive(1, fill(trade_id), START)
    now_ns = START + 3 * S
    pipe.tick(now_ns)
    skips = asked(pipe)
    assert len(skips) == 16
    pipe.receive(1, fill(135), now_ns)
    pipe.tick(now_ns + 3 * S)
    skips += asked(pipe)
    for number in range(3):
        for first, last in skips:
            answer(pipe, first, last, (), now_ns)
        now_ns += PAUSE_NS << number
        pipe.tick(now_ns)
        again = asked(pipe)
    assert again == skips[1:]  # without the first of them they are few


def test_what_rest_has_had_been_missing_and_is_a_gap_that_is_repaired() -> None:
    pipe, told = opened(), Told()
    now_ns = skipped(pipe)
    answer(pipe, 101, 103, (102,), now_ns)
    pipe.stop(now_ns + S)
    told.take(pipe)
    assert ids(told) == [100, 102, 104]
    (gap,) = told.gap_list("trades")
    assert (gap["start_seq"], gap["end_seq"], gap["missing_count"], gap["repaired_count"]) == (101, 103, 1, 1)
    assert (told.total("missing", OKX.symbol), told.total("repaired", OKX.symbol)) == (1, 1)


def test_an_answer_in_pages_is_one_answer_and_a_full_one_is_the_end() -> None:
    pipe, told = opened(), Told()
    now_ns = skipped(pipe)
    answer(pipe, 103, 103, (103,), now_ns, is_complete=False)
    answer(pipe, 101, 102, (102, 101), now_ns, is_complete=False)
    answer(pipe, 101, 103, (), now_ns)
    pipe.tick(now_ns + 60 * S)
    assert asked(pipe) == []
    told.take(pipe)
    assert ids(told) == [100, 101, 102, 103, 104]
    (gap,) = told.gap_list("trades")
    assert (gap["missing_count"], gap["repaired_count"]) == (3, 3)


def test_a_trade_that_comes_late_is_stored_whatever_rest_has_said() -> None:
    pipe, told = opened(), Told()
    now_ns = skipped(pipe)
    for _ in range(3):
        answer(pipe, 101, 103, (), now_ns)
    pipe.receive(1, fill(102), now_ns + S)
    pipe.receive(1, fill(102), now_ns + 2 * S)
    told.take(pipe)
    assert ids(told) == [100, 102, 104]


def test_what_is_not_answered_at_a_stop_is_asked_by_the_next_run_and_nothing_is_claimed_meanwhile() -> None:
    pipe, told = opened(), Told()
    now_ns = skipped(pipe)
    pipe.stop(now_ns)
    checkpoint = pipe.checkpoint()
    told.take(pipe)
    assert told.gap_list("trades") == []
    rows = unwritten(decode_checkpoint(checkpoint))
    assert [row for row in rows.gaps if row.gap.channel == "trades"] == []
    assert {row.trade_proof for row in rows.coverage} == {"none"}
    again = opened(checkpoint)
    again.tick(now_ns + 60 * S)
    assert asked(again) == [(101, 103)]


def test_ids_of_the_time_apart_are_asked_for() -> None:
    pipe = opened()
    pipe.receive(1, fill(100), START)
    pipe.closed(1, "disconnected", START + S)
    pipe.opened(1, START + 9 * S)
    pipe.commands.clear()
    pipe.receive(1, fill(200), START + 9 * S)
    pipe.tick(START + 12 * S)
    assert asked(pipe) == [(101, 199)]


def holes(ledger: TradeLedger) -> Iterator[tuple[int, int]]:
    return ((hole.first, hole.last) for hole in ledger.missing())


def test_only_the_newest_skips_are_remembered() -> None:
    ledger = TradeLedger([Range(2, 3), Range(10, 10), Range(12, 12), Range(14, 14), Range(16, 16)], 10)
    ledger.forget_holes(3)
    assert list(holes(ledger)) == [(11, 11), (13, 13), (15, 15)]
    ledger.forget_holes(2)
    ledger.check()
    assert list(holes(ledger)) == [(13, 13), (15, 15)]
    assert ledger.held()[0] == Range(2, 3)
    ledger.forget_holes(0)
    ledger.check()
    assert list(holes(ledger)) == []
    TradeLedger().forget_holes(0)


def book(action: str, previous: int, last: int, bid: str, ask: str) -> bytes:
    data = f'"asks":[["{ask}","1","0","1"]],"bids":[["{bid}","1","0","1"]],"prevSeqId":{previous},"seqId":{last}'
    arg = '{"channel":"books","instId":"BTC-USDT"}'
    return f'{{"arg":{arg},"action":"{action}","data":[{{{data}}}]}}'.encode()


def status(state: str) -> bytes:
    arg = '{"channel":"instruments","instType":"SPOT"}'
    return f'{{"arg":{arg},"data":[{{"instId":"BTC-USDT","state":"{state}"}}]}}'.encode()


def test_a_book_crossed_in_an_auction_is_withheld_and_not_fetched_anew_until_it_trades() -> None:
    pipe, told = opened(), Told()
    pipe.receive(0, status("preopen"), START)
    pipe.receive(0, book("snapshot", -1, 10, "99", "101"), START + 10 * MS)
    pipe.receive(0, book("update", 10, 11, "103", "101"), START + 110 * MS)
    for number in range(11, 60):
        pipe.receive(0, book("update", number, number + 1, "103", "101"), START + (100 * number - 790) * MS)
    assert [command for command in pipe.commands if not isinstance(command, Repair)] == []
    assert pipe.products[OKX].books.crossed_since() is None
    pipe.receive(0, status("live"), START + 6 * S)
    assert pipe.products[OKX].books.crossed_since() is not None
    pipe.receive(0, book("update", 60, 61, "103", "101"), START + 6 * S + 500 * MS)
    assert pipe.commands == []
    pipe.receive(0, book("update", 61, 62, "103", "101"), START + 8 * S)
    assert len(pipe.commands) == 1
    told.take(pipe)
    assert told.instants(OKX.symbol) == [START + 100 * MS]
    (gap,) = told.gap_list("book")
    assert gap["cause"] == "crossed"
