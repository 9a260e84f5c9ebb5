"""The measurements as line protocol: what each fact looks like in the store (design, section 5).

The series part of a line never changes for a product, so it is escaped once.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec
from msgspec import UNSET

from book.bins import OF_TOP
from book.events import Integrity, Trade, TradeProof
from book.native import speedups
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


FIGURE, TIME, FIELD = b"\1", b"\2", b"\3"
"""Where a figure goes, where the time, and from where on a field is left out when its figure is null."""


class SampleTemplate:
    """The lines of a product's samples without their figures, which stand in the order in which a measure has them."""

    def __init__(self, top: str, bins: Sequence[str]) -> None:
        of_top = ("age_ms", "ask", "ask_size", "bid", "bid_size", "microprice", "mid", "spread_bps")
        lines = [top.encode() + b",".join(b"%b=%b" % (name.encode(), FIGURE) for name in of_top)]
        lines[0] += b",updates=%bi %b" % (FIGURE, TIME)
        of_bin = b"levels=%bi,notional=%b,volume=%b%b,vwap=%b %b" % (FIGURE, FIGURE, FIGURE, FIELD, FIGURE, TIME)
        lines += [series.encode() + of_bin for series in bins]
        self._parts = b"\n".join(lines)
        self._pattern = self._parts.replace(b"%", b"%%").replace(FIELD, b"").replace(FIGURE, b"%b")

    def fill(self, sample: Sample) -> Lines:
        """The lines of one sample."""
        figures = sample.measure.figures
        # one call of a number writer in C for all figures is four times as fast as ``repr`` of each
        numbers = _encode_numbers((sample.age_ns / 1e6, *figures[:OF_TOP], sample.updates, *figures[OF_TOP:]))[1:-1]
        time = b"%d" % sample.grid_ns
        if speedups is not None:
            return Lines(sample.grid_ns, speedups.sample_lines(self._parts, numbers, time))
        written = numbers.split(b",")
        lines = self._without_nulls(written) if b"null" in written else self._pattern % tuple(written)
        return Lines(sample.grid_ns, lines.replace(TIME, time))

    def _without_nulls(self, numbers: Sequence[bytes]) -> bytes:
        first, *parts = self._parts.split(FIGURE)
        lines = first
        for number, part in zip(numbers, parts, strict=True):
            lines = (lines[: lines.rindex(FIELD)] if number == b"null" else lines + number) + part
        return lines.replace(FIELD, b"")


class ProductLines:
    """Encodes everything that is said of one product."""

    def __init__(
        self,
        exchange: str,
        symbol: str,
        collector: str,
        edges_bps: tuple[Fraction, ...],
        *,
        tells_parts: bool = False,
    ) -> None:
        self._exchange = exchange
        of_product = {"exchange": exchange, "symbol": symbol}

        def series(measurement: str, **tags: str) -> str:
            return prefix(measurement, of_product | tags).decode()

        self._trade = {taker: series("trades", side=taker) for taker in ("buy", "sell")}
        self._flow = series("flow")
        self._sample = SampleTemplate(
            series("top"),
            [series("book", side=side, bps=edge_label(edge)) for side in ("bid", "ask") for edge in edges_bps],
        )
        self._coverage = series("coverage", collector=collector)
        self._backfill = series("backfill")
        self._of_gap = of_product | {"collector": collector}
        self._tells_parts = tells_parts

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
        return self._sample.fill(sample)

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

    def coverage(
        self, minute_ns: int, account: Account, integrity: Integrity, trade_proof: TradeProof = "ids"
    ) -> Lines:
        """The accounts of one minute; that it is whole, or that ids prove the trades, goes without saying."""
        fields = [f"{name}={value}i" for name, value in account.counts()]
        fields.append(f'integrity="{integrity}"')
        if self._tells_parts and (due := account.spelled_due(minute_ns)):
            fields.append(f'due_ms="{due}"')
        if self._tells_parts and trade_proof == "ids" and (ids := account.spelled_ids()):
            fields.append(f'trade_ids="{ids}"')
        if trade_proof != "ids":
            fields.append(f'trade_proof="{trade_proof}"')
        return Lines(minute_ns, f"{self._coverage}{','.join(sorted(fields))} {minute_ns}".encode())

    def backfill(self, minute_ns: int, ids: Sequence[int], missing: int) -> Lines:
        """What was fetched of a minute of before, its ids rising; ``missing`` are those that the venue has not."""
        fields = [f"first_trade_id={ids[0]}i", f"last_trade_id={ids[-1]}i"] if ids else []
        fields += [f"missing={missing}i", f"trades={len(ids)}i"]
        return Lines(minute_ns, f"{self._backfill}{','.join(fields)} {minute_ns}".encode())
