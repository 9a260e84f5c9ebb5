"""One real frame of each kind from each venue: what the conformance suite asks of all of them alike.

All speak of the same market: BTC-USD, one bid and one ask, then a new size of the bid and a deleted ask, and trade 7,
in which the taker sold.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

PRODUCTS = ("BTC-USD", "ETH-USD")


class Request(NamedTuple):
    """What a message asks for: an action, channels in the venue's words, products (none where it names none)."""

    action: str
    channels: set[str]
    products: list[str]


def read_request(message: bytes) -> Request:
    """As Coinbase wants to be asked."""
    request = json.loads(message)
    channels = request.get("channels", [request.get("channel")])
    return Request(request["type"], set(channels), request.get("product_ids", []))


def read_params(message: bytes) -> Request:
    """As Kraken wants to be asked."""
    request = json.loads(message)
    return Request(request["method"], {request["params"]["channel"]}, request["params"].get("symbol", []))


def read_streams(message: bytes) -> Request:
    """As Binance wants to be asked."""
    request = json.loads(message)
    streams = [name.partition("@") for name in request["params"]]
    products = dict.fromkeys(symbol.upper() for symbol, _, _ in streams)
    return Request(request["method"].lower(), {channel for _, _, channel in streams}, list(products))


def read_json_rpc(message: bytes) -> Request:
    """As Deribit wants to be asked."""
    request = json.loads(message)
    action = request["method"].removeprefix("public/")
    if action not in ("subscribe", "unsubscribe"):
        return Request("subscribe", {action}, [])
    parts = [channel.split(".") for channel in request["params"]["channels"]]
    of_products = [part for part in parts if part[0] in ("book", "trades")]
    return Request(action, {part[0] for part in parts}, list(dict.fromkeys(part[1] for part in of_products)))


def read_args(message: bytes) -> Request:
    """As OKX wants to be asked."""
    request = json.loads(message)
    named = [arg["instId"] for arg in request["args"] if "instId" in arg]
    return Request(request["op"], {arg["channel"] for arg in request["args"]}, list(dict.fromkeys(named)))


def read_topics(message: bytes) -> Request:
    """As Bybit wants to be asked."""
    request = json.loads(message)
    topics = [topic.rpartition(".") for topic in request["args"]]
    return Request(request["op"], {channel for channel, _, _ in topics}, [product for _, _, product in topics])


@dataclass(frozen=True)
class Dialect:
    """Frames by what they mean; empty for what the feed has not got.

    ``wanted`` is what ``open`` must name for ``channels``, in the venue's words, ``read`` understands what is asked,
    ``acknowledged`` is what all is served after ``acknowledgement``, ``trade_ns`` the time of ``trade``, and ``words``
    are those of the refusal.
    """

    wanted: frozenset[str]
    book_channel: str
    snapshot: bytes
    delta: bytes
    trade: bytes
    beat: bytes
    acknowledgement: bytes
    refusal: bytes
    unknown: bytes
    channels: frozenset[str] = frozenset({"book", "trades"})
    read: Callable[[bytes], Request] = read_request
    acknowledged: tuple[tuple[str, tuple[str, ...]], ...] = (("book", PRODUCTS), ("trades", ("BTC-USD",)))
    trade_ns: int = 1_788_746_279_088_388_000
    words: str = "Failed to subscribe"

    @property
    def frames(self) -> list[bytes]:
        """All that are JSON."""
        found = [frame for field in fields(self) if isinstance(frame := getattr(self, field.name), bytes)]
        return [frame for frame in found if frame.startswith(b"{")]


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
        words="too many L2 streams requested in a single session",
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
    "kraken": Dialect(
        wanted=frozenset({"book", "trade", "instrument"}),
        book_channel="book",
        snapshot=b'{"channel":"book","type":"snapshot","data":[{"symbol":"BTC-USD","bids":[{"price":"79943.9",'
        b'"qty":"3.0105"}],"asks":[{"price":"79944.1","qty":"1.2"}],"checksum":2785033588,'
        b'"timestamp":"2026-09-07T01:57:58.894355Z"}]}',
        delta=b'{"channel":"book","type":"update","data":[{"symbol":"BTC-USD","bids":[{"price":"79943.9","qty":"2.5"}],'
        b'"asks":[{"price":79944.1,"qty":0.00000000}],"checksum":3547452596,'
        b'"timestamp":"2026-09-07T01:57:58.970831Z"}]}',
        trade=b'{"channel":"trade","type":"update","data":[{"symbol":"BTC-USD","side":"sell","price":"79943.9",'
        b'"qty":"0.5","ord_type":"limit","trade_id":7,"timestamp":"2026-09-07T01:57:59.088388Z"}]}',
        beat=b'{"channel":"heartbeat"}',
        acknowledgement=b'{"method":"subscribe","result":{"channel":"book","depth":1000,"snapshot":true,'
        b'"symbol":"BTC-USD"},"success":true,"time_in":"2026-09-07T01:57:58.742599Z",'
        b'"time_out":"2026-09-07T01:57:58.742648Z","req_id":3}',
        refusal=b'{"error":"Currency pair not supported FOO/USD","method":"subscribe","req_id":3,"success":false,'
        b'"symbol":"FOO/USD","time_in":"2026-09-07T01:57:58.809188Z","time_out":"2026-09-07T01:57:58.809200Z"}',
        unknown=b'{"channel":"tomorrow","type":"update","data":[{"new":[1]}]}',
        words="Currency pair not supported FOO/USD",
        read=read_params,
        acknowledged=(("book", ("BTC-USD",)), ("trades", ())),
    ),
    "binance": Dialect(
        wanted=frozenset({"depth@100ms", "trade"}),
        book_channel="depth@100ms",
        snapshot=b"",
        delta=b'{"stream":"btc-usd@depth@100ms","data":{"e":"depthUpdate","E":1788746278970831,"s":"BTC-USD",'
        b'"U":157,"u":160,"b":[["79943.90","2.5"]],"a":[["79944.10","0.00000000"]]}}',
        trade=b'{"stream":"btc-usd@trade","data":{"e":"trade","E":1788746279088391,"s":"BTC-USD","t":7,"p":"79943.9",'
        b'"q":"0.5","T":1788746279088388,"m":true,"M":true}}',
        beat=b'{"result":["btc-usd@depth@100ms","btc-usd@trade"],"id":0}',
        acknowledgement=b'{"result":["btc-usd@depth@100ms","eth-usd@depth@100ms","btc-usd@trade"],"id":9}',
        refusal=b'{"error":{"code":2,"msg":"Invalid request: unknown variant `JOIN`"},"id":1}',
        unknown=b'{"stream":"btc-usd@tomorrow","data":{"e":"tomorrow","E":1788746279088391,"s":"BTC-USD","new":[1]}}',
        read=read_streams,
        words="Invalid request: unknown variant `JOIN`",
    ),
    "okx": Dialect(
        wanted=frozenset({"books", "instruments"}),
        book_channel="books",
        snapshot=b'{"arg":{"channel":"books","instId":"BTC-USD"},"action":"snapshot","data":[{"asks":[["79944.1","1.2",'
        b'"0","3"]],"bids":[["79943.9","3.0105","0","13"]],"ts":"1788746278894","checksum":0,"prevSeqId":-1,'
        b'"seqId":10}]}',
        delta=b'{"arg":{"channel":"books","instId":"BTC-USD"},"action":"update","data":[{"asks":[["79944.1","0","0","0"]],'
        b'"bids":[["79943.9","2.5","0","12"]],"ts":"1788746278970","checksum":0,"prevSeqId":10,"seqId":15}]}',
        trade=b"",
        beat=b"pong",
        acknowledgement=b'{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USD"},"connId":"a4d3ae55"}',
        refusal=b'{"event":"error","code":"60018","msg":"Wrong URL or channel:books,instId:NO-SUCH doesn\'t exist. '
        b'Please use the correct URL, channel and parameters referring to API document.","connId":"a4d3ae55"}',
        unknown=b'{"arg":{"channel":"tomorrow","instId":"BTC-USD"},"data":[{"new":[1]}]}',
        channels=frozenset({"book"}),
        read=read_args,
        acknowledged=(("book", ("BTC-USD",)),),
        words="Wrong URL or channel:books,instId:NO-SUCH doesn't exist.",
    ),
    "okx_trades": Dialect(
        wanted=frozenset({"trades-all"}),
        book_channel="",
        snapshot=b"",
        delta=b"",
        trade=b'{"arg":{"channel":"trades-all","instId":"BTC-USD"},"data":[{"instId":"BTC-USD","tradeId":"7",'
        b'"px":"79943.9","sz":"0.5","side":"sell","ts":"1788746279088","source":"0"}]}',
        beat=b"pong",
        acknowledgement=b'{"event":"subscribe","arg":{"channel":"trades-all","instId":"BTC-USD"},"connId":"a4d3ae55"}',
        refusal=b'{"event":"error","code":"60012","msg":"Invalid request: {\\"op\\": \\"subscribe\\"}",'
        b'"connId":"a4d3ae55"}',
        unknown=b'{"arg":{"channel":"tomorrow","instId":"BTC-USD"},"data":[{"new":[1]}]}',
        channels=frozenset({"trades"}),
        read=read_args,
        acknowledged=(("trades", ("BTC-USD",)),),
        trade_ns=1_788_746_279_088_000_000,
        words="Invalid request: ",
    ),
}

DIALECTS["deribit"] = DIALECTS["coinbase_derivatives"] = Dialect(
    wanted=frozenset({"book", "trades", "set_heartbeat", "instrument", "platform_state"}),
    read=read_json_rpc,
    words="raw_subscriptions_not_available_for_unauthorized",
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

DIALECTS["bybit"] = DIALECTS["bybit_linear"] = Dialect(
    wanted=frozenset({"orderbook.200", "publicTrade"}),
    read=read_topics,
    words="error:handler not found,topic:orderbook.200.FOO",
    trade_ns=1_788_746_279_088_000_000,
    acknowledged=(("book", ("BTC-USD",)), ("trades", ())),
    book_channel="orderbook.200",
    snapshot=b'{"topic":"orderbook.200.BTC-USD","type":"snapshot","ts":1788746278894,"data":{"s":"BTC-USD","b":['
    b'["79943.9","3.0105"]],"a":[["79944.1","1.2"]],"u":62505424,"seq":112488545860},"cts":1788746278890}',
    delta=b'{"topic":"orderbook.200.BTC-USD","type":"delta","ts":1788746278970,"data":{"s":"BTC-USD","b":['
    b'["79943.9","2.5"]],"a":[["79944.10","0"]],"u":62505425,"seq":112488545865},"cts":1788746278965}',
    trade=b'{"topic":"publicTrade.BTC-USD","type":"snapshot","ts":1788746279090,"data":[{"T":1788746279088,'
    b'"s":"BTC-USD","S":"Sell","v":"0.5","p":"79943.9","L":"MinusTick","i":"7","BT":false,"RPI":false,"seq":9}]}',
    beat=b'{"success":true,"ret_msg":"pong","conn_id":"d9avt8shteepr00gfc1g-4zd1x","req_id":"","op":"ping"}',
    acknowledgement=b'{"success":true,"ret_msg":"subscribe","conn_id":"d9avt8shteepr00gfc1g-4zd1x","req_id":"0",'
    b'"op":"subscribe"}',
    refusal=b'{"success":false,"ret_msg":"error:handler not found,topic:orderbook.200.FOO",'
    b'"conn_id":"d9avt8shteepr00gfc1g-4zd1x","req_id":"","op":"subscribe"}',
    unknown=b'{"topic":"tomorrow.BTC-USD","type":"snapshot","ts":1788746278894,"data":[{"new":[1]}]}',
)
