"""The dialect of Bybit as a client sees it: over real sockets to both markets, with faults, truth and REST."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from websockets.asyncio.client import ClientConnection, connect

from sentinel.simulator.bybit import dialect
from sentinel.simulator.bybit.dialect import BYBIT
from sentinel.simulator.bybit_linear.dialect import BYBIT_LINEAR
from sentinel.simulator.command import simulate
from sentinel.simulator.dialect import Venue
from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import TruthFile
from tests.sentinel.simulator.virtual import conversation
from tests.servers.exchange import Market, trading
from tests.servers.waiting import LONGEST_S

Message = dict[str, Any]
BTC, ETH = "BTCUSDT", "ETHUSDT"
both = pytest.mark.parametrize("venue", [BYBIT, BYBIT_LINEAR], ids=["spot", "linear"])


@asynccontextmanager
async def subscribed(exchange: Market, *topics: str) -> AsyncIterator[ClientConnection]:
    """Each topic with a request of its own."""
    (feed,) = exchange.market.stage.facts.feeds
    async with connect(exchange.urls[feed], max_queue=None) as socket:
        for topic in topics:
            await socket.send(json.dumps({"op": "subscribe", "req_id": topic, "args": [topic]}))
        yield socket


async def hear(socket: ClientConnection, count: int, prefix: str = "") -> list[Message]:
    """So many frames of topics that begin so; without one, answers."""
    heard: list[Message] = []
    async with asyncio.timeout(LONGEST_S):
        while len(heard) < count:
            message = json.loads(await socket.recv())
            topic = message.get("topic", "")
            if topic.startswith(prefix) if prefix else not topic:
                heard.append(message)
    return heard


async def get(exchange: Market, path: str) -> Message:
    async with aiohttp.ClientSession() as session, session.get(f"{exchange.urls['rest']}/v5/market/{path}") as answer:
        body: Message = await answer.json()
        return body


@both
async def test_a_book_is_the_truth_and_its_ids_rise_by_one_until_the_service_starts_anew(
    venue: Venue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "RESTART_FRAMES", 40)
    truth = tmp_path / "truth.jsonl"
    async with trading([BTC], truth, venue=venue, levels=260, rate=150, trade_rate=5) as exchange:
        async with subscribed(exchange, "orderbook.200.BTCUSDT") as socket:
            frames = await hear(socket, 100, "orderbook.200.")
    tops = {top[1:] for top in TruthFile(truth, *venue.facts.feeds).tops[BTC]}
    sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    anew, last = 0, 0
    for number, frame in enumerate(frames):
        data = frame["data"]
        if frame["type"] == "snapshot":
            sides = {"b": {}, "a": {}}
            anew += data["u"] == 1
        else:
            assert data["u"] == last + 1
        assert frame["type"] == ("snapshot" if not number or data["u"] == 1 else "delta")
        last = data["u"]
        for side, levels in sides.items():
            levels |= dict(data[side])
            sides[side] = {price: size for price, size in levels.items() if size != "0"}
            assert len(sides[side]) == 200
        bid, ask = max(sides["b"], key=float), min(sides["a"], key=float)
        assert (float(bid), float(sides["b"][bid]), float(ask), float(sides["a"][ask])) in tops
    assert anew >= 2


@both
async def test_a_service_that_starts_anew_sends_a_whole_book_to_each_that_hears_it(
    venue: Venue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "RESTART_FRAMES", 40)
    truth = tmp_path / "truth.jsonl"
    ask = json.dumps({"op": "subscribe", "req_id": "1", "args": ["orderbook.200.BTCUSDT"]})
    spoken = await conversation(venue, [BTC, ETH], truth, [], [(1.0, ask)])
    heard = [json.loads(text) for what, text in spoken if what == "heard"]
    whole_ms = [frame["ts"] for frame in heard if frame.get("type") == "snapshot"]
    assert len(whole_ms) >= 3
    found = TruthFile(truth, *venue.facts.feeds)
    assert [fact["t_ns"] // 10**6 for fact in found.snapshots] == whole_ms
    assert {(fact["connection"], fact["product"]) for fact in found.snapshots} == {(1, BTC)}
    assert {(fault["fault"], fault["product"]) for fault in found.faults} == {("anew", BTC)}


async def test_answers_name_no_topic_and_one_bad_topic_spoils_them_all(tmp_path: Path) -> None:
    refusal = Fault(kind="refuse_product", product=ETH)
    async with trading([BTC, ETH], tmp_path / "t", refusal, venue=BYBIT, levels=60) as exchange:
        async with subscribed(exchange, f"publicTrade.{BTC}", f"orderbook.200.{ETH}", f"publicTrade.{BTC}") as socket:
            good, refused, again = await hear(socket, 3)
            spoilt = [f"orderbook.200.{BTC}", "orderbook.200.NOSUCH"]
            for request in (
                {"op": "subscribe", "req_id": "8", "args": spoilt},
                {"op": "unsubscribe", "req_id": "9", "args": [f"publicTrade.{BTC}"]},
                {"op": "subscribe", "args": [f"tickers.{number}" for number in range(11)]},
                {"op": "ping", "req_id": "10"},
            ):
                await socket.send(json.dumps(request))
            await socket.send("nonsense")
            bad, gone, many, pong, nonsense = await hear(socket, 5)
            assert not exchange.connections[0].wants("orderbook.200", BTC)
    connection = {"conn_id": "d9avt8shteepr00gfc1g-4zd1x"}
    assert good == connection | {"success": True, "ret_msg": "subscribe", "req_id": good["req_id"], "op": "subscribe"}
    assert (refused["success"], refused["ret_msg"]) == (False, f"error:handler not found,topic:orderbook.200.{ETH}")
    assert again["ret_msg"] == f"error:already subscribed,topic:publicTrade.{BTC}"
    assert bad["ret_msg"] == "error:handler not found,topic:orderbook.200.NOSUCH"
    assert (gone["success"], gone["req_id"], gone["op"]) == (True, "9", "unsubscribe")
    assert many["ret_msg"] == "args size >10"
    assert pong == connection | {"success": True, "ret_msg": "pong", "req_id": "10", "op": "ping"}
    assert nonsense["success"] is False


@both
async def test_trades_on_the_stream_are_those_of_rest_which_has_the_newest_only(venue: Venue, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    category, most = ("spot", 60) if venue is BYBIT else ("linear", 1000)
    async with trading([BTC], truth, venue=venue, levels=60, trade_rate=60) as exchange:
        async with subscribed(exchange, f"publicTrade.{BTC}") as socket:
            frames = await hear(socket, 20, "publicTrade.")
            exchange.market.trade_rate = 0.0
            page = await get(exchange, f"recent-trade?category={category}&symbol={BTC}&limit=5000")
        listed = page["result"]["list"]
        assert len(listed) == min(most, exchange.market.products[BTC].last_trade_id, len(listed))
        assert (await get(exchange, f"recent-trade?category={category}&symbol=NOSUCH"))["retCode"] == 10001
        assert (await get(exchange, f"recent-trade?category=option&symbol={BTC}"))["retCode"] == 10001
    told = {trade["i"]: trade for frame in frames for trade in frame["data"]}
    assert all("-" in name for name in told) == (venue is BYBIT_LINEAR)
    assert len(listed) <= most
    for row in listed:
        if (trade := told.get(row["execId"])) is not None:
            said = (row["price"], row["size"], row["side"], row["time"])
            assert said == (trade["p"], trade["v"], trade["S"], str(trade["T"]))
    assert [int(row["time"]) for row in listed] == sorted((int(row["time"]) for row in listed), reverse=True)


async def test_rest_has_books_and_instruments_but_no_delisted_ones(tmp_path: Path) -> None:
    gone = Fault(kind="delist", product=ETH)
    async with trading([BTC, ETH], tmp_path / "t", gone, venue=BYBIT_LINEAR, levels=60) as exchange:
        listed = await get(exchange, "instruments-info?category=linear&limit=1000")
        book = await get(exchange, f"orderbook?category=linear&symbol={BTC}&limit=5")
    (row,) = listed["result"]["list"]
    assert (row["symbol"], row["baseCoin"], row["contractType"]) == (BTC, "BTC", "LinearPerpetual")
    assert [len(book["result"][side]) for side in ("b", "a")] == [5, 5]


@pytest.mark.parametrize("kind", ["drop", "reorder", "corrupt", "stall"])
async def test_a_fault_is_written_down_by_the_ids_of_the_book(kind: Any, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([BTC], truth, venue=BYBIT, levels=60, rate=20, trade_rate=0) as exchange:
        async with subscribed(exchange, f"orderbook.200.{BTC}") as socket:
            raw: list[str] = []
            async with asyncio.timeout(LONGEST_S):
                while not raw or '"data"' not in raw[-1]:
                    raw.append(str(await socket.recv()))
                exchange.arm(Fault(kind=kind, channel="orderbook.200", product=BTC, duration_s=0.3))
                raw += [str(await socket.recv()) for _ in range(30)]
    heard = [json.loads(text)["data"]["u"] for text in raw if '"data"' in text and text.endswith("}")]
    (written,) = TruthFile(truth).faults
    assert (written["fault"], written["feed"]) == (kind, "bybit")
    assert written["sequence_first"] - 1 in heard
    assert written["sequence_last"] + 1 in heard


def test_the_command_prints_the_addresses_of_both_markets() -> None:
    done = CliRunner().invoke(simulate, ["--venue", "bybit,bybit_linear", "--products", "2", "--duration", "100ms"])
    assert done.exit_code == 0, done.output
    urls = json.loads(done.output)
    assert urls["bybit"]["bybit"].endswith("/v5/public/spot")
    assert urls["bybit_linear"]["bybit_linear"].endswith("/v5/public/linear")
