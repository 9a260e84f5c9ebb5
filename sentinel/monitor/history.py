"""What the journal has of one market's last minutes, thinned out for charts: samples, and trades by column.

A chart has some hundred columns, so of each column one sample is read, and as few batches as that takes; what was read
is kept, and the next reading only looks at what has been written since. A reading is bounded in time and in bytes: it
goes from the newest back, and says how far it got.
"""

from __future__ import annotations

import heapq
import re
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from feeds.market import Market
from sentinel.contract.line_protocol import Point, decode, prefix
from sentinel.disk.journal import JournalReader
from sentinel.errors import BatchDamaged
from sentinel.timing.instants import NS_PER_S

STEPS_S = {5: 1, 15: 3, 30: 6, 60: 12}
"""How wide a column is, by the minutes of the chart: 300 columns each."""

MINUTE_NS = 60 * NS_PER_S
MOST_BYTES = 2 * 1024**3
"""Of decompressed lines, in one reading: an hour of 400 products at 10 Hz takes 1.5 GB."""

SETTLED_NS = MINUTE_NS
"""A column this old without a sample will not get one."""

MOST_LARGEST = 3
MOST_LATENCIES = 1000
MOST_VIEWS = 32

TRADE = rb"price=([^,]+)(?:,recv_ns=(\d+)i)?(?:,repaired=(true))?,size=([^,]+),trade_id=(-?\d+)i (\d+)$"


class SampleColumn(Struct, frozen=True):
    """The first sample of a column. Volumes rest within each of the edges, None where it was not sampled then."""

    time_ns: int
    bid: float | None
    ask: float | None
    spread_bps: float | None
    age_ms: float | None
    bid_volumes: list[float | None]
    ask_volumes: list[float | None]


class LargeTrade(Struct, frozen=True):
    """One of the largest trades of a column. ``side`` is the taker's."""

    time_ns: int
    price: float
    size: float
    side: str
    trade_id: int
    is_repaired: bool


class TradeColumn(Struct, frozen=True):
    """The trades of a column that begins at ``time_ns``. Latency is from the venue's time to our receipt, by the two
    clocks, and None where none came as it happened."""

    time_ns: int
    count: int
    buy_volume: float
    sell_volume: float
    low: float
    high: float
    vwap: float
    repaired: int
    latency_p50_ms: float | None
    latency_most_ms: float | None
    largest: list[LargeTrade]


class LatenessPoint(Struct, frozen=True):
    """How late samples of all markets were in the minute before, from their instant to the frame that proved them."""

    time_ns: int
    p50_ms: float
    p99_ms: float


class History(Struct, frozen=True):
    """A market from ``start_ns`` to ``end_ns`` in columns of ``step_ns``, none for a time without samples or trades.

    ``samples_read_ns`` and ``trades_read_ns`` say how far back was looked: before them it is not known what there is.
    A column is told again once it has changed, so a client replaces columns of the same time.
    """

    exchange: str
    symbol: str
    start_ns: int
    end_ns: int
    step_ns: int
    samples_read_ns: int
    trades_read_ns: int
    edges_bps: list[str]
    samples: list[SampleColumn]
    trades: list[TradeColumn]
    lateness: list[LatenessPoint] = []


class Sampled(Struct, frozen=True):
    """A sample's points: its top, and its bins by side and edge."""

    top: dict[str, float]
    volumes: dict[tuple[str, str], float]
    time_ns: int


class Dealt:
    """The trades of a column so far."""

    def __init__(self) -> None:
        self.count = self.repaired = 0
        self.volumes = {b"buy": 0.0, b"sell": 0.0}
        self.notional = 0.0
        self.low, self.high = float("inf"), float("-inf")
        self.latencies_ms = array("d")
        self.largest: list[tuple[float, int, LargeTrade]] = []

    def add(self, side: bytes, price: float, size: float, received_ns: bytes, *, told: LargeTrade) -> None:
        self.count += 1
        self.repaired += told.is_repaired
        self.volumes[side] += size
        self.notional += price * size
        self.low, self.high = min(self.low, price), max(self.high, price)
        if received_ns and len(self.latencies_ms) < MOST_LATENCIES:
            self.latencies_ms.append((int(received_ns) - told.time_ns) / 1e6)
        keep = heapq.heappush if len(self.largest) < MOST_LARGEST else heapq.heappushpop
        keep(self.largest, (size, -told.trade_id, told))

    def column(self, time_ns: int) -> TradeColumn:
        volume = sum(self.volumes.values())
        latencies = sorted(self.latencies_ms)
        return TradeColumn(
            time_ns=time_ns,
            count=self.count,
            buy_volume=self.volumes[b"buy"],
            sell_volume=self.volumes[b"sell"],
            low=self.low,
            high=self.high,
            vwap=self.notional / volume if volume else self.low,
            repaired=self.repaired,
            latency_p50_ms=latencies[len(latencies) // 2] if latencies else None,
            latency_most_ms=latencies[-1] if latencies else None,
            largest=[told for _, _, told in sorted(self.largest, reverse=True)],
        )


class View:
    """One market in columns of one width, brought up to date by ``update``. For one thread."""

    def __init__(self, market: Market, minutes: int) -> None:
        self.market = market
        self.minutes = minutes
        self.step_ns = STEPS_S[minutes] * NS_PER_S
        self._sampled: dict[int, Sampled | None] = {}
        self._dealt: dict[int, Dealt] = {}
        self._sampled_ns: dict[int, int] = {}
        self._dealt_ns: dict[int, int] = {}
        self._samples_read_ns = self._trades_read_ns = 0
        self._trades_id: int | None = None
        tags = market._asdict()
        self._top = prefix("top", tags)
        sides = b"|".join(re.escape(prefix("trades", tags | {"side": side})) for side in ("buy", "sell"))
        self._trade = re.compile(b"^(" + sides + b")" + TRADE, re.MULTILINE)

    def update(self, reader: JournalReader, now_ns: int, most_bytes: int = MOST_BYTES) -> None:
        """Reads what is missing of the time up to ``now_ns``, the newest first."""
        start_ns = self._start_ns(now_ns)
        for columns in (self._sampled, self._dealt, self._sampled_ns, self._dealt_ns):
            for time_ns in [time_ns for time_ns in columns if time_ns < start_ns]:
                del columns[time_ns]
        self._read_samples(reader, start_ns, now_ns, most_bytes)
        self._read_trades(reader, start_ns, now_ns, most_bytes)

    def history(self, now_ns: int, after_ns: int | None) -> History:
        """The columns that have changed since ``after_ns``, the end of an earlier history; all by default."""
        start_ns = self._start_ns(now_ns)
        since_ns = -1 if after_ns is None else after_ns
        sampled = {time_ns: found for time_ns in sorted(self._sampled) if (found := self._sampled[time_ns]) is not None}
        edges = {edge for found in sampled.values() for _, edge in found.volumes}
        ordered = sorted(edges, key=float)
        return History(
            exchange=self.market.exchange,
            symbol=self.market.symbol,
            start_ns=start_ns,
            end_ns=now_ns,
            step_ns=self.step_ns,
            samples_read_ns=max(start_ns, self._samples_read_ns),
            trades_read_ns=max(start_ns, self._trades_read_ns),
            edges_bps=ordered,
            samples=[_column(found, ordered) for at_ns, found in sampled.items() if self._sampled_ns[at_ns] > since_ns],
            trades=[
                self._dealt[at_ns].column(at_ns) for at_ns in sorted(self._dealt) if self._dealt_ns[at_ns] > since_ns
            ],
        )

    def _start_ns(self, now_ns: int) -> int:
        return self._column_ns(now_ns) - self.minutes * MINUTE_NS

    def _column_ns(self, time_ns: int) -> int:
        return time_ns - time_ns % self.step_ns

    def _read_samples(self, reader: JournalReader, start_ns: int, now_ns: int, most_bytes: int) -> None:
        """One batch after the other, the newest first, of those that may fill a column."""
        left = most_bytes
        for time_ns in range(self._column_ns(now_ns), start_ns - 1, -self.step_ns):
            self._samples_read_ns = time_ns
            if time_ns in self._sampled:
                continue
            if left <= 0:
                self._samples_read_ns += self.step_ns
                return
            for batch in reader.overlapping_ordinary("book", time_ns, time_ns + self.step_ns):
                left -= batch.raw_bytes
                if (found := self._sample(batch.body, time_ns)) is not None:
                    self._sampled[time_ns] = found
                    self._sampled_ns[time_ns] = now_ns
                    break
            else:
                if time_ns + self.step_ns < now_ns - SETTLED_NS:
                    self._sampled[time_ns] = None

    def _sample(self, body: bytes, start_ns: int) -> Sampled | None:
        """The first sample of a column in a batch: the lines of a sample stand together, its top first."""
        at = -1
        while (at := body.find(self._top, at + 1)) >= 0:
            end = _line_end(body, at)
            if at and body[at - 1 : at] != b"\n":
                continue
            top = decode(body[at:end])
            if not start_ns <= top.time_ns < start_ns + self.step_ns:
                continue
            volumes = {}
            for point in _bins(body, end + 1):
                tags = dict(point.tags)
                if point.time_ns != top.time_ns or Market(tags["exchange"], tags["symbol"]) != self.market:
                    break
                volumes[tags["side"], tags["bps"]] = _floats(point)["volume"]
            return Sampled(_floats(top), volumes, top.time_ns)
        return None

    def _read_trades(self, reader: JournalReader, start_ns: int, now_ns: int, most_bytes: int) -> None:
        """At first minute by minute, the newest first; later what has been written since."""
        last_id = reader.last_id()
        if self._trades_id is not None:
            for batch in reader.batches(("trades",), after_id=self._trades_id):
                self._add(batch.body, max(start_ns, self._trades_read_ns), now_ns + MINUTE_NS, now_ns)
            self._trades_id = last_id
            return
        left, end_ns = most_bytes, now_ns + MINUTE_NS  # a venue's clock may be ahead of ours
        while end_ns > start_ns and left > 0:
            since_ns = max(start_ns, end_ns - MINUTE_NS)
            for batch in reader.overlapping("trades", since_ns, end_ns):
                if batch.id <= last_id:
                    left -= batch.raw_bytes
                    self._add(batch.body, since_ns, end_ns, now_ns)
            end_ns = since_ns
        self._trades_read_ns, self._trades_id = end_ns, last_id

    def _add(self, body: bytes, since_ns: int, until_ns: int, now_ns: int) -> None:
        for series, price, received_ns, repaired, size, trade_id, time in self._trade.findall(body):
            time_ns = int(time)
            if since_ns <= time_ns < until_ns:
                side = b"buy" if b",side=buy," in series else b"sell"
                told = LargeTrade(time_ns, float(price), float(size), side.decode(), int(trade_id), bool(repaired))
                column_ns = self._column_ns(time_ns)
                column = self._dealt.setdefault(column_ns, Dealt())
                column.add(side, told.price, told.size, received_ns, told=told)
                self._dealt_ns[column_ns] = now_ns


class Histories:
    """The views that were asked for last. For one thread at a time."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._views: OrderedDict[tuple[Market, int], View] = OrderedDict()

    def read(self, market: Market, minutes: int, now_ns: int, after_ns: int | None = None) -> History:
        """A market's last minutes, one of ``STEPS_S``.

        Raises:
            UsageError: if there is no journal.
        """
        view = self._views.pop((market, minutes), None) or View(market, minutes)
        with JournalReader(self._journal, _pass_over) as reader:
            view.update(reader, now_ns)
        self._views[market, minutes] = view
        while len(self._views) > MOST_VIEWS:
            self._views.popitem(last=False)
        return view.history(now_ns, after_ns)


def _pass_over(_: BatchDamaged) -> None:
    """A chart without the seconds of a batch is better than none for an hour; others tell of the damage."""


def _line_end(body: bytes, at: int) -> int:
    end = body.find(b"\n", at)
    return len(body) if end < 0 else end


def _bins(body: bytes, at: int) -> Iterator[Point]:
    """The lines of ``book`` from here on."""
    while body.startswith(b"book,", at):
        end = _line_end(body, at)
        yield decode(body[at:end])
        at = end + 1


def _floats(point: Point) -> dict[str, float]:
    return {name: float(value) for name, value in point.fields}


def _column(found: Sampled, edges: list[str]) -> SampleColumn:
    top, volumes = found.top, found.volumes
    return SampleColumn(
        time_ns=found.time_ns,
        bid=top.get("bid"),
        ask=top.get("ask"),
        spread_bps=top.get("spread_bps"),
        age_ms=top.get("age_ms"),
        bid_volumes=[volumes.get(("bid", edge)) for edge in edges],
        ask_volumes=[volumes.get(("ask", edge)) for edge in edges],
    )
