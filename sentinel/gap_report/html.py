"""The report as one self-contained page: no request leaves it, and it needs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from string import Template
from urllib.parse import quote

from sentinel.contract.gaps import Gap
from sentinel.gap_report.report import ProductReport, Report, Window
from sentinel.gap_report.timeline import COLUMNS, State, book_states, runs, trade_states
from sentinel.gap_report.words import CAUSES, coverage, duration, length, moment, percent, scope, what

MOST_GAPS = 300
"""Of one product: a page stays a page. The newest are shown, and how many there are."""

LANE_HEIGHT = 22
MARKS = 4


def as_html(report: Report) -> str:
    """The page."""
    by_exchange = {name: list(found) for name, found in groupby(report.products, key=lambda product: product.exchange)}
    page = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return page.substitute(
        verdict=report.verdict,
        headline=_headline(report),
        start=moment(report.window.start_ns),
        end=moment(report.window.end_ns),
        scope="".join(f" {escape(sentence)}." for sentence in scope(report)),
        totals=_totals(report),
        exchanges=_exchanges(by_exchange) if len(by_exchange) > 1 else "",
        products="\n".join(_of_exchange(name, found, report.window) for name, found in by_exchange.items()),
    )


def _headline(report: Report) -> str:
    if report.verdict == "incomplete":
        return "Something is missing"
    if any(product.trade_proof == "none" for product in report.products):
        return "Nothing is known to be missing"
    return "All that was collected is there" if report.collected_only else "Everything is there"


def _exchanges(by_exchange: Mapping[str, Sequence[ProductReport]]) -> str:
    """The way to each exchange's products, and how many of them are complete."""
    links = []
    for name, products in by_exchange.items():
        complete = sum(product.is_complete for product in products)
        state = "complete" if complete == len(products) else "incomplete"
        words = f"{escape(name)} <small>{complete:,} of {len(products):,} complete</small>"
        links.append(f'<a class="chip {state}" href="#{escape(quote(name))}">{words}</a>')
    return f'<nav aria-label="exchanges">{"".join(links)}</nav>'


def _of_exchange(name: str, products: Sequence[ProductReport], window: Window) -> str:
    cards = "\n".join(_product(product, window) for product in products)
    return f'<div id="{escape(quote(name))}">{cards}</div>'


def _totals(report: Report) -> str:
    products = report.products
    due = sum(product.samples.due for product in products)
    written = sum(product.samples.written for product in products)
    of_product = [product.samples.counted(collected_only=report.collected_only) for product in products]
    counted = sum(of_product)
    verified = sum(round(product.book_verified * of) for product, of in zip(products, of_product, strict=True))
    trades = sum(product.trades.count for product in products)
    missing = sum(product.trades.missing for product in products)
    repaired = sum(product.trades.repaired for product in products)
    return _facts(
        [
            ("products", f"{len(products):,}"),
            ("book verified", percent(verified / counted if counted else 0.0)),
            ("book clean", percent(written / counted if counted else 0.0)),
            ("samples withheld", f"{due - written:,} of {due:,}"),
            ("not collected", duration(sum(product.not_collected_ns for product in products))),
            ("trades", f"{trades:,}"),
            ("trades missing", f"{missing:,}"),
            ("trades repaired", f"{repaired:,}"),
        ]
    )


def _facts(facts: list[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)


def _product(product: ProductReport, window: Window) -> str:
    samples, trades = product.samples, product.trades
    ids = "none" if trades.first_id is None else f"{trades.first_id} to {trades.last_id}"
    facts = [
        ("book verified", percent(product.book_verified)),
        ("book clean", percent(product.book_clean)),
        ("withheld", f"{samples.withheld:,} of {samples.due:,}"),
        ("not collected", duration(product.not_collected_ns)),
        ("trade coverage", coverage(product)),
        ("missing", f"{trades.missing:,}"),
        ("repaired", f"{trades.repaired:,}"),
        ("trades", f"{trades.count:,}"),
        ("ids", ids),
    ]
    state = "complete" if product.is_complete else "incomplete"
    return (
        f'<section class="product {state}"><h2>{escape(product.symbol)} <small>{escape(product.exchange)}</small>'
        f'<span class="chip">integrity: {escape(product.integrity)}</span>'
        f'<span class="chip {state}">{state}</span></h2>'
        f"{_timeline(product, window)}<dl>{_facts(facts)}</dl>{_gaps(product)}</section>"
    )


def _timeline(product: ProductReport, window: Window) -> str:
    lanes = [("book", book_states(product, window)), ("trades", trade_states(product, window))]
    shapes = []
    for number, (name, columns) in enumerate(lanes):
        top = number * (LANE_HEIGHT + 6)
        shapes.append(f'<rect class="outside" x="0" y="{top}" width="{COLUMNS}" height="{LANE_HEIGHT}"/>')
        for first, count, state in runs(columns):
            # what was repaired is half as high: nobody needs to tell amber from red
            if state is State.REPAIRED:
                shapes.append(_column(State.PROVED, first, count, top, LANE_HEIGHT, ""))
            drop = LANE_HEIGHT // 2 if state is State.REPAIRED else 0
            title = f"{name}: {_named(state)}, {_span(first, count, window)}"
            shapes.append(_column(state, first, count, top + drop, LANE_HEIGHT - drop, title))
    marks = "".join(f"<span>{_mark(number, window)}</span>" for number in range(MARKS + 1))
    words = f"{product.market}: {_spoken(lanes[0][1])} of the book, {_spoken(lanes[1][1])} of the trades"
    height = 2 * LANE_HEIGHT + 6
    return (
        f'<div class="timeline"><div class="lanes"><span>book</span><span>trades</span></div>'
        f'<svg viewBox="0 0 {COLUMNS} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(words)}">{"".join(shapes)}</svg><div class="marks">{marks}</div></div>'
    )


def _column(state: State, first: int, count: int, top: int, height: int, title: str) -> str:
    shape = f'<rect class="{state.name.lower()}" x="{first}" y="{top}" width="{count}" height="{height}">'
    return f"{shape}<title>{title}</title></rect>" if title else f"{shape}</rect>"


def _span(first: int, count: int, window: Window) -> str:
    width_ns = window.end_ns - window.start_ns
    start, end = (window.start_ns + width_ns * column // COLUMNS for column in (first, first + count))
    return f"{moment(start)} to {moment(end)}"


def _mark(number: int, window: Window) -> str:
    ns = window.start_ns + (window.end_ns - window.start_ns) * number // MARKS
    date, time = moment(ns).split(" ")
    is_long = window.end_ns - window.start_ns > 2 * 86_400 * 10**9
    return date[5:] if is_long else time[:5]


def _named(state: State) -> str:
    return state.name.lower().replace("_", " ")


def _spoken(columns: list[State]) -> str:
    return ", ".join(
        f"{100 * columns.count(state) / COLUMNS:.1f} % {_named(state)}" for state in State if state in columns
    )


def _gaps(product: ProductReport) -> str:
    if not product.gaps:
        return '<p class="none">No gaps.</p>'
    shown = product.gaps[-MOST_GAPS:]
    rows = "".join(_gap(gap) for gap in reversed(shown))
    more = len(product.gaps) - len(shown)
    note = f"<p>and {more:,} older ones, which <code>--format csv</code> lists</p>" if more else ""
    is_open = " open" if len(shown) <= 12 else ""
    return (
        f"<details{is_open}><summary>{len(product.gaps):,} gap{'s' if len(product.gaps) > 1 else ''}</summary>"
        '<div class="scroll"><table><thead><tr><th>from (UTC)</th><th>length</th><th>channel</th><th>cause</th>'
        f"<th>what</th></tr></thead><tbody>{rows}</tbody></table></div>{note}</details>"
    )


def _gap(gap: Gap) -> str:
    is_repaired = gap.channel == "trades" and gap.repaired_count >= gap.missing_count
    cells = [moment(gap.start_ns), length(gap), gap.channel, CAUSES.get(gap.cause, gap.cause), what(gap)]
    state = "repaired" if is_repaired else "missing"
    return f'<tr class="{state}">{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
