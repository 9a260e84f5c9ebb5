"""Trades and samples out of lines, for those who follow them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Generic, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from feeds.market import Market
from sentinel.contract.line_protocol import decode
from sentinel.contract.measurements import market_of
from sentinel.disk.history import line_pattern

T = TypeVar("T")


class LiveTrade(Struct, frozen=True):
    """One trade. ``side`` is the taker's; ``received_ns`` is None for history and repairs, which come late."""

    symbol: str
    trade_id: int
    price: float
    size: float
    side: Literal["buy", "sell"]
    time_ns: int
    received_ns: int | None
    is_repaired: bool
    exchange: str


class LiveBin(Struct, frozen=True):
    """All levels of a side within ``bps`` basis points of mid; ``vwap`` is None where there are none."""

    side: Literal["bid", "ask"]
    bps: float
    volume: float
    notional: float
    levels: int
    vwap: float | None = None


class LiveSample(Struct, frozen=True):
    """What is stored of a book at one instant of the grid."""

    symbol: str
    time_ns: int
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    mid: float
    spread_bps: float
    microprice: float
    age_ms: float
    updates: int
    exchange: str
    bins: list[LiveBin]


class Read(NamedTuple, Generic[T]):
    """An item, and what tells whether another replica's is the same."""

    market: Market
    time_ns: int
    number: int
    item: T

    def in_order(self) -> tuple[int, int]:
        """For sorting: the oldest first."""
        return self.time_ns, self.number


def reading_trades(markets: Collection[Market]) -> Callable[[bytes], Iterator[Read[LiveTrade]]]:
    """What finds the trades of these markets in lines."""
    line = line_pattern("trades", markets)

    def read(lines: bytes) -> Iterator[Read[LiveTrade]]:
        for found in line.finditer(lines):
            point = decode(found[0])
            fields = {"recv_ns": None, "repaired": False, **dict(point.tags), **dict(point.fields)}
            said = {**fields, "received_ns": fields["recv_ns"], "is_repaired": fields["repaired"]}
            trade = msgspec.convert({**said, "time_ns": point.time_ns}, LiveTrade)
            yield Read(market_of(point), point.time_ns, trade.trade_id, trade)

    return read


def reading_samples(markets: Collection[Market], cadence_ms: int) -> Callable[[bytes], Iterator[Read[LiveSample]]]:
    """What finds the samples of these markets: each is a line of ``top``, and one of ``book`` for each bin."""
    cadence_ns = cadence_ms * 1_000_000
    tops, bins = (line_pattern(measurement, markets) for measurement in ("top", "book"))

    def read(lines: bytes) -> Iterator[Read[LiveSample]]:
        depth: dict[tuple[Market, int], list[LiveBin]] = {}
        for found in bins.finditer(lines):
            point = decode(found[0])
            tags = dict(point.tags)
            said = {**tags, **dict(point.fields), "bps": float(tags["bps"])}
            depth.setdefault((market_of(point), point.time_ns), []).append(msgspec.convert(said, LiveBin))
        for found in tops.finditer(lines):
            point = decode(found[0])
            market, time_ns = market_of(point), point.time_ns
            own = {"time_ns": time_ns, "bins": depth.get((market, time_ns), [])}
            sample = msgspec.convert({**dict(point.tags), **dict(point.fields), **own}, LiveSample)
            # instants of the grid follow each other; one of another grid is told from them by its size
            number = time_ns // cadence_ns if time_ns % cadence_ns == 0 else time_ns
            yield Read(market, time_ns, number, sample)

    return read
