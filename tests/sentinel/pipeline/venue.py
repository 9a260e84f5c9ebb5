"""A tiny honest venue for pipeline tests: it numbers frames, keeps its own book, and remembers what was true when."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from feeds.catalogue import FEEDS
from feeds.protocol import Subscription
from sentinel.contract.line_protocol import Point, decode
from sentinel.contract.lines import Lines
from sentinel.pipeline import LanePlan, Output, Pipeline, Send, Settings

S = 1_000_000_000
MS = 1_000_000
START = 1_790_000_000 * S
SYMBOL = "BTC-USD"


def plan(
    lane: int, *channels: str, venue: str = "coinbase_advanced", copy: int = 0, products: tuple[str, ...] = (SYMBOL,)
):
    return LanePlan(lane, venue, Subscription(frozenset(channels or ("book", "trades")), products), copy)


def pipeline(*plans: LanePlan, checkpoint: bytes | None = None, **settings: object) -> Pipeline:
    return Pipeline(
        Settings("tester", **settings),  # type: ignore[arg-type]
        plans or (plan(0),),
        lambda planned: FEEDS[planned.venue](planned.subscription),  # type: ignore[call-arg]
        checkpoint,
    )


def exchange_lane(lane: int = 0) -> LanePlan:
    return plan(lane, "trades", venue="coinbase_exchange")


def opened(*plans: LanePlan, checkpoint: bytes | None = None, **settings: object) -> Pipeline:
    """A pipeline whose lanes have just been opened, and asked for what they always ask for."""
    pipe = pipeline(*plans, checkpoint=checkpoint, **settings)
    for planned in plans:
        pipe.opened(planned.lane, START)
    pipe.commands.clear()
    return pipe


def points(lines: list[Lines]) -> list[Point]:
    return [decode(line) for item in lines for line in item.text.split(b"\n")]


def tags(point: Point) -> dict[str, str]:
    return dict(point.tags)


@dataclass
class Told:
    """Everything a pipeline has said so far, by measurement; rewritten points keep the last writing."""

    trades: list[Point] = field(default_factory=list)
    tops: list[Point] = field(default_factory=list)
    bins: list[Point] = field(default_factory=list)
    gaps: dict[tuple[object, ...], Point] = field(default_factory=dict)
    coverage: dict[tuple[object, ...], Point] = field(default_factory=dict)

    def take(self, pipeline: Pipeline) -> Output:
        output = pipeline.take()
        self.trades += points(output.trades)
        for point in points(output.book):
            (self.tops if point.measurement == "top" else self.bins).append(point)
        for point in points(output.accounts):
            (self.gaps if point.measurement == "gaps" else self.coverage)[(point.tags, point.time_ns)] = point
        return output

    def gap_list(self, channel: str | None = None) -> list[dict[str, object]]:
        found = [dict(point.fields) | tags(point) for point in self.gaps.values()]
        return [gap for gap in found if channel in (None, gap["channel"])]

    def total(self, field_name: str, symbol: str = SYMBOL) -> int:
        return sum(int(dict(p.fields)[field_name]) for p in self.coverage.values() if tags(p)["symbol"] == symbol)

    def instants(self, symbol: str = SYMBOL) -> list[int]:
        return [point.time_ns for point in self.tops if tags(point)["symbol"] == symbol]


@dataclass
class Connection:
    """One numbered connection. ``send`` gives frames; not delivering one is how a test loses it."""

    sequence: int = 0

    def frame(self, channel: str, events: list[object]) -> bytes:
        number, self.sequence = self.sequence, self.sequence + 1
        return json.dumps({"channel": channel, "sequence_num": number, "events": events}).encode()

    def snapshot(self, bid: float, ask: float, size: float = 1.0, product: str = SYMBOL) -> bytes:
        updates = [_level("bid", bid, size), _level("offer", ask, size)]
        return self.frame("l2_data", [{"type": "snapshot", "product_id": product, "updates": updates}])

    def update(self, *levels: tuple[str, float, float], product: str = SYMBOL) -> bytes:
        updates = [_level(*level) for level in levels]
        return self.frame("l2_data", [{"type": "update", "product_id": product, "updates": updates}])

    def beat(self) -> bytes:
        return self.frame("heartbeats", [{"current_time": "", "heartbeat_counter": self.sequence}])

    def trades(self, *ids: int, kind: str = "update", product: str = SYMBOL) -> bytes:
        trades = [_trade(trade_id, product) for trade_id in sorted(ids, reverse=True)]
        return self.frame("market_trades", [{"type": kind, "trades": trades}])


def _level(side: str, price: float, size: float) -> dict[str, str]:
    return {"side": side, "event_time": "2026-09-07T01:57:58Z", "price_level": repr(price), "new_quantity": repr(size)}


def _trade(trade_id: int, product: str) -> dict[str, str]:
    return {
        "product_id": product,
        "trade_id": str(trade_id),
        "price": "100.5",
        "size": "0.25",
        "time": f"2026-09-21T14:13:{trade_id // 1000 % 60:02d}.{trade_id % 1000 * 1000:06d}Z",
        "side": "BUY",
    }


def match(trade_id: int, kind: str = "match", product: str = SYMBOL) -> bytes:
    """A trade as Coinbase Exchange tells it."""
    wire = _trade(trade_id, product)
    return json.dumps(wire | {"type": kind, "trade_id": trade_id, "side": "buy", "sequence": trade_id * 3}).encode()


def heartbeat(last_trade_id: int, product: str = SYMBOL) -> bytes:
    beat = {"type": "heartbeat", "sequence": 1, "last_trade_id": last_trade_id, "product_id": product}
    return json.dumps(beat | {"time": "2026-09-21T14:13:20.000000Z"}).encode()


def sent(pipeline: Pipeline) -> list[dict[str, object]]:
    """The messages the pipeline wants sent, decoded; empties its commands of them."""
    messages = [json.loads(m) for command in pipeline.commands if isinstance(command, Send) for m in command.messages]
    pipeline.commands[:] = [command for command in pipeline.commands if not isinstance(command, Send)]
    return messages
