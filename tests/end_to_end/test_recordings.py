"""Real recorded frames, over a real socket, through the real command, to the disk; judged against decimals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentinel.contract.line_protocol import Value
from sentinel.disk.tape import Kind, read_tape, tape_files
from sentinel.simulator.coinbase import dialogue
from tests.captures import ADVANCED, GDAX, MATCHES, capture, lines_of
from tests.end_to_end.judge import TruthFile, judge_samples, judge_trades
from tests.end_to_end.store import Store, fields
from tests.servers.collector import collecting
from tests.servers.exchange import playing
from tests.servers.waiting import until


def frames_on(tape: Path) -> list[bytes]:
    return [record.payload for file in tape_files(tape) for record in read_tape(file) if record.kind == Kind.FRAME]


def _taped(data: Path) -> set[bytes]:
    """What is on its tapes so far."""
    return set(frames_on(data / "tapes")) if any((data / "tapes").glob("*.swtape")) else set()


def _count(data: Path, measurement: str) -> int:
    """How many lines it has stored so far."""
    return Store(data).written.get(measurement, 0)


def _last_tops(data: Path) -> dict[str, tuple[Value, Value]]:
    store = Store(data)
    last = {symbol: fields(store.of("top", symbol)[-1]) for symbol in ("BTC-USD", "ETH-USD") if store.of("top", symbol)}
    return {symbol: (top["bid"], top["ask"]) for symbol, top in last.items()}


async def test_the_advanced_recording(tmp_path: Path) -> None:
    path = capture(f"{ADVANCED}/raw.jsonl.zst")
    data, truth = tmp_path / "data", tmp_path / "truth.jsonl"
    frames = set(lines_of(f"{ADVANCED}/raw.jsonl.zst"))
    tops = {"BTC-USD": (65083.66, 65083.67), "ETH-USD": (1919.28, 1919.38)}
    async with (
        playing(path, 4.0, truth) as exchange,
        collecting(exchange.urls, data, "BTC-USD", "ETH-USD", "--record") as collector,
    ):
        await until(lambda: frames <= _taped(data))
        await until(lambda: _count(data, "trades") == 279 and _count(data, "top") > 100 and _last_tops(data) == tops)
        assert await collector.stop() == 0
    store = Store(data)

    assert _last_tops(data) == tops
    assert judge_samples(store, data / "tapes", bins_every=10) == len(store.of("top")) > 100

    told = TruthFile(truth)
    assert judge_trades(store, told, ["BTC-USD", "ETH-USD"]) == 279
    assert (min(store.trades("BTC-USD")), max(store.trades("BTC-USD"))) == (1068571991, 1068572137)
    assert (min(store.trades("ETH-USD")), max(store.trades("ETH-USD"))) == (833140679, 833140810)
    assert store.written["trades"] == 279
    assert sum("recv_ns" in fields(point) for point in store.of("trades")) == 79 or told.long_stood


@pytest.mark.parametrize(("session", "trades"), [("2018-04-15T2311", 54), ("2018-04-17T0055", 257)])
async def test_the_exchange_sessions_of_2018(session: str, trades: int, tmp_path: Path) -> None:
    """Books by ``level2``, trades by ``matches``, and an ``error`` frame in mid-stream."""
    path = capture(f"{GDAX}/session-{session}.jsonl.zst")
    data, truth = tmp_path / "data", tmp_path / "truth.jsonl"
    feeds = {
        "SENTINEL_COINBASE_BOOK": "coinbase_exchange_level2",
        "SENTINEL_COINBASE_TRADES": '["coinbase_exchange"]',
        "SENTINEL_COINBASE_EXCHANGE_KEY": dialogue.KEY,
        "SENTINEL_COINBASE_EXCHANGE_PASSPHRASE": dialogue.PASSPHRASE,
        "SENTINEL_COINBASE_EXCHANGE_SECRET": dialogue.SECRET,
    }
    speed = 80.0 if session.endswith("0055") else 8.0
    async with (
        playing(path, speed, truth) as exchange,
        collecting(exchange.urls, data, "BTC-USD", "--record", **feeds) as collector,
    ):
        await until(lambda: any(b'"error"' in frame for frame in _taped(data)))
        await until(lambda: _count(data, "trades") == trades and _count(data, "top") > 40)
        assert await collector.stop() == 0
    store = Store(data)
    assert judge_samples(store, data / "tapes", bins_every=10) > 30
    assert judge_trades(store, TruthFile(truth), ["BTC-USD"]) == trades
    assert "sequence" not in {fields(point)["integrity"] for point in store.of("coverage")}


async def test_the_matches_of_2025(tmp_path: Path) -> None:
    path = capture(f"{MATCHES}/raw.jsonl.zst")
    products = ["BTC-USD", "ETH-USD", "LTC-USD"]
    data, truth = tmp_path / "data", tmp_path / "truth.jsonl"
    async with (
        playing(path, 8.0, truth) as exchange,
        collecting(exchange.urls, data, *products) as collector,
    ):
        await until(lambda: _count(data, "trades") == 447)
        assert await collector.stop() == 0
    recorded = {json.loads(line)["trade_id"] for line in lines_of(f"{MATCHES}/raw.jsonl.zst") if b"trade_id" in line}
    assert judge_trades(Store(data), TruthFile(truth), products) == len(recorded) == 447
