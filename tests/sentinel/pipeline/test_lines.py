"""The exact text of each measurement's line."""

from __future__ import annotations

from fractions import Fraction

import pytest

from book.bins import BookMeasure
from book.events import Trade
from book.order_book import OrderBook
from book.sampler import Sample
from sentinel.contract.gaps import Gap
from sentinel.contract.lines import Lines, StoredTrade
from sentinel.pipeline.accounts import Account
from sentinel.pipeline.lines import ProductLines, edge_label, point_ns

EDGES = (Fraction(1, 2), Fraction(200))
NS = 1_790_000_000_123_456_000
TRADE = Trade("BTC-USD", 12_345_007, 100.5, 1e-08, "sell", NS, is_live=True)


@pytest.fixture
def lines() -> ProductLines:
    return ProductLines("coinbase", "BTC-USD", "here", EDGES)


def test_a_trade_as_it_happened(lines: ProductLines) -> None:
    assert lines.trade(TRADE, NS + 9, is_repaired=False) == Lines(
        NS + 7,
        b"trades,exchange=coinbase,side=sell,symbol=BTC-USD price=100.5,recv_ns=1790000000123456009i,size=1e-08,"
        b"trade_id=12345007i 1790000000123456007",
        StoredTrade("coinbase", TRADE, NS + 9, is_repaired=False),
    )


def test_a_repaired_trade_is_on_the_same_point(lines: ProductLines) -> None:
    assert lines.trade(TRADE, None, is_repaired=True) == Lines(
        point_ns(TRADE),
        b"trades,exchange=coinbase,side=sell,symbol=BTC-USD price=100.5,repaired=true,size=1e-08,"
        b"trade_id=12345007i 1790000000123456007",
        StoredTrade("coinbase", TRADE, None, is_repaired=True),
    )


def test_a_sample_has_a_line_for_the_top_and_one_for_each_side_and_bin(lines: ProductLines) -> None:
    book = OrderBook()
    book.replace({99.0: 2.0, 98.0: 1.0}, {101.0: 2.0})
    measure = BookMeasure(EDGES).measure(book)
    assert measure is not None
    sample = lines.sample(Sample(NS, measure, 2_500_000, 3))
    assert sample.time_ns == NS
    assert sample.text.decode().split("\n") == [
        "top,exchange=coinbase,symbol=BTC-USD age_ms=2.5,ask=101.0,ask_size=2.0,bid=99.0,bid_size=2.0,"
        f"microprice=100.0,mid=100.0,spread_bps=200.0,updates=3i {NS}",
        f"book,bps=0.5,exchange=coinbase,side=bid,symbol=BTC-USD levels=0i,notional=0.0,volume=0.0 {NS}",
        f"book,bps=200,exchange=coinbase,side=bid,symbol=BTC-USD levels=2i,notional=296.0,volume=3.0,"
        f"vwap={296 / 3!r} {NS}",
        f"book,bps=0.5,exchange=coinbase,side=ask,symbol=BTC-USD levels=0i,notional=0.0,volume=0.0 {NS}",
        f"book,bps=200,exchange=coinbase,side=ask,symbol=BTC-USD levels=1i,notional=202.0,volume=2.0,vwap=101.0 {NS}",
    ]


def test_a_second_of_flow_keeps_counts_and_measures_apart(lines: ProductLines) -> None:
    assert lines.flow(NS, [("trades", 3), ("volume", 0.5)]) == Lines(
        NS, b"flow,exchange=coinbase,symbol=BTC-USD trades=3i,volume=0.5 1790000000123456000"
    )


@pytest.mark.parametrize(
    ("gap", "text"),
    [
        (
            Gap("book", "silence", 5),
            b"gaps,cause=silence,channel=book,collector=here,exchange=coinbase,symbol=BTC-USD "
            b"missing_count=0i,repaired_count=0i,start_ns=5i 5",
        ),
        (
            Gap("trades", "trades", 5, 9, 11, 13, missing_count=3, repaired_count=1, given_up=True),
            b"gaps,cause=trades,channel=trades,collector=here,exchange=coinbase,symbol=BTC-USD "
            b"end_ns=9i,end_seq=13i,given_up=true,missing_count=3i,repaired_count=1i,start_ns=5i,start_seq=11i 5",
        ),
        (
            Gap("trades", "trades", 5, 9, 11, 11, missing_count=1, repaired_count=1, given_up=False),
            b"gaps,cause=trades,channel=trades,collector=here,exchange=coinbase,symbol=BTC-USD "
            b"end_ns=9i,end_seq=11i,given_up=false,missing_count=1i,repaired_count=1i,start_ns=5i,start_seq=11i 5",
        ),
    ],
)
def test_a_gap_says_what_is_known_of_it(gap: Gap, text: bytes, lines: ProductLines) -> None:
    assert lines.gap(gap) == Lines(5, text)


def test_a_minute_of_accounts(lines: ProductLines) -> None:
    account = Account(samples_due=600, samples_written=599, samples_withheld=1)
    assert lines.coverage(60, account, "sequence") == Lines(
        60,
        b"coverage,collector=here,exchange=coinbase,symbol=BTC-USD clock_step_ms=0i,frames_applied=0i,"
        b"frames_control=0i,frames_duplicate=0i,frames_lost=0i,"
        b'integrity="sequence",missing=0i,repaired=0i,samples_due=600i,samples_withheld=1i,samples_written=599i,'
        b"trades=0i 60",
    )


def test_names_are_escaped() -> None:
    lines = ProductLines("an exchange", "A=B,C", "here", EDGES)
    assert lines.flow(1, [("trades", 0)]).text == rb"flow,exchange=an\ exchange,symbol=A\=B\,C trades=0i 1"


@pytest.mark.parametrize(("edge", "label"), [(Fraction(5), "5"), (Fraction(1, 2), "0.5"), (Fraction(10, 4), "2.5")])
def test_an_edge_is_named_by_its_basis_points(edge: Fraction, label: str) -> None:
    assert edge_label(edge) == label
