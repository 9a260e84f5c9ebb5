"""Tables are whole at any width: a value is never cut off or broken (F9 of the tour)."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.command.tables import Sheet, rendered

PRICES = [("BTC-USD", "65082.12", "65082.13"), ("PEPE-USD", "0.00001234", "0.00001235")]


def sheet(rows: list[tuple[str, str, str]] = PRICES, *, is_keyed: bool = True) -> Sheet:
    table = Sheet("product", "best bid", "best ask", numbers=("best bid", "best ask"), is_keyed=is_keyed)
    for row in rows:
        table.add_row(*row)
    return table


def test_wide_enough_it_is_a_table() -> None:
    assert rendered(sheet(), width=80).splitlines() == [
        "product     best bid    best ask",
        "────────────────────────────────",
        "BTC-USD     65082.12    65082.13",
        "PEPE-USD  0.00001234  0.00001235",
    ]


def test_narrower_the_columns_go_into_two() -> None:
    assert rendered(sheet(), width=24).splitlines() == [
        "product     best bid",
        "────────────────────",
        "BTC-USD     65082.12",
        "PEPE-USD  0.00001234",
        "",
        "product     best ask",
        "────────────────────",
        "BTC-USD     65082.13",
        "PEPE-USD  0.00001235",
    ]


def test_rows_of_no_product_become_pairs_instead() -> None:
    lines = rendered(sheet(is_keyed=False), width=24).splitlines()
    assert lines[:3] == ["product BTC-USD", "  best bid 65082.12", "  best ask 65082.13"]


def test_words_wrap_between_words() -> None:
    table = Sheet("sink", "last error", words=("last error",))
    table.add_row("influx", "the server refuses the token of the bucket")
    lines = rendered(table, width=40).splitlines()
    assert max(map(len, lines)) <= 40
    assert "the server refuses the token of" in lines[2]


def test_a_column_that_says_nothing_gives_way() -> None:
    table = Sheet("sink", "state", "last error")
    table.add_row("parquet", "delivering", "")
    assert "last error" in rendered(table, width=80)
    assert "error" not in rendered(table, width=20)


cells = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)


@given(
    st.integers(2, 8).flatmap(lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=4)),
    st.integers(24, 120),
    st.booleans(),
)
def test_no_value_is_ever_broken_and_no_line_too_wide(rows: list[list[str]], width: int, is_keyed: bool) -> None:
    names = [f"c{at}" for at in range(len(rows[0]))]
    table = Sheet(*names, numbers=names[1:], is_keyed=is_keyed)
    for row in rows:
        table.add_row(*row)
    text = rendered(table, width=width)
    assert max(map(len, text.splitlines())) <= width
    words = text.split()
    assert all(words.count(cell) >= sum(row.count(cell) for row in rows) for row in rows for cell in row)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_the_lines_of_a_table_are_those_of_the_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert rendered(sheet(), width=80).isascii()
