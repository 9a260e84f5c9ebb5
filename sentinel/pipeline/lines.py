"""The measurements as line protocol: what each fact looks like in the store (design, section 5).

The series part of a line never changes for a product, so it is escaped once.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import islice

import msgspec
from msgspec import UNSET

from book.events import Integrity, Trade
from book.sampler import Sample
from sentinel.contract.gaps import Gap
from sentinel.contract.line_protocol import prefix
from sentinel.contract.lines import Lines, StoredTrade
from sentinel.pipeline.accounts import Account

_encode_numbers = msgspec.json.Encoder().encode


def point_ns(trade: Trade) -> int:
    """The ``time`` of a trade's point: venue microseconds, then ``trade_id % 1000`` ns, so that no two trades of one
    microsecond share a point and every witness of a trade lands on the same one."""
    return trade.venue_ns + trade.trade_id % 1000


def edge_label(edge: Fraction) -> str:
    """``5`` for 5 bps, ``0.5`` for half a basis point."""
    return str(edge.numerator) if edge.denominator == 1 else repr(float(edge))


class ProductLines:
    """Encodes everything that is said of one product."""

    def __init__(self, exchange: str, symbol: str, collector: str, edges_bps: tuple[Fraction, ...]) -> None:
        self._exchange = exchange
        of_product = {"exchange": exchange, "symbol": symbol}

        def series(measurement: str, **tags: str) -> str:
            return prefix(measurement, of_product | tags).decode()

        self._trade = {taker: series("trades", side=taker) for taker in ("buy", "sell")}
        self._top = series("top")
        self._flow = series("flow")
        self._bins = {
            side: [series("book", side=side, bps=edge_label(edge)) for edge in edges_bps] for side in ("bid", "ask")
        }
        self._coverage = series("coverage", collector=collector)
        self._of_gap = of_product | {"collector": collector}

    def trade(self, trade: Trade, received_ns: int | None, *, is_repaired: bool) -> Lines:
        """``received_ns`` only for a trade the venue sent as it happened."""
        time_ns = point_ns(trade)
        live = f",recv_ns={received_ns}i" if received_ns is not None else ""
        repaired = ",repaired=true" if is_repaired else ""
        text = (
            f"{self._trade[trade.taker]}price={trade.price!r}{live}{repaired},size={trade.size!r},"
            f"trade_id={trade.trade_id}i {time_ns}"
        )
        return Lines(time_ns, text.encode(), StoredTrade(self._exchange, trade, received_ns, is_repaired))

    def sample(self, sample: Sample) -> Lines:
        """One ``top`` line and a ``book`` line for each side and bin."""
        measure = sample.measure
        top = measure.top
        time = sample.grid_ns
        # one call of a number writer in C for all figures of the sample is four times as fast as ``repr`` of each
        figures: list[float | None] = [sample.age_ns / 1e6, *top, measure.mid, measure.spread_bps, measure.microprice]
        for depths in (measure.bids, measure.asks):
            for depth in depths:
                figures += depth[:3]
        text = iter(_encode_numbers(figures)[1:-1].decode().split(","))
        age, bid, bid_size, ask, ask_size, mid, spread, microprice = islice(text, 8)
        lines = [
            f"{self._top}age_ms={age},ask={ask},ask_size={ask_size},bid={bid},bid_size={bid_size},"
            f"microprice={microprice},mid={mid},spread_bps={spread},updates={sample.updates}i {time}"
        ]
        for side, depths in (("bid", measure.bids), ("ask", measure.asks)):
            for series, depth, volume, notional, vwap in zip(self._bins[side], depths, text, text, text, strict=False):
                price = "" if vwap == "null" else f",vwap={vwap}"
                lines.append(f"{series}levels={depth.levels}i,notional={notional},volume={volume}{price} {time}")
        return Lines(time, "\n".join(lines).encode())

    def flow(self, second_ns: int, fields: Sequence[tuple[str, float | int]]) -> Lines:
        """What happened in one second."""
        written = (f"{name}={value}i" if isinstance(value, int) else f"{name}={value!r}" for name, value in fields)
        return Lines(second_ns, f"{self._flow}{','.join(written)} {second_ns}".encode())

    def gap(self, gap: Gap) -> Lines:
        """A gap as it stands; ``end_ns`` is absent while it is open, ``given_up`` unless it ever was."""
        fields = [f"missing_count={gap.missing_count}i", f"repaired_count={gap.repaired_count}i"]
        if gap.start_seq is not None:
            fields += [f"start_seq={gap.start_seq}i", f"end_seq={gap.end_seq}i"]
        fields.append(f"start_ns={gap.start_ns}i")
        if gap.end_ns is not None:
            fields.append(f"end_ns={gap.end_ns}i")
        if gap.given_up is not UNSET:  # a store keeps the fields of a point that are not written again
            fields.append(f"given_up={'true' if gap.given_up else 'false'}")
        series = prefix("gaps", self._of_gap | {"channel": gap.channel, "cause": gap.cause}).decode()
        return Lines(gap.start_ns, f"{series}{','.join(sorted(fields))} {gap.start_ns}".encode())

    def coverage(self, minute_ns: int, account: Account, integrity: Integrity) -> Lines:
        """The accounts of one minute."""
        fields = [f"{name}={value}i" for name, value in account.counts()]
        fields.append(f'integrity="{integrity}"')
        return Lines(minute_ns, f"{self._coverage}{','.join(sorted(fields))} {minute_ns}".encode())
