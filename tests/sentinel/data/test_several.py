"""Several markets in one table, what a notebook shows of them, and DataFrames of both kinds."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pandas
import polars
import pyarrow as pa
import pytest

import sentinel.data
from sentinel.data import Hole, MarketHole, UsageError
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, sample
from tests.sentinel.data.made import MINUTE_NS, fill, minute, trade

END_NS = MIDNIGHT_NS + 2 * MINUTE_NS


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    trades = [
        trade(1, MIDNIGHT_NS + 5),
        trade(7, MIDNIGHT_NS + 4, symbol="ETH-USD"),
        trade(3, MIDNIGHT_NS + 6, symbol="BTC/USD", exchange="kraken"),
        trade(2, MIDNIGHT_NS + 7),
    ]
    accounts = [
        minute(0),
        minute(1),
        minute(0, "ETH-USD"),
        minute(0, "BTC/USD", "kraken"),
        minute(1, "BTC/USD", "kraken"),
    ]
    return fill(tmp_path, trades, accounts)


def ids(loaded: sentinel.data.Loaded) -> list[tuple[str, str, int]]:
    columns = (loaded.table[name].to_pylist() for name in ("exchange", "symbol", "trade_id"))
    return list(zip(*columns, strict=True))


def test_several_markets_are_one_table_in_order_of_time(data_dir: Path) -> None:
    names = ["BTC-USD", "kraken:BTC/USD", "ETH-USD"]
    loaded = sentinel.data.load("trades", names, MIDNIGHT_NS, END_NS, columns=["trade_id"], data_dir=data_dir)
    assert loaded.table.column_names == ["time", "exchange", "symbol", "trade_id"]
    wanted = [
        ("coinbase", "ETH-USD", 7),
        ("coinbase", "BTC-USD", 1),
        ("kraken", "BTC/USD", 3),
        ("coinbase", "BTC-USD", 2),
    ]
    assert ids(loaded) == wanted
    assert loaded.holes == [MarketHole(MIDNIGHT_NS + MINUTE_NS, END_NS, "not_collected", market="coinbase:ETH-USD")]
    assert "coinbase:ETH-USD: 2026-11-23T00:01:00Z" in repr(loaded)


@pytest.mark.parametrize(
    ("pattern", "exchange", "found"),
    [
        ("*", None, {"BTC-USD", "ETH-USD"}),
        ("*-USD", None, {"BTC-USD", "ETH-USD"}),
        ("B*", "kraken", {"BTC/USD"}),
        ("kraken:*", None, {"BTC/USD"}),
        ("*:BTC*", None, {"BTC-USD", "BTC/USD"}),
        (["*:BTC*", "BTC-USD"], None, {"BTC-USD", "BTC/USD"}),
    ],
)
def test_patterns(data_dir: Path, pattern: str | list[str], exchange: str | None, found: set[str]) -> None:
    loaded = sentinel.data.load("trades", pattern, MIDNIGHT_NS, END_NS, exchange=exchange, data_dir=data_dir)
    assert {symbol for _, symbol, _ in ids(loaded)} == found
    assert len(set(ids(loaded))) == len(ids(loaded))


def test_a_list_of_one_has_the_columns_of_a_list(data_dir: Path) -> None:
    loaded = sentinel.data.load("trades", ["BTC-USD"], MIDNIGHT_NS, END_NS, data_dir=data_dir)
    assert loaded.table.column_names[:3] == ["time", "exchange", "symbol"]
    alone = sentinel.data.load("trades", "BTC-USD", MIDNIGHT_NS, END_NS, data_dir=data_dir)
    assert loaded.table.drop_columns(["exchange", "symbol"]).equals(alone.table)


def test_a_data_frame_of_pandas_loses_no_digit(tmp_path: Path) -> None:
    repaired = trade(2, MIDNIGHT_NS + 2).replace(b"recv_ns=%di," % (MIDNIGHT_NS + 3), b"repaired=true,")
    fill(tmp_path, [trade(1, MIDNIGHT_NS + 1), repaired], [minute(0)])
    loaded = sentinel.data.load("trades", "BTC-USD", MIDNIGHT_NS, END_NS, data_dir=tmp_path)
    frame = loaded.pandas()
    assert isinstance(frame.index, pandas.DatetimeIndex)
    assert str(frame.index.tz) == "UTC"
    assert [stamp.value for stamp in frame.index] == [MIDNIGHT_NS + 1, MIDNIGHT_NS + 2]
    assert str(frame["recv_ns"].dtype) == "Int64"
    assert frame["recv_ns"].iloc[0] == MIDNIGHT_NS + 2, "a float would round it"
    assert frame["recv_ns"].isna().tolist() == [False, True]
    assert frame["repaired"].tolist() == [pandas.NA, True]
    assert frame["price"].dtype == float
    assert frame.groupby("side", observed=True)["size"].sum().to_dict() == {"buy": 0.1, "sell": 0.1}


def test_a_data_frame_of_polars(data_dir: Path) -> None:
    frame = sentinel.data.load("trades", "*:*", MIDNIGHT_NS, END_NS, data_dir=data_dir).polars()
    assert isinstance(frame, polars.DataFrame)
    assert frame["trade_id"].to_list() == [7, 1, 3, 2]
    assert frame.group_by("symbol").agg(polars.len()).sort("symbol")["len"].to_list() == [2, 1, 1]


@pytest.mark.parametrize("library", ["pandas", "polars", "duckdb"])
def test_a_library_that_is_not_there_is_told_with_its_pip_line(
    library: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = sentinel.data.load("trades", "BTC-USD", MIDNIGHT_NS, END_NS, data_dir=data_dir)
    scan = sentinel.data.scan("trades", "BTC-USD", MIDNIGHT_NS, END_NS, data_dir=data_dir)
    monkeypatch.setitem(sys.modules, library, None)
    ask = {"pandas": loaded.pandas, "polars": scan.polars, "duckdb": scan.duckdb}[library]
    with pytest.raises(UsageError, match=rf"^{library} is not installed: pip install 'sentinel-ws\["):
        ask()


def test_a_notebook_shows_rows_window_and_what_is_missing(data_dir: Path) -> None:
    html = sentinel.data.load("trades", "ETH-USD", MIDNIGHT_NS, END_NS, data_dir=data_dir)._repr_html_()
    for words in ("<b>1 rows</b>", "2026-11-23T00:00:00Z to 2026-11-23T00:02:00Z", "1 hole<", "not_collected", "60.0"):
        assert words in html
    whole = sentinel.data.load("trades", "BTC-USD", MIDNIGHT_NS, END_NS, data_dir=data_dir)
    assert "nothing is missing" in whole._repr_html_()
    odd = sentinel.data.Loaded(pa.table({"<b>": ["<script>"]}), [Hole(0, 1, "<i>")] * 12, False)
    assert "<script>" not in odd._repr_html_()
    assert "2 more" in odd._repr_html_()
    assert "nothing proves" in odd._repr_html_()


def test_what_is_offered_is_what_is_meant() -> None:
    script = "import sentinel.data as d; print(dir(d) == d.__all__, all(hasattr(d, name) for name in d.__all__))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
    assert not {"Path", "os", "pa", "annotations"} & set(sentinel.data.__all__)


@pytest.mark.parametrize("symbol", ["BTC-USD", ["BTC-USD"]])
def test_samples_at_a_cadence_are_those_of_its_instants(symbol: str | list[str], tmp_path: Path) -> None:
    books = [sample(random.Random(k), "BTC-USD", MIDNIGHT_NS + k * 100_000_000) for k in range(35) if k != 20]
    fill(tmp_path, [], [minute(0)], books)
    window = MIDNIGHT_NS, MIDNIGHT_NS + MINUTE_NS
    whole = sentinel.data.load("top", symbol, *window, data_dir=tmp_path)
    for every, kept in (
        ("1s", [0, 10, 30]),
        ("500ms", [0, 5, 10, 15, 25, 30]),
        ("100ms", [k for k in range(35) if k != 20]),
    ):
        thin = sentinel.data.load("top", symbol, *window, every=every, data_dir=tmp_path)
        assert thin.table.equals(whole.table.filter(pa.array([k in kept for k in range(35) if k != 20])))
        assert thin.holes == whole.holes
        parts = sentinel.data.batches("book", symbol, *window, part="1s", every=every, data_dir=tmp_path)
        assert sum(map(len, parts)) == 8 * len(kept)
    with pytest.raises(UsageError, match=r"every 0.25 s: samples are 0.1 s apart; give a multiple"):
        sentinel.data.load("top", symbol, *window, every="250ms", data_dir=tmp_path)


def test_the_hour_matters_to_nobody(data_dir: Path) -> None:
    later = sentinel.data.load(
        "trades", ["BTC-USD"], MIDNIGHT_NS + HOUR_NS, MIDNIGHT_NS + 2 * HOUR_NS, data_dir=data_dir
    )
    assert len(later) == 0
    assert [hole.cause for hole in later.holes] == ["not_collected"]
