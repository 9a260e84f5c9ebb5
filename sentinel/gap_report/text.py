"""The report for terminals (rich), spreadsheets (CSV) and programs (JSON)."""

from __future__ import annotations

import csv
import io

import msgspec
from rich.console import RenderableType
from rich.text import Text

from sentinel.command.tables import Sheet, rendered
from sentinel.gap_report.report import ProductReport, Report
from sentinel.gap_report.words import CAUSES, coverage, duration, length, moment, percent, scope, what

MOST_GAPS = 50
OF_GAP = ("channel", "cause", "start_seq", "end_seq", "missing_count", "repaired_count", "start_ns", "end_ns")
COLUMNS = (
    *("exchange", "symbol", "integrity", "samples_due", "samples_written", "samples_withheld", "trades"),
    *("trades_missing", "trades_repaired", "book_verified", "book_clean", "trade_coverage"),
    *(*OF_GAP, "given_up"),
    "samples_not_collected",
    "trade_proof",
)


def as_json(report: Report) -> str:
    """Exactly the object of design section 9."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def as_csv(report: Report) -> str:
    """One row for each gap, and one with an empty channel for each product's totals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for product in report.products:
        samples, trades = product.samples, product.trades
        named = [product.exchange, product.symbol, product.integrity]
        totals = [samples.due, samples.written, samples.withheld, trades.count, trades.missing, trades.repaired]
        fractions = [product.book_verified, product.book_clean, product.trade_coverage]
        writer.writerow([*named, *totals, *fractions, *[""] * 9, samples.not_collected, product.trade_proof])
        for gap in product.gaps:
            writer.writerow([*named, *[""] * 9, *(getattr(gap, name) for name in OF_GAP), bool(gap.given_up), "", ""])
    return text.getvalue()


def as_table(report: Report, *, width: int | None = None, is_terminal: bool = False) -> str:
    """Two tables: the products, and the newest gaps."""
    colour = "green" if report.verdict == "complete" else "red"
    span = f"{moment(report.window.start_ns)} to {moment(report.window.end_ns)} UTC"
    shown: list[RenderableType] = [f"[bold {colour}]{report.verdict}[/]  {span}"]
    shown += map(Text, scope(report))
    shown.append(_products(report))
    called = report.names
    gaps = sorted(
        ((gap, product) for product in report.products for gap in product.gaps), key=lambda item: item[0].start_ns
    )
    if gaps:
        columns = ("product", "channel", "cause", "from (UTC)", "length", "what")
        table = Sheet(*columns, title="\ngaps", numbers=("length",), words=("cause", "what"), is_keyed=False)
        for gap, product in gaps[-MOST_GAPS:]:
            cause = CAUSES.get(gap.cause, gap.cause)
            table.add_row(called[product.market], gap.channel, cause, moment(gap.start_ns), length(gap), what(gap))
        shown.append(table)
        if len(gaps) > MOST_GAPS:
            shown.append(f"and {len(gaps) - MOST_GAPS:,} older ones; --format csv lists all")
    return rendered(*shown, width=width, is_coloured=is_terminal)


def _products(report: Report) -> Sheet:
    of_books = ("book verified", "book clean", "samples", "withheld", "not collected")
    of_trades = ("trades", "missing", "repaired", "coverage")
    table = Sheet("product", "integrity", *of_books, *of_trades, numbers=[*of_books, *of_trades])
    called = report.names
    for product in report.products:
        table.add_row(called[product.market], product.integrity, *_figures(product))
    return table


def _figures(product: ProductReport) -> list[str]:
    samples, trades = product.samples, product.trades
    idle_ns = product.not_collected_ns
    return [
        percent(product.book_verified),
        percent(product.book_clean),
        f"{samples.due:,}",
        f"{samples.withheld:,}",
        duration(idle_ns) if idle_ns else "0",
        *(f"{value:,}" for value in (trades.count, trades.missing, trades.repaired)),
        coverage(product),
    ]
