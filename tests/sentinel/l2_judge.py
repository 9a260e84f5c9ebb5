"""The book at any instant, held against the exchange's own and against what was sampled live."""

from __future__ import annotations

import hashlib
import json
import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa

import sentinel.data
from sentinel.disk.data_dir import TAPES
from sentinel.disk.tape import Kind, TapeWriter, read_header, read_tape, tape_files
from sentinel.simulator.market import Product
from sentinel.simulator.truth import Truth
from tests.servers import stood
from tests.servers.exchange import Market

CADENCE_NS = 100_000_000
LATE_NS = 1_000_000_000
"""So late a busy machine may deliver a frame, unless exchange or collector stood still."""


def digest(levels: Iterable[tuple[str, str, str]]) -> str:
    """Of side, price and size of every level, as plain decimals without trailing zeros."""
    return hashlib.sha256("\n".join(sorted(map(" ".join, levels))).encode()).hexdigest()


class WatchedBooks:
    """Each state of the exchange's own books: by product, the venue's time and the digest of all levels."""

    def __init__(self) -> None:
        self.states: dict[str, list[tuple[int, str]]] = defaultdict(list)

    @contextmanager
    def watch(self, exchange: Market) -> Iterator[None]:
        """Notes them while the block runs."""
        truth: Truth = exchange.market.stage.truth
        top = truth.top

        def noting(feed: str, product: Product, sent_ns: int) -> None:
            self.states[product.name].append((sent_ns, digest(_levels_of(product))))
            top(feed, product, sent_ns)

        truth.top = noting  # type: ignore[method-assign]
        try:
            yield
        finally:
            del truth.top


def _levels_of(product: Product) -> Iterator[tuple[str, str, str]]:
    for side, of in product.sides.items():
        for price, size in of.levels.items():
            yield side, product.price_text(price), product.size_text(size)


def levels(book: sentinel.data.WholeBook) -> Iterator[tuple[str, str, str]]:
    for side, table in (("bid", book.bids), ("ask", book.asks)):
        for row in table.to_pylist():
            yield side, f"{row['price'].normalize():f}", f"{row['size'].normalize():f}"


def judge_books(
    data_dir: Path, product: str, watched: WatchedBooks, span: tuple[int, int], count: int = 1000
) -> tuple[int, int]:
    """Holds the book at random instants against the truth; gives how many were equal, and how many refused.

    Refused must be what the accounts call a hole, and nothing else.
    """
    states = watched.states[product]
    rng = random.Random(product)
    holes = sentinel.data.load("top", product, *span, data_dir=data_dir, columns=[]).holes
    times = [time_ns for time_ns, _ in states]
    stood_still = stood.read(data_dir.with_name(stood.FILE))
    known: dict[int, set[str]] = defaultdict(set)
    for time_ns, state in states:  # a busy exchange does several things at one time
        known[time_ns].add(state)
    equal = refused = 0
    for at_ns in sorted(rng.randrange(*span) for _ in range(count)):
        is_hole = any(hole.start_ns - _slack_ns(hole) <= at_ns < hole.end_ns for hole in holes)
        try:
            book = sentinel.data.order_book(product, at_ns, data_dir=data_dir)
        except sentinel.data.NoBook as error:
            book, reason = None, str(error)
        if book is None:
            assert is_hole, (reason, holes, span)
            refused += 1
            continue
        # accounts begin with the first grid instant, and end with the last: between them only we are asked
        between = [hole for hole in holes[1:] if hole.start_ns <= at_ns < hole.end_ns - _slack_ns(hole)]
        assert all(at_ns < hole.start_ns + CADENCE_NS for hole in between), (product, at_ns, holes)
        assert book.venue_ns is not None
        assert digest(levels(book)) in known[book.venue_ns], (product, at_ns)
        after = bisect_right(times, book.venue_ns)
        late_ns = times[after] if after < len(times) else at_ns
        is_excused = any(still["start_ns"] <= at_ns and late_ns <= still["end_ns"] for still in stood_still)
        assert is_excused or late_ns > at_ns - LATE_NS, "an old book"
        equal += 1
    return equal, refused


UNITS = 10**8
"""Of the recorded market's prices and sizes: none has more than 8 digits behind the point."""


class FrameBook:
    """One product's book in whole units, from frames of Advanced Trade decoded with ``json`` alone."""

    def __init__(self, product: str) -> None:
        self.sides: dict[str, dict[int, int]] = {"bid": {}, "offer": {}}
        self.is_known = False
        self._product = product

    def take(self, frame: bytes) -> None:
        message = json.loads(frame)
        for event in message["events"] if message.get("channel") == "l2_data" else ():
            if event["product_id"] != self._product:
                continue
            if event["type"] == "snapshot":
                self.is_known = True
                self.sides = {"bid": {}, "offer": {}}
            for change in event["updates"]:
                price, size = (int(Decimal(change[name]) * UNITS) for name in ("price_level", "new_quantity"))
                if size:
                    self.sides[change["side"]][price] = size
                else:
                    self.sides[change["side"]].pop(price, None)


def judge_frames(data_dir: Path, product: str, count: int) -> int:
    """Holds the book at random instants of a recording against its frames; gives how many had one."""
    frames = [record for record in read_tape(tape_files(data_dir / TAPES)[0]) if record.kind is Kind.FRAME]
    rng = random.Random(product)
    oracle, at, equal = FrameBook(product), 0, 0
    for instant_ns in sorted(rng.randrange(frames[0].received_ns, frames[-1].received_ns) for _ in range(count)):
        while at < len(frames) and frames[at].received_ns <= instant_ns:
            oracle.take(frames[at].payload)
            at += 1
        try:
            book = sentinel.data.order_book(product, instant_ns, data_dir=data_dir)
        except sentinel.data.NoBook:
            assert not oracle.is_known
            continue
        assert _in_units(book.bids) == oracle.sides["bid"]
        assert _in_units(book.asks) == oracle.sides["offer"]
        equal += 1
    return equal


def _in_units(levels: pa.Table) -> dict[int, int]:
    """Price -> size; refuses to round."""
    found = []
    for name in ("price", "size"):
        column = levels[name].combine_chunks().cast(pa.decimal128(18, 8))
        found.append(np.frombuffer(column.buffers()[1], np.int64)[: 2 * len(column) : 2].tolist())
    return dict(zip(*found, strict=True))


def judge_bins(data_dir: Path, product: str, span: tuple[int, int]) -> int:
    """Rebuilt bins are those that were sampled, every one and no other; gives how many rows."""
    sampled = sentinel.data.load("book", product, *span, data_dir=data_dir).table
    rebuilt = sentinel.data.bins(product, *span, data_dir=data_dir).table
    mine, others = plain(rebuilt), plain(sampled.select(rebuilt.column_names))
    assert mine.num_rows == others.num_rows
    assert mine.equals(others), product
    return int(mine.num_rows)


def plain(table: pa.Table) -> pa.Table:
    """Without dictionaries, which may be in any order."""
    columns: Mapping[str, pa.ChunkedArray] = {
        field.name: table[field.name].cast(field.type.value_type)
        if pa.types.is_dictionary(field.type)
        else table[field.name]
        for field in table.schema
    }
    return pa.table(dict(columns)).combine_chunks()


def moved(source: Path, target: Path, by_ns: int, *, max_age_s: float = 3600.0) -> None:
    """A tape as if it had been recorded at another time, in files of another length."""
    writer, header = None, None
    for file in tape_files(source):
        for record in read_tape(file):
            if record.kind is Kind.START:
                if writer is not None:
                    writer.close()
                header = read_header(file)
                writer = TapeWriter(target, header | {"created_ns": record.received_ns + by_ns}, max_age_s=max_age_s)
            assert writer is not None
            writer.write(record.kind, record.lane, record.received_ns + by_ns, record.payload)
            if record.kind is Kind.TICK:
                writer.flush()
    if writer is not None:
        with closing(writer):
            pass


def _slack_ns(hole: sentinel.data.Hole) -> int:
    """The hole of a crossed book is from one instant of the grid to another, whenever between them it was crossed."""
    return CADENCE_NS if hole.cause == "crossed" else 0
