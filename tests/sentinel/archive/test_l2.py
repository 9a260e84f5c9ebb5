"""The format of every change: exact decimals, whole books, losses; and reading it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.market import Market
from sentinel.archive.l2 import L2, Rows, decimals, write
from sentinel.archive.l2_reader import L2Reader, WholeBook, numbers, wholes
from sentinel.archive.layout import Series
from sentinel.archive.schedule import HOUR_NS
from sentinel.coverage.holes import Hole
from tests.sentinel.archive.market import MIDNIGHT_NS

MARKET = Market("coinbase", "BTC-USD")
S_NS = 10**9


def exactly(values: list[float]) -> tuple[list[Decimal], list[bool]]:
    found, is_rounded = decimals(np.array(values))
    return found.to_pylist(), is_rounded.tolist()


@given(st.lists(st.tuples(st.integers(0, 10**15 - 1), st.integers(0, 18)), min_size=1, max_size=20))
def test_fifteen_digits_are_what_was_written(written: list[tuple[int, int]]) -> None:
    texts = [Decimal(whole).scaleb(-places) for whole, places in written]
    assert exactly([float(text) for text in texts]) == (texts, [False] * len(texts))


@pytest.mark.parametrize("value", [0.1234567890123456, 1e-19, 123456789012345.67, 5e-324])
def test_what_may_not_be_what_was_written_is_marked(value: float) -> None:
    found, is_rounded = exactly([value, 1.5])
    assert is_rounded == [True, False]
    assert abs(found[0] - Decimal(repr(value))) <= Decimal("0.5e-18")
    assert found[1] == Decimal("1.5")


@given(st.lists(st.tuples(st.integers(0, 10**15 - 1), st.integers(0, 18)), min_size=1, max_size=20))
def test_decimals_as_integers_and_back(written: list[tuple[int, int]]) -> None:
    array, _ = decimals(np.array([float(Decimal(whole).scaleb(-places)) for whole, places in written]))
    found, places = wholes(pa.chunked_array([array]))
    assert numbers(found, places).equals(array)


def stored(root: Path, rows: Rows, hour_ns: int = MIDNIGHT_NS) -> L2Reader:
    write(Series(L2, MARKET).file(root, hour_ns), rows.table())
    return L2Reader(root, MARKET)


@pytest.fixture
def rows() -> Rows:
    """A book, a change, a loss, a book again that crosses and loses a side."""
    rows = Rows()
    rows.add_book(MIDNIGHT_NS, None, 1, {1.0: 1.0, 2.0: 2.0}, {3.0: 1e-8, 4.0: 1.0})
    rows.add_changes(MIDNIGHT_NS + 2 * S_NS, 7, 2, {2.0: 0.0, 1.5: 3.0}, {})
    rows.lose(MIDNIGHT_NS + 4 * S_NS, "sequence")
    rows.add_book(MIDNIGHT_NS + 6 * S_NS, 9, 3, {2.0: 1.0}, {3.0: 1.0})
    rows.add_changes(MIDNIGHT_NS + 8 * S_NS, 10, 4, {3.5: 1.0}, {})
    rows.add_changes(MIDNIGHT_NS + 10 * S_NS, 11, 5, {3.5: 0.0}, {3.0: 0.0})
    rows.add_changes(MIDNIGHT_NS + 12 * S_NS, 12, 6, {}, {5.0: 2.0})
    return rows


def prices(book: WholeBook | Hole) -> tuple[list[float], list[float]]:
    assert isinstance(book, WholeBook)
    return [float(price) for price in book.bids["price"].to_pylist()], [
        float(price) for price in book.asks["price"].to_pylist()
    ]


def test_the_book_at_each_moment(tmp_path: Path, rows: Rows) -> None:
    reader = stored(tmp_path, rows)
    wanted = {
        0: ([2.0, 1.0], [3.0, 4.0]),
        1: ([2.0, 1.0], [3.0, 4.0]),
        2: ([1.5, 1.0], [3.0, 4.0]),
        6: ([2.0], [3.0]),
        12: ([2.0], [5.0]),
        3000: ([2.0], [5.0]),
    }
    for second, sides in wanted.items():
        assert prices(reader.book_at(MIDNIGHT_NS + second * S_NS)) == sides
    for second, cause in {4: "sequence", 5: "sequence", 8: "crossed", 10: "empty"}.items():
        found = reader.book_at(MIDNIGHT_NS + second * S_NS)
        assert isinstance(found, Hole)
        assert found.cause == cause
    late, early = reader.book_at(MIDNIGHT_NS + HOUR_NS), reader.book_at(MIDNIGHT_NS - 1)
    assert isinstance(late, Hole)
    assert isinstance(early, Hole)
    assert (early.cause, late.cause) == ("not_collected", "not_archived")


def test_books_and_bins_have_the_same_holes(tmp_path: Path, rows: Rows) -> None:
    reader = stored(tmp_path, rows)
    asked = MIDNIGHT_NS - S_NS, MIDNIGHT_NS + 14 * S_NS
    books, holes = reader.books(*asked, S_NS, 1)
    bins, same = reader.bins(*asked, S_NS, [Fraction(10_000)])
    assert holes == same
    assert [(hole.start_ns - MIDNIGHT_NS, hole.end_ns - MIDNIGHT_NS, hole.cause) for hole in holes] == [
        (-S_NS, 0, "not_collected"),
        (4 * S_NS, 6 * S_NS, "sequence"),
        (8 * S_NS, 10 * S_NS, "crossed"),
        (10 * S_NS, 12 * S_NS, "empty"),
    ]
    seconds = [0, 1, 2, 3, 6, 7, 12, 13]
    times = books["time"].cast("int64").to_pylist()
    assert times == [MIDNIGHT_NS + second * S_NS for second in seconds for _ in range(2)]
    assert [float(price) for price in books["price"].to_pylist()][:8] == [2.0, 3.0, 2.0, 3.0, 1.5, 3.0, 1.5, 3.0]
    assert sorted(set(bins["time"].cast("int64").to_pylist())) == sorted(set(times))


@pytest.mark.parametrize("group_rows", [4, 5, 9, 100])
def test_row_groups_make_no_difference(
    tmp_path: Path, rows: Rows, group_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stored(tmp_path / "whole", rows)
    monkeypatch.setattr("sentinel.archive.l2.ROWS_A_GROUP", group_rows)
    parts = stored(tmp_path / "parts", rows)
    for tenth in range(-5, 150):
        at_ns = MIDNIGHT_NS + tenth * S_NS // 10
        assert parts.book_at(at_ns) == whole.book_at(at_ns)
        asked = at_ns, at_ns + 3 * S_NS
        (table, holes), (other, same) = parts.changes(*asked), whole.changes(*asked)
        assert table.equals(other)
        assert holes == same


def test_what_was_taken_too_early_is_cut(rows: Rows) -> None:
    count = rows.table().num_rows
    rows.cut(MIDNIGHT_NS + 20 * S_NS)
    assert rows.table().num_rows == count
    rows.cut(MIDNIGHT_NS + 4 * S_NS)
    assert rows.table()["kind"].to_pylist() == ["book", *["level"] * 4, "change", "change", "lost"]
    rows.cut(MIDNIGHT_NS - 1)
    assert rows.table().num_rows == len(rows) == 0


def test_numbers_beyond_64_bits(tmp_path: Path) -> None:
    rows = Rows()
    rows.add_book(MIDNIGHT_NS, None, None, {1e-18: 1e14, 2e-18: 0.5}, {1e14: 1e-18})
    reader = stored(tmp_path, rows)
    book = reader.book_at(MIDNIGHT_NS)
    assert isinstance(book, WholeBook)
    assert book.bids["price"].to_pylist() == [Decimal("2e-18"), Decimal("1e-18")]
    assert book.bids["size"].to_pylist() == [Decimal("0.5"), Decimal(10**14)]
    books, holes = reader.books(MIDNIGHT_NS, MIDNIGHT_NS + 1, S_NS, 5)
    assert not holes
    assert books["size"].to_pylist() == [Decimal("0.5"), Decimal(10**14), Decimal("1e-18")]


def test_strangers_read_it(tmp_path: Path, rows: Rows) -> None:
    stored(tmp_path, rows)
    path = Series(L2, MARKET).file(tmp_path, MIDNIGHT_NS)
    frame = polars.read_parquet(path)
    assert frame["price"].to_list() == pq.read_table(path, partitioning=None)["price"].to_pylist()
    assert frame["kind"].to_list()[0] == "book"
