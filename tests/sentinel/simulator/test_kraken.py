"""Kraken's dialect as a client sees it: over real sockets, with the faults and the truth of every venue."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from websockets.asyncio.client import ClientConnection, connect

from sentinel.simulator.command import simulate
from sentinel.simulator.faults import Fault
from sentinel.simulator.kraken.dialect import KRAKEN
from sentinel.simulator.kraken.view import View
from sentinel.simulator.market import Change
from tests.end_to_end.judge import TruthFile
from tests.sentinel.simulator.virtual import conversation
from tests.servers.exchange import Market, trading
from tests.servers.waiting import LONGEST_S

Message = dict[str, Any]
BTC, ETH = "BTC/USD", "ETH/USD"


def request(channel: str, *symbols: str, method: str = "subscribe", **params: object) -> str:
    return json.dumps(
        {"method": method, "params": {"channel": channel, "symbol": list(symbols), **params}, "req_id": 7}
    )


@asynccontextmanager
async def talking(exchange: Market, *requests: str) -> AsyncIterator[ClientConnection]:
    async with connect(exchange.urls["kraken"], max_queue=None) as socket:
        for message in requests:
            await socket.send(message)
        yield socket


async def hear(socket: ClientConnection, kind: str, count: int) -> list[Message]:
    """So many messages of a channel or in answer to a method; their numbers are Decimals, as they were written."""
    heard: list[Message] = []
    async with asyncio.timeout(LONGEST_S):
        while len(heard) < count:
            message = json.loads(await socket.recv(), parse_float=Decimal)
            if kind in (message.get("channel"), message.get("method")):
                heard.append(message)
    return heard


async def get(exchange: Market, path: str) -> Message:
    async with aiohttp.ClientSession() as session, session.get(f"{exchange.urls['rest']}/0/public/{path}") as answer:
        assert answer.status == 200
        body: Message = await answer.json()
        return body


class Book:
    """A client's book as Kraken's guide says it is to be kept."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}

    def take(self, record: Message) -> None:
        for name, levels in self.sides.items():
            for level in record[name]:
                levels[level["price"]] = level["qty"]
                if not level["qty"]:
                    del levels[level["price"]]
            for price in sorted(levels, reverse=name == "bids")[self.depth :]:
                del levels[price]

    @property
    def checksum(self) -> int:
        asks, bids = sorted(self.sides["asks"])[:10], sorted(self.sides["bids"], reverse=True)[:10]
        levels = [(price, self.sides["asks"][price]) for price in asks]
        levels += [(price, self.sides["bids"][price]) for price in bids]
        digits = (f"{number:f}".replace(".", "").lstrip("0") for level in levels for number in level)
        return zlib.crc32("".join(digits).encode())

    @property
    def top(self) -> tuple[float, ...]:
        bid, ask = max(self.sides["bids"]), min(self.sides["asks"])
        return tuple(map(float, (bid, self.sides["bids"][bid], ask, self.sides["asks"][ask])))


@pytest.mark.parametrize("depth", [10, 25, 1000])
async def test_a_book_of_any_depth_kept_by_the_guide_has_the_checksums_and_the_tops_of_the_truth(
    depth: int, tmp_path: Path
) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([BTC, ETH], truth, venue=KRAKEN, levels=120, rate=150, trade_rate=20) as exchange:
        async with talking(exchange, request("book", BTC, ETH, depth=depth)) as socket:
            frames = await hear(socket, "book", 120)
    books = {name: Book(depth) for name in (BTC, ETH)}
    tops = {name: {top[1:] for top in TruthFile(truth, "kraken").tops[name]} for name in books}
    for frame in frames:
        (record,) = frame["data"]
        book = books[record["symbol"]]
        book.take(record)
        assert book.checksum == record["checksum"]
        assert book.top in tops[record["symbol"]]
    assert [len(levels) for book in books.values() for levels in book.sides.values()] >= [min(depth, 100)] * 4


def test_a_level_that_falls_out_is_not_told_and_one_that_comes_in_is() -> None:
    view = View([Change("bid", price, 5) for price in range(1, 13)])
    assert view.window(10) == [Change("bid", price, 5) for price in range(12, 2, -1)]
    assert view.change([Change("bid", 13, 1)]) == {10: [Change("bid", 13, 1)]}
    assert view.change([Change("bid", 12, 0)]) == {10: [Change("bid", 12, 0), Change("bid", 3, 5)]}
    assert view.change([Change("bid", 1, 7)]) == {10: []}
    orphan = Change("ask", 99, 0)
    assert view.change([orphan]) == {10: [orphan]}


async def test_every_answer_is_word_for_word_the_venues(tmp_path: Path) -> None:
    refusal = Fault(kind="refuse_product", product=ETH)
    requests = (
        '{"method":"ping","req_id":101}',
        request("book", BTC, ETH, "FOO/USD", depth=1000),
        request("book", BTC, depth=1000),
        request("book", BTC, depth=17),
        request("book", BTC, method="unsubscribe"),
        request("book", BTC, method="unsubscribe", depth=1000),
        request("status"),
    )
    async with trading([BTC, ETH], tmp_path / "t", refusal, venue=KRAKEN, levels=60, rate=1) as exchange:
        async with talking(exchange, *requests) as socket:
            assert (await hear(socket, "status", 1))[0]["data"][0]["system"] == "online"
            (pong,) = await hear(socket, "pong", 1)
            granted, *refused = await hear(socket, "subscribe", 5)
            ended = await hear(socket, "unsubscribe", 2)
            (status,) = await hear(socket, "subscribe", 1)
    assert pong["req_id"] == 101
    assert (granted["success"], granted["req_id"]) == (True, 7)
    assert granted["result"] == {"channel": "book", "snapshot": True, "symbol": BTC, "depth": 1000}
    assert [(answer["success"], answer["error"], answer["symbol"]) for answer in refused] == [
        (False, f"Currency pair not supported {ETH}", ETH),
        (False, "Currency pair not supported FOO/USD", "FOO/USD"),
        (False, "Already subscribed", BTC),
        (False, "Subscription depth not supported", BTC),
    ]
    assert [answer.get("error") for answer in ended] == ["Subscription Not Found", None]
    assert status["error"] == "Symbol(s) not found"


async def test_what_is_listed_has_its_precision_and_quiet_connections_hear_a_heartbeat(tmp_path: Path) -> None:
    async with trading([BTC, ETH], tmp_path / "t", venue=KRAKEN, levels=60) as exchange:
        async with talking(exchange, '{"method":"subscribe","params":{"channel":"instrument"}}') as socket:
            (listed,) = await hear(socket, "instrument", 1)
            await hear(socket, "heartbeat", 2)
        pairs = (await get(exchange, "AssetPairs"))["result"]
    assert [(pair["symbol"], pair["status"]) for pair in listed["data"]["pairs"]] == [(BTC, "online"), (ETH, "online")]
    assert pairs["XXBTZUSD"]["wsname"] == "XBT/USD"
    assert [pair["qty_precision"] for pair in listed["data"]["pairs"]] == [p["lot_decimals"] for p in pairs.values()]


async def test_what_is_halted_or_delisted_says_so_and_falls_silent(tmp_path: Path) -> None:
    halt, gone = Fault(kind="halt", product=BTC), Fault(kind="delist", product=ETH)
    async with trading([BTC, ETH], tmp_path / "t", venue=KRAKEN, levels=60) as exchange:
        async with talking(exchange, '{"method":"subscribe","params":{"channel":"instrument"}}') as socket:
            (listed,) = await hear(socket, "instrument", 1)
            news = []
            for faults in ([halt], [], [gone]):
                exchange.arm(*faults)
                news += await hear(socket, "instrument", 1)
            await socket.send(request("book", ETH))
            (refused,) = await hear(socket, "subscribe", 1)
        pairs = (await get(exchange, "AssetPairs"))["result"]
        exchange.arm(halt, gone)
        halted = (await get(exchange, "AssetPairs"))["result"]
        unknown = await get(exchange, "Trades?pair=ETHUSD")
    assert [message["type"] for message in (listed, *news)] == ["snapshot", "update", "update", "update"]
    assert [[(pair["symbol"], pair["status"]) for pair in message["data"]["pairs"]] for message in news] == [
        [(BTC, "maintenance")],
        [(BTC, "online")],
        [(ETH, "delisted")],
    ]
    assert refused["error"] == f"Currency pair not supported {ETH}"
    assert [(pair["wsname"], pair["status"]) for pair in pairs.values()] == [("XBT/USD", "online")]
    assert [(pair["wsname"], pair["status"]) for pair in halted.values()] == [("XBT/USD", "maintenance")]
    assert unknown == {"error": ["EQuery:Unknown asset pair"]}


async def test_trades_rise_by_one_and_rest_has_them_by_time(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([BTC], truth, venue=KRAKEN, levels=60, trade_rate=60) as exchange:
        async with talking(exchange, request("trade", BTC, snapshot=True)) as socket:
            (before,) = await hear(socket, "trade", 1)
            exchange.arm(Fault(kind="hide", count=2))
            live = await hear(socket, "trade", 59)
            exchange.market.trade_rate = 0.0
        await exchange.on_rest(BTC, live[-1]["data"][-1]["trade_id"])
        everything = (await get(exchange, "Trades?pair=XBTUSD&since=0"))["result"]
        page = await get(exchange, f"Trades?pair=XBTUSD&since={round(everything['XXBTZUSD'][3][2] * 1e6)}000&count=5")
        unknown = await get(exchange, "Trades?pair=FOOUSD")
    assert (before["type"], live[0]["type"], len(before["data"])) == ("snapshot", "update", 50)
    heard = [trade["trade_id"] for frame in (before, *live) for trade in frame["data"]]
    published = TruthFile(truth).trades[BTC]
    lost = [trade_id for trade_id in range(heard[0], heard[-1]) if trade_id not in heard]
    assert lost == [trade_id for trade_id, fact in published.items() if fact.get("hidden")]
    ids = [row[6] for row in everything["XXBTZUSD"]]
    assert set(lost) <= set(ids)
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert [row[6] for row in page["result"]["XXBTZUSD"]] == ids[4:9]
    assert unknown == {"error": ["EQuery:Unknown asset pair"]}


@pytest.mark.parametrize("kind", ["drop", "duplicate", "reorder", "corrupt", "stall"])
async def test_a_fault_is_written_down(kind: Any, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    fault = Fault(kind=kind, channel="book", product=BTC, at_s=0.2, duration_s=0.2, how="nan")
    async with trading([BTC], truth, fault, venue=KRAKEN, levels=60, rate=100, trade_rate=0) as exchange:
        async with talking(exchange, request("book", BTC, depth=10)) as socket:
            await hear(socket, "book", 60)
    (written,) = TruthFile(truth).faults
    assert (written["fault"], written["feed"], written["sequence_first"]) == (kind, "kraken", None)


class Client:
    """Keeps books by the guide, each from the snapshot on that it has asked for, and goes on with what does not fit."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._books: dict[str, Book] = {}
        self.misfits: list[str] = []

    def say(self, message: str) -> None:
        asked = json.loads(message)
        if asked["method"] == "subscribe" and asked["params"]["channel"] == "book":
            for name in asked["params"]["symbol"]:
                self._books.pop(name, None)

    def hear(self, frame: str) -> None:
        message = json.loads(frame, parse_float=Decimal)
        if message.get("channel") == "book":
            (record,) = message["data"]
            if not any(isinstance(level["qty"], str) for level in record["bids"] + record["asks"]):
                self._take(record, is_snapshot=message["type"] == "snapshot")

    def _take(self, record: Message, *, is_snapshot: bool) -> None:
        name = record["symbol"]
        if is_snapshot:
            self._books[name] = Book(self._depth)
        if name in self._books:
            self._books[name].take(record)
            if self._books[name].checksum != record["checksum"]:
                self.misfits.append(name)


@pytest.mark.parametrize("kind", ["drop", "stall", "reorder", "duplicate", "delay", "corrupt"])
async def test_every_checksum_that_a_client_cannot_have_is_written_down(kind: Any, tmp_path: Path) -> None:
    """Whatever frames it was kept from before, snapshots among them, and in whatever order it heard them."""
    facts: dict[str, Any] = {"channel": "book", "count": 2, "duration_s": 0.15, "delay_s": 0.2, "how": "nan"}
    faults = [Fault(kind=kind, at_s=0.3 + 0.8 * number, **facts) for number in range(12)]
    faults += [Fault(kind="drop", at_s=6.0 + 0.9 * number, **facts) for number in range(5)]
    again = request("book", BTC, method="unsubscribe", depth=10), request("book", BTC, depth=10)
    said = [(0.0, request("book", BTC, ETH, depth=10)), (0.0, request("trade", BTC))]
    said += [(at_s, ask) for at_s in (2.7, 5.1, 8.3) for ask in again]
    truth = tmp_path / "truth.jsonl"
    for seed in range(5):
        client = Client(10)
        for what, text in await conversation(KRAKEN, [BTC, ETH], truth, faults, said, seed):
            (client.say if what == "said" else client.hear)(text)
        found = TruthFile(truth)
        assert {fault["fault"] for fault in found.faults} == {kind, "drop"}
        assert client.misfits
        assert [fact["product"] for fact in found.refuted] == client.misfits


def test_the_command_speaks_it() -> None:
    done = CliRunner().invoke(simulate, ["--venue", "kraken", "--products", "2", "--duration", "100ms"])
    assert done.exit_code == 0, done.output
    assert list(json.loads(done.output)) == ["kraken", "rest"]
