"""The ``flow`` measurement: what trading and the book did in each second. Pure, in stream time.

Trades count in the second of their venue time, samples in the second of their instant. A second is written when
``GRACE_NS`` have passed since its end, so that the slower feed has brought its trades; one that comes later still
counts in the next second's ``cvd``. What cannot be known is left out: figures of the book need every sample of the
second, a volatility needs every second of its span. Definitions and sources: docs/flow.md.

The same code makes the rows again from stored trades and samples (``recompute``).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal
from itertools import pairwise

from msgspec import Struct

from book.sampler import Sample
from sentinel.pipeline.inputs import Settings

S = 1_000_000_000
DAY_NS = 86_400 * S
GRACE_NS = 2 * S
AHEAD_NS = 120 * S
"""A trade that is further ahead of our clock has no second: a clock is wrong, and what waits is in every checkpoint."""

VOLATILITY_SPANS_S = (60, 300)

EXACT = Context(prec=60)
"""Sums of sizes are exact: 15 digits each, and never so many that 60 digits are not enough."""

NOTHING = Decimal(0)
Fields = list[tuple[str, float | int]]


class Second(Struct):
    """What one second has gathered. ``bid`` to ``ask_size`` are the last sample's."""

    buy_volume: Decimal = NOTHING
    sell_volume: Decimal = NOTHING
    notional: Decimal = NOTHING
    buys: int = 0
    sells: int = 0
    samples: int = 0
    ofi: float = 0.0
    spread_sum: float = 0.0
    spread_min: float = 0.0
    spread_max: float = 0.0
    first_microprice: float = 0.0
    microprice: float = 0.0
    mid: float = 0.0
    imbalances: list[float | None] = []


class FlowState(Struct):
    """What a restart must know. ``next_ns`` is the first second not written yet, 0 before there was anything.

    Seconds that began before ``since_ns``, or end after ``until_ns`` unless that is 0, are those of others, who collect
    them in full.
    """

    next_ns: int = 0
    day_ns: int = 0
    cvd: Decimal = NOTHING
    late: Decimal = NOTHING
    seconds: dict[int, Second] = {}
    since_ns: int = 0
    until_ns: int = 0


class ProductFlow:
    """One product's flow. ``advance`` gives the rows that are due."""

    def __init__(self, settings: Settings, labels: Sequence[str], state: FlowState | None = None) -> None:
        self.state = state or FlowState()
        self._per_second = max(1, S // settings.cadence_ns)
        self._labels = labels
        self._before: tuple[int, float, float, float, float] | None = None
        self._cadence_ns = settings.cadence_ns
        self._mids: deque[tuple[int, float]] = deque(maxlen=max(VOLATILITY_SPANS_S) + 1)

    def begin(self, now_ns: int) -> None:
        """Others have collected until now."""
        self.state.since_ns, self.state.until_ns = now_ns, 0

    def end(self, now_ns: int) -> None:
        """Others collect from now on."""
        state = self.state
        state.until_ns = now_ns
        state.seconds = {second_ns: second for second_ns, second in state.seconds.items() if self._is_ours(second_ns)}

    def _is_ours(self, second_ns: int) -> bool:
        state = self.state
        return second_ns >= state.since_ns and not 0 < state.until_ns < second_ns + S

    def trade(self, venue_ns: int, price: float, size: float, *, is_buy: bool, received_ns: int | None = None) -> None:
        """A trade, whenever it arrives; ``is_buy`` if the taker bought, ``received_ns`` if it is live."""
        volume = Decimal(repr(size))
        second_ns = venue_ns - venue_ns % S
        is_early = received_ns is not None and second_ns > received_ns + AHEAD_NS
        if second_ns < self.state.next_ns or is_early or not self._is_ours(second_ns):
            if second_ns >= self.state.day_ns:
                signed = volume if is_buy else -volume
                self.state.late = EXACT.add(self.state.late, signed)
            return
        second = self._second(second_ns)
        second.notional = EXACT.add(second.notional, EXACT.multiply(Decimal(repr(price)), volume))
        if is_buy:
            second.buys += 1
            second.buy_volume = EXACT.add(second.buy_volume, volume)
        else:
            second.sells += 1
            second.sell_volume = EXACT.add(second.sell_volume, volume)

    def see(self, sample: Sample) -> None:
        """A sample that was written."""
        measure, grid_ns = sample.measure, sample.grid_ns
        bid, bid_size, ask, ask_size = measure.top
        second_ns = grid_ns - grid_ns % S
        if not self._is_ours(second_ns):
            return
        second = self._second(second_ns)
        before = self._before
        if before is not None and before[0] == grid_ns - self._cadence_ns:
            second.ofi += order_flow(before[1:], (bid, bid_size, ask, ask_size))
        self._before = grid_ns, bid, bid_size, ask, ask_size
        spread = measure.spread_bps
        if not second.samples:
            second.first_microprice = measure.microprice
            second.spread_min = second.spread_max = spread
        else:
            second.spread_min = min(second.spread_min, spread)
            second.spread_max = max(second.spread_max, spread)
        second.samples += 1
        second.spread_sum += spread
        second.microprice, second.mid = measure.microprice, measure.mid
        if grid_ns % S + self._cadence_ns >= S:  # the last instant of the second
            second.imbalances = [
                imbalance(bids.volume, asks.volume) for bids, asks in zip(measure.bids, measure.asks, strict=True)
            ]

    def _second(self, second_ns: int) -> Second:
        seconds = self.state.seconds
        found = seconds.get(second_ns)
        if found is None:
            found = seconds[second_ns] = Second()
        return found

    def advance(self, now_ns: int) -> list[tuple[int, Fields]]:
        """The rows of every second that is over since ``GRACE_NS``, oldest first: (its start, its fields)."""
        state = self.state
        if not state.seconds:
            return []
        due_ns = (now_ns - GRACE_NS) // S * S  # seconds that began before this are over
        rows = []
        for second_ns in sorted(second_ns for second_ns in state.seconds if second_ns < due_ns):
            rows.append((second_ns, self._row(second_ns, state.seconds.pop(second_ns))))
            state.next_ns = second_ns + S
        return rows

    def take_back(self, now_ns: int) -> None:
        """The last run was ahead of ``now_ns``: its rows from there on are written anew as their time comes."""
        state, due_ns = self.state, now_ns // S * S
        state.next_ns = min(state.next_ns, due_ns)
        state.seconds = {second_ns: second for second_ns, second in state.seconds.items() if second_ns < due_ns}

    def _row(self, second_ns: int, second: Second) -> Fields:
        state = self.state
        if second_ns - second_ns % DAY_NS != state.day_ns:
            state.day_ns = second_ns - second_ns % DAY_NS
            state.cvd = state.late = NOTHING
        signed = EXACT.subtract(second.buy_volume, second.sell_volume)
        state.cvd = EXACT.add(EXACT.add(state.cvd, state.late), signed)
        state.late = NOTHING
        fields: Fields = [
            ("buy_volume", float(second.buy_volume)),
            ("sell_volume", float(second.sell_volume)),
            ("buy_count", second.buys),
            ("sell_count", second.sells),
            ("cvd", float(state.cvd)),
            ("samples", second.samples),
        ]
        volume = EXACT.add(second.buy_volume, second.sell_volume)
        if volume:
            fields.append(("vwap", float(EXACT.divide(second.notional, volume))))
        if second.samples == self._per_second:
            fields += self._book_fields(second_ns, second)
        return fields

    def _book_fields(self, second_ns: int, second: Second) -> Fields:
        drift = (second.microprice - second.first_microprice) / second.mid * 10_000
        fields: Fields = [
            ("ofi", second.ofi),
            ("microprice_drift_bps", drift),
            ("spread_mean_bps", second.spread_sum / second.samples),
            ("spread_min_bps", second.spread_min),
            ("spread_max_bps", second.spread_max),
        ]
        fields += [
            (f"imbalance_{label}", value)
            for label, value in zip(self._labels, second.imbalances, strict=False)
            if value is not None
        ]
        self._mids.append((second_ns, second.mid))
        for span_s in VOLATILITY_SPANS_S:
            value = volatility(list(self._mids)[-span_s - 1 :], span_s)
            if value is not None:
                fields.append((f"volatility_{span_s}s", value))
        return fields


def order_flow(before: Sequence[float], now: Sequence[float]) -> float:
    """One step of order-flow imbalance (Cont, Kukanov, Stoikov 2014) between two tops: bid, its size, ask, its size."""
    bid, bid_size, ask, ask_size = now
    old_bid, old_bid_size, old_ask, old_ask_size = before
    step = 0.0
    if bid >= old_bid:
        step += bid_size
    if bid <= old_bid:
        step -= old_bid_size
    if ask <= old_ask:
        step -= ask_size
    if ask >= old_ask:
        step += old_ask_size
    return step


def imbalance(bid_volume: float, ask_volume: float) -> float | None:
    """(bids - asks) / (bids + asks), from -1 to 1; None where nothing rests."""
    total = bid_volume + ask_volume
    return (bid_volume - ask_volume) / total if total else None


def volatility(mids: Sequence[tuple[int, float]], span_s: int) -> float | None:
    """Realised volatility: the root of the sum of squared log returns of the mid, second by second, over ``span_s``.

    None unless every second is there.
    """
    if len(mids) <= span_s or mids[-1][0] - mids[0][0] != span_s * S:
        return None
    values = [mid for _, mid in mids]
    return math.sqrt(sum(math.log(b / a) ** 2 for a, b in pairwise(values)))


class StoredTrade(Struct, frozen=True):
    """A trade as the archive has it. ``time_ns`` is its point; the venue's microseconds are what counts."""

    time_ns: int
    price: float
    size: float
    side: str


def recompute(
    trades: Iterable[StoredTrade], samples: Iterable[Sample], settings: Settings, labels: Sequence[str]
) -> list[tuple[int, Fields]]:
    """The rows of stored trades and samples, as if every trade had come in time."""
    flow = ProductFlow(settings, labels)
    last_ns = 0
    for trade in sorted(trades, key=lambda trade: trade.time_ns):
        flow.trade(trade.time_ns // 1000 * 1000, trade.price, trade.size, is_buy=trade.side == "buy")
        last_ns = max(last_ns, trade.time_ns)
    for sample in sorted(samples, key=lambda sample: sample.grid_ns):
        flow.see(sample)
        last_ns = max(last_ns, sample.grid_ns)
    return flow.advance(last_ns + GRACE_NS + 2 * S)
