"""What a running collector looks like at one moment, as data: for the API, the metrics, the alerts and the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from sentinel.journal import Journal, JournalStatistics
from sentinel.pipeline.gaps import Gap
from sentinel.pipeline.lane import Lane
from sentinel.pipeline.product import Product
from sentinel.service import Service
from sentinel.sinks.influx import SINK, SinkStatistics
from sentinel.version import software

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class GapStatus(Struct, frozen=True):
    """A gap that is open. ``missing`` counts trade ids still missing."""

    symbol: str
    channel: str
    cause: str
    start_ns: int
    age_s: float
    missing: int
    start_seq: int | None
    end_seq: int | None


class BinStatus(Struct, frozen=True):
    """What rests within ``bps`` of mid."""

    bps: str
    bid_volume: float
    ask_volume: float


class ProductStatus(Struct, frozen=True):
    """One product. Prices are None while there has been no sample; ``sample_age_ms`` is the age of the newest one."""

    symbol: str
    exchange: str
    integrity: str
    is_proved: bool
    bid: float | None
    ask: float | None
    spread_bps: float | None
    sample_age_ms: float | None
    last_trade_id: int | None
    trades_stored: int
    trades_missing: int
    samples_written: int
    samples_withheld: int
    crossed_for_s: float
    bins: list[BinStatus]


class ConnectionStatus(Struct, frozen=True):
    """One planned connection and its frames since the start."""

    lane: int
    venue: str
    products: list[str]
    is_live: bool
    silent_ms: float
    frames_received: int
    frames_applied: int
    frames_control: int
    frames_duplicate: int
    frames_undecodable: int
    frames_lost: int
    frames_residue: int
    skipped: dict[str, int]


class SinkStatus(Struct, frozen=True):
    """A consumer of the journal. ``state`` is ``delivering``, ``waiting`` or ``barred``."""

    name: str
    state: str
    backlog_lines: int
    backlog_bytes: int
    lines_delivered: int
    lines_set_aside: int
    last_error: str | None


class Lateness(Struct, frozen=True):
    """From a grid instant to the frame that proved it, over all samples since the start."""

    p50_ms: float
    p99_ms: float
    most_ms: float


class Status(Struct, frozen=True):
    """Everything at one moment."""

    software: str
    collector: str
    now_ns: int
    uptime_s: float
    lines_stored: int
    trades_to_repair: int
    clock_step_ms: int
    lateness: Lateness
    journal_bytes: int
    disk_free_bytes: int
    products: list[ProductStatus]
    connections: list[ConnectionStatus]
    sinks: list[SinkStatus]
    gaps: list[GapStatus]


class StatusReader:
    """Makes a ``Status`` on request; what the disk has to be asked for is refreshed by ``refresh``."""

    def __init__(
        self,
        service: Service,
        data_dir: Path,
        collector: str,
        now_ns: Callable[[], int],
        journal: Journal | None,
        statistics: Mapping[str, SinkStatistics],
    ) -> None:
        self._service = service
        self._data_dir = data_dir
        self._collector = collector
        self._now_ns = now_ns
        self._journal = journal
        self._statistics = statistics
        self._started_ns = now_ns()
        self._stored: JournalStatistics | None = None
        self._free_bytes = 0

    async def refresh(self) -> None:
        """Asks the journal and the disk."""
        if self._journal is not None:
            self._stored = await self._journal.statistics()
            self._free_bytes = shutil.disk_usage(self._data_dir).free

    def read(self) -> Status:
        """The present moment. Cost: some microseconds a product; it never waits."""
        now_ns = self._now_ns()
        service = self._service
        products = service.pipeline.products.values()
        return Status(
            software=software(),
            collector=self._collector,
            now_ns=now_ns,
            uptime_s=(now_ns - self._started_ns) / NS_PER_S,
            lines_stored=service.committer.lines_stored,
            trades_to_repair=service.repairer.outstanding,
            clock_step_ms=service.pipeline.clock_step_ms,
            lateness=_lateness(service.pipeline.lateness_counts()),
            journal_bytes=self._stored.disk_bytes if self._stored else 0,
            disk_free_bytes=self._free_bytes,
            products=[_product(product, now_ns) for product in products],
            connections=[_connection(lane, now_ns) for lane in service.pipeline.lanes],
            sinks=self._sinks(),
            gaps=[_gap(product.symbol, gap, now_ns) for product in products for gap in _open_gaps(product)],
        )

    def _sinks(self) -> list[SinkStatus]:
        if self._stored is None:
            return []
        found = []
        for name, backlog in sorted(self._stored.backlogs.items()):
            known = self._statistics.get(name)
            if known is None and name == SINK:
                continue  # a sink of an earlier run
            stats = known or SinkStatistics()
            found.append(
                SinkStatus(
                    name=name,
                    state=stats.state,
                    backlog_lines=backlog.line_count,
                    backlog_bytes=backlog.raw_bytes,
                    lines_delivered=stats.lines_delivered,
                    lines_set_aside=stats.lines_set_aside,
                    last_error=stats.last_error,
                )
            )
        return found


def _open_gaps(product: Product) -> list[Gap]:
    return [*product.books.gaps, *product.trades.open_gaps]


def _gap(symbol: str, gap: Gap, now_ns: int) -> GapStatus:
    return GapStatus(
        symbol=symbol,
        channel=gap.channel,
        cause=gap.cause,
        start_ns=gap.start_ns,
        age_s=max(0, now_ns - gap.start_ns) / NS_PER_S,
        missing=gap.missing_count - gap.repaired_count if gap.channel == "trades" else 0,
        start_seq=gap.range.first if gap.range else None,
        end_seq=gap.range.last if gap.range else None,
    )


def _product(product: Product, now_ns: int) -> ProductStatus:
    books, trades = product.books, product.trades
    sample = books.last_sample
    top = sample.measure.top if sample else None
    crossed_ns = books.crossed_since()
    bins = []
    if sample is not None:
        pairs = zip(sample.measure.bids, sample.measure.asks, strict=True)
        bins = [
            BinStatus(label, bids.volume, asks.volume)
            for label, (bids, asks) in zip(product.labels, pairs, strict=True)
        ]
    return ProductStatus(
        symbol=product.symbol,
        exchange=product.exchange,
        integrity=product.integrity,
        is_proved=books.is_proved,
        bid=top.bid if top else None,
        ask=top.ask if top else None,
        spread_bps=sample.measure.spread_bps if sample else None,
        sample_age_ms=(now_ns - sample.grid_ns) / NS_PER_MS if sample else None,
        last_trade_id=trades.ledger.last,
        trades_stored=trades.stored_count,
        trades_missing=sum(gap.missing_count - gap.repaired_count for gap in trades.open_gaps),
        samples_written=books.written_count,
        samples_withheld=books.withheld_count,
        crossed_for_s=0.0 if crossed_ns is None else max(0, now_ns - crossed_ns) / NS_PER_S,
        bins=bins,
    )


def _connection(lane: Lane, now_ns: int) -> ConnectionStatus:
    counts = lane.counts
    return ConnectionStatus(
        lane=lane.plan.lane,
        venue=lane.plan.venue,
        products=list(lane.plan.subscription.products),
        is_live=lane.is_live,
        silent_ms=max(0, now_ns - lane.heard_ns) / NS_PER_MS if lane.heard_ns else 0.0,
        frames_received=counts.received,
        frames_applied=counts.applied,
        frames_control=counts.control,
        frames_duplicate=counts.duplicate,
        frames_undecodable=counts.undecodable,
        frames_lost=counts.lost,
        frames_residue=counts.residue,
        skipped=dict(lane.oddities),
    )


def _lateness(counts: list[int]) -> Lateness:
    """``counts[n]`` samples were at least 2^(n-1) and less than 2^n times 1,024 ns late; the upper bound is given."""
    total = sum(counts)

    def quantile(share: float) -> float:
        seen = 0
        for power, count in enumerate(counts):
            seen += count
            if seen >= share * total:
                return float((1 << power) * 1024 / NS_PER_MS)
        return 0.0

    most = max((power for power, count in enumerate(counts) if count), default=0)
    if not total:
        return Lateness(0.0, 0.0, 0.0)
    return Lateness(quantile(0.5), quantile(0.99), (1 << most) * 1024 / NS_PER_MS)
