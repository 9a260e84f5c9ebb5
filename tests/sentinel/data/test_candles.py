"""Candles: the venue's decimals to the last digit, and a bar with missing trades says so."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import sentinel.data
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, sample
from tests.sentinel.data.made import MINUTE_NS, fill, lost_trades, minute, trade


def bars(loaded: sentinel.data.Loaded) -> list[dict[str, Any]]:
    table = loaded.table
    found: list[dict[str, Any]] = table.set_column(0, "time", table["time"].cast(pa.int64())).to_pylist()
    return found


@pytest.mark.parametrize("every_ns", [MINUTE_NS, 7 * 10**9, HOUR_NS])
def test_bars_are_the_sums_of_the_venues_decimals(tmp_path: Path, every_ns: int) -> None:
    rng = random.Random(every_ns)
    made = []
    for trade_id in range(1, 400):
        price, size = round(rng.uniform(60_000, 70_000), 2), round(rng.choice([1e-8, 0.1, 12.5, 1e6]) * rng.random(), 8)
        made.append((trade_id, MIDNIGHT_NS + trade_id * 313_000_007, price, size or 1e-8))
    fill(tmp_path, [trade(*each) for each in made], [minute(k) for k in range(60)])
    every = f"{every_ns // 10**9}s"
    end_ns = MIDNIGHT_NS + HOUR_NS
    loaded = sentinel.data.ohlcv("BTC-USD", MIDNIGHT_NS, end_ns, every=every, data_dir=tmp_path)
    starts = range(-(-MIDNIGHT_NS // every_ns) * every_ns, end_ns, every_ns)
    assert [bar["time"] for bar in bars(loaded)] == list(starts)
    for bar in bars(loaded):
        own = [each for each in made if bar["time"] <= each[1] < bar["time"] + every_ns]
        prices, sizes = [each[2] for each in own], [Decimal(repr(each[3])) for each in own]
        assert bar["trades"] == len(own)
        assert bar["volume"] == float(sum(sizes))
        notional = sum(Decimal(repr(price)) * size for price, size in zip(prices, sizes, strict=True))
        assert bar["notional"] == float(notional)
        if own:
            assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (
                prices[0], max(prices), min(prices), prices[-1]
            )  # fmt: skip
            assert bar["vwap"] == pytest.approx(float(notional / sum(sizes)), rel=1e-15)
        else:
            assert bar["open"] is bar["high"] is bar["low"] is bar["close"] is bar["vwap"] is None


def test_ten_tenths_are_one(tmp_path: Path) -> None:
    fill(tmp_path, [trade(k, MIDNIGHT_NS + k, size=0.1) for k in range(1, 11)], [minute(0)])
    (bar,) = bars(sentinel.data.ohlcv("BTC-USD", MIDNIGHT_NS, MIDNIGHT_NS + MINUTE_NS, data_dir=tmp_path))
    assert bar["volume"] == 1.0
    assert sum([0.1] * 10) != 1.0


def test_a_bar_with_missing_trades_says_so(tmp_path: Path) -> None:
    """Ids 3 to 5 are lost somewhere between two trades of minutes 1 and 2; nobody collected minute 4."""
    times = [MIDNIGHT_NS + 1, MIDNIGHT_NS + MINUTE_NS + 1, MIDNIGHT_NS + 2 * MINUTE_NS + 1, MIDNIGHT_NS + 3 * MINUTE_NS]
    trades = [trade(trade_id, at) for trade_id, at in zip((1, 2, 6, 7), times, strict=True)]
    accounts = [*(minute(k) for k in (0, 1, 2, 3, 5)), lost_trades(3, 5, times[1], times[2])]
    fill(tmp_path, trades, accounts)
    loaded = sentinel.data.ohlcv("BTC-USD", MIDNIGHT_NS, MIDNIGHT_NS + 6 * MINUTE_NS, data_dir=tmp_path)
    assert [bar["is_whole"] for bar in bars(loaded)] == [True, False, False, True, False, True]
    assert [bar["missing"] for bar in bars(loaded)] == [0, 3, 3, 0, None, 0]
    assert [bar["trades"] for bar in bars(loaded)] == [1, 1, 1, 1, 0, 0]
    assert [hole.cause for hole in loaded.holes] == ["trades", "not_collected"]
    assert not loaded.is_whole


def test_a_hole_over_midnight_is_one_hole(tmp_path: Path) -> None:
    before_ns, after_ns = MIDNIGHT_NS - 1, MIDNIGHT_NS + 1
    accounts = [minute(-1), minute(0), lost_trades(2, 4, before_ns, after_ns)]
    fill(tmp_path, [trade(1, before_ns), trade(5, after_ns)], accounts)
    loaded = sentinel.data.ohlcv("BTC-USD", MIDNIGHT_NS - 2 * MINUTE_NS, MIDNIGHT_NS + 2 * MINUTE_NS, data_dir=tmp_path)
    assert [(hole.first_id, hole.last_id) for hole in loaded.holes if hole.first_id] == [(2, 4)]
    assert [bar["is_whole"] for bar in bars(loaded)] == [False, False, False, False]
    assert [bar["missing"] for bar in bars(loaded)] == [None, 3, 3, None]


def test_where_ids_prove_nothing_a_bar_does_not_say_that_it_is_whole(tmp_path: Path) -> None:
    fill(tmp_path, [trade(1, MIDNIGHT_NS)], [minute(0, trade_proof="none")])
    loaded = sentinel.data.ohlcv("BTC-USD", MIDNIGHT_NS, MIDNIGHT_NS + 2 * MINUTE_NS, data_dir=tmp_path)
    assert [bar["is_whole"] for bar in bars(loaded)] == [None, False]
    assert not loaded.is_proved


def test_the_bar_under_way_is_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, [trade(1, MIDNIGHT_NS)], [minute(0), minute(1)])
    now_ns = MIDNIGHT_NS + MINUTE_NS + MINUTE_NS // 2
    monkeypatch.setattr("time.time_ns", lambda: now_ns)
    loaded = sentinel.data.ohlcv("BTC-USD", MIDNIGHT_NS, data_dir=tmp_path)
    assert [(bar["is_whole"], bar["missing"]) for bar in bars(loaded)] == [(True, 0), (False, None)]


def test_what_is_on_its_way_to_the_disk_is_no_whole_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector has told of 40 s, 6 s ago: what came of the five seconds after that, nobody knows yet."""
    books = [sample(random.Random(k), "BTC-USD", MIDNIGHT_NS + k * 100_000_000) for k in range(400)]
    fill(tmp_path, [trade(1, MIDNIGHT_NS + 1)], [minute(0, samples_due=400, samples_written=400)], books)
    monkeypatch.setattr("time.time_ns", lambda: MIDNIGHT_NS + 46 * 10**9)
    loaded = sentinel.data.ohlcv("BTC-USD", MIDNIGHT_NS, every="15s", data_dir=tmp_path)
    assert [bar["is_whole"] for bar in bars(loaded)] == [True, True, False, False]
    assert loaded.known_ns == MIDNIGHT_NS + 40 * 10**9
    assert sentinel.data.load("trades", "*", MIDNIGHT_NS, data_dir=tmp_path).known_ns == loaded.known_ns


def test_several_markets(tmp_path: Path) -> None:
    trades = [trade(1, MIDNIGHT_NS, size=0.25), trade(9, MIDNIGHT_NS, size=4.0, symbol="BTC/USD", exchange="kraken")]
    fill(tmp_path, trades, [minute(0), minute(0, "BTC/USD", "kraken"), minute(1)])
    loaded = sentinel.data.ohlcv("*:BTC*", MIDNIGHT_NS, MIDNIGHT_NS + 2 * MINUTE_NS, data_dir=tmp_path)
    assert [(bar["symbol"], bar["volume"], bar["is_whole"]) for bar in bars(loaded)] == [
        ("BTC-USD", 0.25, True), ("BTC/USD", 4.0, True), ("BTC-USD", 0.0, True), ("BTC/USD", 0.0, False),
    ]  # fmt: skip
    assert [str(hole).split(":")[0] for hole in loaded.holes] == ["kraken"]
