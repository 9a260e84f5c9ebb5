"""The book at any instant, and every change of it, from the files of ``l2``.

What is proved of a book is what the files say: an instant has one if the last ``book`` or ``lost`` before it is a
``book``. All else is a hole, and so is an instant at which the book is crossed or has an empty side, as in the samples.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

from book.bins import OF_BIN, OF_TOP, BookMeasure
from book.events import MapDelta
from book.order_book import OrderBook
from book.sampler import Flaw, first_instant
from feeds.market import Market
from sentinel.archive.damage import opened, readable
from sentinel.archive.l2 import BOOK, CHANGE, KINDS, L2, LOST, NUMBER, SCHEMA, SIDES, codes_of
from sentinel.archive.layout import TAG, TIME, Series, schema
from sentinel.archive.schedule import HOUR_NS
from sentinel.contract.gaps import NOT_COLLECTED
from sentinel.coverage.holes import Hole
from sentinel.disk.data_dir import HOURS, hour_of
from sentinel.disk.object_store import Folder, found

Longs = npt.NDArray[np.int64]
Wholes = npt.NDArray[Any]
"""64-bit integers, or Python's own where these do not suffice."""

NOT_ARCHIVED = "not_archived"
"""The cause of a hole after the last hour there is."""

SCALES = (8, 4, 12, 0, 16)
"""Decimals tried one after the other: most markets' numbers fit into 64 bits with the first."""

NARROW_DIGITS = 18
EXACT = 2**53

MARKS = ["time", "kind", "cause"]
LEVELS = ["time", "venue_time", "sequence", "kind", "side", "price", "size", "cause"]


class WholeBook(Struct, frozen=True):
    """Every level at one instant, the best first. ``sequence`` and ``venue_ns``, the venue's time, are of the frame
    that changed it last; None where the venue says neither."""

    time_ns: int
    sequence: int | None
    venue_ns: int | None
    bids: pa.Table
    asks: pa.Table


class HourFile:
    """One file, of which no more is decoded than is asked for."""

    def __init__(self, path: Folder) -> None:
        self.hour_ns = hour_of(path)
        self._path = path
        self._parquet = opened(path)
        groups = map(self._parquet.metadata.row_group, range(self._parquet.num_row_groups))
        self._begins = [int(group.column(0).statistics.min_raw) for group in groups]

    def __enter__(self) -> HourFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._parquet.close()

    def read(self, from_ns: int, until_ns: int, columns: Sequence[str]) -> pa.Table:
        """The rows of ``from_ns <= time <= until_ns``, and those before from the last ``book`` or ``lost`` on.

        ``time`` and ``kind`` must be among the columns.
        """
        first = max(0, bisect_right(self._begins, from_ns) - 1)
        after = bisect_right(self._begins, until_ns)
        while True:
            with readable(self._path):
                table = self._parquet.read_row_groups(list(range(first, after)), columns)
            times = times_of(table)
            kinds = codes_of(table["kind"], KINDS)
            known = int(np.searchsorted(times, from_ns, "right"))
            marks = np.flatnonzero(is_mark(kinds[:known]))
            if len(marks) or not first:
                begin = int(marks[-1]) if len(marks) else 0
                end = int(np.searchsorted(times, until_ns, "right"))
                return table.slice(begin, end - begin)
            first -= 1


def times_of(table: pa.Table) -> Longs:
    """Its times in ns."""
    times: Longs = table["time"].cast(pa.int64()).to_numpy()
    return times


def is_mark(kinds: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Where a whole book begins or is lost."""
    found: npt.NDArray[np.bool_] = (kinds == BOOK) | (kinds == LOST)
    return found


class Hour:
    """The rows of one file as numbers: prices are ``prices`` / 10^``price_decimals``, sizes likewise."""

    def __init__(self, table: pa.Table) -> None:
        self.times = times_of(table)
        self.kinds = codes_of(table["kind"], KINDS)
        self.sides = codes_of(table["side"], SIDES)
        self.prices, self.price_decimals = wholes(table["price"])
        self.sizes, self.size_decimals = wholes(table["size"])

    def due(self, start_ns: int, end_ns: int, every_ns: int) -> Iterator[tuple[int, int | None, int, int]]:
        """Each instant that has a proved book, the row of the ``book`` to begin from if it is not that of the instant
        before, and which rows come in: first and end."""
        grid = np.arange(first_instant(start_ns, every_ns), end_ns, every_ns, dtype=np.int64)
        ends = self.times.searchsorted(grid, "right")
        marks = np.where(is_mark(self.kinds), np.arange(len(self.kinds)), -1)
        last_marks = np.append(np.maximum.accumulate(marks), -1)[ends - 1]
        before, at = -1, 0
        for instant_ns, mark, end in zip(grid.tolist(), last_marks.tolist(), ends.tolist(), strict=True):
            if end == 0 or mark < 0 or self.kinds[mark] != BOOK:
                continue
            yield instant_ns, None if mark == before else mark, at if mark == before else mark + 1, end
            before, at = mark, end


def wholes(column: pa.ChunkedArray) -> tuple[Wholes, int]:
    """Decimals as integers, 0 where there is none, and how many digits of them are behind the point."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    array = array.fill_null(0)
    for decimals in SCALES:
        try:
            narrow = array.cast(pa.decimal128(NARROW_DIGITS, decimals))
        except pa.ArrowInvalid:
            continue
        words = np.frombuffer(narrow.buffers()[1], np.int64)
        return words[2 * narrow.offset : 2 * (narrow.offset + len(narrow)) : 2].copy(), decimals
    scale = NUMBER.scale
    return np.array([int(value.scaleb(scale)) for value in array.to_pylist()], object), scale


def numbers(values: Wholes, decimals: int) -> pa.Array:
    """The inverse of ``wholes``."""
    if values.dtype == object:
        from decimal import Decimal

        return pa.array([Decimal(int(value)).scaleb(-decimals) for value in values], NUMBER)
    words = np.column_stack((values, values >> 63))
    kind = pa.decimal128(NARROW_DIGITS, decimals)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(words)]).cast(NUMBER)


def doubles(values: Wholes, decimals: int) -> list[float]:
    """The double nearest to each: what the events of the feed held."""
    if values.dtype != object and (not len(values) or int(np.abs(values).max()) < EXACT):
        found: list[float] = (values / 10**decimals).tolist()
        return found
    return [int(value) / 10**decimals for value in values]


class L2Reader:
    """The files of one market in the archive at ``root``."""

    def __init__(self, root: Folder, market: Market) -> None:
        files = found(Series(L2, market).folder(root), HOURS)
        self._files = {hour_of(file): file for file in files}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._files)

    def book_at(self, at_ns: int) -> WholeBook | Hole:
        """The whole book after everything received at or before ``at_ns``, or the hole it lies in."""
        hour_ns = at_ns - at_ns % HOUR_NS
        path = self._files.get(hour_ns)
        if path is None:
            return self.holes(at_ns, at_ns + 1)[0]
        with HourFile(path) as file:
            table = file.read(at_ns, at_ns, LEVELS)
        kinds = codes_of(table["kind"], KINDS)
        if not len(kinds) or kinds[0] != BOOK:
            return self.holes(at_ns, at_ns + 1)[0]
        sides = codes_of(table["side"], SIDES)
        prices, _ = wholes(table["price"])
        sizes, _ = wholes(table["size"])
        books = []
        for side in range(len(SIDES)):
            rows = np.flatnonzero(sides == side)[::-1]
            _, last = np.unique(prices[rows], return_index=True)
            rows = rows[last]
            rows = rows[sizes[rows] > 0]
            books.append(rows if side else rows[::-1])
        bids, asks = books
        flaw = _flaw(prices[bids], prices[asks])
        if flaw is not None:
            return Hole(at_ns, at_ns + 1, flaw)
        last = table.slice(table.num_rows - 1)
        chosen = table.select(["price", "size"])
        venue_ns = last["venue_time"].cast(pa.int64())[0].as_py()
        return WholeBook(at_ns, last["sequence"][0].as_py(), venue_ns, chosen.take(bids), chosen.take(asks))

    def changes(self, start_ns: int, end_ns: int) -> tuple[pa.Table, list[Hole]]:
        """Each change with ``start_ns <= time < end_ns``, and the times without a proved book."""
        names = [name for name in SCHEMA.names if name != "cause"]
        parts = [pa.schema([SCHEMA.field(name) for name in names]).empty_table()]
        for path in self._between(start_ns, end_ns):
            with HourFile(path) as file:
                table = file.read(start_ns, end_ns - 1, names)
            is_wanted = (codes_of(table["kind"], KINDS) == CHANGE) & (times_of(table) >= start_ns)
            parts.append(table.filter(pa.array(is_wanted)))
        table = pa.concat_tables(parts).drop_columns(["kind"]).unify_dictionaries()
        return table, self.holes(start_ns, end_ns)

    def holes(self, start_ns: int, end_ns: int) -> list[Hole]:
        """The times within in which no book is proved."""
        found: list[Hole] = []
        newest_ns = max(self._files, default=-HOUR_NS)
        for hour_ns in range(start_ns - start_ns % HOUR_NS, end_ns, HOUR_NS):
            from_ns, until_ns = max(start_ns, hour_ns), min(end_ns, hour_ns + HOUR_NS)
            path = self._files.get(hour_ns)
            if path is None:
                found.append(Hole(from_ns, until_ns, NOT_COLLECTED if hour_ns < newest_ns else NOT_ARCHIVED))
                continue
            with HourFile(path) as file:
                table = file.read(from_ns, until_ns - 1, MARKS)
            table = table.filter(pa.array(is_mark(codes_of(table["kind"], KINDS))))
            times = [max(from_ns, time_ns) for time_ns in times_of(table).tolist()]
            causes = table["cause"].to_pylist()
            if not times or times[0] > from_ns:
                times, causes = [from_ns, *times], [NOT_COLLECTED, *causes]
            ends = [*times[1:], until_ns]
            found += [
                Hole(since_ns, to_ns, cause)
                for since_ns, to_ns, cause in zip(times, ends, causes, strict=True)
                if cause is not None and since_ns < to_ns
            ]
        return merged(found)

    def books(self, start_ns: int, end_ns: int, every_ns: int, depth: int) -> tuple[pa.Table, list[Hole]]:
        """The best ``depth`` levels of each side at every multiple of ``every_ns``."""
        fields = [pa.field("time", TIME), pa.field("side", TAG), pa.field("level", pa.int32())]
        shape = pa.schema([*fields, pa.field("price", NUMBER), pa.field("size", NUMBER)])
        parts = [shape.empty_table()]
        flaws = Flaws(every_ns)
        for hour, from_ns, until_ns in self._hours(start_ns, end_ns):
            parts.append(_books_of(hour, from_ns, until_ns, every_ns, depth, flaws).cast(shape))
        table = pa.concat_tables(parts).unify_dictionaries()
        return table, merged([*self.holes(start_ns, end_ns), *flaws.holes])

    def bins(
        self, start_ns: int, end_ns: int, every_ns: int, edges_bps: Sequence[Fraction]
    ) -> tuple[pa.Table, list[Hole]]:
        """Rows as those of ``book``, at every multiple of ``every_ns``: the very numbers that samples would have."""
        parts = [schema("book").empty_table()]
        flaws = Flaws(every_ns)
        for hour, from_ns, until_ns in self._hours(start_ns, end_ns):
            parts.append(_bins_of(hour, from_ns, until_ns, every_ns, edges_bps, flaws))
        table = pa.concat_tables(parts).unify_dictionaries()
        return table, merged([*self.holes(start_ns, end_ns), *flaws.holes])

    def _hours(self, start_ns: int, end_ns: int) -> Iterator[tuple[Hour, int, int]]:
        for path in self._between(start_ns, end_ns):
            with HourFile(path) as file:
                from_ns, until_ns = max(start_ns, file.hour_ns), min(end_ns, file.hour_ns + HOUR_NS)
                table = file.read(from_ns, until_ns - 1, ["time", "kind", "side", "price", "size"])
            if table.num_rows:
                yield Hour(table), from_ns, until_ns

    def _between(self, start_ns: int, end_ns: int) -> list[Folder]:
        return [path for hour_ns, path in self._files.items() if start_ns - HOUR_NS < hour_ns < end_ns]


class Flaws:
    """Instants at which a proved book is not sound, as holes."""

    def __init__(self, every_ns: int) -> None:
        self.holes: list[Hole] = []
        self._every_ns = every_ns

    def add(self, instant_ns: int, flaw: Flaw) -> None:
        self.holes.append(Hole(instant_ns, instant_ns + self._every_ns, flaw))


def merged(holes: list[Hole]) -> list[Hole]:
    """In order of time, those of one cause that touch as one."""
    found: list[Hole] = []
    for hole in sorted(holes, key=lambda hole: (hole.start_ns, hole.end_ns)):
        if found and found[-1].cause == hole.cause and found[-1].end_ns >= hole.start_ns:
            found[-1] = Hole(found[-1].start_ns, max(found[-1].end_ns, hole.end_ns), hole.cause)
        else:
            found.append(hole)
    return found


def _flaw(bids: Wholes, asks: Wholes) -> Flaw | None:
    """What is wrong with a book whose best prices come first."""
    if not len(bids) or not len(asks):
        return "empty"
    return "crossed" if bids[0] >= asks[0] else None


def _books_of(hour: Hour, from_ns: int, until_ns: int, every_ns: int, depth: int, flaws: Flaws) -> pa.Table:
    """One array of sizes a side, at the places of all prices of the hour in order: the touch is found by looking for
    what is not zero."""
    prices, places = [], np.zeros(len(hour.times), np.int64)
    for side in range(len(SIDES)):
        rows = hour.sides == side
        known, places[rows] = np.unique(hour.prices[rows], return_inverse=True)
        prices.append(known)
    held = [np.zeros(len(known), hour.sizes.dtype) for known in prices]
    times, found_at, found_sizes = [], ([], []), ([], [])  # type: ignore[var-annotated]
    for instant_ns, begin, first, end in hour.due(from_ns, until_ns, every_ns):
        sides, at, sizes = hour.sides[first:end], places[first:end], hour.sizes[first:end]
        best = []
        for side, levels in enumerate(held):
            if begin is not None:
                levels[:] = 0
            rows = sides == side
            levels[at[rows]] = sizes[rows]  # of a price that comes again, the last
            full = np.flatnonzero(levels)
            best.append((full[: -depth - 1 : -1] if side == 0 else full[:depth]).copy())  # a view holds all of it
        bids, asks = best
        flaw = _flaw(prices[0][bids], prices[1][asks])
        if flaw is not None:
            flaws.add(instant_ns, flaw)
            continue
        times.append(instant_ns)
        for side in range(len(SIDES)):
            found_at[side].append(best[side])
            found_sizes[side].append(held[side][best[side]])
    return _stacked(hour, times, prices, found_at, found_sizes)


def _stacked(
    hour: Hour, times: list[int], prices: list[Wholes], at: tuple[list[Longs], ...], sizes: tuple[list[Wholes], ...]
) -> pa.Table:
    """Rows by time, bids before asks."""
    parts = [part for pair in zip(*at, strict=True) for part in pair]
    counts = np.array([len(part) for part in parts], np.int64)
    total = int(counts.sum())
    sides = np.repeat(np.tile(np.arange(len(SIDES), dtype=np.int32), len(times)), counts)
    levels = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    empty = [np.empty(0, np.int64)]
    places = np.concatenate(parts or empty)
    bid_count = len(prices[0])
    known = numbers(np.concatenate(prices), hour.price_decimals)
    found = np.concatenate([part for pair in zip(*sizes, strict=True) for part in pair] or empty)
    return pa.table(
        {
            "time": pa.array(np.repeat(np.repeat(np.array(times, np.int64), len(SIDES)), counts)).cast(TIME),
            "side": pa.DictionaryArray.from_arrays(pa.array(sides), pa.array(SIDES)),
            "level": pa.array(levels.astype(np.int32)),
            "price": known.take(pa.array(places + sides * bid_count)),
            "size": numbers(found, hour.size_decimals),
        }
    )


def _bins_of(
    hour: Hour, from_ns: int, until_ns: int, every_ns: int, edges_bps: Sequence[Fraction], flaws: Flaws
) -> pa.Table:
    """The book itself, fed with the changes, and measured as the sampler does."""
    feed = _feeder(hour)
    measure = BookMeasure(edges_bps).measure
    book = OrderBook()
    times: list[int] = []
    figures: list[tuple[Any, ...]] = []
    for instant_ns, begin, first, end in hour.due(from_ns, until_ns, every_ns):
        bids, asks = feed(first, end)
        if begin is None:
            book.apply(MapDelta("", bids, asks, len(bids) + len(asks)))
        else:
            book.replace(bids, asks)
        measured = measure(book)
        flaw: Flaw | None = "empty" if measured is None else None
        if measured is not None and measured.touch[0] >= measured.touch[1]:
            flaw = "crossed"
        if flaw is not None:
            flaws.add(instant_ns, flaw)
            continue
        assert measured is not None
        times.append(instant_ns)
        figures.append(measured.figures[OF_TOP:])
    bins = len(edges_bps)
    columns = list(zip(*figures, strict=True)) or [()] * (2 * bins * OF_BIN)
    parts = []
    for number in (*range(bins, 2 * bins), *range(bins)):  # asks before bids, as tags are sorted
        side, edge = SIDES[number // bins], float(edges_bps[number % bins])
        levels, notional, volume, vwap = columns[number * OF_BIN : (number + 1) * OF_BIN]
        parts.append(
            pa.table(
                {
                    "time": pa.array(times, pa.int64()),
                    "side": pa.array([side] * len(times), pa.string()).cast(TAG),
                    "bps": pa.array([edge] * len(times), pa.float64()),
                    "levels": pa.array(levels, pa.int64()),
                    "notional": pa.array(notional, pa.float64()),
                    "volume": pa.array(volume, pa.float64()),
                    "vwap": pa.array(vwap, pa.float64()),
                }
            )
        )
    table = pa.concat_tables(parts).unify_dictionaries()
    table = table.take(np.arange(table.num_rows).reshape(2 * bins, len(times)).T.ravel())
    return table.set_column(0, "time", table["time"].cast(TIME)).select(schema("book").names).cast(schema("book"))


def _feeder(hour: Hour) -> Callable[[int, int], tuple[dict[float, float], dict[float, float]]]:
    """Gives the bids and asks of a span of rows, the last one of a price winning."""
    prices, sizes, counts = [], [], []
    for side in range(len(SIDES)):
        rows = hour.sides == side
        prices.append(doubles(hour.prices[rows], hour.price_decimals))
        sizes.append(doubles(hour.sizes[rows], hour.size_decimals))
        counts.append(np.append(0, np.cumsum(rows)))

    def feed(first: int, end: int) -> tuple[dict[float, float], dict[float, float]]:
        found = []
        for side in range(len(SIDES)):
            part = slice(int(counts[side][first]), int(counts[side][end]))
            found.append(dict(zip(prices[side][part], sizes[side][part], strict=True)))
        return found[0], found[1]

    return feed
