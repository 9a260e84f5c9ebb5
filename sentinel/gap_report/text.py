"""The report for terminals (rich), spreadsheets (CSV) and programs (JSON)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.text import Text

from sentinel.command.foreign import as_cells
from sentinel.command.tables import Sheet, rendered
from sentinel.contract.causes import words
from sentinel.gap_report.folding import Line, as_lines
from sentinel.gap_report.report import ProductReport, Report
from sentinel.gap_report.sums import CauseSum
from sentinel.gap_report.words import count, coverage, duration, length, moment, percent, scope, what, window_words
from sentinel.timing.instants import format_ns

MOST_LINES = 50
"""Of gaps, or of causes, that a table shows."""

OF_GAP = ("start_seq", "end_seq", "missing_count", "repaired_count", "start_ns", "end_ns")
OF_CAUSE = ("channel", "cause", "words", "gaps", "duration_ns", "samples", "trades", "repaired")
MARKET = ("exchange", "symbol")


def as_json(report: Report) -> str:
    """Exactly the object of design section 9."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def as_csv(report: Report, kind: str = "gaps") -> str:
    """A header, and rows of one ``kind``: ``gaps``, ``causes`` or ``products``, in the order of the report."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header, rows = CSV[kind]
    writer.writerow([*MARKET, *header])
    for product in report.products:
        writer.writerows(as_cells([product.exchange, product.symbol, *row]) for row in rows(product))
    return text.getvalue()


def _gap_rows(product: ProductReport) -> Iterator[list[Any]]:
    for gap in product.gaps:
        facts = [getattr(gap, name) for name in OF_GAP]
        times = ["" if ns is None else format_ns(ns) for ns in (gap.start_ns, gap.end_ns)]
        yield [gap.channel, gap.cause, *facts, str(bool(gap.given_up)).lower(), gap.words, *times]


def _cause_rows(product: ProductReport) -> Iterator[list[Any]]:
    return ([getattr(cause, name) for name in OF_CAUSE] for cause in product.causes)


def _product_row(product: ProductReport) -> Iterator[list[Any]]:
    samples, trades = product.samples, product.trades
    yield [
        product.integrity,
        *(samples.due, samples.written, samples.withheld, samples.not_collected),
        *(trades.count, trades.missing, trades.repaired, trades.first_id, trades.last_id),
        *(product.book_verified, product.book_clean, product.trade_coverage, product.trade_proof),
        str(product.is_complete).lower(),
        *(product.window.start_ns, product.window.end_ns),
    ]


CSV: dict[str, tuple[tuple[str, ...], Callable[[ProductReport], Iterable[list[Any]]]]] = {
    "gaps": (("channel", "cause", *OF_GAP, "given_up", "words", "start", "end"), _gap_rows),
    "causes": (OF_CAUSE, _cause_rows),
    "products": (
        (
            *("integrity", "samples_due", "samples_written", "samples_withheld", "samples_not_collected"),
            *("trades", "trades_missing", "trades_repaired", "first_trade_id", "last_trade_id"),
            *("book_verified", "book_clean", "trade_coverage", "trade_proof", "is_complete", "start_ns", "end_ns"),
        ),
        _product_row,
    ),
}
"""The columns of each kind of row, and the rows of a product."""


def as_table(report: Report, *, width: int | None = None, is_terminal: bool = False, shows_all: bool = False) -> str:
    """For people: the products, what each cause cost, and the gaps in order of time, small ones of one cause as one.

    ``shows_all`` gives every gap a line of its own.
    """
    colour = "green" if report.verdict == "complete" else "red"
    head = Text.assemble((report.verdict, f"bold {colour}"), f"  {window_words(report.window)}")
    shown: list[RenderableType] = [head]
    shown += map(Text, scope(report))
    shown += ["", _products(report)]
    if report.causes:
        shown.append(_causes(report, shows_all=shows_all))
    lines = as_lines(report.products, folds=not shows_all)
    if lines:
        newest = lines if shows_all else lines[-MOST_LINES:]
        shown.append(_gaps(report, newest))
        if len(newest) < len(lines):
            shown.append(Text(f"and {len(lines) - len(newest):,} older ones; --all shows every gap"))
        elif any(len(line.gaps) > 1 for line in lines):
            shown.append(Text("short gaps of one cause are one line; --all shows every gap"))
    return rendered(*shown, width=width, is_coloured=is_terminal)


def _products(report: Report) -> Sheet:
    of_books = ("book verified", "book clean", "samples", "withheld", "not collected")
    of_trades = ("trades", "missing", "repaired", "coverage")
    table = Sheet("product", "integrity", *of_books, *of_trades, numbers=[*of_books, *of_trades])
    for product in report.products:
        figures = [*_of_book(product), *_of_trades(product)]
        table.add_row(report.names[product.market], product.integrity, *figures)
    return table


def _of_book(product: ProductReport) -> list[str]:
    samples, idle_ns = product.samples, product.not_collected_ns
    return [
        percent(product.book_verified),
        percent(product.book_clean),
        f"{samples.due:,}",
        f"{samples.withheld:,}",
        duration(idle_ns) if idle_ns else "0",
    ]


def _of_trades(product: ProductReport) -> list[str]:
    trades = product.trades
    return [*(f"{value:,}" for value in (trades.count, trades.missing, trades.repaired)), coverage(product)]


def _causes(report: Report, *, shows_all: bool) -> Sheet:
    """Of each product, unless those are too many, and of all together."""
    numbers = ("gaps", "together", "samples", "trades", "repaired")
    columns = ("product", "channel", "cause", *numbers)
    table = Sheet(*columns, title="\nby cause", numbers=numbers, words=("cause",), is_keyed=False)
    is_each = shows_all or sum(len(product.causes) for product in report.products) <= MOST_LINES
    parts: list[tuple[str, list[CauseSum]]] = []
    if is_each:
        parts += [(report.names[product.market], product.causes) for product in report.products]
    if len(report.products) > 1:
        parts.append(("all" if is_each else "all (--all: each)", report.causes))
    for name, causes in parts:
        for cause in causes:
            table.add_row(name, cause.channel, cause.words, *_cost(cause))
    return table


def _cost(cause: CauseSum) -> list[str]:
    counts = (count(number) for number in (cause.samples, cause.trades, cause.repaired))
    return [f"{cause.gaps:,}", duration(cause.duration_ns), *counts]


def _gaps(report: Report, lines: Iterable[Line]) -> Sheet:
    columns = ("product", "channel", "cause", "from (UTC)", "length", "what")
    table = Sheet(*columns, title="\ngaps", numbers=("length",), words=("cause", "what"), is_keyed=False)
    called = report.names
    for line in lines:
        first = line.gaps[0]
        is_one = len(line.gaps) == 1
        facts = (length(first), what(first)) if is_one else (duration(line.duration_ns), line.what)
        cells = [called[line.product.market], first.channel, words(first.cause), moment(first.start_ns), *facts]
        table.add_row(*map(Text, cells))
    return table
