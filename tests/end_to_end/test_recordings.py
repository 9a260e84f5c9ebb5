"""Real recorded frames, over a real socket, through the real command, to the disk; judged against decimals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentinel.disk.tape import Kind, read_tape, tape_files
from sentinel.simulator.coinbase import dialogue
from tests.captures import ADVANCED, GDAX, MATCHES, capture, lines_of
from tests.end_to_end.judge import TruthFile, judge_samples, judge_trades
from tests.end_to_end.store import Store, fields
from tests.servers.collector import collecting
from tests.servers.exchange import playing


def frames_on(tape: Path) -> list[bytes]:
    return [record.payload for file in tape_files(tape) for record in read_tape(file) if record.kind == Kind.FRAME]


async def test_the_advanced_recording(tmp_path: Path) -> None:
    path = capture(f"{ADVANCED}/raw.jsonl.zst")
    data, truth = tmp_path / "data", tmp_path / "truth.jsonl"
    async with (
        playing(path, 4.0, truth) as exchange,
        collecting(exchange.urls, data, "BTC-USD", "ETH-USD", "--duration", "11s", "--record") as collector,
    ):
        assert await collector.ended() == 0
    store = Store(data)

    assert set(lines_of(f"{ADVANCED}/raw.jsonl.zst")) <= set(frames_on(data / "tapes"))
    tops = {symbol: fields(store.of("top", symbol)[-1]) for symbol in ("BTC-USD", "ETH-USD")}
    assert (tops["BTC-USD"]["bid"], tops["BTC-USD"]["ask"]) == (65083.66, 65083.67)
    assert (tops["ETH-USD"]["bid"], tops["ETH-USD"]["ask"]) == (1919.28, 1919.38)
    assert judge_samples(store, data / "tapes", bins_every=10) == len(store.of("top")) > 100

    assert judge_trades(store, TruthFile(truth), ["BTC-USD", "ETH-USD"]) == 279
    assert (min(store.trades("BTC-USD")), max(store.trades("BTC-USD"))) == (1068571991, 1068572137)
    assert (min(store.trades("ETH-USD")), max(store.trades("ETH-USD"))) == (833140679, 833140810)
    assert store.written["trades"] == 279
    assert sum("recv_ns" in fields(point) for point in store.of("trades")) == 79


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
        collecting(exchange.urls, data, "BTC-USD", "--duration", "20s", "--record", **feeds) as collector,
    ):
        assert await collector.ended() == 0
    store = Store(data)
    assert any(b'"error"' in frame for frame in frames_on(data / "tapes"))
    assert judge_samples(store, data / "tapes", bins_every=10) > 30
    assert judge_trades(store, TruthFile(truth), ["BTC-USD"]) == trades
    assert "sequence" not in {fields(point)["integrity"] for point in store.of("coverage")}


async def test_the_matches_of_2025(tmp_path: Path) -> None:
    path = capture(f"{MATCHES}/raw.jsonl.zst")
    products = ["BTC-USD", "ETH-USD", "LTC-USD"]
    data, truth = tmp_path / "data", tmp_path / "truth.jsonl"
    async with (
        playing(path, 8.0, truth) as exchange,
        collecting(exchange.urls, data, *products, "--duration", "8s") as collector,
    ):
        assert await collector.ended() == 0
    recorded = {json.loads(line)["trade_id"] for line in lines_of(f"{MATCHES}/raw.jsonl.zst") if b"trade_id" in line}
    assert judge_trades(Store(data), TruthFile(truth), products) == len(recorded) == 447
