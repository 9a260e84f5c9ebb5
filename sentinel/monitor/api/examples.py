"""What the API answers, by example: made of the structs that it answers with, so an example cannot be out of date."""

from __future__ import annotations

from feeds.catalogue import DEFAULT_EXCHANGE, VENUES
from sentinel.collector.parts import PartStatus
from sentinel.gap_report.report import ProductReport, Report, Samples, ToldGap, Trades, Window
from sentinel.monitor.alerts import Alert
from sentinel.monitor.distributions import Distribution
from sentinel.monitor.history import History, LargeTrade, LatenessPoint, SampleColumn, TradeColumn
from sentinel.monitor.monitor import Depth
from sentinel.monitor.status import BinStatus, ConnectionStatus, GapStatus, ProductStatus, SinkStatus, Status
from sentinel.timing.histogram import Quantiles

EXCHANGE = DEFAULT_EXCHANGE
FEED = VENUES[EXCHANGE].feeds[0].venue
NOW_NS = 1_795_445_772_500_000_000
GAP_NS = 1_795_445_771_909_159_491
LATENESS = Quantiles(p50_ms=48.2, p99_ms=104.9, most_ms=109.1)

STATUS = Status(
    software="sentinel-ws 0.1.0",
    collector="here",
    now_ns=NOW_NS,
    uptime_s=61.5,
    lines_stored=9_200,
    trades_to_repair=1,
    clock_step_ms=0,
    lateness=LATENESS,
    handling=Quantiles(p50_ms=0.05, p99_ms=0.4, most_ms=1.1),
    loop_lag=Quantiles(p50_ms=0.1, p99_ms=0.9, most_ms=2.1),
    journal_bytes=1_048_576,
    disk_free_bytes=512_000_000_000,
    dead_letters=0,
    products=[
        ProductStatus(
            symbol="BTC-USD", exchange=EXCHANGE, integrity="sequence", is_proved=True, bid=65083.65, ask=65083.66,
            spread_bps=0.0015, sample_age_ms=77.4, last_trade_id=475_582_979, last_trade_ns=NOW_NS - 120_000_000,
            trades_stored=131, trades_missing=1, trade_conflicts=0, samples_written=598, samples_withheld=2,
            recent_written=598, recent_withheld=2, lateness=LATENESS, crossed_for_s=0.0,
            bins=[BinStatus("1", 4.2, 3.9), BinStatus("10", 41.7, 38.2)], trades_repaired=1,
        )
    ],
    connections=[
        ConnectionStatus(
            lane=0, venue=FEED, products=["BTC-USD"], is_live=True, silent_ms=20.4, openings=1,
            frames_per_s=16.2, frames_received=1012, frames_applied=950, frames_control=62, frames_duplicate=0,
            frames_undecodable=0, frames_lost=1, frames_residue=0, skipped={},
        )
    ],
    sinks=[SinkStatus("influx", "delivering", 12, 900, 0.4, 9_188, 0, None)],
    gaps=[GapStatus("BTC-USD", "trades", "trades", GAP_NS, 0.6, 1, 475_582_960, 475_582_960)],
    parts=[PartStatus("archive", "running", 0, None)],
    stored_age_s=0.3,
    is_native=True,
    distributions=[Distribution("sample_lateness", EXCHANGE, (0.05, 0.1, 0.25), [310, 590, 598, 598], 29.4)],
)  # fmt: skip

ALERTS = [Alert("sink_barred", "influx", "401: unauthorized access", NOW_NS - 9_000_000_000)]

WINDOW = Window(NOW_NS // 60_000_000_000 * 60_000_000_000, NOW_NS)
REPORT = Report(
    window=WINDOW,
    products=[
        ProductReport(
            exchange=EXCHANGE, symbol="BTC-USD", integrity="sequence", samples=Samples(125, 123, 2),
            trades=Trades(475_582_849, 475_582_979, 131, 0, 1), book_verified=0.984, book_clean=0.984,
            trade_coverage=1.0, window=WINDOW, is_complete=False,
            gaps=[
                ToldGap(
                    channel="book", cause="sequence", missing_count=1, repaired_count=0, start_seq=38, end_seq=38,
                    start_ns=GAP_NS, end_ns=GAP_NS + 106_886_876,
                )
            ],
        )
    ],
    verdict="incomplete",
    asked=WINDOW,
    collected_only=False,
)  # fmt: skip

DEPTH = Depth(
    symbol="BTC-USD", is_proved=True, changed_ns=NOW_NS - 77_000_000,
    bids=[(65083.65, 0.43848169), (65083.5, 0.1)], asks=[(65083.66, 0.94434507), (65083.7, 0.2)], exchange=EXCHANGE,
)  # fmt: skip

HISTORY = History(
    exchange=EXCHANGE, symbol="BTC-USD", start_ns=NOW_NS - 900_000_000_000, end_ns=NOW_NS, step_ns=5_000_000_000,
    samples_read_ns=NOW_NS - 900_000_000_000, trades_read_ns=NOW_NS - 900_000_000_000, edges_bps=["1", "10"],
    samples=[SampleColumn(NOW_NS - 2_500_000_000, 65083.65, 65083.66, 0.0015, 77.4, [4.2, 41.7], [3.9, 38.2])],
    trades=[
        TradeColumn(
            time_ns=NOW_NS - 2_500_000_000, count=3, buy_volume=0.02, sell_volume=0.01, low=65083.65, high=65083.7,
            vwap=65083.67, repaired=0, latency_p50_ms=48.2, latency_most_ms=104.9,
            largest=[LargeTrade(NOW_NS - 2_100_000_000, 65083.7, 0.02, "buy", 475_582_979, is_repaired=False)],
        )
    ],
    lateness=[LatenessPoint(NOW_NS - 2_500_000_000, 48.2, 104.9)],
)  # fmt: skip

EXAMPLES: dict[str, object] = {
    "/healthz": {"status": "ok"},
    "/readyz": {"ready": False, "reasons": ["the book of BTC-USD is not proved"]},
    "/metrics": f'sentinel_book_proved{{exchange="{EXCHANGE}",symbol="BTC-USD"}} 1.0\n',
    "/sentinel/alerts": {"alerts": ALERTS},
    "/sentinel/book/{product}": DEPTH,
    "/sentinel/gaps": REPORT,
    "/sentinel/history/{market}": HISTORY,
    "/sentinel/status": STATUS,
}
"""By path: text where the answer is none of JSON."""
