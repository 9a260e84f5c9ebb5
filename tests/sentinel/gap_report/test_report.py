"""The report's figures against a slow model that looks at every instant, and its public shape."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from sentinel.gap_report.html import as_html
from sentinel.gap_report.report import Window, build, lowest_percent
from sentinel.gap_report.rows import CoverageRow, GapRow, Rows, from_points
from sentinel.gap_report.text import as_csv, as_json, as_table
from sentinel.gap_report.timeline import COLUMNS, State, book_states, runs, trade_states
from sentinel.gap_report.words import duration, percent
from sentinel.line_protocol import Point

CADENCE_NS = 100_000_000
MINUTE_NS = 60_000_000_000
START_NS = 1_700_000_040_000_000_000 // MINUTE_NS * MINUTE_NS
PER_MINUTE = 600


def minute(number: int, *, withheld: int = 0, trades: int = 0, symbol: str = "BTC-USD", **more: object) -> CoverageRow:
    facts: dict[str, object] = {
        "exchange": "coinbase",
        "symbol": symbol,
        "collector": "a",
        "minute_ns": START_NS + number * MINUTE_NS,
        "samples_due": PER_MINUTE,
        "samples_written": PER_MINUTE - withheld,
        "samples_withheld": withheld,
        "trades": trades,
        "first_trade_id": 1000 * number + 1 if trades else 0,
        "last_trade_id": 1000 * number + trades if trades else 0,
        "repaired": 0,
        "integrity": "sequence",
    }
    return msgspec.convert(facts | more, CoverageRow)


def gap(start_ns: int, end_ns: int | None, channel: str = "book", cause: str = "silence", **more: object) -> GapRow:
    facts: dict[str, object] = {
        "exchange": "coinbase",
        "symbol": "BTC-USD",
        "collector": "a",
        "channel": channel,
        "cause": cause,
        "start_ns": start_ns,
        "end_ns": end_ns,
        "start_seq": None,
        "end_seq": None,
        "missing_count": 0,
        "repaired_count": 0,
    }
    return msgspec.convert(facts | more, GapRow)


def window(minutes: int) -> Window:
    return Window(START_NS, START_NS + minutes * MINUTE_NS)


def test_a_whole_window_is_complete() -> None:
    report = build(Rows([minute(0, trades=3), minute(1, trades=5)]), window(2))
    (product,) = report.products
    assert report.verdict == "complete"
    assert msgspec.structs.astuple(product.samples) == (1200, 1200, 0)
    assert msgspec.structs.astuple(product.trades) == (1, 1005, 8, 0, 0)
    assert (product.book_verified, product.book_clean, product.trade_coverage) == (1.0, 1.0, 1.0)


def test_a_book_without_a_number_is_clean_and_never_verified() -> None:
    (product,) = build(Rows([minute(0, integrity="none")]), window(1)).products
    assert (product.integrity, product.book_verified, product.book_clean) == ("none", 0.0, 1.0)


def test_a_stop_is_due_and_withheld_although_nobody_counted_it() -> None:
    stopped = gap(START_NS + MINUTE_NS, START_NS + 3 * MINUTE_NS, cause="stopped", missing_count=2 * PER_MINUTE)
    (product,) = build(Rows([minute(0), minute(3)], [stopped]), window(4)).products
    assert msgspec.structs.astuple(product.samples) == (2400, 1200, 1200)
    (clipped,) = build(Rows([minute(0)], [stopped]), window(2)).products
    assert msgspec.structs.astuple(clipped.samples) == (1200, 600, 600)


def test_missing_trades_count_until_they_are_repaired() -> None:
    def trades(repaired: int) -> float:
        hole = gap(
            START_NS,
            START_NS + 5,
            "trades",
            "trades",
            start_seq=4,
            end_seq=13,
            missing_count=10,
            repaired_count=repaired,
        )
        (product,) = build(Rows([minute(0, trades=90 + repaired)], [hole]), window(1)).products
        return product.trade_coverage

    assert trades(0) == 0.9
    assert trades(10) == 1.0


def test_the_most_complete_of_twins_speaks_for_a_product() -> None:
    rows = Rows([minute(0, withheld=100), minute(0, collector="b")], [gap(START_NS, START_NS + 10)])
    (product,) = build(rows, window(1)).products
    assert product.book_clean == 1.0
    assert not product.gaps
    (named,) = build(rows, window(1), collector="a").products
    assert named.samples.withheld == 100


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 600), st.integers(0, 50)), unique_by=lambda row: row[0]),
    st.lists(st.tuples(st.integers(0, 5999), st.integers(1, 3000)), max_size=4),
    st.tuples(st.integers(0, 9), st.integers(1, 10)),
)
def test_figures_are_those_of_a_model_of_every_instant(
    minutes: list[tuple[int, int, int]], stops: list[tuple[int, int]], span: tuple[int, int]
) -> None:
    """Each minute has its withheld instants at its beginning; a stop is instants that nobody counted."""
    rows = Rows([minute(number, withheld=withheld, trades=trades) for number, withheld, trades in minutes])
    for first, count in stops:
        start_ns = START_NS + first * CADENCE_NS
        rows.gaps.append(gap(start_ns, start_ns + count * CADENCE_NS, cause="stopped", missing_count=count))
    chosen = Window(START_NS + span[0] * MINUTE_NS, START_NS + (span[0] + span[1]) * MINUTE_NS)
    instants = range(span[0] * PER_MINUTE, (span[0] + span[1]) * PER_MINUTE)
    by_minute = {number: (withheld, trades) for number, withheld, trades in minutes}
    due = written = 0
    for instant in instants:
        row = by_minute.get(instant // PER_MINUTE)
        if row is not None:
            due += 1
            written += instant % PER_MINUTE >= row[0]
        due += sum(first <= instant < first + count for first, count in stops)
    products = build(rows, chosen).products
    if not products:
        assert due == 0
        return
    (product,) = products
    assert (product.samples.due, product.samples.written) == (due, written)
    assert product.trades.count == sum(by_minute[n][1] for n in range(span[0], sum(span)) if n in by_minute)
    assert product.is_complete == (due == written)


def test_json_is_the_public_shape() -> None:
    hole = gap(START_NS, None, "trades", "trades", start_seq=4, end_seq=5, missing_count=2)
    shown = json.loads(as_json(build(Rows([minute(0, trades=1)], [hole]), window(1))))
    assert list(shown) == ["window", "products", "verdict"]
    assert shown["window"] == {"start_ns": START_NS, "end_ns": START_NS + MINUTE_NS}
    (product,) = shown["products"]
    assert list(product) == [
        *("exchange", "symbol", "integrity", "samples", "trades", "book_verified", "book_clean", "trade_coverage"),
        "gaps",
    ]
    assert list(product["samples"]) == ["due", "written", "withheld"]
    assert list(product["trades"]) == ["first_id", "last_id", "count", "missing", "repaired"]
    assert list(product["gaps"][0].items()) == [
        ("channel", "trades"),
        ("cause", "trades"),
        ("start_seq", 4),
        ("end_seq", 5),
        ("missing_count", 2),
        ("repaired_count", 0),
        ("start_ns", START_NS),
        ("end_ns", None),
    ]
    assert shown["verdict"] == "incomplete"


def test_what_is_given_up_says_so_by_which_rule_and_stays_missing() -> None:
    hole = gap(START_NS, START_NS + 9, "trades", "trades", start_seq=4, end_seq=5, missing_count=2, given_up=True)
    report = build(Rows([minute(0, trades=8)], [hole]), window(1))
    assert (report.verdict, report.products[0].trades.missing) == ("incomplete", 2)
    assert json.loads(as_json(report))["products"][0]["gaps"][0]["given_up"] is True
    assert "given up: 12 answers of REST or more, over 6 h or more" in " ".join(as_table(report, width=400).split())
    assert "given up" in as_html(report, Rows([minute(0)]))
    assert as_csv(report).splitlines()[2].endswith(",True")
    assert not hole.is_open


def test_a_reset_of_the_ids_is_told_and_is_no_loss() -> None:
    reset = gap(START_NS, START_NS + 9, "trades", "reset", start_seq=1010, end_seq=1)
    report = build(Rows([minute(0, trades=8)], [reset]), window(1))
    assert report.verdict == "complete"
    assert "ids went from 1010 to 1" in as_table(report, width=400)


def test_a_gap_filled_after_it_was_given_up_is_repaired() -> None:
    tags = dict.fromkeys(("exchange", "symbol", "channel", "cause", "collector"), "trades")
    counts = (("missing_count", 2), ("start_ns", 5), ("end_ns", 9))
    first = Point("gaps", tuple(tags.items()), (*counts, ("repaired_count", 0), ("given_up", True)), 5)
    last = Point("gaps", tuple(tags.items()), (*counts, ("repaired_count", 2), ("given_up", False)), 5)
    (given_up,), (filled,) = from_points([first]).gaps, from_points([first, last]).gaps
    assert (given_up.given_up, filled.given_up, filled.repaired_count) == (True, False, 2)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(1.0, "100 %"), (0.9999999, "99.999 %"), (0.99999, "99.999 %"), (0.5, "50.000 %"), (0.0, "0.000 %")],
)
def test_percentages_are_never_rounded_up(fraction: float, text: str) -> None:
    assert percent(fraction) == text


def test_durations_read_well() -> None:
    seconds = (0.1, 59.94, 61, 3700, 200_000)
    assert [duration(round(s * 1e9)) for s in seconds] == ["0.1 s", "59.9 s", "1 m 1 s", "1 h 1 m", "2 d 7 h"]


def test_a_gap_written_again_counts_as_it_was_last() -> None:
    tags = tuple(
        sorted({"exchange": "c", "symbol": "s", "channel": "book", "cause": "silence", "collector": "a"}.items())
    )
    first = Point("gaps", tags, (("missing_count", 0), ("repaired_count", 0), ("start_ns", 5)), 5)
    last = Point("gaps", tags, (("end_ns", 9), ("missing_count", 0), ("repaired_count", 0), ("start_ns", 5)), 5)
    (row,) = from_points([first, last]).gaps
    assert row.end_ns == 9


class Page(HTMLParser):
    """Tags must be closed in order, and nothing may be fetched or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.states: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe")
        assert not {name for name, _ in attrs} & {"src", "href", "onclick", "onload"}
        if tag == "rect":
            self.states.append(dict(attrs)["class"] or "")
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_says_nothing_it_was_not_told() -> None:
    evil = '<script>alert("x")</script>'
    rows = Rows(
        [minute(0, symbol=evil), minute(0), minute(1, withheld=50)],
        [
            gap(START_NS + MINUTE_NS, START_NS + MINUTE_NS + 50 * CADENCE_NS, cause=evil),
            gap(START_NS, START_NS + 5, "trades", "trades", missing_count=1, repaired_count=1),
        ],
    )
    text = as_html(build(rows, window(2)), rows)
    assert "<script" not in text
    page = Page()
    page.feed(text)
    assert not page.open
    assert set(page.states) == {"not_collected", "proved", "repaired", "missing"}


def test_a_month_of_trouble_is_a_page_of_bounded_size() -> None:
    rows = Rows(
        [minute(number) for number in range(30 * 1440)],
        [gap(START_NS + number * 10**9, START_NS + number * 10**9 + 10**8) for number in range(5000)],
    )
    report = build(rows, window(30 * 1440))
    assert len(as_html(report, rows)) < 400_000
    assert "and 4,950 older ones" in as_table(report)
    assert len(as_csv(report).splitlines()) == 5002


def test_the_timeline_shows_the_worst_of_each_column() -> None:
    rows = [minute(0), minute(1)]
    holes = [
        gap(START_NS, START_NS + 1),
        gap(START_NS + MINUTE_NS, START_NS + MINUTE_NS + 1, "trades", "trades", missing_count=1, repaired_count=1),
        gap(START_NS + MINUTE_NS, START_NS + MINUTE_NS + 1, "trades", "trades", missing_count=1),
    ]
    (product,) = build(Rows(rows, holes), window(4)).products
    book, trades = (states(product, rows, window(4)) for states in (book_states, trade_states))
    half = COLUMNS // 2
    assert list(runs(book)) == [(0, 1, State.MISSING), (1, half - 1, State.PROVED)]
    assert trades[COLUMNS // 4] is State.MISSING
    assert list(runs(trades))[-1] == (COLUMNS // 4 + 1, half - COLUMNS // 4 - 1, State.PROVED)


def test_the_lowest_figure_decides() -> None:
    report = build(Rows([minute(0), minute(0, symbol="ETH-USD", withheld=60)]), window(1))
    assert lowest_percent(report) == 90.0
