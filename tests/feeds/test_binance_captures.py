"""The recording of Binance's spot streams through feed and pipeline, against a book of decimals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

import pytest

from book.bins import DEFAULT_EDGES_BPS
from book.events import Delta, Link, MapDelta, Snapshot, Trade, Unknown
from book.proof import Hole, RangeChain, Verdict
from feeds.binance.protocol import BinanceFeed
from feeds.protocol import Subscription
from sentinel.contract.line_protocol import Point
from sentinel.pipeline import FetchBook, FetchedBook, LanePlan, Pipeline, Settings
from tests.book.oracle import OracleBook
from tests.captures import lines_of
from tests.sentinel.pipeline.venue import Told

FOLDER = "binance-spot-hftbacktest"
DAY = "btcusdt_20240808"
SYMBOL = "BTCUSDT"
SUBSCRIPTION = Subscription(frozenset({"book", "trades"}), (SYMBOL,))
BOOK_LINE = 7
"""Where the answer of REST is, from 0: after stream events that it must be aligned with."""

S = 1_000_000_000
GRID = S // 10
BINS_EVERY = 40


@cache
def recording() -> list[tuple[int, bytes]]:
    """When each line came, and the line."""
    frames = lines_of(f"{FOLDER}/{DAY}.jsonl.zst")
    times = lines_of(f"{FOLDER}/{DAY}.recv_ts.txt.zst")
    return list(zip(map(int, times), frames, strict=True))


def test_every_line_is_read_and_every_chain_is_whole() -> None:
    feed, chain = BinanceFeed(SUBSCRIPTION), RangeChain()
    kinds: Counter[str] = Counter()
    ids: list[int] = []
    last = None
    for number, (_, frame) in enumerate(recording()):
        if number == BOOK_LINE:
            continue
        for event in feed.receive(frame).events:
            kinds["Delta" if isinstance(event, Delta) else type(event).__name__] += 1
            match event:
                case Delta():
                    if last is None:
                        assert event.link is not None
                        chain.begin(Snapshot(SYMBOL, {}, {}, Link(event.link.first - 1 if event.link.first else 0)))
                    assert chain.check(event) is Verdict.NEXT
                    last = event.link
                case Trade():
                    ids.append(event.trade_id)
                    assert event.is_live
                case Unknown():
                    assert event.kind == "bookTicker"
    assert kinds == Counter(Unknown=28_040, Trade=9_757, Delta=3_451)
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_a_cut_frame_is_that_hole_in_the_chain() -> None:
    feed, chain = BinanceFeed(SUBSCRIPTION), RangeChain()
    deltas = [
        event
        for number, (_, frame) in enumerate(recording()[:3000])
        if number != BOOK_LINE
        for event in feed.receive(frame).events
        if isinstance(event, MapDelta)
    ]
    links = [delta.link for delta in deltas if delta.link is not None]
    assert links[0].first is not None
    for cut in range(1, 20):
        chain.begin(Snapshot(SYMBOL, {}, {}, Link(links[0].first - 1)))
        verdicts = [chain.check(delta) for at, delta in enumerate(deltas[:40]) if at != cut]
        first, last = links[cut].first, links[cut].last
        assert first is not None
        assert last is not None
        assert verdicts[cut] == Hole(first, last)
        assert [verdict for verdict in verdicts if verdict is not Verdict.NEXT] == [verdicts[cut]]


class Run:
    """The recording through a pipeline of one connection; what REST says is read from its own line, or from
    ``answer``. ``oracle`` is the same book of decimals, made of the frames alone."""

    def __init__(self, keep: Callable[[int], bool] = lambda number: True) -> None:
        self.told = Told()
        self.oracle = OracleBook()
        self.heard: list[tuple[int, int, list[tuple[str, str, str]]]] = []
        feeds = lambda plan: BinanceFeed(plan.subscription)  # noqa: E731
        self.pipe = Pipeline(Settings("tester"), [LanePlan(0, "binance", SUBSCRIPTION)], feeds)
        self.asked = 0
        self.answer: FetchedBook | None = None
        start_ns = recording()[0][0] - 1000
        self.pipe.opened(0, start_ns)
        self.pipe.receive(0, b'{"result":null,"id":1}', start_ns)
        self._serve()
        for number, (at_ns, line) in enumerate(recording()):
            if number == BOOK_LINE:
                self.answer = answer_of(json.loads(line))
                self.pipe.fetched(self.answer, at_ns)
            elif keep(number):
                self.pipe.receive(0, line, at_ns)
            self._serve()
        self.pipe.stop(recording()[-1][0])
        self.told.take(self.pipe)

    def _serve(self) -> None:
        self.asked += sum(isinstance(command, FetchBook) for command in self.pipe.commands)
        self.pipe.commands.clear()


def answer_of(book: dict[str, Any]) -> FetchedBook:
    bids, asks = ({float(price): float(size) for price, size in book[side]} for side in ("bids", "asks"))
    return FetchedBook(0, SYMBOL, book["lastUpdateId"], bids, asks)


def fields(point: Point) -> dict[str, Any]:
    return dict(point.fields)


def test_the_book_of_rest_is_aligned_and_every_sample_is_as_the_oracle_has_it() -> None:
    run = Run()
    assert run.asked == 1
    assert run.told.gap_list() == []
    oracle, samples = OracleBook(), {point.time_ns: fields(point) for point in run.told.tops}
    bins: dict[int, dict[tuple[str, str], dict[str, Any]]] = {}
    for point in run.told.bins:
        if point.measurement == "book":
            tags = dict(point.tags)
            bins.setdefault(point.time_ns, {})[tags["side"], tags["bps"]] = fields(point)
    waiting: list[dict[str, Any]] = []
    book_at = 0
    judged = judged_bins = 0
    next_ns = 0
    for number, (at_ns, line) in enumerate(recording()):
        while next_ns and next_ns < at_ns:
            if next_ns in samples:
                judged += 1
                expected = oracle.top()
                found = samples.pop(next_ns)
                assert {name: found[name] for name in expected} == expected, next_ns
                if judged % BINS_EVERY == 0:
                    judged_bins += 1
                    _assert_bins(bins[next_ns], oracle)
            next_ns += GRID
        message = json.loads(line)
        if number == BOOK_LINE:
            levels = [("bid", *level) for level in message["bids"]] + [("ask", *level) for level in message["asks"]]
            oracle.replace(levels)
            book_at = message["lastUpdateId"]
            for early in waiting:
                if early["u"] > book_at:
                    oracle.apply(_changes(early))
            next_ns = at_ns - at_ns % GRID + GRID
        elif message["stream"].endswith("@depth@100ms"):
            if not book_at:
                waiting.append(message["data"])
            elif message["data"]["u"] > book_at:
                oracle.apply(_changes(message["data"]))
    assert judged > 3000
    assert judged_bins > 80
    assert samples == {}
    book = run.pipe.lanes[0].books[SYMBOL].book
    assert dict(book.bids.items()) == {float(price): float(size) for price, size in oracle.bids.items()}
    assert dict(book.asks.items()) == {float(price): float(size) for price, size in oracle.asks.items()}
    assert len(run.told.trades) == 9_757


def _changes(data: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [("bid", *level) for level in data["b"]] + [("ask", *level) for level in data["a"]]


def _assert_bins(found: dict[tuple[str, str], dict[str, Any]], oracle: OracleBook) -> None:
    assert len(found) == 2 * len(DEFAULT_EDGES_BPS)
    for (side, bps), stored in found.items():
        seen = (stored["volume"], stored["notional"], stored.get("vwap"), stored["levels"])
        assert seen == oracle.depth(side, Fraction(Decimal(bps))), (side, bps)


@pytest.mark.parametrize("cut_at", [5_000, 20_000])
def test_a_cut_frame_is_named_and_the_book_is_fetched_anew(cut_at: int) -> None:
    cut = next(
        number
        for number in range(cut_at, len(recording()))
        if recording()[number][1].startswith(b'{"stream":"btcusdt@depth')
    )
    lost = json.loads(recording()[cut][1])["data"]
    run = Run(lambda number: number != cut)
    assert run.asked == 2
    (gap,) = run.told.gap_list()
    assert (gap["cause"], gap["start_seq"], gap["end_seq"]) == ("sequence", lost["U"], lost["u"])
    assert len(run.told.trades) == 9_757


def test_a_cut_trade_is_the_one_that_is_asked_for() -> None:
    cut = next(n for n in range(9_000, 20_000) if b'"e":"trade"' in recording()[n][1])
    lost = json.loads(recording()[cut][1])["data"]["t"]
    run = Run(lambda number: number != cut)
    (gap,) = run.told.gap_list()
    assert (gap["channel"], gap["start_seq"], gap["end_seq"]) == ("trades", lost, lost)
    assert len(run.told.trades) == 9_756
