"""Recordings of books with chains through the whole pipeline: which instants are sampled, each as the oracle has it.

Binance's is in ``tests.feeds.test_binance_captures``, with its REST book, and Coinbase's in
``tests.end_to_end.test_recordings``. Kraken's and OKX's are played at an even pace, Deribit's as it came.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from book.bins import DEFAULT_EDGES_BPS
from book.sampler import first_instant
from feeds.deribit.protocol import DeribitFeed
from feeds.kraken.protocol import KrakenFeed
from feeds.okx.protocol import OkxFeed, OkxTradesFeed
from feeds.protocol import Feed
from sentinel.pipeline import LanePlan, Pipeline, Send, Settings
from tests.book.oracle import OracleBook
from tests.captures import lines_of
from tests.feeds import test_deribit_captures, test_kraken_captures, test_okx_captures
from tests.sentinel.pipeline.venue import MS, START, S, Told, plan, tags

GRID = 100 * MS
PACE = 37 * MS
AFTER = MS
"""How long after a loss is noticed the venue has sent a fresh book."""

Change = tuple[str, str, str]


class Heard(NamedTuple):
    """A frame of one book, as sent and as the oracle reads it. ``numbers`` are those that are missing if it is."""

    at_ns: int
    frame: bytes
    product: str
    is_snapshot: bool
    changes: list[Change]
    numbers: tuple[int, int] | None = None


class Recording(NamedTuple):
    """``first`` are frames before all others; ``trades`` are those of the second lane, if there is one.

    ``snapshot`` makes a whole book such as the venue would send after the frame, given the levels.
    """

    plans: list[LanePlan]
    make: Callable[[LanePlan], Feed]
    heard: list[Heard]
    snapshot: Callable[[Heard, list[Change]], bytes]
    first: Sequence[bytes] = ()
    trades: Sequence[bytes] = ()
    depth: int | None = None


def shallow(plan: LanePlan) -> Feed:
    feed = KrakenFeed(plan.subscription)
    feed.facts = replace(KrakenFeed.facts, depth=test_kraken_captures.DEPTH)  # type: ignore[misc]
    return feed


def kraken() -> Recording:
    symbol, wire = test_kraken_captures.SYMBOL, test_kraken_captures.wire
    heard, checksums = [], {}
    for number, (kind, changes, checksum) in enumerate(test_kraken_captures.version_2()):
        assert checksum is not None
        at_ns = START + number * PACE
        checksums[at_ns] = checksum
        heard.append(Heard(at_ns, wire(kind, changes, checksum), symbol, kind == "snapshot", changes))
    plans = [plan(0, "book", venue="kraken", products=(symbol,))]
    snapshot = lambda last, whole: wire("snapshot", whole, checksums[last.at_ns])  # noqa: E731
    return Recording(
        plans, shallow, heard, snapshot, [test_kraken_captures.INSTRUMENTS], depth=test_kraken_captures.DEPTH
    )


def okx() -> Recording:
    products = test_okx_captures.PRODUCTS
    heard = []
    for number, frame in enumerate(test_okx_captures.numbered()):
        message = json.loads(frame)
        (data,) = message["data"]
        is_snapshot, previous, last = message["action"] == "snapshot", data["prevSeqId"], data["seqId"]
        numbers = (previous + 1, last) if last >= previous else None
        changes = [(side, *level[:2]) for side in ("bid", "ask") for level in data[f"{side}s"]]
        product = message["arg"]["instId"]
        heard.append(Heard(START + number * PACE, frame, product, is_snapshot, changes, numbers))
    trades = [line for line in lines_of(test_okx_captures.RECORDING) if b'"tradeId"' in line]
    plans = [
        plan(0, "book", venue="okx", products=products),
        plan(1, "trades", venue="okx_trades", products=products),
    ]
    feeds: dict[str, Callable[..., Feed]] = {"okx": OkxFeed, "okx_trades": OkxTradesFeed}
    return Recording(plans, lambda plan: feeds[plan.venue](plan.subscription), heard, _okx_book, trades=trades)


def _okx_book(last: Heard, whole: list[Change]) -> bytes:
    message = json.loads(last.frame)
    (data,) = message["data"]
    for side in ("bid", "ask"):
        data[f"{side}s"] = [[price, size, "0", "1"] for of, price, size in whole if of == side]
    return json.dumps(message | {"action": "snapshot", "data": [data | {"prevSeqId": -1}]}).encode()


def deribit() -> Recording:
    lines = lines_of(f"{test_deribit_captures.DERIBIT}/raw.jsonl.zst")
    times = lines_of(f"{test_deribit_captures.DERIBIT}/raw.recv_ts.txt.zst")
    heard = []
    for at_s, frame in zip(times, lines, strict=True):
        params = json.loads(frame, parse_float=str).get("params", {})
        if not params.get("channel", "").startswith("book."):
            continue
        data = params["data"]
        changes = [
            (side, str(price), "0" if action == "delete" else str(size))
            for side in ("bid", "ask")
            for action, price, size in data[f"{side}s"]
        ]
        numbers = (data["prev_change_id"] + 1, data["change_id"]) if "prev_change_id" in data else None
        at_ns = int(Decimal(at_s.decode()) * S)
        heard.append(Heard(at_ns, frame, data["instrument_name"], data["type"] == "snapshot", changes, numbers))
    products = tuple(sorted({frame.product for frame in heard}))
    plans = [plan(0, "book", venue="deribit", products=products)]
    return Recording(plans, lambda plan: DeribitFeed(plan.subscription), heard, _deribit_book)


def _deribit_book(last: Heard, whole: list[Change]) -> bytes:
    message = json.loads(last.frame)
    data: dict[str, Any] = message["params"]["data"]
    data.pop("prev_change_id", None)
    data["type"] = "snapshot"
    for side in ("bid", "ask"):
        data[f"{side}s"] = [["new", float(price), float(size)] for of, price, size in whole if of == side]
    return json.dumps(message).encode()


RECORDINGS = {"kraken": kraken, "okx": okx, "deribit": deribit}


class Play:
    """A recording through the pipeline, without the frame ``cut``; a book that is asked for anew is sent soon after.

    ``oracles`` are books of decimals of all frames, that cut out included. ``noticed`` is the frame that showed that
    one was missing.
    """

    def __init__(self, recording: Recording, cut: int | None = None) -> None:
        self.recording = recording
        self.told = Told()
        self.pipe = Pipeline(Settings("tester"), recording.plans, recording.make)
        self.oracles: dict[str, OracleBook] = defaultdict(OracleBook)
        self.noticed: Heard | None = None
        start_ns = recording.heard[0].at_ns - MS
        for lane in self.pipe.lanes:
            self.pipe.opened(lane.number, start_ns)
        self.pipe.commands.clear()
        for frame in recording.first:
            self.pipe.receive(0, frame, start_ns)
        for number, frame in enumerate(recording.trades):
            self.pipe.receive(1, frame, start_ns + number)
        for number, one in enumerate(recording.heard):
            self._read(one)
            if number != cut:
                self.pipe.receive(0, one.frame, one.at_ns)
            if self.pipe.commands:
                self._send_book(one)
        self.pipe.stop(recording.heard[-1].at_ns)
        self.told.take(self.pipe)

    def _read(self, one: Heard) -> None:
        oracle = self.oracles[one.product]
        (oracle.replace if one.is_snapshot else oracle.apply)(one.changes)
        if self.recording.depth is not None:
            oracle.cut(self.recording.depth)

    def _send_book(self, one: Heard) -> None:
        assert all(isinstance(command, Send) for command in self.pipe.commands)
        self.pipe.commands.clear()
        assert self.noticed is None
        self.noticed = one
        oracle = self.oracles[one.product]
        whole = [("bid", str(price), str(size)) for price, size in oracle.bids.items()]
        whole += [("ask", str(price), str(size)) for price, size in oracle.asks.items()]
        self.pipe.receive(0, self.recording.snapshot(one, whole), one.at_ns + AFTER)

    def judge(self, product: str, lost: tuple[int, int] | None = None, *, bins_every: int = 50) -> int:
        """Holds each sample of a book, and which there are, against a book of decimals; gives how many.

        They are at each instant from its snapshot to its last frame at which both sides have a level, but for the time
        from when to when it was ``lost``. Bins are judged of some only: they take their time.
        """
        frames = [one for one in self.recording.heard if one.product == product]
        tops = {point.time_ns: dict(point.fields) for point in self.told.tops if tags(point)["symbol"] == product}
        bins: dict[int, dict[tuple[str, Fraction], dict[str, Any]]] = defaultdict(dict)
        for point in self.told.bins:
            if point.measurement == "book" and tags(point)["symbol"] == product:
                side, edge = tags(point)["side"], Fraction(Decimal(tags(point)["bps"]))
                bins[point.time_ns][side, edge] = dict(point.fields)
        oracle, count = OracleBook(), 0
        for one, later in pairwise(frames):
            (oracle.replace if one.is_snapshot else oracle.apply)(one.changes)
            if self.recording.depth is not None:
                oracle.cut(self.recording.depth)
            for at_ns in range(first_instant(one.at_ns), later.at_ns, GRID):
                if not (oracle.bids and oracle.asks) or (lost is not None and lost[0] <= at_ns < lost[1]):
                    continue
                top, expected = tops.pop(at_ns), oracle.top()
                assert {name: top[name] for name in expected} == expected
                for (side, edge), found in bins[at_ns].items() if count % bins_every == 0 else ():
                    depth = (found["volume"], found["notional"], found.get("vwap"), found["levels"])
                    assert depth == oracle.depth(side, edge)
                assert len(bins[at_ns]) == 2 * len(DEFAULT_EDGES_BPS)
                count += 1
        assert tops == {}
        return count

    def gaps(self, product: str) -> list[tuple[object, ...]]:
        """Of frames lost."""
        return [
            (gap["cause"], gap["start_ns"], gap.get("end_ns"), gap.get("start_seq"), gap.get("end_seq"))
            for gap in self.told.gap_list("book")
            if gap["symbol"] == product and gap["cause"] != "empty"
        ]

    def assert_book(self, product: str) -> None:
        """That held at the end."""
        held, oracle = self.pipe.lanes[0].books[product].book, self.oracles[product]
        assert dict(held.bids.items()) == {float(price): float(size) for price, size in oracle.bids.items()}
        assert dict(held.asks.items()) == {float(price): float(size) for price, size in oracle.asks.items()}


@pytest.mark.parametrize(("venue", "samples"), [("kraken", 188), ("okx", 300), ("deribit", 40)])
def test_every_instant_that_a_chain_proves_is_sampled_as_the_oracle_has_it(venue: str, samples: int) -> None:
    play = Play(RECORDINGS[venue]())
    assert play.noticed is None
    assert sum(play.judge(product, bins_every=2) for product in play.oracles) >= samples
    for product in play.oracles:
        assert play.gaps(product) == []
        play.assert_book(product)
    assert [lane.counts.residue for lane in play.pipe.lanes] == [0] * len(play.pipe.lanes)


@pytest.mark.parametrize(
    ("venue", "cuts"), [("kraken", range(1, 509, 47)), ("okx", range(40, 290, 31)), ("deribit", range(10, 46, 3))]
)
def test_a_frame_cut_out_is_named_and_costs_its_book_alone(venue: str, cuts: range) -> None:
    recording, named = RECORDINGS[venue](), 0
    for cut in cuts:
        lost = recording.heard[cut]
        if lost.is_snapshot:
            continue
        *_, before = (one for one in recording.heard[:cut] if one.product == lost.product)
        after = next((one for one in recording.heard[cut + 1 :] if one.product == lost.product), None)
        play = Play(recording, cut)
        for product in play.oracles.keys() - {lost.product}:
            play.judge(product)
            assert play.gaps(product) == []
        if after is None or play.noticed is None:
            continue  # nothing came after it, nothing was in it, or what came after it said the same anew
        assert play.noticed is after
        span = before.at_ns, after.at_ns + AFTER
        play.judge(lost.product, span)
        assert play.gaps(lost.product) == [("sequence", *span, *(lost.numbers or (None, None)))]
        play.assert_book(lost.product)
        named += 1
    assert named > len(cuts) // 2


def test_the_trades_of_okx_are_stored_as_they_were_told() -> None:
    play = Play(okx())
    told = [row for line in okx().trades for row in json.loads(line)["data"]]
    stored = {(tags(point)["symbol"], dict(point.fields)["trade_id"]): point for point in play.told.trades}
    assert len(stored) == len(told) == len(play.told.trades) == 74
    for row in told:
        point = stored[row["instId"], int(row["tradeId"])]
        assert (dict(point.fields)["price"], dict(point.fields)["size"]) == (float(row["px"]), float(row["sz"]))
        assert tags(point)["side"] == row["side"]
        assert point.time_ns == int(row["ts"]) * MS + int(row["tradeId"]) % 1000
    assert play.told.gap_list("trades") == []
