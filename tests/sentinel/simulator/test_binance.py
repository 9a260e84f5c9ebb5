"""Binance's dialect as a client sees it: over real sockets, with the faults and the truth of every venue."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from sentinel.simulator.binance.dialect import BINANCE
from sentinel.simulator.command import simulate
from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile
from tests.servers.exchange import Market, trading
from tests.servers.waiting import LONGEST_S

Message = dict[str, Any]
SYMBOL, OTHER = "BTCUSDT", "ETHUSDT"
NOW_NS = 1_788_746_279_000_000_000


async def ask(socket: ClientConnection, method: str, *streams: str, number: int = 1) -> None:
    await socket.send(json.dumps({"method": method, "params": list(streams), "id": number}))


@asynccontextmanager
async def listening(exchange: Market, *streams: str, path: str = "") -> AsyncIterator[ClientConnection]:
    async with connect(exchange.urls["binance"] + path, max_queue=None) as socket:
        await ask(socket, "SUBSCRIBE", *streams)
        assert json.loads(await socket.recv()) == {"result": None, "id": 1}
        yield socket


async def hear(socket: ClientConnection, kind: str, count: int) -> list[Message]:
    heard: list[Message] = []
    async with asyncio.timeout(LONGEST_S):
        while len(heard) < count:
            message = json.loads(await socket.recv())
            if kind in (message.get("e"), message.get("data", {}).get("e")):
                heard.append(message)
    return heard


async def get(exchange: Market, path: str, status: int = 200, **headers: str) -> Any:
    url = exchange.urls["rest"] + path
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        assert answer.status == status
        return await answer.json()


async def test_a_book_fetched_and_aligned_with_its_changes_is_the_truth(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([SYMBOL], truth, venue=BINANCE, levels=60, rate=50) as exchange:
        async with listening(exchange, "btcusdt@depth@100ms") as socket:
            frames = await hear(socket, "depthUpdate", 3)
            snapshot = await get(exchange, f"/api/v3/depth?symbol={SYMBOL}&limit=5000")
            frames += await hear(socket, "depthUpdate", 60)
    sides = {name: {float(price): float(size) for price, size in snapshot[name]} for name in ("bids", "asks")}
    last, tops = snapshot["lastUpdateId"], []
    assert frames[0]["U"] <= last + 1
    for frame in frames:
        if frame["u"] <= last:
            continue
        assert frame["U"] <= last + 1
        last = frame["u"]
        for name, changes in (("bids", frame["b"]), ("asks", frame["a"])):
            for price, size in changes:
                sides[name][float(price)] = float(size)
                if not float(size):
                    del sides[name][float(price)]
        bid, ask_price = max(sides["bids"]), min(sides["asks"])
        tops.append((bid, sides["bids"][bid], ask_price, sides["asks"][ask_price]))
    assert tops
    assert set(tops) <= {top[1:] for top in TruthFile(truth, "binance").tops[SYMBOL]}


@pytest.mark.parametrize(("path", "is_wrapped"), [("", False), ("/ws", False), ("/stream", True)])
async def test_events_are_wrapped_on_combined_streams_only(path: str, is_wrapped: bool, tmp_path: Path) -> None:
    async with trading([SYMBOL], tmp_path / "t", venue=BINANCE, levels=60, trade_rate=50) as exchange:
        async with listening(exchange, "btcusdt@trade", path=path) as socket:
            (message,) = await hear(socket, "trade", 1)
    assert ("stream" in message) == is_wrapped
    event = message["data"] if is_wrapped else message
    assert event["s"] == SYMBOL
    assert 10**12 < event["T"] < 10**14


async def test_times_are_of_microseconds_where_they_are_asked_for(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([SYMBOL], truth, venue=BINANCE, levels=60, trade_rate=50) as exchange:
        async with listening(exchange, "btcusdt@trade", path="/stream?timeUnit=MICROSECOND") as socket:
            events = [message["data"] for message in await hear(socket, "trade", 20)]
        first = events[0]["t"]
        await exchange.on_rest(SYMBOL, first + 4)
        path = f"/api/v3/historicalTrades?symbol={SYMBOL}&fromId={first}&limit=5"
        exact = await get(exchange, path, **{"X-MBX-TIME-UNIT": "microsecond"})
        coarse = await get(exchange, path)
    assert [event["t"] for event in events] == list(range(first, first + 20))
    published = TruthFile(truth).trades[SYMBOL]
    for event in events:
        fact = published[event["t"]]
        assert (event["T"] * 1000, event["m"]) == (fact["t_ns"], fact["maker_side"] == "buy")
        assert (float(event["p"]), float(event["q"])) == (float(fact["price"]), float(fact["size"]))
    assert [(old["id"], old["time"]) for old in exact] == [(event["t"], event["T"]) for event in events[:5]]
    assert [old["time"] for old in coarse] == [event["T"] // 1000 for event in events[:5]]
    assert [old["isBuyerMaker"] for old in coarse] == [event["m"] for event in events[:5]]


async def test_what_does_not_exist_is_acknowledged_and_silent_and_nonsense_is_refused(tmp_path: Path) -> None:
    refusal = Fault(kind="refuse_product", product=OTHER)
    async with trading([SYMBOL, OTHER], tmp_path / "t", refusal, venue=BINANCE, levels=60) as exchange:
        async with listening(exchange, "nousdt@trade", "ethusdt@depth@100ms", "btcusdt@depth") as socket:
            await ask(socket, "LIST_SUBSCRIPTIONS", number=7)
            while "result" not in (message := json.loads(await socket.recv())):
                pass
            assert message == {"result": ["nousdt@trade", "ethusdt@depth@100ms", "btcusdt@depth"], "id": 7}
            await socket.send("what")
            while "error" not in (message := json.loads(await socket.recv())):
                assert message["s"] == SYMBOL
            assert (message["error"]["code"], message["id"]) == (3, None)
            await ask(socket, "JOIN", number=8)
            while "error" not in (message := json.loads(await socket.recv())):
                pass
            assert (message["error"]["code"], message["id"]) == (2, 8)
        assert await get(exchange, "/api/v3/depth?symbol=NOUSDT", 400) == {"code": -1121, "msg": "Invalid symbol."}
        assert await get(exchange, f"/api/v3/depth?symbol={OTHER}", 400) == {"code": -1121, "msg": "Invalid symbol."}
        listed = (await get(exchange, "/api/v3/exchangeInfo"))["symbols"]
        assert {one["symbol"]: one["status"] for one in listed} == {SYMBOL: "TRADING", OTHER: "BREAK"}
        assert (await get(exchange, "/api/v3/depth?symbol=BTCUSDT&limit=x", 400))["code"] == -1100
        assert (await get(exchange, "/api/v4/depth", 404))["code"] == -1000


async def test_who_sends_more_than_five_messages_a_second_is_closed(tmp_path: Path) -> None:
    market = trading([SYMBOL], tmp_path / "t", venue=BINANCE, levels=60, trade_rate=0, now_ns=lambda: NOW_NS)
    async with market as exchange:
        async with listening(exchange, "btcusdt@trade") as socket:
            for _ in range(6):
                await ask(socket, "LIST_SUBSCRIPTIONS")
            await socket.wait_closed()
            assert socket.close_code == 1008


async def test_requests_are_weighed_and_a_ban_says_how_long(tmp_path: Path) -> None:
    ban = Fault(kind="rest", mode="418", retry_after_s=2.0, at_s=3600.0)
    async with trading([SYMBOL], tmp_path / "t", ban, venue=BINANCE, levels=60) as exchange:
        for _ in range(24):
            await get(exchange, f"/api/v3/depth?symbol={SYMBOL}&limit=5000")
        statuses = []
        async with aiohttp.ClientSession() as session:
            for _ in range(12):
                async with session.get(exchange.urls["rest"] + f"/api/v3/depth?symbol={SYMBOL}&limit=5000") as answer:
                    statuses.append(answer.status)
                    body = await answer.json()
        assert statuses[-1] == 429
        assert body["code"] == -1003
        ban.at_s = 0.0
        async with aiohttp.ClientSession() as session:
            async with session.get(exchange.urls["rest"] + "/api/v3/ping") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (418, "2")


@pytest.mark.parametrize("path", ["/ws", "/stream"])
async def test_a_shutdown_is_announced_and_comes(path: str, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    later_ns = 0
    market = trading([SYMBOL], truth, venue=BINANCE, levels=60, rate=50, now_ns=lambda: time.time_ns() + later_ns)
    async with market as exchange:
        async with listening(exchange, "btcusdt@depth@100ms", path=path) as socket:
            exchange.arm(Fault(kind="announce_close", delay_s=20.0, code=1001))
            await hear(socket, "serverShutdown", 1)
            assert await hear(socket, "depthUpdate", 2)
            later_ns = 20_000_000_000
            with pytest.raises(ConnectionClosed):
                await hear(socket, "depthUpdate", 1000)
            assert socket.close_code == 1001
    (fact,) = TruthFile(truth).faults
    assert fact["fault"] == "announce_close"
    assert fact["end_ns"] - fact["start_ns"] == 20_000_000_000


@pytest.mark.parametrize("kind", ["drop", "reorder", "corrupt", "stall"])
async def test_a_fault_is_written_down_by_the_numbers_of_the_market(kind: Any, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([SYMBOL, OTHER], truth, venue=BINANCE, levels=60, trade_rate=0) as exchange:
        async with listening(exchange, "btcusdt@depth@100ms", "ethusdt@depth@100ms") as socket:
            raw: list[str] = []
            async with asyncio.timeout(LONGEST_S):
                while not all(any(f'"{name}"' in text for text in raw) for name in (SYMBOL, OTHER)):
                    raw.append(str(await socket.recv()))
                exchange.arm(Fault(kind=kind, channel="depthUpdate", product=SYMBOL, duration_s=0.2))
                raw += [str(await socket.recv()) for _ in range(50)]
    heard: list[Message] = [json.loads(text) for text in raw if text.endswith("}")]  # a truncated one does not
    for written in TruthFile(truth).faults:
        frames = [frame for frame in heard if frame.get("s") == written["product"]]
        assert (written["fault"], written["feed"]) == (kind, "binance")
        before, after = written["sequence_first"] - 1, written["sequence_last"] + 1
        assert before in [frame["u"] for frame in frames]
        assert after in [frame["U"] for frame in frames]
    assert {fact["product"] for fact in TruthFile(truth).faults} >= {SYMBOL}


async def test_a_size_that_is_no_number_is_json_still(tmp_path: Path) -> None:
    faults = [Fault(kind="corrupt", how="nan", channel=channel, at_s=0.1) for channel in ("depthUpdate", "trade")]
    async with trading([SYMBOL], tmp_path / "t", *faults, venue=BINANCE, levels=60, trade_rate=50) as exchange:
        async with listening(exchange, "btcusdt@depth@100ms", "btcusdt@trade") as socket:
            odd = set()
            async with asyncio.timeout(LONGEST_S):
                while len(odd) < 2:
                    message = json.loads(await socket.recv())
                    if "nan" in json.dumps(message):
                        odd.add(message["e"])
    assert odd == {"depthUpdate", "trade"}


def test_the_command_speaks_the_dialect_that_is_asked_for() -> None:
    done = CliRunner().invoke(simulate, ["--venue", "binance", "--products", "2", "--duration", "100ms"])
    assert done.exit_code == 0, done.output
    urls = json.loads(done.output)
    assert list(urls) == ["binance", "rest"]
    assert urls["binance"].endswith("/binance")
