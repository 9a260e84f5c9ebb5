"""Whether a collector's account of a run is the truth: nothing lost silently, nothing invented, nothing made up."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from itertools import product as pairs
from pathlib import Path
from typing import Any

from sentinel.simulator.facts import DialectFacts
from tests.end_to_end.judge import CADENCE_NS, TruthFile, by_stored_ids, judge_trades
from tests.end_to_end.store import Store, fields, whole
from tests.faults import chains, checksums
from tests.faults.played import COINBASE, Played
from tests.faults.warp import Warp
from tests.servers.stood import STOOD

MS = 1_000_000
S = 1_000_000_000
LAG_NS = 2500 * MS
"""How late a loaded machine may deliver a frame before its connection is called silent: a sample is judged by what the
market was during this time, and samples must follow the market in its order."""

LATE_NS = 400 * MS
"""How much later than it was sent the last good frame before a lost one may come, and prove the instants before."""

BEFORE_NS, AFTER_NS = 4 * S, 12 * S
"""A gap is explained by a fault that began this long before it, or during it."""

BREAKING = {"drop", "reorder", "corrupt", "jump", "stall"}
"""Faults after which a numbered connection proves nothing until its next snapshot."""


CAUSES = {"disk": ("disk", STOOD), "clock": ("clock",), "stopped": ("restart", "disk")}
"""Causes that name a trouble of the host, and which. A machine that stands still does not write either."""


class Spans:
    """Spans of time, their ends among them, as one set."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start_ns, end_ns in sorted(span for span in spans if span[0] <= span[1]):
            if self._ends and start_ns <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end_ns)
            else:
                self._starts.append(start_ns)
                self._ends.append(end_ns)

    def __contains__(self, ns: int) -> bool:
        place = bisect_right(self._starts, ns) - 1
        return place >= 0 and ns <= self._ends[place]

    def outside(self, first_ns: int, last_ns: int) -> Iterator[tuple[int, int]]:
        """Of these instants those that are in none, as spans."""
        for start_ns, end_ns in zip(self._starts, self._ends, strict=True):
            if end_ns >= first_ns and start_ns <= last_ns:
                if first_ns < start_ns:
                    yield first_ns, start_ns - 1
                first_ns = end_ns + 1
        if first_ns <= last_ns:
            yield first_ns, last_ns


def judge(
    data_dir: Path,
    truth: TruthFile,
    products: list[str],
    warp: Warp | None = None,
    venue: Played = COINBASE,
    store: Store | None = None,
) -> list[str]:
    """Everything that is wrong. ``warp`` is what a host did to the collector's time; ``store`` is there if the journal
    does not have everything any more."""
    warp = warp or Warp()
    store = store or Store(data_dir, venue.venue.exchange)
    problems: list[str] = []
    try:
        if venue.skips_ids:
            by_stored_ids(store, truth, products)
        judge_trades(store, truth, products, has_dense_ids=venue.has_dense_ids)
    except AssertionError as error:
        problems.append(f"trades: {str(error)[:300]}")
    for product in products:
        problems += [f"{product}: {problem}" for problem in _judge_product(store, truth, venue.facts, product, warp)]
    problems += [f"log: {entry}" for entry in log_of(data_dir) if entry["event"] == "accounts_open"]
    if "Traceback" in (data_dir / "stderr.txt").read_text():
        problems.append("a traceback")
    return problems


def log_of(data_dir: Path) -> list[dict[str, Any]]:
    """Without the one line for people that a run may have ended with."""
    lines = (data_dir / "stderr.txt").read_text().splitlines()
    return [json.loads(line) for line in lines if not line.startswith("sentinel-ws: ")]


def _judge_product(store: Store, truth: TruthFile, facts: DialectFacts, product: str, warp: Warp) -> Iterator[str]:
    tops = {point.time_ns: fields(point) for point in store.of("top", product)}
    if not tops:
        yield "no samples"
        return
    gaps = [(dict(gap.tags), fields(gap)) for gap in store.of("gaps", product)]
    book_gaps = [gap for tags, gap in gaps if tags["channel"] == "book"]
    yield from judge_instants(tops, book_gaps, warp)
    instants = sorted(moment for top in tops for moment in certain(warp.moments(top)))
    yield from _judge_spoilt(truth, facts, product, instants)
    named = sorted((gap["start_seq"], gap["end_seq"]) for gap in book_gaps if "start_seq" in gap)
    if facts.has_product_numbers:
        yield from chains.judge_unproved(truth, facts, product, instants, LATE_NS)
        yield from chains.judge_holes(truth, facts, product, named)
    elif facts.has_checksums:
        losses = [
            (gap["start_ns"], gap.get("end_ns"))
            for tags, gap in gaps
            if (tags["channel"], tags["cause"]) == ("book", "sequence")
        ]
        yield from checksums.judge_refuted(truth, product, instants, LATE_NS)
        yield from checksums.judge_losses(truth, facts, product, losses, warp)
    else:
        yield from _judge_unproved(truth, product, instants)
        yield from _judge_holes(truth, product, named)
    yield from judge_values(truth, product, tops, warp)
    yield from _judge_reasons(truth, product, gaps, warp)
    yield from _judge_accounts(store, product, tops, warp)


def judge_instants(tops: dict[int, Any], book_gaps: list[dict[str, Any]], warp: Warp) -> Iterator[str]:
    """Every grid instant that is due has a sample or lies in a named gap, and never both; but a run whose clock was
    ahead may have left a sample where the next run has a gap."""
    inside = Spans((gap["start_ns"], gap.get("end_ns", max(tops) + CADENCE_NS) - 1) for gap in book_gaps)
    for instant in sorted(tops):
        if instant in inside and not warp.is_taken_back(instant):
            yield f"instant {instant} has a sample inside a gap"
    for first, last in said(tops, book_gaps, warp):
        instants = sorted(instant for instant in tops if first <= instant <= last)
        for before, after in pairwise([first - CADENCE_NS, *instants]):
            for start_ns, end_ns in inside.outside(before + 1, after - 1) if after > before + CADENCE_NS else ():
                if missing := range(_on_grid(start_ns), end_ns + 1, CADENCE_NS):
                    yield f"{len(missing)} instants from {missing[0]} have neither sample nor gap"


def said(tops: Collection[int], book_gaps: Collection[dict[str, Any]], warp: Warp) -> Iterator[tuple[int, int]]:
    """The first and last grid instant of each stretch that is due. The first run begins with its first sample, one that
    goes back in time with its first word; a stretch ends with its last sample."""
    began_ns = min(tops, key=lambda instant: min(warp.moments_or_step(instant)))
    words = [*tops, *(_on_grid(gap["start_ns"]) for gap in book_gaps)]
    for start_ns, end_ns in warp.due:
        sampled = [instant for instant in tops if start_ns <= instant <= end_ns]
        if sampled:
            spoken = sampled if start_ns <= began_ns <= end_ns else words
            yield min(instant for instant in spoken if instant >= start_ns), max(sampled)


def _on_grid(ns: int) -> int:
    """The first grid instant from there on."""
    return -(-ns // CADENCE_NS) * CADENCE_NS


def _judge_unproved(truth: TruthFile, product: str, instants: list[int]) -> Iterator[str]:
    """No sample between a frame that was lost and the next snapshot."""
    snapshots = sorted(
        (fact["t_ns"], fact["connection"], fact["sequence"])
        for fact in truth.snapshots
        if fact["product"] == product and fact["feed"] == truth.feed
    )
    for fault in _numbered_faults(truth):
        number = fault["connection"]
        if number not in {connection for _, connection, _ in snapshots} or truth.came_late(fault, fault["start_ns"]):
            continue
        # a jump may strike the snapshot's own frame, which then is the next proof
        proof = fault["sequence_first"] if fault["fault"] == "jump" else fault["sequence_last"] + 1
        after = [
            t_ns
            for t_ns, connection, sequence in snapshots
            if (connection == number and sequence >= proof) or (connection > number and t_ns > fault["start_ns"])
        ]
        end_ns = min(after, default=instants[-1] + 1)
        inside = instants[bisect_right(instants, fault["start_ns"] + LATE_NS) : bisect_left(instants, end_ns)]
        if inside and not _was_replaced(snapshots, number, fault["start_ns"]):
            yield f"{len(inside)} samples from {inside[0]} after {fault['fault']} at {fault['start_ns']}"


def _judge_spoilt(truth: TruthFile, facts: DialectFacts, product: str, instants: list[int]) -> Iterator[str]:
    """No sample between a level that cannot be read and the next snapshot."""
    snapshots = [fact["t_ns"] for fact in truth.snapshots if (fact["product"], fact["feed"]) == (product, truth.feed)]
    for fault in _spoilt(truth, facts, product):
        end_ns = min((t_ns for t_ns in snapshots if t_ns > fault["start_ns"]), default=instants[-1] + 1)
        # the frame itself proves the instants before it came
        came_ns = fault["start_ns"] + LATE_NS
        inside = instants[bisect_right(instants, came_ns) : bisect_left(instants, end_ns)]
        if inside and not truth.came_late(fault, fault["start_ns"]):
            yield f"{len(inside)} samples from {inside[0]} after a bad level at {fault['start_ns']}"


def _spoilt(truth: TruthFile, facts: DialectFacts, product: str) -> Iterator[dict[str, Any]]:
    """Book frames of this product that came with their number and with a level that cannot be read."""
    for fault in truth.faults:
        is_readable = fault["fault"] == "corrupt" and fault["sequence_first"] is None
        if is_readable and (fault["channel"], fault["product"]) == (facts.book_channel, product):
            yield fault


def _was_replaced(snapshots: list[tuple[int, int, int]], number: int, at_ns: int) -> bool:
    """Whether a later connection had taken over from this one."""
    return any(connection > number and t_ns < at_ns for t_ns, connection, _ in snapshots)


def certain(moments: set[int]) -> set[int]:
    """The moment, if it is known which."""
    return moments if len(moments) == 1 else set()


def judge_values(truth: TruthFile, product: str, tops: dict[int, Any], warp: Warp) -> Iterator[str]:
    """Every sample is the market's, as it was within the time a frame may take, and never older than the one before."""
    held = truth.tops[product]
    held_up = Spans((start_ns, end_ns + LAG_NS) for start_ns, end_ns in truth.late_spans())
    position = 0
    in_order = sorted((min(warp.moments(instant), default=instant), instant) for instant in tops)
    for _, instant in in_order:
        stored, moments = tops[instant], warp.moments(instant)
        if not moments:
            yield f"a sample at {instant}, which the clock was put forward over"
        if any(moment in held_up for moment in moments):
            continue
        values = tuple(stored[name] for name in ("bid", "bid_size", "ask", "ask_size"))
        found = [
            number
            for moment in moments
            for number in range(
                max(0, position if len(moments) == 1 else 0, bisect_left(held, (moment - LAG_NS,)) - 1),
                bisect_left(held, (moment,)),
            )
            if held[number][1:] == values
        ]
        if values[0] >= values[2]:
            yield f"the sample at {instant} is crossed"
        if not found and moments:
            yield f"the sample at {instant} never was the market's top"
        elif len(moments) == 1:
            position = min(found)


def _judge_holes(truth: TruthFile, product: str, named: list[tuple[int, int]]) -> Iterator[str]:
    """Every run of lost numbers is named exactly, if a later frame of the connection could tell of it."""
    certain, possible = [], []
    for number in {fact["connection"] for fact in truth.snapshots if fact["product"] == product}:
        for run, is_certain in _lost_runs(truth, number):
            possible.append(run)
            if is_certain:
                certain.append(run)
    for run in certain:
        if run not in named:
            yield f"the hole {run} is not named; {named}"
    for run in named:
        if run not in possible:
            yield f"the hole {run} is named and did not happen; {possible}"


def _lost_runs(truth: TruthFile, number: int) -> Iterator[tuple[tuple[int, int], bool]]:
    """Runs of numbers a connection lost, and whether its client surely heard a later one."""
    closed_ns = min(
        (
            fact["t_ns"]
            for fact in truth.connections
            if fact["event"] == "closed" and fact["connection"] == number and fact["feed"] == truth.feed
        ),
        default=None,
    )
    lost: list[tuple[int, int, int]] = sorted(
        (fault["sequence_first"], fault["sequence_last"], fault["end_ns"])
        for fault in _numbered_faults(truth)
        if fault["connection"] == number
    )
    runs: list[list[int]] = []
    for first, last, end_ns in lost:
        if runs and first <= runs[-1][1] + 1:
            runs[-1][1:] = [max(last, runs[-1][1]), max(end_ns, runs[-1][2])]
        else:
            runs.append([first, last, end_ns])
    for first, last, end_ns in runs:
        # a second and a half: a heartbeat comes by then, whatever else does; a commit may take as long
        is_heard = closed_ns is None or closed_ns > end_ns + 3 * S
        yield (first, last), is_heard and not any(is_deaf(fault, end_ns) for fault in truth.troubles)


def is_deaf(fault: dict[str, Any], lost_ns: int) -> bool:
    """Whether the host may have kept the collector from telling that a number was lost then."""
    kind = fault["fault"].partition(":")[0]
    return kind in ("disk", "restart", STOOD) and fault["start_ns"] - 3 * S <= lost_ns <= fault["end_ns"] + 3 * S


def _numbered_faults(truth: TruthFile) -> Iterator[dict[str, Any]]:
    for fault in truth.faults:
        if fault["fault"] in BREAKING and fault["feed"] == truth.feed and fault["sequence_first"] is not None:
            yield fault


def _judge_reasons(
    truth: TruthFile, product: str, gaps: list[tuple[dict[str, str], dict[str, Any]]], warp: Warp
) -> Iterator[str]:
    """Nothing is reported that did not happen: each gap has a fault to blame, or a checksum that refutes the book, be
    the fault of it ever so old, at a moment that its times may mean."""
    refuted = [fact | {"fault": "refuted", "start_ns": fact["t_ns"]} for fact in truth.refuted]
    happened = truth.troubles + [fact for fact in refuted if fact["product"] == product]
    for tags, facts in gaps:
        starts = warp.moments_or_step(facts["start_ns"])
        open_until = {start_ns + AFTER_NS for start_ns in starts}
        ends = warp.moments_or_step(facts["end_ns"]) if "end_ns" in facts else open_until
        blamed = [
            fault
            for fault in happened
            if any(
                fault["start_ns"] - BEFORE_NS <= end_ns
                and start_ns <= min(end_ns, fault.get("end_ns", fault["start_ns"]) + AFTER_NS)
                for start_ns, end_ns in pairs(starts, ends)
            )
        ]
        if tags["cause"] in CAUSES:
            blamed = [fault for fault in blamed if fault["fault"].partition(":")[0] in CAUSES[tags["cause"]]]
        if not blamed:
            yield f"a gap without a fault: {tags} {facts}"


def _judge_accounts(store: Store, product: str, tops: dict[int, Any], warp: Warp) -> Iterator[str]:
    """What the coverage says was written and is missing is what is there and what is missing."""
    rows = [fields(point) for point in store.of("coverage", product)]
    written = sum(whole(row["samples_written"]) for row in rows)
    if not len(tops) - sum(map(warp.is_taken_back, tops)) <= written <= len(tops):
        yield f"the accounts say {written} samples, there are {len(tops)}"
    if any(row["samples_due"] != whole(row["samples_written"]) + whole(row["samples_withheld"]) for row in rows):
        yield "the accounts do not close"
    trades = sum(whole(row["trades"]) for row in rows)
    first = min((whole(row["first_trade_id"]) for row in rows if "first_trade_id" in row), default=0)
    stored = sum(trade_id >= first for trade_id in store.trades(product))
    if trades != stored:
        yield f"the accounts say {trades} trades, there are {stored} from {first} on"
