"""Independent judges: every stored sample against decimals, every stored trade against the truth."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from sentinel.disk.tape import Kind, read_header, read_tape, tape_files
from sentinel.pipeline.inputs import lane_of
from tests.book.oracle import OracleBook
from tests.end_to_end.store import Store, fields, whole
from tests.servers import stood
from tests.servers.stood import STOOD

CADENCE_NS = 100_000_000
SIDES = {"buy": "bid", "sell": "offer"}


def book_frames(tape: Path) -> Iterator[tuple[int, int, str, bool, list[tuple[str, str, str]]]]:
    """What the frames on a tape say of books: received_ns, lane, product, whether a snapshot, changes.

    Decoded with ``json`` only: no code of the collector but the reader of the tape itself.
    """
    for file in tape_files(tape):
        for record in read_tape(file):
            if record.kind != Kind.FRAME:
                continue
            message = json.loads(record.payload, parse_float=str)
            for product, is_snapshot, changes in _book_events(message):
                yield record.received_ns, record.lane, product, is_snapshot, changes


def _book_events(message: dict[str, Any]) -> Iterator[tuple[str, bool, list[tuple[str, str, str]]]]:
    if message.get("channel") == "l2_data":
        for event in message["events"]:
            changes = [(change["side"], change["price_level"], change["new_quantity"]) for change in event["updates"]]
            yield event["product_id"], event["type"] == "snapshot", changes
    elif "channel" not in message and message.get("type") == "snapshot":
        bids = [("bid", price, size) for price, size in message["bids"]]
        yield message["product_id"], True, bids + [("offer", price, size) for price, size in message["asks"]]
    elif message.get("type") == "l2update":
        changes = [(SIDES[side], price, size) for side, price, size in message["changes"]]
        yield message["product_id"], False, changes
    elif message.get("channel") == "book":
        for record in message["data"]:
            changes = [
                (side, level["price"], level["qty"])
                for side, name in (("bid", "bids"), ("offer", "asks"))
                for level in record[name]
            ]
            yield record["symbol"], message["type"] == "snapshot", changes


def judge_samples(store: Store, tape: Path, *, bins_every: int = 1, depth: int | None = None) -> int:
    """Holds every stored sample against a book of decimals made of the frames on the tape; returns how many.

    ``bins_every`` n judges the bins of each n-th sample only: the decimals of a deep book take their time. ``depth`` is
    how many levels a side the venue tells of, if not all.
    """
    header = read_header(tape_files(tape)[0])
    lanes = {plan["lane"]: set(plan["subscription"]["products"]) for plan in header["lanes"]}
    events: dict[str, list[tuple[int, bool, list[tuple[str, str, str]]]]] = defaultdict(list)
    for received_ns, lane, product, is_snapshot, changes in book_frames(tape):
        if product in lanes[lane_of(lane)]:
            events[product].append((received_ns, is_snapshot, changes))
    judged = 0
    for product, heard in events.items():
        bins: dict[int, dict[tuple[str, str], dict[str, Any]]] = defaultdict(dict)
        for point in store.of("book", product):
            tags = dict(point.tags)
            bins[point.time_ns][tags["side"], tags["bps"]] = fields(point)
        book, at = OracleBook(), 0
        for number, point in enumerate(store.of("top", product)):
            while at < len(heard) and heard[at][0] < point.time_ns:
                _, is_snapshot, changes = heard[at]
                (book.replace if is_snapshot else book.apply)(changes)
                if depth is not None:
                    book.cut(depth)
                at += 1
            _judge_top(fields(point), book, product, point.time_ns)
            if number % bins_every == 0:
                _judge_bins(bins[point.time_ns], book, product, point.time_ns)
            judged += 1
    return judged


def _judge_top(stored: dict[str, Any], book: OracleBook, product: str, time_ns: int) -> None:
    expected = book.top()
    assert {name: stored[name] for name in expected} == expected, (product, time_ns)


def _judge_bins(stored: dict[tuple[str, str], dict[str, Any]], book: OracleBook, product: str, time_ns: int) -> None:
    assert stored, (product, time_ns)
    for (side, bps), found in stored.items():
        depth = book.depth("bid" if side == "bid" else "offer", Fraction(Decimal(bps)))
        seen = (found["volume"], found["notional"], found.get("vwap"), found["levels"])
        assert seen == depth, (product, time_ns, side, bps)


LATE_NS = 1_000_000_000
"""So late a busy machine may deliver a frame, unless exchange or collector stood still."""

LONG_NS = LATE_NS // 2
"""A machine that stood still for less than this lost no connection by it."""

CALM_NS = 4 * LATE_NS
"""What happens within so long of a time in which the machine stood still may be because of it."""


class TruthFile:
    """The simulator's own account. ``tops`` are (sent_ns, bid, bid_size, ask, ask_size) of the books of ``feed``.

    ``of_snapshots`` are the faults that struck a snapshot on its way: each is written right after that. ``stood`` is
    when its process or that of a collector stood still, as faults.

    Of an exchange whose clock is ahead everything is told by the right time, but for ``t_ns`` of trades, which is the
    venue's word; ``at_ns`` is when they were published.
    """

    def __init__(self, path: Path, feed: str = "advanced", ahead_ns: int = 0) -> None:
        self.feed = feed
        self.trades: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        self.tops: dict[str, list[tuple[int, float, float, float, float]]] = defaultdict(list)
        self.faults: list[dict[str, Any]] = []
        self.connections: list[dict[str, Any]] = []
        self.snapshots: list[dict[str, Any]] = []
        self.of_snapshots: list[dict[str, Any]] = []
        before: dict[str, Any] = {}
        self.refuted: list[dict[str, Any]] = []
        self.stood = stood.read(path.with_name(stood.FILE))
        for line in path.read_text().splitlines():
            fact = json.loads(line)
            times = {name: fact[name] - ahead_ns for name in ("t_ns", "sent_ns", "start_ns", "end_ns") if name in fact}
            fact |= {"at_ns": times["t_ns"]} if fact["kind"] == "trade" else times
            match fact["kind"]:
                case "trade":
                    self.trades[fact["product"]][fact["trade_id"]] = fact
                case "top" if fact["feed"] == feed:
                    numbers = (float(fact[name]) for name in ("bid", "bid_size", "ask", "ask_size"))
                    self.tops[fact["product"]].append((fact["sent_ns"], *numbers))
                case "fault":
                    self.faults.append(fact)
                    names = ("feed", "connection", "product")
                    if before.get("kind") == "snapshot" and all(before[name] == fact.get(name) for name in names):
                        self.of_snapshots.append(fact)
                case "snapshot":
                    self.snapshots.append(fact)
                case "refuted":
                    self.refuted.append(fact)
                case "connection":
                    self.connections.append(fact)
            before = fact

    @property
    def last_opened_ns(self) -> int:
        """When the newest connection was opened."""
        return max((fact["t_ns"] for fact in self.connections if fact["event"] == "opened"), default=0)

    @property
    def troubles(self) -> list[dict[str, Any]]:
        """What went wrong, by whoever's fault."""
        return self.faults + self.stood

    def came_late(self, connection: dict[str, Any], at_ns: int) -> bool:
        """Whether a connection, given as what bears its feed and number, heard late of what happened at a moment: it
        was delayed, or the machine stood still."""
        return any(
            late["start_ns"] - LATE_NS <= at_ns <= late["end_ns"] + LATE_NS
            and (late["fault"] == STOOD or all(late[name] == connection[name] for name in ("feed", "connection")))
            for late in self.troubles
            if late["fault"] in ("delay", STOOD)
        )

    @property
    def long_stood(self) -> list[dict[str, Any]]:
        """When the machine stood still for so long that more may have come of it than what came late."""
        return [
            fault
            for fault in self.troubles
            if fault["fault"] == STOOD and fault["end_ns"] - fault["start_ns"] >= LONG_NS
        ]

    def stood_near(self, at_ns: int, near_ns: int) -> bool:
        """Whether the machine stood still for long within so much of a moment."""
        return any(fault["start_ns"] - near_ns <= at_ns <= fault["end_ns"] + near_ns for fault in self.long_stood)

    @property
    def is_calm(self) -> bool:
        """Whether faults met a machine that did not stand still around them, and so nothing else than was meant."""
        return not any(self.stood_near(fault["start_ns"], CALM_NS) for fault in self.faults)

    def heard_ns(self, at_ns: int) -> int:
        """What was sent before this moment, a collector had heard by ``at_ns``, if its connection stood."""
        heard_ns = at_ns - LATE_NS
        stood_ns = ((fact["start_ns"], fact["end_ns"]) for fact in self.troubles if fact["fault"] == STOOD)
        for start_ns, end_ns in sorted(stood_ns, reverse=True):
            if start_ns <= heard_ns <= end_ns + LATE_NS:
                heard_ns = start_ns - LATE_NS
        return heard_ns

    def late_spans(self) -> list[tuple[int, int]]:
        """When what this feed told may have come late."""
        return [
            (late["start_ns"], late["end_ns"])
            for late in self.troubles
            if late["fault"] == STOOD or (late["fault"] == "delay" and late.get("feed") in (None, self.feed))
        ]


def by_stored_ids(store: Store, truth: TruthFile, products: list[str]) -> None:
    """Gives each published trade the id that the trade of its time, price, size and side is stored under, for venues
    whose ids are not the market's numbers; what is not stored is left without one."""
    for product in products:
        published: dict[tuple[int, float, float, str], list[dict[str, Any]]] = defaultdict(list)
        for fact in truth.trades.pop(product, {}).values():
            key = fact["t_ns"] // 1000, float(fact["price"]), float(fact["size"]), fact["maker_side"]
            published[key].append(fact)
        for trade_id, point in store.trades(product).items():
            values, taker = fields(point), dict(point.tags)["side"]
            maker = {"buy": "sell", "sell": "buy"}[taker]
            alike = published[point.time_ns // 1000, float(values["price"]), float(values["size"]), maker]
            if alike:
                truth.trades[product][trade_id] = alike.pop(0) | {"trade_id": trade_id}


def judge_tops(store: Store, truth: TruthFile, product: str, since_ns: int = 0) -> None:
    """Every stored top, from a moment on, is one the market had at that instant or, where the machine was busy, shortly
    before, or before it stood still; and the tops follow the market in its order. That they are exactly those of the
    frames as they came, the tape judges."""
    tops = truth.tops[product]
    reached = 0
    for point in store.of("top", product):
        if point.time_ns < since_ns:
            continue
        stored = tuple(fields(point)[name] for name in ("bid", "bid_size", "ask", "ask_size"))
        newest = bisect_left(tops, (point.time_ns,))
        oldest = max(reached, bisect_left(tops, (truth.heard_ns(point.time_ns),)) - 1)
        places = [place for place in range(oldest, newest) if tops[place][1:] == stored]
        assert places, (product, point.time_ns)
        reached = places[0]


def judge_grid(store: Store, product: str) -> int:
    """Every instant from the first sample to the last one has a sample or lies in a gap, and never both; returns how
    many samples there are."""
    tops = {point.time_ns for point in store.of("top", product)}
    gaps = [fields(gap) for gap in store.of("gaps", product) if dict(gap.tags)["channel"] == "book"]
    for instant in range(min(tops), max(tops) + 1, CADENCE_NS):
        is_in_gap = any(whole(gap["start_ns"]) <= instant < whole(gap.get("end_ns", instant + 1)) for gap in gaps)
        assert is_in_gap != (instant in tops), (product, instant)
    return len(tops)


def own_gaps(store: Store, truth: TruthFile, product: str | None = None) -> list[dict[str, Any]]:
    """Facts and tags of the gaps that are not there because the machine stood still."""
    gaps = [fields(gap) | dict(gap.tags) for gap in store.of("gaps", product)]
    return [gap for gap in gaps if not truth.stood_near(whole(gap["start_ns"]), CALM_NS)]


def judge_whole(store: Store, truth: TruthFile, product: str) -> None:
    """Nothing is missing of a product's book from the first sample to the last one, but while the machine stood
    still."""
    judge_grid(store, product)
    assert [gap for gap in own_gaps(store, truth, product) if gap["channel"] == "book"] == []


def judge_trades(
    store: Store, truth: TruthFile, products: Iterator[str] | list[str], *, has_dense_ids: bool = True
) -> int:
    """Stored trades and ids named missing are together the published ones, and none is both; returns how many.

    Where ids are not dense, a trade that is lost cannot be named.
    """
    judged = 0
    for product in products:
        stored, missing = store.trades(product), store.missing_trades(product)
        published = truth.trades[product]
        # the venue's last hundred come along when it is asked; the accounts begin after them
        first = min((int(fields(row).get("first_trade_id", 2**63)) for row in store.of("coverage", product)), default=0)
        accounted = {trade_id for trade_id in stored if trade_id >= first} | missing
        expected = {trade_id for trade_id in published if trade_id >= first}
        # of what came after the last one that it was told of, it cannot know: those kept from everybody, and those of
        # before it connected anew
        known = [
            trade_id
            for trade_id, fact in published.items()
            if not fact.get("hidden") and fact["at_ns"] >= truth.last_opened_ns
        ]
        told = max(known, default=0)
        lost = sorted(trade_id for trade_id in expected - accounted if trade_id < max(told, *accounted, 0))
        made_up = sorted(accounted - expected)
        assert not (lost and has_dense_ids), (product, "lost silently", lost[:5])
        assert not made_up, (product, "made up", made_up[:5])
        assert not stored.keys() & missing
        for trade_id, point in stored.items():
            judge_trade(published[trade_id], fields(point), dict(point.tags)["side"], point.time_ns)
        judged += len(stored)
    return judged


def judge_trade(published: dict[str, Any], stored: dict[str, Any], side: str, time_ns: int) -> None:
    assert stored["price"] == float(published["price"])
    assert stored["size"] == float(published["size"])
    assert side == {"buy": "sell", "sell": "buy"}[published["maker_side"]]
    assert time_ns == published["t_ns"] // 1000 * 1000 + published["trade_id"] % 1000
