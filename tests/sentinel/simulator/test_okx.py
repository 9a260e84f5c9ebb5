"""The dialect of OKX as a client sees it: over real sockets to both addresses, with faults, truth and REST."""

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

from sentinel.simulator import market
from sentinel.simulator.command import simulate
from sentinel.simulator.faults import Fault
from sentinel.simulator.market import Change
from sentinel.simulator.okx.dialect import DEPTH, KEEP_ALIVE_NS, MAINTENANCE_FRAMES, OKX, Told
from sentinel.simulator.window import best as best_of
from tests.end_to_end.judge import TruthFile
from tests.servers.exchange import Market, trading
from tests.servers.waiting import LONGEST_S

Message = dict[str, Any]
BTC, SWAP = "BTC-USDT", "ETH-USDT-SWAP"


@asynccontextmanager
async def subscribed(exchange: Market, feed: str, *args: Message) -> AsyncIterator[ClientConnection]:
    async with connect(exchange.urls[feed], max_queue=None) as socket:
        await socket.send(json.dumps({"op": "subscribe", "args": args}))
        yield socket


def books(*products: str) -> list[Message]:
    return [{"channel": "books", "instId": product} for product in products]


async def hear(socket: ClientConnection, count: int, **wanted: str) -> list[Message]:
    """So many messages whose ``arg`` or ``event`` is as wanted."""
    heard: list[Message] = []
    async with asyncio.timeout(LONGEST_S):
        while len(heard) < count:
            text = await socket.recv()
            message = json.loads(text) if text != "pong" else {"event": "pong"}
            said = message.get("arg", {}) | {"event": message.get("event", "")}
            if wanted.items() <= said.items():
                heard.append(message)
    return heard


async def get(exchange: Market, path: str) -> Message:
    async with aiohttp.ClientSession() as session, session.get(f"{exchange.urls['rest']}/api/v5/{path}") as answer:
        body: Message = await answer.json()
        return body


def take(book: dict[str, dict[str, str]], data: Message) -> None:
    for side in ("bids", "asks"):
        for price, size, deprecated, orders in data[side]:
            assert (deprecated, orders == "0") == ("0", size == "0")
            if size == "0":
                book[side].pop(price, None)  # it may never have been there
            else:
                book[side][price] = size


async def test_a_book_of_400_levels_is_the_truth_and_its_chain_is_whole_through_maintenance(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([BTC], truth, venue=OKX, levels=500, rate=150, trade_rate=5) as exchange:
        async with subscribed(exchange, "okx", *books(BTC)) as socket:
            frames = await hear(socket, 2 * MAINTENANCE_FRAMES, channel="books", event="")
    book: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    tops = {top[1:] for top in TruthFile(truth, "okx").tops[BTC]}
    last, falls = -1, 0
    assert [frame["action"] for frame in frames[:2]] == ["snapshot", "update"]
    for frame in frames:
        (data,) = frame["data"]
        assert data["prevSeqId"] == last
        falls += data["seqId"] < last
        last = data["seqId"]
        take(book, data)
        assert max(map(len, book.values())) == DEPTH
        bid, ask = max(book["bids"], key=float), min(book["asks"], key=float)
        assert (float(bid), float(book["bids"][bid]), float(ask), float(book["asks"][ask])) in tops
        assert data["checksum"] == 0
    assert falls in (1, 2)


async def test_acknowledgements_and_refusals_word_for_word(tmp_path: Path) -> None:
    refusal = Fault(kind="refuse_product", product=SWAP)
    async with trading([BTC, SWAP], tmp_path / "t", refusal, venue=OKX, levels=60) as exchange:
        async with subscribed(exchange, "okx", *books(BTC, SWAP, "NO-SUCH")) as socket:
            acknowledged = await hear(socket, 1, event="subscribe")
            refused = await hear(socket, 2, event="error")
            await socket.send("ping")
            await hear(socket, 1, event="pong")
            await socket.send("nonsense")
            refused += await hear(socket, 1, event="error")
            await socket.send(json.dumps({"op": "subscribe", "args": [{"channel": "trades-all", "instId": BTC}]}))
            refused += await hear(socket, 1, event="error")
            await socket.send(json.dumps({"op": "unsubscribe", "args": books(BTC)}))
            await hear(socket, 1, event="unsubscribe")
    assert acknowledged == [{"event": "subscribe", "arg": books(BTC)[0], "connId": "a4d3ae55"}]
    assert [message["code"] for message in refused] == ["60018", "60018", "60012", "60018"]
    assert refused[0]["msg"].startswith(f"Wrong URL or channel:books,instId:{SWAP} doesn't exist.")
    assert refused[2]["msg"] == "Invalid request: nonsense"


async def test_trades_one_by_one_on_the_business_address_and_backwards_by_rest(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([BTC], truth, venue=OKX, levels=60, trade_rate=40) as exchange:
        async with subscribed(exchange, "business", {"channel": "trades-all", "instId": BTC}) as socket:
            frames = await hear(socket, 1, channel="trades-all", event="")
            exchange.arm(Fault(kind="hide", count=2))
            frames += await hear(socket, 59, channel="trades-all", event="")
        page = await get(
            exchange, f"market/history-trades?instId={BTC}&limit=50&after={frames[0]['data'][0]['tradeId']}"
        )
        whole = await get(exchange, f"market/history-trades?instId={BTC}&type=1")
    heard = [int(trade["tradeId"]) for frame in frames for trade in frame["data"]]
    assert {len(frame["data"]) for frame in frames} == {1}
    published = TruthFile(truth).trades[BTC]
    lost = [trade_id for trade_id in range(heard[0], heard[-1]) if trade_id not in heard]
    assert lost == [trade_id for trade_id, fact in published.items() if fact.get("hidden")]
    taker = {"buy": "sell", "sell": "buy"}[published[heard[0]]["maker_side"]]
    assert frames[0]["data"][0]["side"] == taker
    assert [int(row["tradeId"]) for row in page["data"]] == list(range(heard[0] - 1, heard[0] - 51, -1))
    assert len(whole["data"]) == 100


async def test_rest_names_instruments_books_and_what_it_has_not_got(tmp_path: Path) -> None:
    async with trading([BTC, SWAP, "BTC-USD-261225"], tmp_path / "t", venue=OKX, levels=60) as exchange:
        listed = [await get(exchange, f"public/instruments?instType={kind}") for kind in ("SPOT", "SWAP", "FUTURES")]
        book = await get(exchange, f"market/books?instId={BTC}&sz=5")
        nothing = await get(exchange, "market/books?instId=NO-SUCH")
        async with subscribed(exchange, "okx", *books(BTC)) as socket:
            frames = await hear(socket, 1, channel="books", event="")
    rows = [row for answer in listed for row in answer["data"]]
    assert [(row["instId"], row["instType"], row["state"]) for row in rows] == [
        (BTC, "SPOT", "live"),
        (SWAP, "SWAP", "live"),
        ("BTC-USD-261225", "FUTURES", "live"),
    ]
    assert (rows[0]["baseCcy"], rows[0]["quoteCcy"], rows[1]["instFamily"]) == ("BTC", "USDT", "ETH-USDT")
    assert [len(book["data"][0][side]) for side in ("bids", "asks")] == [5, 5]
    assert isinstance(book["data"][0]["seqId"], int)
    assert frames[0]["data"][0]["prevSeqId"] == -1
    assert nothing == {"code": "51001", "msg": "Instrument ID does not exist", "data": []}


async def test_a_crossed_market_is_an_auction_and_instruments_say_so(tmp_path: Path) -> None:
    async with trading([BTC], tmp_path / "t", venue=OKX, levels=60) as exchange:
        async with subscribed(exchange, "okx", {"channel": "instruments", "instType": "SPOT"}) as socket:
            told = await hear(socket, 1, channel="instruments", event="")
            for faults in ([Fault(kind="cross", product=BTC)], []):
                exchange.arm(*faults)
                told += await hear(socket, 1, channel="instruments", event="")
    assert [row["state"] for message in told for row in message["data"]] == ["live", "preopen", "live"]


async def test_what_is_halted_or_delisted_is_suspended_and_what_is_gone_is_in_no_list(tmp_path: Path) -> None:
    halt, gone = Fault(kind="halt", product=BTC), Fault(kind="delist", product="ETH-USDT")
    async with trading([BTC, "ETH-USDT"], tmp_path / "t", venue=OKX, levels=60) as exchange:
        async with subscribed(exchange, "okx", {"channel": "instruments", "instType": "SPOT"}) as socket:
            (listed,) = await hear(socket, 1, channel="instruments", event="")
            news = []
            for faults in ([halt], [], [gone]):
                exchange.arm(*faults)
                news += await hear(socket, 1, channel="instruments", event="")
            await socket.send(json.dumps({"op": "subscribe", "args": books("ETH-USDT")}))
            (refused,) = await hear(socket, 1, event="error")
        rows = (await get(exchange, "public/instruments?instType=SPOT"))["data"]
        book = await get(exchange, "market/books?instId=ETH-USDT")
    assert [row["state"] for row in listed["data"]] == ["live", "live"]
    assert [(row["instId"], row["state"]) for message in news for row in message["data"]] == [
        (BTC, "suspend"),
        (BTC, "live"),
        ("ETH-USDT", "suspend"),
    ]
    assert refused["code"] == "60018"
    assert [row["instId"] for row in rows] == [BTC]
    assert book["code"] == "51001"


async def test_a_service_upgrade_is_announced_and_comes(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    later_ns = 0
    market = trading([BTC], truth, venue=OKX, levels=60, rate=50, now_ns=lambda: time.time_ns() + later_ns)
    async with market as exchange:
        async with subscribed(exchange, "okx", *books(BTC)) as socket:
            await hear(socket, 1, channel="books", event="")
            exchange.arm(Fault(kind="announce_close", feed="okx", delay_s=20.0, code=1001))
            (told,) = await hear(socket, 1, event="notice")
            assert (told["code"], told["connId"]) == ("64008", "a4d3ae55")
            assert await hear(socket, 2, channel="books", event="")
            later_ns = 20_000_000_000
            with pytest.raises(ConnectionClosed):
                await hear(socket, 1000, channel="books", event="")
            assert socket.close_code == 1001
    (fact,) = TruthFile(truth).faults
    assert fact["fault"] == "announce_close"


@pytest.mark.parametrize("kind", ["drop", "reorder", "corrupt", "stall"])
async def test_a_fault_is_written_down_by_the_ids_of_the_book(kind: Any, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([BTC], truth, venue=OKX, levels=60, rate=20, trade_rate=0) as exchange:
        async with connect(exchange.urls["okx"]) as socket:
            await socket.send(json.dumps({"op": "subscribe", "args": books(BTC)}))
            raw: list[str] = []
            async with asyncio.timeout(LONGEST_S):
                while not raw or '"data"' not in raw[-1]:
                    raw.append(str(await socket.recv()))
                exchange.arm(Fault(kind=kind, channel="books", product=BTC, duration_s=0.3))
                raw += [str(await socket.recv()) for _ in range(30)]
    heard = [json.loads(text)["data"][0] for text in raw if '"data"' in text and text.endswith("]}")]
    (written,) = TruthFile(truth).faults
    assert (written["fault"], written["feed"]) == (kind, "okx")
    assert written["sequence_first"] - 1 in [data["seqId"] for data in heard]
    assert written["sequence_last"] in [data["prevSeqId"] for data in heard]


def test_what_leaves_the_400_levels_is_deleted_by_name_and_what_comes_in_is_told() -> None:
    (product,) = market.products([BTC], 450, 1).values()
    told = Told(product)
    best = next(iter(told.levels["bid"]))
    worst = list(told.levels["bid"])[-1]
    product.sides["bid"].levels[best + 1] = 7
    assert told.changes(product, [Change("bid", best + 1, 7)]) == {"bid": {best + 1: 7, worst: 0}, "ask": {}}
    below = product.sides["bid"].levels.keys()[0]
    product.sides["bid"].levels[below] += 1
    assert told.changes(product, [Change("bid", below, 1)]) == {"bid": {}, "ask": {}}
    del product.sides["bid"].levels[best]
    rows = told.changes(product, [Change("bid", best, 0)])
    assert (rows["bid"][best], rows["bid"][worst]) == (0, product.sides["bid"].levels[worst])
    assert told.levels["bid"] == best_of(product, "bid", DEPTH)


async def test_a_book_that_does_not_change_says_so_once_a_minute_and_who_is_silent_is_closed(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with trading([BTC], truth, venue=OKX, levels=60, rate=0.001, trade_rate=0) as exchange:
        dialect = exchange.rest._dialect  # its clock is told by hand
        async with subscribed(exchange, "okx", *books(BTC)) as socket:
            (snapshot,) = await hear(socket, 1, channel="books", event="")
            dialect.tick(time.time_ns() + KEEP_ALIVE_NS)  # type: ignore[attr-defined]
            data = snapshot["data"][0]
            while data["bids"] or data["asks"]:  # the one change that a market begins with may come before it
                (alive,) = await hear(socket, 1, channel="books", event="")
                (data,) = alive["data"]
            async with asyncio.timeout(LONGEST_S):
                await socket.wait_closed()
    last = snapshot["data"][0]["seqId"]
    assert (data["asks"], data["bids"], data["prevSeqId"]) == ([], [], data["seqId"])
    assert data["seqId"] >= last
    assert socket.close_code == 4004


def test_the_command_prints_an_address_for_each_feed() -> None:
    done = CliRunner().invoke(simulate, ["--venue", "okx", "--products", "2", "--duration", "100ms"])
    assert done.exit_code == 0, done.output
    urls = json.loads(done.output)
    assert list(urls) == ["okx", "business", "rest"]
    assert urls["okx"].endswith("/ws/v5/public")
    assert urls["business"].endswith("/ws/v5/business")
