"""What a running collector looks like at one moment, as data: for the API, the metrics, the alerts and the page."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import msgspec
from msgspec import Struct

from book.events import ProductState as MarketState
from book.native import is_native
from feeds.catalogue import DEFAULT_EXCHANGE
from feeds.market import Market
from sentinel.collector.parts import PartStatus
from sentinel.collector.service import Service
from sentinel.contract.causes import words
from sentinel.contract.gaps import Gap
from sentinel.disk.delivery import SinkStatistics, UploadStatistics
from sentinel.disk.journal import Backlog
from sentinel.disk.usage import Usage
from sentinel.exchange.connection import Connection
from sentinel.exchange.rest import RestHeld
from sentinel.monitor.distributions import Distribution, Distributions
from sentinel.monitor.last_minute import LastMinute
from sentinel.pipeline.lane import Lane
from sentinel.pipeline.product import Product
from sentinel.timing.histogram import NS_PER_MS, Quantiles
from sentinel.timing.instants import NS_PER_S
from sentinel.version import software


class GapStatus(Struct, frozen=True):
    """A gap that is open, as an operator sees it. ``missing`` counts trade ids still missing, ``words`` are the cause's
    for people."""

    symbol: str
    channel: str
    cause: str
    start_ns: int
    age_s: float
    missing: int
    start_seq: int | None
    end_seq: int | None
    exchange: str = DEFAULT_EXCHANGE
    words: str = ""

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol)


class BinStatus(Struct, frozen=True):
    """What rests within ``bps`` of mid."""

    bps: str
    bid_volume: float
    ask_volume: float


class ProductStatus(Struct, frozen=True):
    """One product. Prices are None while there has been no sample; ``sample_age_ms`` is the age of the newest one.

    Counts are since the start. ``lateness``, ``recent_written`` and ``recent_withheld`` are of the last minute: from a
    grid instant to the frame that proved it, and how many instants were written and withheld. ``is_listed`` is False
    while the venue does not have the product, so that nothing can be expected of it. ``state`` is the venue's word on
    the market: ``trading``, ``halted`` or ``delisted``. ``trades_missing`` are still asked for, ``trades_given_up`` are
    not; where ``trade_proof`` is ``none``, nobody knows of any.
    """

    symbol: str
    exchange: str
    integrity: str
    is_proved: bool
    bid: float | None
    ask: float | None
    spread_bps: float | None
    sample_age_ms: float | None
    last_trade_id: int | None
    last_trade_ns: int | None
    trades_stored: int
    trades_missing: int
    trade_conflicts: int
    samples_written: int
    samples_withheld: int
    recent_written: int
    recent_withheld: int
    lateness: Quantiles
    crossed_for_s: float
    bins: list[BinStatus]
    is_listed: bool = True
    trades_given_up: int = 0
    trade_proof: str = "ids"
    trades_repaired: int = 0
    state: MarketState = "trading"

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol)

    @property
    def may_be_silent(self) -> bool:
        """Whether nothing can be expected of it: it is not listed, or halted and without a book."""
        return not self.is_listed or (self.state != "trading" and not self.is_proved)


class ConnectionStatus(Struct, frozen=True):
    """One planned connection. ``frames_per_s`` is of the last minute, everything else since the start.

    ``silent_ms`` is since the last frame, or since the first attempt to open it; ``last_error`` is why it is not open,
    or was lost last. ``behind_s`` is for how long more has been waiting in its socket than is read at once.
    """

    lane: int
    venue: str
    products: list[str]
    is_live: bool
    silent_ms: float
    openings: int
    frames_per_s: float
    frames_received: int
    frames_applied: int
    frames_control: int
    frames_duplicate: int
    frames_undecodable: int
    frames_lost: int
    frames_residue: int
    skipped: dict[str, int]
    frames_unasked: int = 0
    exchange: str = DEFAULT_EXCHANGE
    last_error: str | None = None
    behind_s: float = 0.0

    @property
    def markets(self) -> set[Market]:
        return {Market(self.exchange, symbol) for symbol in self.products}


class SinkStatus(Struct, frozen=True):
    """A consumer of the journal. ``state`` is ``delivering``, ``waiting`` or ``barred``.

    ``behind_s`` is how long the oldest line that waits for it has been in the journal, ``by_design_s`` how long it may
    be; ``delivered`` and ``set_aside`` since the start, ``set_aside_age_s`` how long ago the last of these.
    ``last_error`` is why it waits, or last waited, ``errors`` how often something had to be tried again.
    """

    name: str
    state: str
    backlog_lines: int
    backlog_bytes: int
    behind_s: float
    lines_delivered: int
    lines_set_aside: int
    last_error: str | None
    by_design_s: float = 0.0
    set_aside_age_s: float = 0.0
    errors: int = 0


class ObjectStoreStatus(Struct, frozen=True):
    """Where the archive goes. ``state`` is ``delivering``, ``waiting`` while the store is away, or ``barred`` if it has
    another collector's data there; then ``last_error`` says why.

    ``folders_waiting``, days of a market, have something that is not stored yet; files and bytes are since the start.
    """

    url: str
    state: str
    folders_waiting: int
    files_stored: int
    bytes_stored: int
    last_error: str | None


class UncoveredMarket(Struct, frozen=True):
    """A market of which no member of the cluster has had a proved book for ``age_s``."""

    exchange: str
    symbol: str
    age_s: float

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol)


class ClusterStatus(Struct, frozen=True):
    """How this collector is as a member: whether it has a lease (``is_inside``), for how long it has or has not, and
    why not (``reason``). ``members`` are those that it last saw, ``markets`` how many of all it collects, ``taken`` and
    ``handed`` counts since the start."""

    name: str
    is_inside: bool
    since_s: float
    reason: str
    members: list[str]
    markets: int
    taken: int
    handed: int
    uncovered: list[UncoveredMarket] = []


class Status(Struct, frozen=True):
    """Everything at one moment. ``cluster`` is there if the collector is to be a member of one.

    ``stored_age_s`` is how long no line has reached the journal. ``is_native``: the C extension runs. ``rest_held`` are
    the venues that want us to ask nothing for a while.

    ``distributions`` are since the start. Of the last minute: ``lateness`` of all samples, ``handling`` of frames from
    the socket into the book (one in some is timed), ``loop_lag``, by which the collector's own clockwork was late.
    """

    software: str
    collector: str
    now_ns: int
    uptime_s: float
    lines_stored: int
    trades_to_repair: int
    clock_step_ms: int
    lateness: Quantiles
    handling: Quantiles
    loop_lag: Quantiles
    journal_bytes: int
    disk_free_bytes: int
    dead_letters: int
    products: list[ProductStatus]
    connections: list[ConnectionStatus]
    sinks: list[SinkStatus]
    gaps: list[GapStatus]
    parts: list[PartStatus] = []
    stored_age_s: float = 0.0
    is_native: bool = False
    rest_held: list[RestHeld] = []
    object_store: ObjectStoreStatus | None = None
    cluster: ClusterStatus | None = None
    distributions: list[Distribution] = []


def expected(status: Status) -> Status:
    """The part of it that can be well: without products of which nothing can be expected, their gaps, and connections
    only for them."""
    silent = {product.market for product in status.products if product.may_be_silent}
    if not silent:
        return status
    return msgspec.structs.replace(
        status,
        products=[product for product in status.products if not product.may_be_silent],
        connections=[line for line in status.connections if not silent.issuperset(line.markets)],
        gaps=[gap for gap in status.gaps if gap.market not in silent],
    )


def of_exchanges(status: Status, exchanges: Collection[str]) -> Status:
    """The part of it that is of these exchanges; what is of none stays."""
    return msgspec.structs.replace(
        status,
        products=[product for product in status.products if product.exchange in exchanges],
        connections=[line for line in status.connections if line.exchange in exchanges],
        gaps=[gap for gap in status.gaps if gap.exchange in exchanges],
    )


class StatusReader:
    """Makes a ``Status`` on request. ``storage`` is what is known of the disk, ``delivery`` each sink of this run,
    ``upload`` what the object store has, if there is one, ``cluster`` how we are a member at a time, if we are."""

    def __init__(
        self,
        service: Service,
        collector: str,
        now_ns: Callable[[], int],
        storage: Callable[[], Usage],
        delivery: Mapping[str, SinkStatistics],
        rest_held: Callable[[], list[RestHeld]] = list,
        upload: UploadStatistics | None = None,
        cluster: Callable[[int], ClusterStatus | None] = lambda now_ns: None,
    ) -> None:
        self._cluster = cluster
        self._rest_held = rest_held
        self._service = service
        self._collector = collector
        self._now_ns = now_ns
        self._storage = storage
        self._delivery = delivery
        self._upload = upload
        self._started_ns = now_ns()
        self._recent = LastMinute(service, self._started_ns)
        self._distributions = Distributions(service)
        self._software = software()
        self._stored_count, self._stored_ns = 0, self._started_ns

    def read(self) -> Status:
        """The present moment. Cost: some microseconds a product; it never waits."""
        now_ns, service, recent, storage = self._now_ns(), self._service, self._recent, self._storage()
        recent.look(now_ns)
        if service.committer.lines_stored != self._stored_count:
            self._stored_count, self._stored_ns = service.committer.lines_stored, now_ns
        products, unlisted = service.pipeline.products.values(), service.unlisted()
        lanes, lines = service.pipeline.lanes, {line.plan.lane: line for line in service.connections}
        return Status(
            software=self._software,
            collector=self._collector,
            now_ns=now_ns,
            uptime_s=(now_ns - self._started_ns - service.intake.clock.moved_ns) / NS_PER_S,
            lines_stored=service.committer.lines_stored,
            trades_to_repair=service.repairer.outstanding,
            clock_step_ms=service.pipeline.clock_step_ms,
            lateness=recent.all_lateness,
            handling=recent.handling,
            loop_lag=recent.loop_lag,
            journal_bytes=storage.journal_bytes,
            disk_free_bytes=storage.disk_free_bytes,
            dead_letters=storage.dead_letter_count,
            products=[
                _product(product, recent, at, now_ns, is_listed=product.market not in unlisted)
                for at, product in enumerate(products)
                if product.is_ours
            ],
            connections=[
                _connection(lane, lines.get(at), service.intake.opened_counts[at], recent.frames_per_s[at], now_ns)
                for at, lane in enumerate(lanes)
                if lane.plan.markets
            ],
            sinks=[_sink(name, storage, stats, now_ns) for name, stats in sorted(self._delivery.items())],
            gaps=[_gap(product.market, gap, now_ns) for product in products for gap in _open_gaps(product)],
            parts=service.part_statuses(),
            stored_age_s=max(0, now_ns - self._stored_ns) / NS_PER_S,
            is_native=is_native,
            rest_held=[held for held in self._rest_held() if held.until_ns > now_ns],
            object_store=None if self._upload is None else _object_store(self._upload),
            cluster=self._cluster(now_ns),
            distributions=self._distributions.read(),
        )


def _sink(name: str, storage: Usage, stats: SinkStatistics, now_ns: int) -> SinkStatus:
    backlog = storage.backlogs.get(name, Backlog(0, 0, 0, None))
    return SinkStatus(
        name=name,
        state=stats.state,
        backlog_lines=backlog.line_count,
        backlog_bytes=backlog.raw_bytes,
        behind_s=storage.behind_s.get(name, 0.0),
        lines_delivered=stats.lines_delivered,
        lines_set_aside=stats.lines_set_aside,
        last_error=stats.last_error,
        by_design_s=stats.by_design_s,
        set_aside_age_s=max(0, now_ns - stats.set_aside_ns) / NS_PER_S if stats.lines_set_aside else 0.0,
        errors=stats.errors,
    )


def _object_store(stats: UploadStatistics) -> ObjectStoreStatus:
    return ObjectStoreStatus(**msgspec.structs.asdict(stats))


def _open_gaps(product: Product) -> list[Gap]:
    return [*product.books.gaps, *product.trades.open_gaps]


def _gap(market: Market, gap: Gap, now_ns: int) -> GapStatus:
    return GapStatus(
        symbol=market.symbol,
        exchange=market.exchange,
        channel=gap.channel,
        cause=gap.cause,
        start_ns=gap.start_ns,
        age_s=max(0, now_ns - gap.start_ns) / NS_PER_S,
        missing=gap.missing_count - gap.repaired_count if gap.channel == "trades" else 0,
        start_seq=gap.start_seq,
        end_seq=gap.end_seq,
        words=words(gap.cause),
    )


def _product(product: Product, recent: LastMinute, at: int, now_ns: int, *, is_listed: bool) -> ProductStatus:
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
        symbol=product.market.symbol,
        exchange=product.market.exchange,
        integrity=product.integrity,
        is_proved=books.is_proved,
        bid=top.bid if top else None,
        ask=top.ask if top else None,
        spread_bps=sample.measure.spread_bps if sample else None,
        sample_age_ms=(now_ns - sample.grid_ns) / NS_PER_MS if sample else None,
        last_trade_id=trades.ledger.last,
        last_trade_ns=trades.newest_ns or None,
        trades_stored=trades.stored_count,
        trades_missing=sum(gap.missing_count - gap.repaired_count for gap in trades.open_gaps),
        trade_conflicts=trades.conflicts,
        samples_written=books.written_count,
        samples_withheld=books.withheld_count,
        recent_written=recent.written[at],
        recent_withheld=recent.withheld[at],
        lateness=recent.lateness[at],
        crossed_for_s=0.0 if crossed_ns is None else max(0, now_ns - crossed_ns) / NS_PER_S,
        bins=bins,
        is_listed=is_listed,
        trades_given_up=trades.given_up_count,
        trade_proof=product.trade_proof,
        trades_repaired=trades.repaired_count,
        state=product.state_at_venue if is_listed else "delisted",
    )


def _connection(
    lane: Lane, connection: Connection | None, openings: int, frames_per_s: float, now_ns: int
) -> ConnectionStatus:
    counts = lane.counts
    heard_ns = lane.heard_ns or (0 if connection is None else connection.tried_ns)
    behind_ns = None if connection is None else connection.behind_ns
    return ConnectionStatus(
        lane=lane.plan.lane,
        venue=lane.plan.venue,
        products=list(lane.plan.subscription.products),
        is_live=lane.is_live,
        silent_ms=max(0, now_ns - heard_ns) / NS_PER_MS if heard_ns else 0.0,
        openings=openings,
        frames_per_s=frames_per_s,
        frames_received=counts.received,
        frames_applied=counts.applied,
        frames_control=counts.control,
        frames_duplicate=counts.duplicate,
        frames_undecodable=counts.undecodable,
        frames_lost=counts.lost,
        frames_unasked=counts.unasked,
        frames_residue=counts.residue,
        skipped=dict(lane.skipped.counts),
        exchange=lane.plan.exchange,
        last_error=None if connection is None else connection.last_error,
        behind_s=0.0 if behind_ns is None else max(0, now_ns - behind_ns) / NS_PER_S,
    )
