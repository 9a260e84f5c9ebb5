"""How both feeds answer subscriptions, over real sockets: as the venue does (reference protocols)."""

from __future__ import annotations

from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from sentinel.simulator.coinbase import dialogue
from tests.sentinel.simulator.coinbase.client import advanced, ask, hear, hear_until, order
from tests.servers.exchange import trading


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
