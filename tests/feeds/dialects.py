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
    """What one message to the venue asks for, in the venue's words of channels; ``products`` None for all."""

    action: str
    channels: frozenset[str]
    products: frozenset[str] | None


def coinbase_asks(message: dict[str, Any]) -> Asked:
    channels = message.get("channels", [message.get("channel")])
    products = message.get("product_ids")
    return Asked(message["type"], frozenset(channels), None if products is None else frozenset(products))


def binance_asks(message: dict[str, Any]) -> Asked:
    streams = [name.partition("@") for name in message["params"]]
    products = frozenset(symbol.upper() for symbol, _, _ in streams)
    return Asked(message["method"].lower(), frozenset(channel for _, _, channel in streams), products)


@dataclass(frozen=True)
class Dialect:
    """Frames by what they mean; None for what the venue does not say. ``wanted`` is what ``open`` must name for book
    and trades, in the venue's words, which ``asks`` reads in a message to it. ``words`` are those of the refusal."""

    wanted: frozenset[str]
    book_channel: str
    snapshot: bytes | None
    delta: bytes
    trade: bytes
    beat: bytes | None
    acknowledgement: bytes
    refusal: bytes
    unknown: bytes
    asks: Callable[[dict[str, Any]], Asked] = coinbase_asks
    words: str | None = None
    has_quotes: bool = True

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
    "binance": Dialect(
        wanted=frozenset({"depth@100ms", "trade"}),
        book_channel="depth@100ms",
        snapshot=None,
        delta=b'{"stream":"btc-usd@depth@100ms","data":{"e":"depthUpdate","E":1788746278970831,"s":"BTC-USD",'
        b'"U":157,"u":160,"b":[["79943.90","2.5"]],"a":[["79944.10","0.00000000"]]}}',
        trade=b'{"stream":"btc-usd@trade","data":{"e":"trade","E":1788746279088391,"s":"BTC-USD","t":7,"p":"79943.9",'
        b'"q":"0.5","T":1788746279088388,"m":true,"M":true}}',
        beat=b'{"result":["btc-usd@depth@100ms","btc-usd@trade"],"id":0}',
        acknowledgement=b'{"result":["btc-usd@depth@100ms","eth-usd@depth@100ms","btc-usd@trade"],"id":9}',
        refusal=b'{"error":{"code":2,"msg":"Invalid request: unknown variant `JOIN`"},"id":1}',
        unknown=b'{"stream":"btc-usd@tomorrow","data":{"e":"tomorrow","E":1788746279088391,"s":"BTC-USD","new":[1]}}',
        asks=binance_asks,
        words="Invalid request: unknown variant `JOIN`",
        has_quotes=False,
    ),
}
