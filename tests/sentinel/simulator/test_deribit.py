"""Deribit's dialect as a client sees it: acks, refusals, heartbeats, chains and REST, with the usual faults."""

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

from sentinel.simulator import market
from sentinel.simulator.catalogue import VENUES
from sentinel.simulator.coinbase_derivatives.dialect import COINBASE_DERIVATIVES
from sentinel.simulator.command import simulate
from sentinel.simulator.connection import Stage
from sentinel.simulator.deribit import wording
from sentinel.simulator.deribit.dialect import DERIBIT, Deribit
from sentinel.simulator.faults import Fault, Faults
from sentinel.simulator.synthetic import SyntheticMarket
from sentinel.simulator.truth import Truth
from tests.captures import capture, lines_of
from tests.end_to_end.judge import TruthFile
from tests.servers.exchange import Market, playing, trading
from tests.servers.waiting import LONGEST_S

Message = dict[str, Any]
BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
S = 1_000_000_000


def request(method: str, request_id: int = 1, **params: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": f"public/{method}", "params": params})


@asynccontextmanager
async def subscribed(exchange: Market, *channels: str) -> AsyncIterator[ClientConnection]:
    async with connect(exchange.urls["deribit"], max_queue=None) as socket:
        await socket.send(request("subscribe", channels=channels))
        yield socket


async def hear(socket: ClientConnection, kind: str, count: int) -> list[Message]:
    """So many answers, errors, or notifications of one kind of channel: their data."""
    heard: list[Message] = []
    async with asyncio.timeout(LONGEST_S):
        while len(heard) < count:
            message = json.loads(await socket.recv())
            if kind in message:
                heard.append(message)
            elif message.get("params", {}).get("channel", "").startswith(f"{kind}."):
                heard.append(message["params"]["data"])
    return heard


async def get(exchange: Market, path: str) -> tuple[int, Message]:
    async with aiohttp.ClientSession() as session, session.get(exchange.urls["rest"] + path) as answer:
        body: Message = await answer.json()
        return answer.status, body


async def test_what_cannot_be_granted_is_left_out_of_the_answer(tmp_path: Path) -> None:
    refusal = Fault(kind="refuse_product", product=ETH)
    async with trading([BTC, ETH], tmp_path / "t", refusal, venue=DERIBIT, levels=60) as exchange:
        asked = [
            f"book.{BTC}.100ms",
            f"book.{ETH}.100ms",
            "book.NO-PERPETUAL.100ms",
            f"trades.{BTC}.agg2",
            "tomorrow.1.2",
        ]
        async with subscribed(exchange, *asked) as socket:
            (answer,) = await hear(socket, "result", 1)
            assert answer["result"] == [f"trades.{BTC}.agg2", f"book.{BTC}.100ms"]
            assert (answer["id"], answer["testnet"], answer["usDiff"]) == (1, False, 581)
            (snapshot,) = await hear(socket, "book", 1)
            assert (snapshot["type"], snapshot["instrument_name"]) == ("snapshot", BTC)
            await socket.send(request("unsubscribe", 2, channels=asked[:2]))
            (answer,) = await hear(socket, "result", 1)
            assert (answer["id"], answer["result"]) == (2, [f"book.{BTC}.100ms"])


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        (request("subscribe", channels=[f"book.{BTC}.raw"]), 13778, "raw_subscriptions_not_available_for_unauthorized"),
        (request("subscribe", channels="book"), -32602, "Invalid params"),
        (request("set_heartbeat", interval=5), -32602, "Invalid params"),
        (
            request("subscribe", channels=[]).replace("{}", "[]").replace('{"channels": []}', "[1]"),
            -32700,
            "Parse error",
        ),
        (request("dance"), -32601, "Method not found"),
        ("{", -32700, "Parse error"),
    ],
)
async def test_refusals_word_for_word(message: str, code: int, words: str, tmp_path: Path) -> None:
    async with trading([BTC], tmp_path / "t", venue=DERIBIT, levels=60) as exchange:
        async with connect(exchange.urls["deribit"]) as socket:
            await socket.send(message)
            (answer,) = await hear(socket, "error", 1)
    assert answer["error"] == {"code": code, "message": words, "data": None}


async def test_a_book_followed_by_its_chain_is_the_truth(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([BTC, ETH], truth, venue=DERIBIT, levels=60, rate=100) as exchange:
        async with subscribed(exchange, f"book.{BTC}.100ms") as socket:
            snapshot, *frames = await hear(socket, "book", 60)
    assert snapshot["type"] == "snapshot"
    assert "prev_change_id" not in snapshot
    book: dict[str, dict[float, float]] = {
        side: {price: size for _, price, size in snapshot[side]} for side in ("bids", "asks")
    }
    tops = {(top[0] // 10**6, *top[1:]) for top in TruthFile(truth, "deribit").tops[BTC]}
    last = snapshot["change_id"]
    for frame in frames:
        assert frame["prev_change_id"] == last
        last = frame["change_id"]
        for side in ("bids", "asks"):
            for action, price, size in frame[side]:
                if action == "delete":
                    assert size == 0
                    book[side].pop(price, None)
                else:
                    assert (action == "change") == (price in book[side])
                    book[side][price] = size
        bid, ask = max(book["bids"]), min(book["asks"])
        assert (frame["timestamp"], bid, book["bids"][bid], ask, book["asks"][ask]) in tops


async def test_trades_come_several_at_once_and_rest_has_them_by_number(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([BTC], truth, venue=DERIBIT, levels=60, trade_rate=60) as exchange:
        async with subscribed(exchange, f"trades.{BTC}.100ms") as socket:
            batches = await hear(socket, "trades", 40)
            exchange.market.trade_rate = 0.0
        heard = [trade for batch in batches for trade in batch]
        first = heard[0]["trade_seq"]
        await exchange.on_rest(BTC, first + 29)
        path = f"/api/v2/public/get_last_trades_by_instrument?instrument_name={BTC}"
        _, rising = await get(exchange, f"{path}&start_seq={first}&end_seq={first + 29}&count=10&sorting=asc")
        _, newest = await get(exchange, f"{path}&start_seq={first}&end_seq={first + 29}")
        status, _ = await get(exchange, f"{path}&count=1001")
    assert max(map(len, batches)) > 1
    assert [trade["trade_seq"] for trade in heard] == list(range(first, first + len(heard)))
    published = TruthFile(truth).trades[BTC]
    for trade in heard:
        fact = published[trade["trade_seq"]]
        assert (trade["price"], trade["amount"]) == (float(fact["price"]), float(fact["size"]))
        assert trade["timestamp"] * 1_000_000 == fact["t_ns"]
        assert trade["direction"] != fact["maker_side"]
    assert rising["result"]["has_more"]
    assert rising["result"]["trades"] == heard[:10]
    assert newest["result"]["trades"] == heard[29:19:-1]
    assert status == 400


async def test_rest_lists_and_has_books_with_their_ids(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    halt = Fault(kind="halt", product=ETH)
    async with trading([BTC, ETH], truth, halt, venue=DERIBIT, levels=60) as exchange:
        _, listed = await get(exchange, "/public/get_instruments?currency=any&expired=false")
        _, currencies = await get(exchange, "/public/get_currencies")
        _, book = await get(exchange, f"/public/get_order_book?instrument_name={BTC}&depth=20")
        no_depth, refused = await get(exchange, f"/public/get_order_book?instrument_name={BTC}&depth=7")
        no_product, _ = await get(exchange, "/public/get_order_book?instrument_name=NO-PERPETUAL")
        no_method, _ = await get(exchange, f"/public/dance?instrument_name={BTC}")
    assert {one["instrument_name"]: one["state"] for one in listed["result"]} == {BTC: "open", ETH: "halted"}
    assert [one["currency"] for one in currencies["result"]] == ["BTC", "ETH"]
    assert len(book["result"]["bids"]) == 20
    (told,) = TruthFile(truth, "deribit").snapshots
    assert (told["sequence"], told["connection"]) == (book["result"]["change_id"], None)
    assert (no_depth, no_product, no_method) == (400, 400, 404)
    assert refused["error"]["message"] == "Invalid params"


async def test_a_delisted_instrument_says_so_and_falls_silent(tmp_path: Path) -> None:
    async with trading([BTC, ETH], tmp_path / "t", venue=DERIBIT, levels=60) as exchange:
        async with subscribed(exchange, "instrument.state.future.any", f"book.{ETH}.100ms") as socket:
            await hear(socket, "book", 1)
            exchange.arm(Fault(kind="delist", product=ETH))
            (told,) = await hear(socket, "instrument", 1)
            await socket.send(request("unsubscribe", 2, channels=[f"book.{ETH}.100ms"]))
            await socket.send(request("subscribe", 3, channels=[f"book.{ETH}.100ms", f"book.{BTC}.100ms"]))
            answers = await hear(socket, "result", 2)
        _, listed = await get(exchange, "/public/get_instruments?currency=any&expired=false")
    assert (told["state"], told["instrument_name"]) == ("terminated", ETH)
    assert answers[1]["result"] == [f"book.{BTC}.100ms"]
    assert [one["instrument_name"] for one in listed["result"]] == [BTC]


async def test_a_frame_of_a_book_is_overtaken_by_one_of_the_same_book(tmp_path: Path) -> None:
    """Not by trades or by other books, which would change nothing."""
    truth = tmp_path / "truth.jsonl"
    late = Fault(kind="reorder", channel="book", product=BTC, at_s=0.2, every_s=0.3)
    async with trading([BTC, ETH], truth, late, venue=DERIBIT, levels=60, rate=10, trade_rate=60) as exchange:
        channels = [f"{kind}.{name}.100ms" for name in (BTC, ETH) for kind in ("trades", "book")]
        async with subscribed(exchange, *channels) as socket:
            heard = [data["change_id"] for data in await hear(socket, "book", 150) if data["instrument_name"] == BTC]
    written = [fault["sequence_last"] for fault in TruthFile(truth).faults]
    places = [heard.index(number) for number in written if number in heard]
    assert len(places) >= 3
    assert all(heard[place - 1] > heard[place] for place in places)


@pytest.mark.parametrize("kind", ["drop", "reorder", "corrupt", "stall"])
async def test_a_fault_is_written_down_by_the_ids_of_the_book(kind: Any, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([BTC, ETH], truth, venue=DERIBIT, levels=60, trade_rate=0) as exchange:
        async with subscribed(exchange, f"book.{BTC}.100ms", f"book.{ETH}.100ms") as socket:
            raw: list[str] = []
            async with asyncio.timeout(LONGEST_S):
                while not all(any(f'"{name}"' in text for text in raw) for name in (BTC, ETH)):
                    raw.append(str(await socket.recv()))
                exchange.arm(Fault(kind=kind, channel="book", product=BTC, duration_s=0.2))
                raw += [str(await socket.recv()) for _ in range(50)]
    whole = [json.loads(text) for text in raw if text.endswith("}}}")]  # a truncated one does not
    frames = [message["params"]["data"] for message in whole]
    assert BTC in {fact["product"] for fact in TruthFile(truth).faults}
    for written in TruthFile(truth).faults:
        of = [frame for frame in frames if frame["instrument_name"] == written["product"]]
        assert (written["fault"], written["feed"]) == (kind, "deribit")
        assert written["sequence_first"] - 1 in [frame["change_id"] for frame in of]
        assert written["sequence_last"] in [frame.get("prev_change_id") for frame in of]


def test_a_size_or_an_amount_can_be_misspelt() -> None:
    dialect = object.__new__(Deribit)
    for frame in ('{"bids":[["new",1.5,2.0]],"asks":[]}', '[{"price":1.5,"amount":2.0,"direction":"buy"}]'):
        misspelt = dialect.misspelt(frame)
        assert misspelt is not None
        assert misspelt.count('"nan"') == 1
        assert json.loads(misspelt)
    assert dialect.misspelt('{"result":"ok"}') is None


class Listener:
    """A connection without a socket."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.code: int | None = None
        self.channels: dict[str, set[str]] = {}

    def wants(self, channel: str, product: str) -> bool:
        return product in self.channels.get(channel, ())

    def send(self, channel: str, product: str | None, frame: str, *_: object, **__: object) -> None:
        self.heard.append(json.loads(frame))

    def close_soon(self, code: int) -> None:
        self.code = code


class Spoken:
    """The dialect of a venue on a clock that is moved by hand."""

    def __init__(self, venue: Any) -> None:
        self.now_ns = 1_788_746_279 * S
        self.listener = Listener()
        stage = Stage(venue.facts, Faults([], 1, lambda: self.now_ns), Truth(None), lambda: self.now_ns)
        stage.connections.append(self.listener)  # type: ignore[arg-type]
        products = market.products([BTC], 60, 1)
        self.dialect = venue.live(SyntheticMarket(stage, products, rate=1, trade_rate=1, seed=1))

    def say(self, message: str) -> None:
        self.dialect.answer(self.listener, message)

    def after(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)
        self.dialect.tick(self.now_ns)

    def beats(self) -> list[str]:
        return [message["params"]["type"] for message in self.listener.heard if message.get("method") == "heartbeat"]


def test_a_test_request_wants_an_answer() -> None:
    spoken = Spoken(DERIBIT)
    spoken.say(request("set_heartbeat", interval=10))
    spoken.after(10)
    spoken.say(request("test"))
    assert spoken.listener.heard[-1]["result"] == {"version": "1.2.26"}
    spoken.after(10)
    assert spoken.beats() == ["heartbeat", "test_request"] * 2
    assert spoken.listener.code is None
    spoken.after(10)
    assert spoken.listener.code == 1000


def test_subscriptions_cost_credits() -> None:
    spoken = Spoken(DERIBIT)
    for number in range(11):
        spoken.say(request("subscribe", number, channels=["platform_state"]))
    assert [answer.get("result") for answer in spoken.listener.heard[:10]] == [["platform_state"]] * 10
    assert spoken.listener.heard[10]["error"]["message"] == "too_many_requests"
    spoken.after(0.4)
    spoken.say(request("subscribe", channels=["platform_state"]))
    assert spoken.listener.heard[-1]["result"] == ["platform_state"]


def test_heartbeats_can_be_turned_off() -> None:
    spoken = Spoken(DERIBIT)
    spoken.say(request("set_heartbeat", interval=10))
    spoken.say(request("disable_heartbeat"))
    spoken.after(60)
    assert spoken.beats() == []
    assert spoken.listener.code is None


def test_the_gateway_closes_who_says_nothing() -> None:
    spoken = Spoken(COINBASE_DERIVATIVES)
    spoken.say(request("hello"))
    spoken.after(29)
    assert spoken.listener.code is None
    spoken.after(2)
    assert spoken.listener.code == 1011


@pytest.mark.parametrize(("venue", "product"), [("deribit", BTC), ("coinbase_derivatives", "BTC_USDC-PERPETUAL")])
def test_the_command_speaks_it(venue: str, product: str) -> None:
    done = CliRunner().invoke(simulate, ["--venue", venue, "--products", "2", "--duration", "100ms"])
    assert done.exit_code == 0, done.output
    assert list(json.loads(done.output)) == [venue, "rest"]
    assert VENUES[venue].facts.product_name.format("BTC") == product


RECORDING = "deribit-cryptofeed-2021-07-22/raw.jsonl.zst"


async def test_a_recording_is_played_to_who_asks_for_it_byte_for_byte() -> None:
    frames = lines_of(RECORDING)
    books = [frame for frame in frames if b'"channel":"book.' in frame]
    names = sorted({json.loads(frame)["params"]["data"]["instrument_name"] for frame in books})
    async with playing(capture(RECORDING), 0, venue=DERIBIT) as exchange:
        async with connect(exchange.urls["deribit"]) as socket, asyncio.timeout(LONGEST_S):
            channels = [f"book.{name}.100ms" for name in names]
            await socket.send(request("subscribe", channels=[*channels, "book.NO-PERPETUAL.100ms"]))
            answer = json.loads(await socket.recv())
            heard = [await socket.recv(decode=False) for _ in books]
        async with aiohttp.ClientSession() as session:
            async with session.get(exchange.urls["rest"] + "/public/get_instruments") as reply:
                listed = (await reply.json())["result"]
            trades = f"/public/get_last_trades_by_instrument?instrument_name={names[0]}"
            async with session.get(exchange.urls["rest"] + trades) as reply:
                traded = (await reply.json())["result"]
    assert sorted(answer["result"]) == channels
    assert heard == books
    assert [one["instrument_name"] for one in listed] == names
    assert {one["kind"] for one in listed} == {"option"}
    assert traded == {"trades": [], "has_more": False}


def test_a_recorded_trade_can_be_told_again_by_rest() -> None:
    reader = DERIBIT.reader
    assert reader is not None
    said = {"trade_seq": 7, "instrument_name": BTC, "price": 92294.5, "amount": 10, "direction": "sell"}
    data = [said | {"timestamp": 1765531356452, "trade_seq": 8}, said | {"timestamp": 1765531356452}, said, "odd"]
    message = {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": f"trades.{BTC}.raw", "data": data}}
    frame = reader.frame("deribit", json.dumps(message), message)
    assert [trade.trade_id for trade in frame.trades] == [7, 8]
    assert frame.trades[0].maker_side == "buy"
    told = wording.recorded_trade(frame.trades[0])
    assert (told["timestamp"], told["direction"], told["price"]) == (1765531356452, "sell", 92294.5)


def test_when_a_recorded_message_was_said() -> None:
    reader = DERIBIT.reader
    assert reader is not None
    assert reader.said({"usOut": 1626993723847561}) == "2021-07-22T22:42:03.847561Z"
    assert reader.said({"params": {"data": {"timestamp": 1626993723632}}}) == "2021-07-22T22:42:03.632000Z"
    assert reader.said({"params": {"data": [{"timestamp": 1626993723632}]}}) is None
    assert reader.said({"usOut": -1}) is None
    assert reader.feed_of({"channel": "l2_data"}) is None
