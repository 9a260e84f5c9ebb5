"""Every path of a market and of an hour leads back to it, and none out of its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from feeds.market import Market
from sentinel.disk.data_dir import HOURS, MARKETS, hour_of, hour_path, market_of, market_path

HOUR_NS = 3_600_000_000_000
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(names, names)
@example("coinbase", "BTC-USD")
@example("..", "../../etc/passwd")
@example(".", "/")
@example("a=b", "symbol=c")
@example("100%", "%2F")
@example("a\\b", "a\0b")
@example("Ünïcode", "ß/USD")
def test_a_market_is_found_by_its_folder(exchange: str, symbol: str) -> None:
    path = market_path(exchange, symbol)
    assert market_of(Path("archive/trades") / path) == Market(exchange, symbol)
    assert [part.partition("=")[0] for part in path.parts] == ["exchange", "symbol"]
    assert path.match(MARKETS)
    assert not {"/", "\\", "\0"} & set("".join(path.parts))


def test_a_folder_is_called_what_readers_of_partitions_expect() -> None:
    assert market_path("coinbase", "BTC-USD") == Path("exchange=coinbase/symbol=BTC-USD")
    assert market_path("coinbase", "BTC/USD") == Path("exchange=coinbase/symbol=BTC%2FUSD")


@given(st.integers(0, 250_000), st.integers(0, HOUR_NS - 1))
def test_an_hour_is_found_by_its_file_from_any_instant_in_it(hour: int, within_ns: int) -> None:
    path = hour_path(hour * HOUR_NS + within_ns)
    assert hour_of(path.with_suffix(".parquet")) == hour * HOUR_NS
    assert hour_of(path.with_suffix(".json")) == hour * HOUR_NS
    assert path.with_suffix(".parquet").match(HOURS)


@pytest.mark.parametrize(
    ("ns", "path"),
    [
        (0, "date=1970-01-01/hour=00"),
        (1_795_399_199_999_999_999, "date=2026-11-23/hour=01"),
        (1_795_392_000_000_000_000, "date=2026-11-23/hour=00"),
        (1_795_478_399_999_999_999, "date=2026-11-23/hour=23"),
    ],
)
def test_an_hour_is_that_of_utc(ns: int, path: str) -> None:
    assert hour_path(ns) == Path(path)
