"""The status as Prometheus metrics: every dropped or skipped thing has a counter.

Written by hand in the text format: 400 markets are thousands of lines, and while a client library's objects are made of
each of them, no frame is read.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Literal

from msgspec import Struct
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from sentinel.monitor.alerts import Alert
from sentinel.monitor.distributions import Distribution
from sentinel.monitor.status import Status, expected

OUTCOMES = ("applied", "control", "duplicate", "undecodable", "unasked", "lost")
SINK_STATES = ("delivering", "waiting", "barred")


class Family(Struct, frozen=True):
    """One metric, as Prometheus knows it. ``help`` says what it is, also in docs/prometheus.md."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


VENUE = ("exchange",)
MARKET = ("exchange", "symbol")
LINE = ("exchange", "lane", "venue")

FAMILIES = (
    Family("sentinel_build_info", "gauge", "Always 1; what runs.", ("collector", "native", "python", "version")),
    Family("sentinel_uptime_seconds", "gauge", "Since the collector started."),
    Family("sentinel_alert", "gauge", "1 while it is raised, 0 once acknowledged.", ("about", "exchange", "kind")),
    Family("sentinel_lines_stored_total", "counter", "Lines committed to the journal."),
    Family("sentinel_lines_stored_age_seconds", "gauge", "Since a line last reached the journal."),
    Family("sentinel_journal_bytes", "gauge", "Size of the journal."),
    Family("sentinel_disk_free_bytes", "gauge", "Free in the data directory."),
    Family("sentinel_dead_letters", "gauge", "Lines that stores refused for good and that are kept in the journal."),
    Family("sentinel_clock_step_seconds", "gauge", "Last step of the wall clock; negative if it was put back."),
    Family("sentinel_loop_lag_seconds", "histogram", "By which the collector's own clockwork woke up late."),
    Family("sentinel_frame_handling_seconds", "histogram", "From the socket into the book; a sample of the frames."),
    Family("sentinel_sample_lateness_seconds", "histogram", "From a grid instant to the frame that proved it.", VENUE),
    Family("sentinel_trade_delay_seconds", "histogram", "From the venue's time of a trade to its receipt.", VENUE),
    Family("sentinel_book_proved", "gauge", "1 while the book is proved; absent while it cannot be.", MARKET),
    Family("sentinel_spread_bps", "gauge", "Spread of the newest sample, in basis points of mid.", MARKET),
    Family("sentinel_sample_age_seconds", "gauge", "Age of the newest sample.", MARKET),
    Family("sentinel_book_crossed_seconds", "gauge", "For how long the book has been crossed; 0 if it is not.", MARKET),
    Family("sentinel_samples_written_total", "counter", "Samples written.", MARKET),
    Family("sentinel_samples_withheld_total", "counter", "Samples withheld, as the book was not proved.", MARKET),
    Family("sentinel_trades_stored_total", "counter", "Trades stored, those repaired among them.", MARKET),
    Family("sentinel_trades_repaired_total", "counter", "Missing trades that REST had.", MARKET),
    Family("sentinel_trades_missing", "gauge", "Trade ids known to be missing and still asked for.", MARKET),
    Family("sentinel_trades_given_up", "gauge", "Trade ids known to be missing and not asked for any more.", MARKET),
    Family("sentinel_trade_conflicts_total", "counter", "Trades that two sources told differently.", MARKET),
    Family("sentinel_trades_to_repair", "gauge", "Trade ids that are waiting to be asked for by REST."),
    Family("sentinel_gaps_open", "gauge", "Gaps that are open.", ("channel", *MARKET)),
    Family("sentinel_rest_held_seconds", "gauge", "For how long a venue wants no request by REST.", VENUE),
    Family("sentinel_connection_live", "gauge", "1 while live data comes.", LINE),
    Family("sentinel_connection_silent_seconds", "gauge", "Since the last frame.", LINE),
    Family("sentinel_connection_openings_total", "counter", "Sockets opened; all but the first are reopenings.", LINE),
    Family("sentinel_frames_received_total", "counter", "Frames that came out of the socket.", LINE),
    Family("sentinel_frames_total", "counter", "What became of each frame; lost ones never came.", (*LINE, "outcome")),
    Family(
        "sentinel_messages_skipped_total", "counter",
        "Messages of unknown kinds, and records that nobody asked for or can use.", (*LINE, "kind"),
    ),
    Family("sentinel_sink_state", "gauge", "1 for the state that the sink is in, 0 for the others.", ("sink", "state")),
    Family("sentinel_sink_backlog_lines", "gauge", "Lines that are not delivered yet.", ("sink",)),
    Family("sentinel_sink_behind_seconds", "gauge", "Age of the oldest line that waits.", ("sink",)),
    Family("sentinel_sink_by_design_seconds", "gauge", "How old that line may be by design.", ("sink",)),
    Family("sentinel_sink_lines_delivered_total", "counter", "Lines delivered.", ("sink",)),
    Family("sentinel_sink_lines_set_aside_total", "counter", "Lines that the store refused for good.", ("sink",)),
    Family("sentinel_sink_errors_total", "counter", "Deliveries that failed and were tried again.", ("sink",)),
    Family("sentinel_object_store_away", "gauge", "1 while the object store does not take the archive."),
    Family("sentinel_object_store_folders_waiting", "gauge", "Days of a market that are not stored yet."),
    Family("sentinel_object_store_files_total", "counter", "Files stored."),
    Family("sentinel_object_store_bytes_total", "counter", "Bytes stored."),
    Family("sentinel_part_sound", "gauge", "0 while a part of the collector has failed and not recovered.", ("part",)),
    Family("sentinel_part_failures_total", "counter", "Failures of a part.", ("part",)),
    Family("sentinel_cluster_inside", "gauge", "1 while the collector has a lease."),
    Family("sentinel_cluster_members", "gauge", "Members with a lease, at the last look."),
    Family("sentinel_cluster_markets", "gauge", "Markets of the cluster that are collected here."),
    Family("sentinel_cluster_uncovered", "gauge", "Markets of which no member has a proved book."),
    Family("sentinel_cluster_markets_taken_total", "counter", "Markets taken over from other members."),
    Family("sentinel_cluster_markets_handed_total", "counter", "Markets handed to other members."),
)  # fmt: skip
"""Every metric of our own, in the order in which they are shown. Counters and histograms are since the start."""


class Metrics:
    """What Prometheus scrapes. Reads the status at that moment."""

    def __init__(self, read: Callable[[], Status], alerts: Callable[[], list[Alert]]) -> None:
        self._read = read
        self._alerts = alerts
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def text(self) -> bytes:
        """The text format of Prometheus, version 0.0.4."""
        rows = Rows()
        status = self._read()
        _collector(rows, status)
        for distribution in status.distributions:
            rows.put_histogram(distribution)
        _products(rows, status)
        _connections(rows, status)
        _sinks(rows, status)
        _object_store(rows, status)
        _cluster(rows, status)
        for alert in self._alerts():
            of = _labels(about=alert.about, exchange=alert.exchange, kind=alert.kind)
            rows.put("sentinel_alert", of, alert.acknowledged_ns is None)
        return rows.text().encode() + generate_latest(self._process)


class Rows:
    """The lines of each family. ``labels`` are ready to be written, between braces, or empty."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {family.name: [] for family in FAMILIES}

    def put(self, name: str, labels: str, value: float) -> None:
        self._lines[name].append(f"{name}{labels} {float(value)!r}\n")

    def put_histogram(self, found: Distribution) -> None:
        name = f"sentinel_{found.name}_seconds"
        labels = {"exchange": found.exchange} if found.exchange else {}
        lines, of = self._lines[name], _labels(**labels)
        for bound, count in zip((*map(repr, found.bounds_s), "+Inf"), found.counts, strict=True):
            lines.append(f"{name}_bucket{_labels(**labels, le=bound)} {count}\n")
        lines += [f"{name}_count{of} {found.counts[-1]}\n", f"{name}_sum{of} {found.sum_s!r}\n"]

    def text(self) -> str:
        """A family of which there is nothing to say is left out."""
        parts = []
        for family in FAMILIES:
            if lines := self._lines[family.name]:
                parts += [f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n", *lines]
        return "".join(parts)


def _labels(**values: str) -> str:
    pairs = [f'{name}="{_escaped(value)}"' for name, value in values.items()]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _collector(rows: Rows, status: Status) -> None:
    built = _labels(
        collector=status.collector, native=str(int(status.is_native)), python=platform.python_version(),
        version=status.software.rpartition(" ")[2],
    )  # fmt: skip
    rows.put("sentinel_build_info", built, 1)
    rows.put("sentinel_uptime_seconds", "", status.uptime_s)
    rows.put("sentinel_lines_stored_total", "", status.lines_stored)
    rows.put("sentinel_lines_stored_age_seconds", "", status.stored_age_s)
    rows.put("sentinel_trades_to_repair", "", status.trades_to_repair)
    rows.put("sentinel_journal_bytes", "", status.journal_bytes)
    rows.put("sentinel_disk_free_bytes", "", status.disk_free_bytes)
    rows.put("sentinel_dead_letters", "", status.dead_letters)
    rows.put("sentinel_clock_step_seconds", "", status.clock_step_ms / 1000)
    for part in status.parts:
        of = _labels(part=part.name)
        rows.put("sentinel_part_sound", of, part.state != "failed")
        rows.put("sentinel_part_failures_total", of, part.failures)
    for held in status.rest_held:
        rows.put("sentinel_rest_held_seconds", _labels(exchange=held.exchange), (held.until_ns - status.now_ns) / 1e9)


def _products(rows: Rows, status: Status) -> None:
    opened: dict[tuple[str, str, str], int] = {}
    for gap in expected(status).gaps:
        opened[gap.channel, gap.exchange, gap.symbol] = opened.get((gap.channel, gap.exchange, gap.symbol), 0) + 1
    for product in status.products:
        exchange, symbol = product.exchange, product.symbol
        of = _labels(exchange=exchange, symbol=symbol)
        if not product.may_be_silent:  # else whoever watches it would raise an alarm for ever
            rows.put("sentinel_book_proved", of, product.is_proved)
        if product.spread_bps is not None:
            rows.put("sentinel_spread_bps", of, product.spread_bps)
        if product.sample_age_ms is not None:
            rows.put("sentinel_sample_age_seconds", of, product.sample_age_ms / 1000)
        rows.put("sentinel_book_crossed_seconds", of, product.crossed_for_s)
        rows.put("sentinel_samples_written_total", of, product.samples_written)
        rows.put("sentinel_samples_withheld_total", of, product.samples_withheld)
        rows.put("sentinel_trades_stored_total", of, product.trades_stored)
        rows.put("sentinel_trades_repaired_total", of, product.trades_repaired)
        rows.put("sentinel_trades_missing", of, product.trades_missing)
        rows.put("sentinel_trades_given_up", of, product.trades_given_up)
        rows.put("sentinel_trade_conflicts_total", of, product.trade_conflicts)
        for channel in ("book", "trades"):
            name = _labels(channel=channel, exchange=exchange, symbol=symbol)
            rows.put("sentinel_gaps_open", name, opened.get((channel, exchange, symbol), 0))


def _connections(rows: Rows, status: Status) -> None:
    for line in status.connections:
        exchange, lane, venue = line.exchange, str(line.lane), line.venue
        of = _labels(exchange=exchange, lane=lane, venue=venue)
        rows.put("sentinel_connection_live", of, line.is_live)
        rows.put("sentinel_connection_silent_seconds", of, line.silent_ms / 1000)
        rows.put("sentinel_connection_openings_total", of, line.openings)
        rows.put("sentinel_frames_received_total", of, line.frames_received)
        for outcome in OUTCOMES:
            name = _labels(exchange=exchange, lane=lane, venue=venue, outcome=outcome)
            rows.put("sentinel_frames_total", name, getattr(line, f"frames_{outcome}"))
        for kind, count in line.skipped.items():
            name = _labels(exchange=exchange, lane=lane, venue=venue, kind=kind)
            rows.put("sentinel_messages_skipped_total", name, count)


def _sinks(rows: Rows, status: Status) -> None:
    for sink in status.sinks:
        of = _labels(sink=sink.name)
        for state in SINK_STATES:
            rows.put("sentinel_sink_state", _labels(sink=sink.name, state=state), sink.state == state)
        rows.put("sentinel_sink_backlog_lines", of, sink.backlog_lines)
        rows.put("sentinel_sink_behind_seconds", of, sink.behind_s)
        rows.put("sentinel_sink_by_design_seconds", of, sink.by_design_s)
        rows.put("sentinel_sink_lines_delivered_total", of, sink.lines_delivered)
        rows.put("sentinel_sink_lines_set_aside_total", of, sink.lines_set_aside)
        rows.put("sentinel_sink_errors_total", of, sink.errors)


def _object_store(rows: Rows, status: Status) -> None:
    store = status.object_store
    if store is None:
        return
    rows.put("sentinel_object_store_away", "", store.state != "delivering")
    rows.put("sentinel_object_store_folders_waiting", "", store.folders_waiting)
    rows.put("sentinel_object_store_files_total", "", store.files_stored)
    rows.put("sentinel_object_store_bytes_total", "", store.bytes_stored)


def _cluster(rows: Rows, status: Status) -> None:
    cluster = status.cluster
    if cluster is None:
        return
    rows.put("sentinel_cluster_inside", "", cluster.is_inside)
    rows.put("sentinel_cluster_members", "", len(cluster.members))
    rows.put("sentinel_cluster_markets", "", cluster.markets)
    rows.put("sentinel_cluster_uncovered", "", len(cluster.uncovered))
    rows.put("sentinel_cluster_markets_taken_total", "", cluster.taken)
    rows.put("sentinel_cluster_markets_handed_total", "", cluster.handed)
