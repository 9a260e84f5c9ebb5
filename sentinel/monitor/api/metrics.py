"""The status as Prometheus metrics: every dropped or skipped thing has a counter."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from sentinel.monitor.alerts import Alert
from sentinel.monitor.status import Status, expected

FRAMES = ("received", "applied", "control", "duplicate", "undecodable", "unasked", "lost")


class Metrics:
    """A Prometheus collector that reads the status when it is scraped."""

    def __init__(self, read: Callable[[], Status], alerts: Callable[[], list[Alert]]) -> None:
        self._read = read
        self._alerts = alerts
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What prometheus-client asks for."""
        status = self._read()
        yield GaugeMetricFamily("sentinel_uptime_seconds", "since the collector started", status.uptime_s)
        yield CounterMetricFamily("sentinel_lines_stored", "lines committed to the journal", status.lines_stored)
        yield GaugeMetricFamily(
            "sentinel_trades_to_repair", "ids still to be asked for by REST", status.trades_to_repair
        )
        yield GaugeMetricFamily("sentinel_journal_bytes", "size of the journal", status.journal_bytes)
        yield GaugeMetricFamily("sentinel_disk_free_bytes", "free in the data directory", status.disk_free_bytes)
        yield GaugeMetricFamily(
            "sentinel_clock_step_seconds", "last step of the wall clock", status.clock_step_ms / 1000
        )
        yield from _lateness(status)
        yield from _products(status)
        yield from _connections(status)
        yield from _sinks(status)
        yield from _object_store(status)
        yield from _parts(status)
        yield from _cluster(status)
        labels = ["kind", "about", "exchange"]
        raised = GaugeMetricFamily("sentinel_alert", "1 while an alert is raised, 0 once acknowledged", labels=labels)
        for alert in self._alerts():
            raised.add_metric([alert.kind, alert.about, alert.exchange], float(alert.acknowledged_ns is None))
        yield raised


def _lateness(status: Status) -> Iterator[Metric]:
    lateness = GaugeMetricFamily(
        "sentinel_sample_lateness_seconds", "from a grid instant to its proof, since the start", labels=["quantile"]
    )
    for name, value in (
        ("0.5", status.lateness.p50_ms),
        ("0.99", status.lateness.p99_ms),
        ("1", status.lateness.most_ms),
    ):
        lateness.add_metric([name], value / 1000)
    yield lateness


def _products(status: Status) -> Iterator[Metric]:
    labels = ["exchange", "symbol"]
    proved = GaugeMetricFamily("sentinel_book_proved", "1 while the book is proved", labels=labels)
    spread = GaugeMetricFamily("sentinel_spread_bps", "of the newest sample", labels=labels)
    gaps = GaugeMetricFamily("sentinel_gaps_open", "gaps that are open", labels=[*labels, "channel"])
    missing = GaugeMetricFamily("sentinel_trades_missing", "ids known to be missing", labels=labels)
    trades = CounterMetricFamily("sentinel_trades_stored", "trades stored since the start", labels=labels)
    written = CounterMetricFamily("sentinel_samples_written", "samples written since the start", labels=labels)
    due = expected(status)
    withheld = CounterMetricFamily("sentinel_samples_withheld", "samples withheld since the start", labels=labels)
    for product in status.products:
        name = list(product.market)
        if not product.may_be_silent:  # else whoever watches it would raise an alarm for ever
            proved.add_metric(name, float(product.is_proved))
        if product.spread_bps is not None:
            spread.add_metric(name, product.spread_bps)
        for channel in ("book", "trades"):
            count = sum((gap.market, gap.channel) == (product.market, channel) for gap in due.gaps)
            gaps.add_metric([*name, channel], count)
        missing.add_metric(name, product.trades_missing)
        trades.add_metric(name, product.trades_stored)
        written.add_metric(name, product.samples_written)
        withheld.add_metric(name, product.samples_withheld)
    yield from (proved, spread, gaps, missing, trades, written, withheld)


def _connections(status: Status) -> Iterator[Metric]:
    labels = ["lane", "exchange", "venue"]
    live = GaugeMetricFamily("sentinel_connection_live", "1 while live data comes", labels=labels)
    silent = GaugeMetricFamily("sentinel_connection_silent_seconds", "since the last frame", labels=labels)
    frames = CounterMetricFamily("sentinel_frames", "frames by what became of them", labels=[*labels, "outcome"])
    skipped = CounterMetricFamily(
        "sentinel_messages_skipped",
        "messages of unknown kinds, and records that nobody asked for or can use",
        labels=[*labels, "kind"],
    )
    for line in status.connections:
        name = [str(line.lane), line.exchange, line.venue]
        live.add_metric(name, float(line.is_live))
        silent.add_metric(name, line.silent_ms / 1000)
        for outcome in FRAMES:
            frames.add_metric([*name, outcome], getattr(line, f"frames_{outcome}"))
        for kind, count in line.skipped.items():
            skipped.add_metric([*name, kind], count)
    yield from (live, silent, frames, skipped)


def _sinks(status: Status) -> Iterator[Metric]:
    backlog = GaugeMetricFamily("sentinel_sink_backlog_lines", "lines not delivered yet", labels=["sink"])
    behind = GaugeMetricFamily("sentinel_sink_behind_seconds", "age of the oldest line that waits", labels=["sink"])
    by_design = GaugeMetricFamily("sentinel_sink_by_design_seconds", "how old it may be by design", labels=["sink"])
    delivered = CounterMetricFamily("sentinel_sink_lines_delivered", "since the start", labels=["sink"])
    aside = CounterMetricFamily("sentinel_sink_lines_set_aside", "refused for good", labels=["sink"])
    for sink in status.sinks:
        backlog.add_metric([sink.name], sink.backlog_lines)
        behind.add_metric([sink.name], sink.behind_s)
        by_design.add_metric([sink.name], sink.by_design_s)
        delivered.add_metric([sink.name], sink.lines_delivered)
        aside.add_metric([sink.name], sink.lines_set_aside)
    yield from (backlog, behind, by_design, delivered, aside)


def _object_store(status: Status) -> Iterator[Metric]:
    store = status.object_store
    if store is None:
        return
    is_away = store.state != "delivering"
    yield GaugeMetricFamily("sentinel_object_store_away", "1 while it does not take the archive", int(is_away))
    yield GaugeMetricFamily("sentinel_object_store_folders_waiting", "days not stored yet", store.folders_waiting)
    yield CounterMetricFamily("sentinel_object_store_files", "stored since the start", store.files_stored)
    yield CounterMetricFamily("sentinel_object_store_bytes", "stored since the start", store.bytes_stored)


def _parts(status: Status) -> Iterator[Metric]:
    labels = ["part"]
    sound = GaugeMetricFamily("sentinel_part_sound", "1 unless the part has failed and not recovered", labels=labels)
    failures = CounterMetricFamily("sentinel_part_failures", "since the start", labels=labels)
    for part in status.parts:
        sound.add_metric([part.name], float(part.state != "failed"))
        failures.add_metric([part.name], part.failures)
    yield from (sound, failures)


def _cluster(status: Status) -> Iterator[Metric]:
    cluster = status.cluster
    if cluster is None:
        return
    yield GaugeMetricFamily("sentinel_cluster_inside", "1 while the collector has a lease", int(cluster.is_inside))
    yield GaugeMetricFamily("sentinel_cluster_members", "with a lease, at the last look", len(cluster.members))
    yield GaugeMetricFamily("sentinel_cluster_markets", "collected here", cluster.markets)
    yield GaugeMetricFamily("sentinel_cluster_uncovered", "markets without a proved book", len(cluster.uncovered))
    yield CounterMetricFamily("sentinel_cluster_markets_taken", "since the start", cluster.taken)
    yield CounterMetricFamily("sentinel_cluster_markets_handed", "since the start", cluster.handed)
