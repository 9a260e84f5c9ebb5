"""Every change of a book as Parquet: ``archive/l2/<market>/date=2026-11-23/hour=10.parquet``.

Rows are in the order in which things happened. A row is of one ``kind``:

    book     a whole book follows, whatever was before: no level
    level    a level of it
    change   what a level is from now on; a size of 0: it is gone
    lost     from here on the book is not proved, up to the next ``book``; ``cause`` as in ``gaps``

So the book at any instant is what ``level`` and ``change`` say since the last ``book`` before it, and there is none if
a ``lost`` came later. A file begins with one of the two and can be read alone. A whole book is written at the start of
each hour, after each loss, and every five minutes in which as much has changed as the book has levels.

Prices and sizes are decimals, of one type in every file, so that files can be read together and compared. Scaled
integers were a quarter smaller; but each file has a scale of its own then, and readers that take the first one's for
all (DuckDB does) would round the others without a word. Doubles are exact to 15 digits: ``rounded`` marks a row whose
price or size has more, or more than 18 behind the point, so that it may not be what the venue wrote.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from book.levels import Scale
from sentinel.archive import checksum
from sentinel.archive.layout import TAG, TIME
from sentinel.disk.files import make_folder, replacing

L2 = "l2"
"""The measurement, which no line protocol has."""

DECIMALS = 18
DIGITS = 38
EXACT_DIGITS = 15
NUMBER = pa.decimal128(DIGITS, DECIMALS)

BOOK, LEVEL, CHANGE, LOST = range(4)
KINDS = ("book", "level", "change", "lost")
SIDES = ("bid", "ask")
NO_SIDE = -1

SCHEMA = pa.schema(
    [
        pa.field("time", TIME),
        pa.field("venue_time", TIME),
        pa.field("sequence", pa.int64()),
        pa.field("kind", TAG),
        pa.field("side", TAG),
        pa.field("price", NUMBER),
        pa.field("size", NUMBER),
        pa.field("rounded", pa.bool_()),
        pa.field("cause", TAG),
    ]
)

ROWS_A_GROUP = 131_072
"""What is decoded for one instant; a whole book begins a new group if the one before is a quarter full."""

NONE = -(2**63)
"""Where a row has no such number."""

Bids = Mapping[float, float]
Asks = Mapping[float, float]
Codes = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]


class Rows:
    """The rows of one product and hour, in order. An entry is what came at once: a frame's changes, a whole book."""

    def __init__(self) -> None:
        self._times = array("q")
        self._venue_times = array("q")
        self._sequences = array("q")
        self._kinds = array("b")
        self._bids = array("q")
        self._asks = array("q")
        self._prices = array("d")
        self._sizes = array("d")
        self._causes: list[str] = []

    def __len__(self) -> int:
        return len(self._times)

    @property
    def last_kind(self) -> int | None:
        return self._kinds[-1] if self._kinds else None

    def lose(self, time_ns: int, cause: str) -> None:
        """The book is not proved from here on."""
        self._add(LOST, time_ns, None, None, {}, {})
        self._causes.append(cause)

    def add_book(self, time_ns: int, venue_ns: int | None, sequence: int | None, bids: Bids, asks: Asks) -> None:
        """A whole book, each side in rising price."""
        self._add(BOOK, time_ns, venue_ns, sequence, bids, asks)

    def add_changes(self, time_ns: int, venue_ns: int | None, sequence: int | None, bids: Bids, asks: Asks) -> None:
        self._add(CHANGE, time_ns, venue_ns, sequence, bids, asks)

    def _add(self, kind: int, time_ns: int, venue_ns: int | None, sequence: int | None, bids: Bids, asks: Asks) -> None:
        self._times.append(time_ns)
        self._venue_times.append(NONE if venue_ns is None else venue_ns)
        self._sequences.append(NONE if sequence is None else sequence)
        self._kinds.append(kind)
        self._bids.append(len(bids))
        self._asks.append(len(asks))
        self._prices.extend(bids)
        self._prices.extend(asks)
        self._sizes.extend(bids.values())
        self._sizes.extend(asks.values())

    def cut(self, time_ns: int) -> None:
        """Takes back what is later than ``time_ns``."""
        while self._times and self._times[-1] > time_ns:
            for column in (self._times, self._venue_times, self._sequences):
                column.pop()
            if self._kinds.pop() == LOST:
                self._causes.pop()
            count = self._bids.pop() + self._asks.pop()
            if count:
                del self._prices[-count:], self._sizes[-count:]

    def table(self) -> pa.Table:
        """The rows in the columns of ``SCHEMA``."""
        kinds = np.array(self._kinds, np.int64)
        bids, asks = np.array(self._bids), np.array(self._asks)
        is_bare = kinds != CHANGE  # a row without a level comes first
        counts = np.column_stack((is_bare, bids, asks)).ravel()
        entries = np.repeat(np.arange(len(kinds)), is_bare + bids + asks)
        sides = np.repeat(np.tile((NO_SIDE, 0, 1), len(kinds)), counts)
        has_level = sides != NO_SIDE
        row_kinds = np.where(has_level & (kinds[entries] == BOOK), LEVEL, kinds[entries])
        price, is_price_rounded = decimals(np.array(self._prices))
        size, is_size_rounded = decimals(np.array(self._sizes))
        places = np.where(has_level, np.cumsum(has_level) - 1, NONE)
        rounded = is_price_rounded | is_size_rounded
        is_rounded = np.zeros(len(entries), bool)
        is_rounded[has_level] = rounded
        causes = np.full(len(entries), -1)
        causes[row_kinds == LOST] = np.arange(len(self._causes))
        words = list(dict.fromkeys(self._causes))
        codes = np.array([words.index(cause) for cause in self._causes], np.int64)
        columns = [
            pa.array(np.array(self._times)[entries]).cast(TIME),
            _optional(np.array(self._venue_times)[entries]).cast(TIME),
            _optional(np.array(self._sequences)[entries]),
            _tags(row_kinds, KINDS),
            _tags(sides, SIDES),
            price.take(_optional(places)),
            size.take(_optional(places)),
            pa.array(is_rounded, mask=~is_rounded),
            _tags(np.append(codes, -1)[causes], words),
        ]
        return pa.table(columns, schema=SCHEMA)


def _optional(values: Longs) -> pa.Array:
    return pa.array(values, mask=values == NONE)


def _tags(codes: npt.NDArray[np.int64], words: Sequence[str]) -> pa.DictionaryArray:
    indices = pa.array(codes.astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(words, pa.string()))


def decimals(values: npt.NDArray[np.float64]) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Each double as the shortest decimal that reads back to it, and where that may not be what was written."""
    scale = Scale()
    wholes = scale.whole_array(values) if len(values) else np.empty(0, np.int64)
    if wholes.dtype == np.int64:
        places = len(str(scale.factor)) - 1
        if places <= DECIMALS:
            words = np.column_stack((wholes, wholes >> 63))  # 128 bits, the low ones first
            narrow = pa.Array.from_buffers(pa.decimal128(DECIMALS, places), len(wholes), [None, pa.py_buffer(words)])
            return narrow.cast(NUMBER), np.zeros(len(wholes), bool)
    exact = [Decimal(repr(value)) for value in values.tolist()]
    with localcontext(prec=DIGITS + EXACT_DIGITS):
        unit = Decimal(1).scaleb(-DECIMALS)
        kept = [value.quantize(unit, ROUND_HALF_EVEN) for value in exact]
    is_rounded = [
        value != short or len(value.normalize().as_tuple().digits) > EXACT_DIGITS
        for value, short in zip(exact, kept, strict=True)
    ]
    return pa.array(kept, NUMBER), np.array(is_rounded, bool)


def write(path: Path, table: pa.Table) -> None:
    """Puts rows at ``path``, whole or not at all. Whole books begin row groups, so that little is read for one."""
    make_folder(path.parent)
    with replacing(path) as temporary:
        writer = pq.ParquetWriter(
            temporary,
            SCHEMA,
            compression="zstd",
            compression_level=3,
            use_dictionary=["kind", "side", "cause", "price"],
            column_encoding={
                "time": "DELTA_BINARY_PACKED",
                "venue_time": "DELTA_BINARY_PACKED",
                "sequence": "DELTA_BINARY_PACKED",
                "size": "PLAIN",  # splitting its bytes saves 3 %, and Polars cannot read it
            },
            write_page_checksum=True,
        )
        with writer:
            for first, after in _groups(table):
                writer.write_table(table.slice(first, after - first), row_group_size=after - first)
        checksum.put(temporary)


def _groups(table: pa.Table) -> Iterator[tuple[int, int]]:
    """First row and end of each row group."""
    kinds = codes_of(table["kind"], KINDS)
    books = np.flatnonzero(kinds == BOOK).tolist()
    begins = [0]
    for place in [*books, table.num_rows]:
        while place - begins[-1] > ROWS_A_GROUP:
            begins.append(begins[-1] + ROWS_A_GROUP)
        if place - begins[-1] >= ROWS_A_GROUP // 4 and place < table.num_rows:
            begins.append(place)
    return itertools.pairwise([*begins, table.num_rows])


def codes_of(column: pa.ChunkedArray, words: Sequence[str]) -> Codes:
    """The place of each value in ``words``; -1 where there is none."""
    parts = []
    for chunk in column.chunks:
        values = chunk.dictionary.to_pylist()
        places = np.array([*(words.index(value) for value in values), -1], np.int32)
        parts.append(places[chunk.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)])
    return np.concatenate(parts) if parts else np.empty(0, np.int32)
