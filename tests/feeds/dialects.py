"""One real frame of each kind from each venue: what the conformance suite asks of all of them alike.

All speak of the same market: BTC-USD, one bid and one ask, then a new size of the bid and a deleted ask, and trade 7,
in which the taker sold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

PRODUCTS = ("BTC-USD", "ETH-USD")


class Asked(NamedTuple):
    """What a request asks for: the channels in the venue's words, signs of life among them, and their products."""

    action: str
    channels: set[str]
    products: list[str]


def by_product_ids(request: dict[str, Any]) -> Asked:
    """``{"type":"subscribe","channel":...,"product_ids":[...]}``, or with ``channels``."""
    return Asked(
        request["type"], set(request.get("channels", [request.get("channel")])), request.get("product_ids", [])
    )


def by_json_rpc(request: dict[str, Any]) -> Asked:
    """``{"id":1,"method":"public/subscribe","params":{"channels":["book.BTC-USD.100ms"]}}``"""
    action = request["method"].removeprefix("public/")
    if action not in ("subscribe", "unsubscribe"):
        return Asked("subscribe", {action}, [])
    parts = [channel.split(".") for channel in request["params"]["channels"]]
    of_products = [part for part in parts if part[0] in ("book", "trades")]
    return Asked(action, {part[0] for part in parts}, list(dict.fromkeys(part[1] for part in of_products)))


@dataclass(frozen=True)
class Dialect:
    """Frames by what they mean. ``wanted`` is what ``open`` must name for book and trades, in the venue's words;
    ``asked`` reads a request, ``channels`` are those there are, ``trade_ns`` is when the trade happened."""

    wanted: frozenset[str]
    book_channel: str
    snapshot: bytes
    delta: bytes
    trade: bytes
    beat: bytes
    acknowledgement: bytes
    refusal: bytes
    unknown: bytes
    asked: Callable[[dict[str, Any]], Asked] = by_product_ids
    channels: tuple[str, ...] = ("book", "trades", "quotes")
    trade_ns: int = 1_788_746_279_088_388_000

    @property
    def frames(self) -> list[bytes]:
        return [frame for field in fields(self) if isinstance(frame := getattr(self, field.name), bytes)]


DIALECTS = {
    "coinbase_advanced": Dialect(
        wanted=frozenset({"level2", "market_trades", "heartbeats"}),
        book_channel="level2",
        snapshot=b'{"channel":"l2_data","timestamp":"2026-09-07T01:57:58.894355Z","sequence_num":0,"events":['
        b'{"type":"snapshot","product_id":"BTC-USD","updates":['
        b'{"side":"bid","event_time":"2026-09-07T01:57:58.894355Z","price_level":"79943.9","new_quantity":"3.0105"},'
        b'{"side":"offer","event_time":"2026-09-07T01:57:58.894355Z","price_level":"79944.1","new_quantity":"1.2"}]}]}',
        delta=b'{"channel":"l2_data","timestamp":"2026-09-07T01:57:59.04370306Z","sequence_num":1,"events":['
        b'{"type":"update","product_id":"BTC-USD","updates":['
        b'{"side":"bid","event_time":"2026-09-07T01:57:58.970831Z","price_level":"79943.9","new_quantity":"2.5"},'
        b'{"side":"offer","event_time":"2026-09-07T01:57:58.970831Z","price_level":"79944.10","new_quantity":"0"}]}]}',
        trade=b'{"channel":"market_trades","timestamp":"2026-09-07T01:57:59.158696693Z","sequence_num":2,"events":['
        b'{"type":"update","trades":[{"product_id":"BTC-USD","trade_id":"7","price":"79943.9","size":"0.5",'
        b'"time":"2026-09-07T01:57:59.088388Z","side":"BUY"}]}]}',
        beat=b'{"channel":"heartbeats","timestamp":"2026-09-07T23:37:22.675755362Z","sequence_num":3,"events":['
        b'{"current_time":"2026-09-07 23:37:22.674409 +0000 UTC m=+139651.272674714","heartbeat_counter":139651}]}',
        acknowledgement=b'{"channel":"subscriptions","timestamp":"2026-09-07T23:37:22.278662782Z","sequence_num":4,'
        b'"events":[{"subscriptions":{"heartbeats":["heartbeats"],"level2":["BTC-USD","ETH-USD"],'
        b'"market_trades":["BTC-USD"]}}]}',
        refusal=b'{"type":"error","message":"too many L2 streams requested in a single session"}',
        unknown=b'{"channel":"tomorrow","timestamp":"2026-09-07T23:37:22Z","sequence_num":5,"events":[{"new":[1]}]}',
    ),
    "coinbase_exchange": Dialect(
        wanted=frozenset({"level2_batch", "matches", "heartbeat"}),
        book_channel="level2_batch",
        snapshot=b'{"type":"snapshot","product_id":"BTC-USD","asks":[["79944.1","1.2"]],"bids":[["79943.9","3.0105"]],'
        b'"time":"2026-09-07T01:57:58.894355Z"}',
        delta=b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","79943.90","2.5"],'
        b'["sell","79944.10","0.00000000"]],"time":"2026-09-07T01:57:58.970831Z"}',
        trade=b'{"type":"match","trade_id":7,"maker_order_id":"f07e510f-4edf-469d-b844-4f670f1e93f1",'
        b'"taker_order_id":"e6f50944-3e2a-439e-ae49-308300ba8296","side":"buy","size":"0.5","price":"79943.9",'
        b'"product_id":"BTC-USD","sequence":134905860111,"time":"2026-09-07T01:57:59.088388Z"}',
        beat=b'{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD",'
        b'"time":"2026-09-07T01:58:00.464459Z"}',
        acknowledgement=b'{"type":"subscriptions","channels":[{"name":"level2_50","product_ids":["ETH-USD","BTC-USD"],'
        b'"account_ids":null},{"name":"matches","product_ids":["BTC-USD"],"account_ids":null},'
        b'{"name":"heartbeat","product_ids":["BTC-USD","ETH-USD"],"account_ids":null}]}',
        refusal=b'{"type":"error","message":"Failed to subscribe","reason":"GIBBERISH-USD is not a valid product"}',
        unknown=b'{"type":"tomorrow","product_id":"BTC-USD","sequence":91,"new":[1]}',
    ),
}

DIALECTS["deribit"] = DIALECTS["coinbase_derivatives"] = Dialect(
    wanted=frozenset({"book", "trades", "set_heartbeat", "instrument", "platform_state"}),
    asked=by_json_rpc,
    channels=("book", "trades"),
    trade_ns=1_788_746_279_088_000_000,
    book_channel="book",
    snapshot=b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.BTC-USD.100ms","data":{'
    b'"type":"snapshot","timestamp":1788746278894,"instrument_name":"BTC-USD","change_id":33195894355,'
    b'"bids":[["new",79943.9,3.0105]],"asks":[["new",79944.1,1.2]]}}}',
    delta=b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.BTC-USD.100ms","data":{'
    b'"type":"change","timestamp":1788746278970,"prev_change_id":33195894355,"change_id":33195894358,'
    b'"instrument_name":"BTC-USD","bids":[["change",79943.9,2.5]],"asks":[["delete",79944.1,0.0]]}}}',
    trade=b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-USD.100ms","data":['
    b'{"trade_seq":7,"trade_id":"403691824","timestamp":1788746279088,"instrument_name":"BTC-USD",'
    b'"price":79943.9,"amount":0.5,"direction":"sell","tick_direction":2,"index_price":79940.1}]}}',
    beat=b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"heartbeat"}}',
    acknowledgement=b'{"jsonrpc":"2.0","id":77,"result":["trades.BTC-USD.100ms","book.ETH-USD.100ms",'
    b'"book.BTC-USD.100ms"],"usIn":1626993723846980,"usOut":1626993723847561,"usDiff":581,"testnet":false}',
    refusal=b'{"jsonrpc":"2.0","id":77,"error":{"code":13778,'
    b'"message":"raw_subscriptions_not_available_for_unauthorized","data":null}}',
    unknown=b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"tomorrow","data":{"new":[1]}}}',
)
