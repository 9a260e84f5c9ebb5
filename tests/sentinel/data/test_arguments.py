"""Whatever is wrong with an argument is one clear line (F20)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import sentinel.data
from sentinel.data import UsageError
from tests.sentinel.archive.market import MIDNIGHT_NS
from tests.sentinel.data.made import MINUTE_NS, fill, minute, trade

END_NS = MIDNIGHT_NS + MINUTE_NS
WINDOW = MIDNIGHT_NS, END_NS


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    accounts = [minute(0), minute(0, "ETH-USD"), minute(0, "BTC/USD", "kraken")]
    return fill(tmp_path_factory.mktemp("data"), [trade(1, MIDNIGHT_NS)], accounts)


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("XYZ-USD", r"no \w+ of XYZ-USD"),
        ("BTCUSD", r"no \w+ of BTCUSD; did you mean BTC-USD or kraken:BTC/USD\?$"),
        ("btc-usd", "did you mean BTC-USD"),
        ("ETH-US", "did you mean ETH-USD"),
        ("BTC/USD", "did you mean BTC-USD or kraken:BTC/USD"),
        ("BTC-EUR", "there is data of"),  # another market, and not a misspelt one
        ("kraken:ETH/USD", r"no \w+ of kraken:ETH/USD; did you mean ETH-USD"),
        ("krake:BTC/USD", "no exchange 'krake'; there are binance, "),
        ("", "a product without a name"),
        (7, "7 is not one product"),
        (None, "None is not one product"),
    ],
)
def test_an_unknown_product_is_told_with_those_that_may_be_meant(symbol: Any, words: str, data_dir: Path) -> None:
    asked: list[Callable[[], object]] = [
        lambda: sentinel.data.gaps(symbol, *WINDOW, data_dir=data_dir),
        lambda: sentinel.data.coverage(symbol, *WINDOW, data_dir=data_dir),
        lambda: sentinel.data.book(symbol, MIDNIGHT_NS, data_dir=data_dir),
        lambda: sentinel.data.order_book(symbol, MIDNIGHT_NS, data_dir=data_dir),
        lambda: sentinel.data.changes(symbol, *WINDOW, data_dir=data_dir),
        lambda: sentinel.data.books(symbol, *WINDOW, data_dir=data_dir),
        lambda: sentinel.data.bins(symbol, *WINDOW, data_dir=data_dir),
    ]
    names = ("trades", "top", "flow", "gaps", "coverage")
    asked += [partial(sentinel.data.load, name, symbol, *WINDOW, data_dir=data_dir) for name in names]
    if symbol is not None and symbol != 7:
        asked += [
            lambda: sentinel.data.load("trades", ["BTC-USD", symbol], *WINDOW, data_dir=data_dir),
            lambda: sentinel.data.ohlcv(symbol, *WINDOW, data_dir=data_dir),
            lambda: sentinel.data.scan("trades", symbol, *WINDOW, data_dir=data_dir),
            lambda: list(sentinel.data.batches("trades", symbol, *WINDOW, data_dir=data_dir)),
        ]
    for ask in asked:
        with pytest.raises(UsageError, match=words) as told:
            ask()
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"measurement": "trade"}, "no measurement 'trade'; there are trades"),
        ({"measurement": None}, "no measurement None"),
        ({"symbol": []}, "an empty list of products"),
        ({"symbol": 3}, "3 is not one product"),
        ({"symbol": ["BTC-USD", 3]}, "3 is not one product"),
        ({"symbol": "X*"}, r"no trades of any product like 'X\*'; there is data of BTC-USD, ETH-USD"),
        ({"symbol": "kraken:BTC/USD", "exchange": "coinbase"}, "is not of exchange coinbase"),
        ({"exchange": 5}, "exchange is 5; give one of coinbase"),
        ({"exchange": "nyse"}, "no exchange 'nyse'"),
        ({"start": END_NS, "end": MIDNIGHT_NS}, "nothing lies between .*: give the earlier first"),
        ({"start": datetime(2026, 1, 1)}, "has no time zone"),
        ({"start": timedelta(days=10**6)}, "64 bits"),
        ({"start": [1]}, r"\[1\] is "),
        ({"start": float("inf")}, "inf is "),
        ({"columns": "price"}, r"columns is 'price'; give a list, such as \['price'\]"),
        ({"columns": ["prize"]}, "trades has no column prize; it has side, price, size, trade_id"),
        ({"columns": [1]}, "columns has 1 in it"),
        ({"columns": 1}, "columns is 1"),
        ({"data_dir": None}, "data_dir is None; give a path"),
        ({"data_dir": "/nowhere"}, "no journal and no archive in /nowhere"),
        ({"data_dir": "ftp://a/b"}, "ftp"),
    ],
)
def test_every_other_mistake(changed: dict[str, Any], words: str, data_dir: Path) -> None:
    right = {"measurement": "trades", "symbol": "BTC-USD", "start": MIDNIGHT_NS, "end": END_NS, "data_dir": data_dir}
    for ask in (sentinel.data.load, scanned, in_parts):
        with pytest.raises(UsageError, match=words):
            ask(**{**right, **changed})


def scanned(**asked: Any) -> object:
    return sentinel.data.scan(**asked).dataset()


def in_parts(**asked: Any) -> object:
    return list(sentinel.data.batches(**asked))


@pytest.mark.parametrize(
    ("every", "words"),
    [
        (5, "every is 5; give a duration"),
        ("soon", "'soon' is "),
        ("0s", "longer than zero"),
        (timedelta(0), "more than nothing"),
        (timedelta(hours=-1), "more than nothing"),
        (None, "every is None"),
    ],
)
def test_a_cadence_that_is_none(every: Any, words: str, data_dir: Path) -> None:
    with pytest.raises(UsageError, match=words):
        sentinel.data.ohlcv("BTC-USD", *WINDOW, every=every, data_dir=data_dir)
    with pytest.raises(UsageError, match=words.replace("every", "part")):
        sentinel.data.batches("trades", "BTC-USD", *WINDOW, part=every, data_dir=data_dir)
    with pytest.raises(UsageError, match=words):
        sentinel.data.books("BTC-USD", *WINDOW, every=every, data_dir=data_dir)


def test_a_cadence_of_what_has_none(data_dir: Path) -> None:
    with pytest.raises(UsageError, match="every is for top and book, not for trades; ohlcv makes bars"):
        sentinel.data.load("trades", "BTC-USD", *WINDOW, every="1s", data_dir=data_dir)
    with pytest.raises(UsageError, match="every is 1; give a duration"):
        sentinel.data.load("top", "BTC-USD", *WINDOW, every=1, data_dir=data_dir)  # type: ignore[arg-type]


def test_depth_edges_and_too_many_bars(data_dir: Path) -> None:
    for depth in (0, -4, 1.5, "50"):
        with pytest.raises(UsageError, match="give at least 1 level"):
            sentinel.data.books("BTC-USD", *WINDOW, depth=depth, data_dir=data_dir)  # type: ignore[arg-type]
    for edges in ([], [0], ["wide"], 5):
        with pytest.raises(UsageError, match="basis points"):
            sentinel.data.bins("BTC-USD", *WINDOW, edges_bps=edges, data_dir=data_dir)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="and more than 5,000,000; ask for a part"):
        sentinel.data.ohlcv("BTC-USD", 0, END_NS, every="1s", data_dir=data_dir)
    with pytest.raises(UsageError, match="no multiple of 1h in that time"):
        sentinel.data.ohlcv("BTC-USD", MIDNIGHT_NS + 1, MIDNIGHT_NS + 2, every="1h", data_dir=data_dir)
    with pytest.raises(UsageError, match="no kind 'sopt'; there are spot, "):
        sentinel.data.find(kind="sopt", data_dir=data_dir)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is a pattern"):
        sentinel.data.book("BTC*", MIDNIGHT_NS, data_dir=data_dir)
