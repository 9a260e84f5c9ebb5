"""The report's figures against a slow model that looks at every instant, and its public shape."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given
from msgspec import UNSET

from feeds.market import Market
from sentinel.contract.gaps import Gap
from sentinel.contract.line_protocol import Point
from sentinel.coverage.accounts import BackfillRow, CoverageRow, GapRow, Rows, from_points
from sentinel.gap_report.html import as_html
from sentinel.gap_report.report import ProductReport, Window, build, lowest_percent
from sentinel.gap_report.text import as_csv, as_json, as_table
from sentinel.gap_report.timeline import COLUMNS, State, book_states, collected, runs, trade_states
from sentinel.gap_report.words import duration, percent

CADENCE_NS = 100_000_000
MINUTE_NS = 60_000_000_000
START_NS = 1_700_000_040_000_000_000 // MINUTE_NS * MINUTE_NS
PER_MINUTE = 600


def minute(number: int, *, withheld: int = 0, trades: int = 0, symbol: str = "BTC-USD", **more: object) -> CoverageRow:
    facts: dict[str, object] = {
        "market": Market.parse(symbol),
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
        "channel": channel,
        "cause": cause,
        "start_ns": start_ns,
        "end_ns": end_ns,
        "start_seq": None,
        "end_seq": None,
        "missing_count": 0,
        "repaired_count": 0,
    }
    collector = str(more.pop("collector", "a"))
    return GapRow(Market.parse(str(more.pop("symbol", "BTC-USD"))), collector, msgspec.convert(facts | more, Gap))


def window(minutes: int) -> Window:
    return Window(START_NS, START_NS + minutes * MINUTE_NS)


def test_a_whole_window_is_complete() -> None:
    report = build(Rows([minute(0, trades=3), minute(1, trades=5)]), window(2))
    (product,) = report.products
    assert report.verdict == "complete"
    assert msgspec.structs.astuple(product.samples) == (1200, 1200, 0, 0)
    assert msgspec.structs.astuple(product.trades) == (1, 1005, 8, 0, 0)
    assert (product.book_verified, product.book_clean, product.trade_coverage) == (1.0, 1.0, 1.0)


def test_of_trades_that_nothing_proves_nothing_is_claimed() -> None:
    rows = Rows([minute(0, trades=3, trade_proof="none"), minute(0, symbol="ETH-USD", trades=1)])
    report = build(rows, window(1))
    unproved, proved = report.products
    assert (unproved.trade_proof, unproved.trade_coverage) == ("none", None)
    assert (proved.trade_proof, proved.trade_coverage) == ("ids", 1.0)
    assert lowest_percent(report) == 100.0
    assert trade_states(unproved, window(1)) == [State.UNPROVED] * COLUMNS
    assert trade_states(proved, window(1)) == [State.PROVED] * COLUMNS
    table, page = as_table(report, width=400), as_html(report)
    assert "Nothing proves that no trade is missing of BTC-USD\n" in table
    assert "not proved" in table
    assert "not proved" in page
    assert "Everything is there" not in page
    assert next(csv.DictReader(io.StringIO(as_csv(report, "products"))))["trade_coverage"] == ""


def test_of_several_collectors_the_one_with_most_trades_counts_where_ids_are_not_dense() -> None:
    """Their ids are 1 to 900 with holes that mean nothing."""
    ids = {"first_trade_id": 1, "last_trade_id": 900, "trade_proof": "none"}
    rows = [minute(0, trades=count, collector=name, **ids) for name, count in (("a", 30), ("b", 29))]
    (product,) = build(Rows(rows), window(1)).products
    assert (product.trades.count, product.trades.missing, product.trade_coverage) == (30, 0, None)


def test_a_book_without_a_number_is_clean_and_never_verified() -> None:
    (product,) = build(Rows([minute(0, integrity="none")]), window(1)).products
    assert (product.integrity, product.book_verified, product.book_clean) == ("none", 0.0, 1.0)


def test_a_stop_is_due_and_withheld_although_nobody_counted_it() -> None:
    stopped = gap(START_NS + MINUTE_NS, START_NS + 3 * MINUTE_NS, cause="stopped", missing_count=2 * PER_MINUTE)
    (product,) = build(Rows([minute(0), minute(3)], [stopped]), window(4)).products
    assert msgspec.structs.astuple(product.samples) == (2400, 1200, 1200, 0)
    (clipped,) = build(Rows([minute(0)], [stopped]), window(2)).products
    assert msgspec.structs.astuple(clipped.samples) == (1200, 600, 600, 0)


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


def facts(product: ProductReport) -> list[tuple[str, float, float]]:
    """Cause, and begin and end in seconds since ``START_NS``."""
    return [(gap.cause, (gap.start_ns - START_NS) / 1e9, ((gap.end_ns or 0) - START_NS) / 1e9) for gap in product.gaps]


def test_a_minute_with_eight_samples_of_600_is_not_complete() -> None:
    report = build(Rows([minute(0), minute(1, samples_due=8, samples_written=8)]), window(2))
    (product,) = report.products
    assert report.verdict == "incomplete"
    assert msgspec.structs.astuple(product.samples) == (608, 608, 0, 592)
    assert product.book_clean == product.book_verified == 608 / 1200
    assert product.trade_coverage == pytest.approx(608 / 1200)
    assert facts(product) == [("not_collected", 60.8, 120.0)]
    (gap_fact,) = product.gaps
    assert (gap_fact.channel, gap_fact.missing_count) == ("book", 592)


def test_a_minute_that_stands_alone_is_not_complete() -> None:
    report = build(Rows([minute(0, samples_due=8, samples_written=8)]), window(1))
    assert report.verdict == "incomplete"
    assert report.products[0].book_clean == 8 / 600


def test_nothing_is_expected_before_the_first_collected_instant_and_the_window_says_so() -> None:
    late = minute(10, samples_due=100, samples_written=100)
    rows = Rows([late, minute(11), minute(12), minute(12, symbol="ETH-USD")])
    report = build(rows, Window(0, START_NS + 13 * MINUTE_NS))
    begun_ns = START_NS + 11 * MINUTE_NS - 100 * CADENCE_NS
    assert report.verdict == "complete"
    assert report.window == Window(begun_ns, START_NS + 13 * MINUTE_NS)
    assert report.asked == Window(0, START_NS + 13 * MINUTE_NS)
    assert [product.window.start_ns for product in report.products] == [begun_ns, START_NS + 12 * MINUTE_NS]
    for shown in (as_table(report), as_html(report)):
        assert "Asked from 1970-01-01 00:00:00: nothing was collected before 2023-11-14 22:24:50" in shown
        assert "Collected for the first time later: ETH-USD at 2023-11-14 22:26:00" in shown


def test_a_window_in_which_nobody_collected_is_not_complete() -> None:
    """The collector has been dead for an hour: what it left before the window says that it should have run."""
    report = build(Rows([minute(0, trades=5)]), Window(START_NS + 60 * MINUTE_NS, START_NS + 65 * MINUTE_NS))
    (product,) = report.products
    assert (report.verdict, product.book_clean, product.trade_coverage) == ("incomplete", 0.0, 0.0)
    assert msgspec.structs.astuple(product.samples) == (0, 0, 0, 3000)
    assert lowest_percent(report) == 0.0
    assert not build(Rows([minute(0)]), report.window, collected_only=True).products


@pytest.mark.parametrize(
    ("behind_s", "verdict", "end_s"), [(0, "complete", 60), (9.9, "complete", 60), (10, "incomplete", 70)]
)
def test_a_running_collector_may_be_some_seconds_behind_and_a_dead_one_not(
    behind_s: float, verdict: str, end_s: float
) -> None:
    now_ns = START_NS + MINUTE_NS + round(behind_s * 1e9)
    report = build(Rows([minute(0)]), window(2), now_ns=now_ns)
    assert (report.verdict, report.window.end_ns) == (verdict, START_NS + round(end_s * 1e9))
    at_once = build(Rows([minute(0)]), window(1), now_ns=now_ns)
    assert at_once.verdict == "complete"


def test_an_open_gap_of_a_dead_collector_ends_with_it() -> None:
    rows = Rows([minute(0, withheld=300)], [gap(START_NS + 30 * 10**9, None)])
    (product,) = build(rows, window(2)).products
    assert msgspec.structs.astuple(product.samples) == (600, 300, 300, 600)
    assert [cause for cause, _, _ in facts(product)] == ["silence", "not_collected"]


def test_time_without_a_collector_is_left_out_when_asked() -> None:
    rows = Rows([minute(0, trades=3), minute(2, trades=3)])
    counted, left_out = (build(rows, window(3), collected_only=only) for only in (False, True))
    (product,) = left_out.products
    assert (counted.verdict, left_out.verdict) == ("incomplete", "complete")
    assert (counted.products[0].book_clean, product.book_clean, product.trade_coverage) == (2 / 3, 1.0, 1.0)
    assert facts(product) == facts(counted.products[0]) == [("not_collected", 60.0, 120.0)]
    assert lowest_percent(counted) == pytest.approx(200 / 3)
    assert lowest_percent(left_out) == 100.0
    for shown in (as_table(left_out), as_html(left_out)):
        assert "Nobody collected for 1 m 0 s, which the figures leave out" in shown


def test_a_collector_that_samples_nothing_is_not_complete() -> None:
    """Its clock was ahead when it began: the accounts of the present have no instant due, those of the future have."""
    rows = Rows([*(minute(number, samples_due=0, samples_written=0) for number in range(5)), minute(60), minute(61)])
    report = build(rows, window(5), now_ns=START_NS + 5 * MINUTE_NS)
    (product,) = report.products
    assert (report.verdict, product.book_clean) == ("incomplete", 0.0)
    assert facts(product) == [("not_collected", 0.0, 300.0)]


def test_trades_that_come_before_the_first_book_begin_nothing() -> None:
    early = minute(0, samples_due=0, samples_written=0, trades=2)
    report = build(Rows([early, minute(1, samples_due=590, samples_written=590), minute(2)]), window(3))
    assert report.verdict == "complete"
    assert report.window.start_ns == START_NS + MINUTE_NS + 10 * CADENCE_NS


def test_what_one_of_twins_has_is_there() -> None:
    rows = Rows([minute(0, withheld=100), minute(0, collector="b")], [gap(START_NS, START_NS + 100 * CADENCE_NS)])
    (product,) = build(rows, window(1)).products
    assert product.book_clean == 1.0
    assert not product.gaps
    (named,) = build(rows, window(1), collector="a").products
    assert named.samples.withheld == 100


def test_one_collector_takes_over_from_another() -> None:
    rows = Rows(
        [
            minute(0, trades=50),
            minute(1, samples_due=400, samples_written=400, trades=50),
            minute(
                1,
                collector="b",
                samples_due=300,
                samples_written=300,
                trades=30,
                first_trade_id=1046,
                last_trade_id=1075,
            ),
            minute(2, collector="b"),
        ]
    )
    report = build(rows, window(3))
    (product,) = report.products
    assert (report.verdict, msgspec.structs.astuple(product.samples)) == ("complete", (1800, 1800, 0, 0))
    assert (product.trades.count, product.trades.last_id) == (50 + 75, 1075)
    assert build(rows, window(3), collector="a").verdict == "incomplete"


def test_twins_that_are_both_out_at_once_have_a_gap_together() -> None:
    ten_s = 10**10
    rows = Rows(
        [minute(0, withheld=200), minute(0, withheld=200, collector="b")],
        [
            gap(START_NS + ten_s, START_NS + 3 * ten_s),
            gap(START_NS + 2 * ten_s, START_NS + 4 * ten_s, cause="sequence", collector="b"),
            gap(START_NS, START_NS + 5, "trades", "trades", start_seq=4, end_seq=9, missing_count=6),
            gap(START_NS, START_NS + 7, "trades", "trades", start_seq=8, end_seq=12, missing_count=5, collector="b"),
        ],
    )
    rows.coverage[:] = [
        msgspec.structs.replace(row, trades=14, first_trade_id=1, last_trade_id=20) for row in rows.coverage
    ]
    (product,) = build(rows, window(1)).products
    assert msgspec.structs.astuple(product.samples) == (600, 500, 100, 0)
    assert product.trades.missing == 2  # 8 and 9
    assert sorted(cause for cause, _, _ in facts(product)) == ["sequence", "silence", "trades", "trades"]


def test_a_gap_that_one_of_twins_has_repaired_is_repaired() -> None:
    named = (START_NS, START_NS + 5, "trades", "trades")
    counts = {"start_seq": 4, "end_seq": 5, "missing_count": 2}
    lost = [gap(*named, **counts, repaired_count=n, collector=name) for n, name in ((0, "a"), (2, "b"))]
    rows = Rows([minute(0, trades=10), minute(0, trades=10, collector="b")], lost)
    report = build(rows, window(1))
    assert report.verdict == "complete"
    (fact,) = report.products[0].gaps
    assert fact.repaired_count == 2


states = st.lists(st.tuples(st.sampled_from("wxsn"), st.integers(1, 1500)), min_size=1, max_size=6)


@given(states, st.integers(0, 599), st.tuples(st.integers(0, 9), st.integers(1, 10)))
def test_figures_are_those_of_a_model_of_every_instant(
    history: list[tuple[str, int]], first: int, span: tuple[int, int]
) -> None:
    """A collector writes (w), withholds (x), is stopped and started again (s), or leaves no word (n) for a while."""
    state_of: dict[int, str] = {}
    rows, at = Rows(), first
    for state, length in history:
        state_of |= dict.fromkeys(range(at, at + length), state)
        start_ns, end_ns = (START_NS + instant * CADENCE_NS for instant in (at, at + length))
        if state in "xs":
            cause, count = ("stopped", length) if state == "s" else ("silence", 0)
            rows.gaps.append(gap(start_ns, end_ns, cause=cause, missing_count=count))
        at += length
    for number in {instant // PER_MINUTE for instant, state in state_of.items() if state in "wx"}:
        here = [state_of.get(number * PER_MINUTE + place) for place in range(PER_MINUTE)]
        written, withheld = here.count("w"), here.count("x")
        rows.coverage.append(
            minute(number, samples_due=written + withheld, samples_written=written, samples_withheld=withheld)
        )
    known = sorted(instant for instant, state in state_of.items() if state != "n")
    chosen = Window(START_NS + span[0] * MINUTE_NS, START_NS + (span[0] + span[1]) * MINUTE_NS)
    products = build(rows, chosen).products
    instants = range(span[0] * PER_MINUTE, (span[0] + span[1]) * PER_MINUTE)
    if not products:
        assert not known or known[0] >= instants.stop
        return
    (product,) = products
    begun = (product.window.start_ns - START_NS) // CADENCE_NS
    of_window = Counter(state_of.get(instant) for instant in instants)
    samples = product.samples
    assert (samples.written, samples.withheld) == (of_window["w"], of_window["x"] + of_window["s"])
    assert samples.due == samples.written + samples.withheld
    assert samples.due + samples.not_collected == instants.stop - begun
    assert sum(cause.samples for cause in product.causes) == samples.withheld + samples.not_collected
    assert product.is_complete == (samples.written == instants.stop - begun)
    if "n" not in (state for state, _ in history) and len(rows.coverage) != 1:
        assert begun == max(first, instants.start)


def test_json_is_the_public_shape() -> None:
    hole = gap(START_NS, None, "trades", "trades", start_seq=4, end_seq=5, missing_count=2)
    shown = json.loads(as_json(build(Rows([minute(0, trades=1)], [hole]), window(1))))
    assert list(shown) == [
        "window",
        "products",
        "verdict",
        "asked",
        "collected_only",
        "backfilled",
        "causes",
        "removed_until_ns",
        "unread",
    ]
    assert shown["window"] == {"start_ns": START_NS, "end_ns": START_NS + MINUTE_NS}
    (product,) = shown["products"]
    assert list(product) == [
        *("exchange", "symbol", "integrity", "samples", "trades", "book_verified", "book_clean", "trade_coverage"),
        *("gaps", "window", "is_complete", "trade_proof", "causes"),
    ]
    assert list(product["samples"]) == ["due", "written", "withheld", "not_collected"]
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
        ("words", "trades not received"),
    ]
    assert shown["verdict"] == "incomplete"


def test_what_is_given_up_says_so_by_which_rule_and_stays_missing() -> None:
    hole = gap(START_NS, START_NS + 9, "trades", "trades", start_seq=4, end_seq=5, missing_count=2, given_up=True)
    report = build(Rows([minute(0, trades=8)], [hole]), window(1))
    assert (report.verdict, report.products[0].trades.missing) == ("incomplete", 2)
    assert json.loads(as_json(report))["products"][0]["gaps"][0]["given_up"] is True
    assert "given up: 12 answers of REST or more, over 6 h or more" in " ".join(as_table(report, width=400).split())
    assert "given up" in as_html(report)
    (row,) = csv.DictReader(io.StringIO(as_csv(report)))
    assert row["given_up"] == "true"


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
    assert (given_up.gap.given_up, filled.gap.given_up, filled.gap.repaired_count) == (True, UNSET, 2)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(1.0, "100 %"), (0.9999999, "99.999 %"), (0.99999, "99.999 %"), (0.5, "50.000 %"), (0.0, "0.000 %")],
)
def test_percentages_are_never_rounded_up(fraction: float, text: str) -> None:
    assert percent(fraction) == text


def test_durations_read_well() -> None:
    seconds = (0.0402, 0.1, 59.94, 61, 3700, 200_000)
    assert [duration(round(s * 1e9)) for s in seconds] == ["40 ms", "0.1 s", "59.9 s", "1 m 1 s", "1 h 1 m", "2 d 7 h"]


def test_a_gap_written_again_counts_as_it_was_last() -> None:
    tags = tuple(
        sorted({"exchange": "c", "symbol": "s", "channel": "book", "cause": "silence", "collector": "a"}.items())
    )
    first = Point("gaps", tags, (("missing_count", 0), ("repaired_count", 0), ("start_ns", 5)), 5)
    last = Point("gaps", tags, (("end_ns", 9), ("missing_count", 0), ("repaired_count", 0), ("start_ns", 5)), 5)
    (row,) = from_points([first, last]).gaps
    assert row.gap.end_ns == 9


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
        if tag != "meta":  # an input closes itself
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
    text = as_html(build(rows, window(3)))
    assert "<script" not in text
    page = Page()
    page.feed(text)
    assert not page.open
    assert set(page.states) == {"outside", "not_collected", "proved", "repaired", "missing"}


def widths(page: str) -> dict[str, int]:
    """Columns of the page's timelines by state."""
    found: Counter[str] = Counter()
    for name, width in re.findall(r'<rect class="(\w+)" x="\d+" y="\d+" width="(\d+)"', page):
        found[name] += int(width)
    return found


def test_chip_and_timeline_agree_with_the_verdict() -> None:
    begun = Rows([minute(9, samples_due=300, samples_written=300), *(minute(number) for number in range(10, 20))])
    whole = as_html(build(begun, Window(START_NS - 1000 * MINUTE_NS, START_NS + 20 * MINUTE_NS)))
    assert 'class="chip complete"' in whole
    assert widths(whole) == {"outside": 2 * COLUMNS, "proved": 2 * COLUMNS}
    dead = as_html(build(begun, window(30)))
    assert 'class="chip incomplete"' in dead
    whole_of_dead = "".join(dead.split('<div class="timeline whole">')[1:])
    assert widths(whole_of_dead)["not_collected"] == pytest.approx(2 * COLUMNS * 10 / 20.5, abs=4)
    assert "<td>nobody collected</td>" in dead
    assert "<dt>not collected</dt><dd>10 m 0 s</dd>" in dead


def test_every_form_names_the_time_in_which_nobody_collected_and_its_length() -> None:
    report = build(Rows([minute(0), minute(3)]), window(4))
    assert '"cause": "not_collected"' in as_json(report)
    assert f",book,not_collected,,,1200,0,{START_NS + MINUTE_NS},{START_NS + 3 * MINUTE_NS}," in as_csv(report)
    (totals,) = csv.DictReader(io.StringIO(as_csv(report, "products")))
    assert totals["samples_not_collected"] == "1200"
    assert "nobody collected" in as_table(report)
    assert "2 m 0 s" in as_table(report)


def test_a_month_of_trouble_is_a_page_of_bounded_size() -> None:
    rows = Rows(
        [minute(number) for number in range(30 * 1440)],
        [gap(START_NS + number * 10**9, START_NS + number * 10**9 + 10**8) for number in range(5000)],
    )
    report = build(rows, window(30 * 1440))
    assert len(as_html(report)) < 400_000
    assert len(as_table(report).splitlines()) < 25
    assert len(as_table(report, shows_all=True).splitlines()) > 5000
    assert len(as_csv(report).splitlines()) == 5001
    long = [gap(START_NS + number * MINUTE_NS, START_NS + number * MINUTE_NS + 10**10) for number in range(60)]
    assert "and 10 older ones" in as_table(build(Rows(rows.coverage, long), window(30 * 1440)))


def test_the_timeline_shows_the_worst_of_each_column() -> None:
    rows = [minute(0), minute(1)]
    holes = [
        gap(START_NS, START_NS + 1),
        gap(START_NS + MINUTE_NS, START_NS + MINUTE_NS + 1, "trades", "trades", missing_count=1, repaired_count=1),
        gap(START_NS + MINUTE_NS, START_NS + MINUTE_NS + 1, "trades", "trades", missing_count=1),
    ]
    (product,) = build(Rows(rows, holes), window(4)).products
    book, trades = (states(product, window(4)) for states in (book_states, trade_states))
    half = COLUMNS // 2
    assert list(runs(book)) == [
        (0, 1, State.MISSING),
        (1, half - 1, State.PROVED),
        (half, half, State.NOT_COLLECTED),
    ]
    assert trades[COLUMNS // 4] is State.MISSING
    assert list(runs(trades))[-2:] == [
        (COLUMNS // 4 + 1, half - COLUMNS // 4 - 1, State.PROVED),
        (half, half, State.NOT_COLLECTED),
    ]


def test_the_lowest_figure_decides() -> None:
    report = build(Rows([minute(0), minute(0, symbol="ETH-USD", withheld=60)]), window(1))
    assert lowest_percent(report) == 90.0


def test_a_report_without_a_product_is_not_complete() -> None:
    assert build(Rows(), Window(START_NS, START_NS + MINUTE_NS), now_ns=START_NS + MINUTE_NS).verdict == "incomplete"


def test_what_was_backfilled_is_of_the_markets_and_exchanges_asked_for() -> None:
    here, there = Market("coinbase", "BTC-USD"), Market("kraken", "BTC/USD")
    rows = Rows(backfill=[BackfillRow(market, 0, 5, 1, 5, 0) for market in (here, there)])
    window = Window(0, 60_000_000_000)
    for asked, told in (
        ({}, ["coinbase", "kraken"]),
        ({"exchanges": ["kraken"]}, ["kraken"]),
        ({"markets": [here]}, ["coinbase"]),
        ({"markets": [here], "exchanges": ["kraken"]}, []),
    ):
        assert [each.exchange for each in build(rows, window, **asked).backfilled] == told  # type: ignore[arg-type]


def cause_sums(product: ProductReport) -> dict[tuple[str, str], tuple[object, ...]]:
    return {(one.channel, one.cause): msgspec.structs.astuple(one)[3:] for one in product.causes}


def test_each_cause_is_summed_up_for_each_product_and_in_total() -> None:
    """A gap in another counts once, an open one until nobody collects, what was repaired beside what was lost."""
    ten_s = 10**10
    gaps = [
        gap(START_NS, START_NS + ten_s),
        gap(START_NS + ten_s // 2, START_NS + 2 * ten_s, cause="sequence", start_seq=7, end_seq=8, missing_count=2),
        gap(START_NS + MINUTE_NS + 5 * ten_s, None),
        gap(START_NS, START_NS + 5, "trades", "trades", start_seq=4, end_seq=9, missing_count=6, repaired_count=4),
        gap(START_NS, START_NS + 10**9, symbol="ETH-USD"),
    ]
    rows = [minute(0, withheld=200), minute(1, withheld=100), minute(0, withheld=10, symbol="ETH-USD")]
    report = build(Rows(rows, gaps), window(3))
    btc, eth = report.products
    assert cause_sums(btc) == {
        ("book", "not_collected"): (1, MINUTE_NS, 600, 0, 0),
        ("book", "silence"): (2, 2 * ten_s, 200, 0, 0),
        ("book", "sequence"): (1, ten_s, 100, 0, 0),
        ("trades", "trades"): (1, 5, 0, 6, 4),
    }
    assert sum(one.samples for one in btc.causes) == btc.samples.withheld + btc.samples.not_collected
    silent = next(one for one in report.causes if one.cause == "silence")
    assert msgspec.structs.astuple(silent)[3:] == (3, 2 * ten_s + 10**9, 210, 0, 0)
    for shown in (as_table(report), as_html(report), as_json(report), as_csv(report, "causes")):
        assert "feed fell silent" in shown
        assert "frames lost" in shown
    assert len(as_csv(report, "causes").splitlines()) == 1 + len(btc.causes) + len(eth.causes)


def test_a_product_that_is_not_listed_lacks_no_samples() -> None:
    gone = gap(START_NS + MINUTE_NS // 2, None, cause="delisted", missing_count=0)
    (product,) = build(Rows([minute(0, samples_due=300, samples_written=300)], [gone]), window(2)).products
    assert cause_sums(product)["book", "delisted"][2] == 0


# tour section 2: "40+ rows of 0.2 s gaps, no sum by cause", "CSV mixes two row kinds", "causes differ: table `frames
# lost`, json `sequence`", "HTML newest first, table oldest first", "window is rounded up into the future minute"
def test_many_short_gaps_of_one_cause_are_one_line_unless_all_are_asked_for() -> None:
    holes = [
        gap(at, at + 2 * 10**8, cause="sequence", start_seq=number, end_seq=number, missing_count=1)
        for number, at in ((number, START_NS + number * 10**9) for number in range(40))
    ]
    long = gap(START_NS + 30 * 10**9 + 5, START_NS + 45 * 10**9)
    report = build(Rows([minute(0)], [*holes, long]), window(1))
    folded, every = as_table(report, width=200), as_table(report, width=200, shows_all=True)
    assert "8.0 s" in folded
    assert "40 gaps of 0.2 s, the last at 2023-11-14 22:14:39; 40 frames" in folded
    assert len([line for line in folded.splitlines() if "frames lost" in line]) == 2, "the sum, and the gaps"
    assert len([line for line in every.splitlines() if "frames lost" in line]) == 41


def test_csv_has_rows_of_one_kind() -> None:
    rows = Rows([minute(0, withheld=10), minute(0, symbol="ETH-USD")], [gap(START_NS, START_NS + 10**9)])
    report = build(rows, window(1))
    of_kind = {kind: list(csv.DictReader(io.StringIO(as_csv(report, kind)))) for kind in ("gaps", "causes", "products")}
    assert {kind: len(found) for kind, found in of_kind.items()} == {"gaps": 1, "causes": 1, "products": 2}
    (hole,) = of_kind["gaps"]
    assert (hole["cause"], hole["words"], hole["start"]) == ("silence", "feed fell silent", "2023-11-14T22:14:00Z")
    assert all(None not in row.values() and None not in row for found in of_kind.values() for row in found)


def test_gaps_are_in_order_of_time_in_every_format() -> None:
    holes = [gap(START_NS + second * 10**9, START_NS + (second + 11) * 10**9) for second in (0, 15, 30)]
    report = build(Rows([minute(0)], holes), window(1))
    times = ["22:14:00", "22:14:15", "22:14:30"]
    for shown in (as_table(report).partition("gaps")[2], as_html(report).partition("<tbody>")[2], as_csv(report)):
        found = re.findall(r"2023-11-14[ T](22:14:\d\d)(?=[ <Z])(?!Z\n)", shown.partition("<details")[2] or shown)
        assert [time for time in found if time in times] == times


def test_a_report_never_reaches_beyond_now() -> None:
    now_ns = START_NS + 90 * 10**9
    for rows in (Rows(), Rows([minute(0)]), Rows([minute(0), minute(1)]), Rows([minute(0)], [gap(START_NS, None)])):
        for end_ns in (now_ns, now_ns + 5 * MINUTE_NS):
            report = build(rows, Window(START_NS + 1, end_ns), now_ns=now_ns)
            assert report.window.end_ns <= now_ns
            assert all((each.end_ns or 0) <= now_ns for product in report.products for each in product.gaps)


def test_the_timeline_zooms_to_what_was_collected_and_shows_the_whole_window_on_request() -> None:
    """Tour F1: 20 s were collected, a day ago: 99 % of the bar was empty."""
    report = build(Rows([minute(600, samples_due=200, samples_written=200)]), window(1440))
    near = collected(report)
    start_ns = report.products[0].window.start_ns
    assert near == Window(start_ns, start_ns + 20 * 10**9 + round(0.02 * 20 * 10**9))
    page = as_html(report)
    of_near, of_whole = re.findall(r'<div class="timeline (near|whole)">', page)
    assert (of_near, of_whole) == ("near", "whole")
    proved = re.search(r'<div class="timeline near">.*?<rect class="proved" x="0" y="0" width="(\d+)"', page)
    assert proved is not None
    assert int(proved[1]) > 900
    assert 'id="whole"' in page
    assert 'id="whole"' not in as_html(build(Rows([minute(0)]), window(1))), "there is nothing to choose"


def test_the_timeline_says_why_on_hover() -> None:
    holes = [
        gap(START_NS + 10**10, START_NS + 2 * 10**10, cause="sequence"),
        gap(START_NS + 2 * 10**10, START_NS + 3 * 10**10, cause="sequence"),
        gap(START_NS + 3 * 10**10, START_NS + 4 * 10**10, cause="disk"),
    ]
    page = as_html(build(Rows([minute(0, withheld=300)], holes), window(1)))
    assert re.search(r"<title>book: missing, [^<]*: 2 × frames lost, disk full or failing</title>", page)
