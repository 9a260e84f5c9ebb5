"""The local exchange as a client sees it, over real sockets: its manners are the venue's (reference protocols)."""

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
from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sentinel.errors import UsageError
from sentinel.simulator import faults, market
from sentinel.simulator.coinbase import dialogue
from sentinel.simulator.coinbase.dialect import COINBASE
from sentinel.simulator.faults import Fault
from sentinel.simulator.instants import ns_of
from tests.captures import ADVANCED, GDAX, capture, lines_of
from tests.end_to_end.judge import TruthFile
from tests.servers.exchange import Market, playing, trading

Message = dict[str, Any]


async def hear(socket: ClientConnection, count: int) -> list[Message]:
    async with asyncio.timeout(10):
        return [json.loads(await socket.recv()) for _ in range(count)]


async def hear_until(socket: ClientConnection, channel: str, key: str = "channel") -> list[Message]:
    heard: list[Message] = []
    async with asyncio.timeout(10):
        while not heard or heard[-1].get(key) != channel:
            heard.append(json.loads(await socket.recv()))
    return heard


def ask(channel: str, *products: str, verb: str = "subscribe") -> str:
    return json.dumps({"type": verb, "channel": channel, "product_ids": list(products)})


@asynccontextmanager
async def advanced(exchange: Market, *messages: str) -> AsyncIterator[ClientConnection]:
    async with connect(exchange.urls["advanced"], max_size=None) as socket:
        for message in messages:
            await socket.send(message)
        yield socket


# Advanced Trade


async def test_every_advanced_frame_is_numbered_from_zero(tmp_path: Path) -> None:
    async with trading(2, tmp_path / "t", rate=100) as exchange:
        names = exchange.products
        async with advanced(exchange, ask("level2", *names), ask("market_trades", *names), ask("heartbeats")) as socket:
            heard = await hear_until(socket, "heartbeats")
    assert [message["sequence_num"] for message in heard] == list(range(len(heard)))
    kinds = [message["channel"] for message in heard]
    assert kinds[:2] == ["l2_data", "l2_data"]  # the acknowledgement is not the first frame
    assert {"subscriptions", "market_trades"} <= set(kinds)


async def test_a_snapshot_holds_the_book_and_updates_change_it(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t", rate=50) as exchange:
        async with advanced(exchange, ask("level2", "BTC-USD")) as socket:
            snapshot, ack, update = await hear(socket, 3)
    (event,) = snapshot["events"]
    assert (event["type"], event["product_id"]) == ("snapshot", "BTC-USD")
    assert event["updates"][0].keys() == {"side", "event_time", "price_level", "new_quantity"}
    assert {level["side"] for level in event["updates"]} == {"bid", "offer"}
    assert ack["events"] == [{"subscriptions": {"level2": ["BTC-USD"]}}]
    assert update["events"][0]["type"] == "update"


async def test_a_second_subscribe_brings_no_snapshot_but_a_new_subscription_does(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t", rate=1, trade_rate=0) as exchange:
        async with advanced(exchange, ask("level2", "BTC-USD")) as socket:
            assert [message["channel"] for message in await hear(socket, 2)] == ["l2_data", "subscriptions"]
            await socket.send(ask("level2", "BTC-USD"))
            again = await hear_until(socket, "subscriptions")
            assert "snapshot" not in [event.get("type") for message in again for event in message["events"]]
            await socket.send(ask("level2", "BTC-USD", verb="unsubscribe"))
            gone = await hear_until(socket, "subscriptions")
            assert gone[-1]["events"] == [{"subscriptions": {}}]
            await socket.send(ask("level2", "BTC-USD"))
            fresh = await hear_until(socket, "subscriptions")
            assert fresh[0]["events"][0]["type"] == "snapshot"


async def test_thirty_books_and_no_more(tmp_path: Path) -> None:
    async with trading(31, tmp_path / "t", levels=60, rate=1) as exchange:
        names = exchange.products
        async with advanced(exchange, ask("level2", *names[:30]), ask("level2", names[30])) as socket:
            heard = await hear_until(socket, "error", "type")
    assert heard[-1] == {"type": "error", "message": "too many L2 streams requested in a single session"}
    assert sum(message.get("channel") == "l2_data" for message in heard) >= 30


async def test_trades_come_newest_first_after_a_history_of_a_hundred(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t", trade_rate=50) as exchange:
        async with advanced(exchange, ask("market_trades", "BTC-USD")) as socket:
            history, _, update = await hear(socket, 3)
    (event,) = history["events"]
    ids = [int(trade["trade_id"]) for trade in event["trades"]]
    assert event["type"] == "snapshot"
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 100
    (event,) = update["events"]
    assert event["type"] == "update"
    # the batch may repeat what the history has already, but skips nothing
    news = [int(trade["trade_id"]) for trade in event["trades"]]
    assert news == list(range(news[0], news[-1] - 1, -1))
    assert news[-1] <= ids[0] + 1
    assert event["trades"][0].keys() == {"trade_id", "product_id", "price", "size", "time", "side"}


async def test_an_unknown_product_is_an_error_and_silence(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t") as exchange:
        async with advanced(exchange, ask("level2", "NOPE-USD")) as socket:
            (error,) = await hear(socket, 1)
    assert error == {"type": "error", "message": "failure to subscribe"}


@pytest.mark.parametrize("path", ["advanced", "exchange"])
async def test_who_does_not_subscribe_is_closed(path: str, tmp_path: Path) -> None:
    hasty = replace(COINBASE, facts=replace(COINBASE.facts, subscribe_within_s=0.1))
    async with trading(["BTC-USD"], tmp_path / "t", venue=hasty) as exchange:
        async with connect(exchange.urls[path]) as socket:
            with pytest.raises(ConnectionClosed):
                await socket.recv()


async def test_compression_is_negotiated(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t") as exchange:
        async with connect(exchange.urls["exchange"], compression="deflate") as socket:
            assert socket.response is not None
            assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]


# Exchange


def order(*channels: str, products: tuple[str, ...] = ("BTC-USD",), **more: Any) -> str:
    return json.dumps({"type": "subscribe", "product_ids": list(products), "channels": list(channels), **more})


async def test_the_exchange_feed_acknowledges_an_alias_and_begins_with_the_last_match(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t", rate=50, trade_rate=20) as exchange:
        async with connect(exchange.urls["exchange"]) as socket:
            await socket.send(order("level2_batch", "matches", "heartbeat"))
            ack, snapshot, last = await hear(socket, 3)
            match = (await hear_until(socket, "match", "type"))[-1]
            beat = (await hear_until(socket, "heartbeat", "type"))[-1]
    assert {channel["name"] for channel in ack["channels"]} == {"level2_50", "matches", "heartbeat"}
    assert snapshot.keys() == {"type", "product_id", "asks", "bids", "time"}
    assert last["type"] == "last_match"
    assert match["trade_id"] == last["trade_id"] + 1
    assert beat["last_trade_id"] >= match["trade_id"]


async def test_level2_wants_a_signature_that_verifies(tmp_path: Path) -> None:
    good = {
        "key": dialogue.KEY,
        "passphrase": dialogue.PASSPHRASE,
        "timestamp": "1700000000",
        "signature": "fqdfya0O8FSnHxmCQp804A8FhB/2b5TWlf6VewfapVs=",  # the test vector of reference protocols, 1.3
    }
    async with trading(["BTC-USD"], tmp_path / "t", rate=50) as exchange:
        async with connect(exchange.urls["exchange"]) as socket:
            await socket.send(order("level2"))
            (refusal,) = await hear(socket, 1)
            await socket.send(order("level2", **(good | {"signature": "AAAA"})))
            (again,) = await hear(socket, 1)
            await socket.send(order("level2", **good))
            update = (await hear_until(socket, "l2update", "type"))[-1]
    assert refusal == again == {"type": "error", "message": "Failed to subscribe", "reason": dialogue.NEEDS_KEY}
    assert len(update["changes"]) == 1


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ('{"type":"subscribe","product_ids":["BTC-USD"]}', ("Failed to subscribe", "No channels provided")),
        (order("matches", products=("NOPE-USD",)), ("Failed to subscribe", "NOPE-USD is not a valid product")),
        (order("nonsense"), ("Failed to subscribe", "nonsense is not a valid channel")),
        ("not json", ("Malformed JSON", "")),
    ],
)
async def test_what_cannot_be_is_answered_with_an_error(message: str, error: tuple[str, str], tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t") as exchange:
        async with connect(exchange.urls["exchange"]) as socket:
            await socket.send(message)
            (answer,) = await hear(socket, 1)
    assert (answer["type"], answer["message"], answer["reason"]) == ("error", *error)


# REST


async def test_rest_pages_trades_by_id(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t", trade_rate=0) as exchange, aiohttp.ClientSession() as session:
        base = f"{exchange.urls['rest']}/products/BTC-USD/trades"

        async def page(query: str) -> tuple[list[int], Any]:
            async with session.get(base + query) as answer:
                return [trade["trade_id"] for trade in await answer.json()], answer.headers

        everything, headers = await page("")
        newest = everything[0]
        assert everything == list(range(newest, newest - len(everything), -1))
        assert len(everything) >= 97  # the newest take a moment to appear
        assert (headers["CB-BEFORE"], headers["CB-AFTER"]) == (str(newest), str(everything[-1]))
        assert (await page(f"?after={newest - 5}&limit=3"))[0] == [newest - 6, newest - 7, newest - 8]
        assert (await page(f"?before={newest - 2}&after={newest + 1}"))[0] == [newest, newest - 1]
        assert (await page(f"?after={everything[-1]}"))[0] == []


async def test_rest_has_products_books_and_a_limit(tmp_path: Path) -> None:
    async with trading(2, tmp_path / "t") as exchange, aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, Any]:
            async with session.get(exchange.urls["rest"] + path) as answer:
                return answer.status, await answer.json()

        assert [product["id"] for product in (await get("/products"))[1]] == exchange.products
        assert (await get("/products/BTC-USD"))[1]["quote_increment"] == "0.01"
        assert (await get("/products/NOPE-USD")) == (404, {"message": "NotFound"})
        assert (await get("/products/BTC-USD/trades?limit=x"))[0] == 400
        assert len((await get("/products/BTC-USD/book"))[1]["bids"]) == 1
        status, book = await get("/products/BTC-USD/book?level=2")
        assert status == 200
        assert float(book["bids"][0][0]) < float(book["asks"][0][0])
        statuses = [(await get("/time"))[0] for _ in range(20)]
        assert statuses[0] == 200
        assert statuses[-1] == 429


# Faults


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault(kind="drop", channel="heartbeats", feed="advanced"), [0, 2, 3]),
        (Fault(kind="duplicate", channel="heartbeats", feed="advanced"), [0, 1, 1, 2]),
        (Fault(kind="reorder", channel="heartbeats", feed="advanced"), [0, 2, 1, 3]),
        (Fault(kind="jump", channel="heartbeats", feed="advanced", skip=5), [0, 6, 7]),
        (Fault(kind="stall", channel="heartbeats", feed="advanced", duration_s=0.15), [0, 3, 4]),
    ],
)
async def test_a_fault_is_seen_on_the_wire_and_written_down(
    fault: Fault, seen: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentinel.simulator.coinbase.live.HEARTBEAT_NS", 100_000_000)  # ten heartbeats a second
    truth = tmp_path / "t"
    async with trading(["BTC-USD"], truth, fault, trade_rate=0) as exchange:
        async with advanced(exchange, ask("heartbeats")) as socket:
            heard = [message["sequence_num"] for message in await hear(socket, len(seen))]
    assert heard == seen
    (written,) = TruthFile(truth).faults
    assert written["fault"] == fault.kind
    lost = [number for number in range(max(seen)) if number not in seen] or [1]
    assert (written["sequence_first"], written["sequence_last"]) == (lost[0], lost[-1])


async def test_a_corrupt_frame_is_no_json(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t", Fault(kind="corrupt", how="truncate")) as exchange:
        async with advanced(exchange, ask("level2", "BTC-USD")) as socket:
            with pytest.raises(ValueError, match=r"."):
                json.loads(await socket.recv())


async def test_a_frame_with_a_level_that_is_no_number_keeps_its_own_number(tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t", Fault(kind="corrupt", how="nan", channel="l2_data")) as exchange:
        async with advanced(exchange, ask("level2", "BTC-USD")) as socket:
            heard = await hear(socket, 3)
    assert "nan" in {
        level["new_quantity"] for m in heard if m["channel"] == "l2_data" for level in m["events"][0]["updates"]
    }
    assert [message["sequence_num"] for message in heard] == [0, 1, 2]
    (written,) = TruthFile(tmp_path / "t").faults
    assert (written["sequence_first"], written["sequence_last"], written["product"]) == (None, None, "BTC-USD")


@pytest.mark.parametrize("kind", ["close", "abort"])
async def test_a_connection_can_be_ended(kind: Any, tmp_path: Path) -> None:
    async with trading(["BTC-USD"], tmp_path / "t", Fault(kind=kind, code=1012)) as exchange:
        async with advanced(exchange, ask("heartbeats")) as socket:
            with pytest.raises(ConnectionClosed) as ended:
                await hear(socket, 5)
    assert (ended.value.rcvd.code if ended.value.rcvd else None) == (1012 if kind == "close" else None)


async def test_connections_and_products_can_be_refused(tmp_path: Path) -> None:
    refusals = (Fault(kind="refuse_connections", feed="advanced"), Fault(kind="refuse_product", product="BTC-USD"))
    async with trading(["BTC-USD"], tmp_path / "t", *refusals) as exchange:
        with pytest.raises(InvalidStatus):
            await connect(exchange.urls["advanced"])
        async with connect(exchange.urls["exchange"]) as socket:
            await socket.send(order("matches"))
            assert (await hear(socket, 1))[0]["type"] == "error"


async def test_a_crossed_book_and_its_end(tmp_path: Path) -> None:
    fault = Fault(kind="cross", at_s=0.2, duration_s=0.4)
    truth = tmp_path / "t"
    async with trading(["BTC-USD"], truth, fault, rate=50) as exchange:
        async with advanced(exchange, ask("level2", "BTC-USD")) as socket:
            heard = await hear(socket, 60)
    written = TruthFile(truth).faults
    assert [fact["fault"] for fact in written] == ["cross"]
    levels: dict[tuple[str, str], float] = {}
    crossed = []
    for message in heard:
        for event in message["events"]:
            for level in event.get("updates", ()):
                levels[level["side"], level["price_level"]] = float(level["new_quantity"])
        bids, asks = (
            [float(price) for (side, price), size in levels.items() if side == name and size]
            for name in ("bid", "offer")
        )
        crossed.append(max(bids) >= min(asks))
    assert True in crossed
    assert crossed[0] is crossed[-1] is False


@pytest.mark.parametrize(
    "text",
    [
        "[[fault]]\nkind = 'explode'",
        "[[fault]]\nkind = 'drop'\nwhen = 3",
        "[[fault]",
        "[[fault]]\nkind = 'drop'\nfeed = 'elsewhere'",
        "[[fault]]\nkind='drop'\ncount='x'",
    ],
)
def test_a_wrong_fault_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"faults\.toml"):
        faults.load(path, COINBASE.facts.feeds, COINBASE.facts.faults, 1, time.time_ns)


# The market and the recordings


def test_the_same_seed_is_the_same_market() -> None:
    def play(seed: int) -> list[Any]:
        made = market.products(3, 100, seed)
        return [(product.change(), product.trade(1_000_000 + step)) for product in made.values() for step in range(50)]

    assert play(4) == play(4) != play(5)


def test_the_market_has_the_measured_shape_and_never_crosses() -> None:
    (product,) = market.products(["BTC-USD"], 2000, 3).values()
    held = {side: dict(book.levels) for side, book in product.sides.items()}
    counts = {"known": 0, "deleted": 0, "orphan": 0, "appeared": 0}
    frames = 2000
    for step in range(frames):
        for change in product.change():
            levels = held[change.side]
            if change.size:
                counts["known" if change.price in levels else "appeared"] += 1
                levels[change.price] = change.size
            else:
                counts["deleted" if levels.pop(change.price, 0) else "orphan"] += 1
        if step % 10 == 0:
            for change in product.trade(step)[1]:
                held[change.side][change.price] = change.size
                if not change.size:
                    del held[change.side][change.price]
        assert product.best[0] < product.best[1]
    assert held == {side: dict(book.levels) for side, book in product.sides.items()}
    total = sum(counts.values())
    assert 5.5 < total / frames < 7
    shares = {name: round(100 * count / total) for name, count in counts.items()}
    assert 48 <= shares["known"] <= 58
    assert 18 <= shares["deleted"] <= 25
    assert 20 <= shares["appeared"] <= 28
    assert 0 <= shares["orphan"] <= 5


async def test_a_recording_is_played_byte_for_byte() -> None:
    recorded = lines_of(f"{ADVANCED}/raw.jsonl.zst")
    async with playing(capture(f"{ADVANCED}/raw.jsonl.zst"), 0) as exchange:
        async with connect(exchange.urls["advanced"], max_size=None) as socket:
            await socket.send(ask("level2", "BTC-USD"))
            async with asyncio.timeout(30):
                heard = [await socket.recv(decode=False) for _ in recorded]
                after = json.loads(await socket.recv())
    assert heard == recorded
    assert (after["channel"], after["sequence_num"]) == ("heartbeats", len(recorded))
    assert after["events"][0]["heartbeat_counter"] == 41716


async def test_an_exchange_recording_gives_each_client_what_it_asked_for() -> None:
    name = f"{GDAX}/session-2018-04-15T2311.jsonl.zst"
    recorded = [line for line in lines_of(name) if b'"match"' in line or b'"last_match"' in line]
    async with playing(capture(name), 0) as exchange, connect(exchange.urls["exchange"], max_size=None) as socket:
        await socket.send(order("matches"))
        async with asyncio.timeout(30):
            heard = [await socket.recv(decode=False) for _ in range(len(recorded) + 2)]
    kinds = [json.loads(frame)["type"] for frame in heard]
    assert kinds[0] == "subscriptions"
    assert kinds.count("error") == 1
    assert [frame for frame in heard if b"match" in frame and b'"type":"subscriptions"' not in frame] == recorded


def test_times_are_read_as_written() -> None:
    now_ns = time.time_ns()
    assert ns_of("2026-08-09T21:05:48.85484Z") == 1786309548854840000
    assert ns_of("2026-08-09T21:05:48Z") == 1786309548000000000
    assert now_ns > 0
