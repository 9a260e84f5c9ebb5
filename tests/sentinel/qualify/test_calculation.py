"""From accounts and tapes to the document: each figure by hand."""

from __future__ import annotations

from typing import Any

import pytest

from feeds.market import Market
from feeds.protocol import Subscription
from feeds.wire import Tally
from sentinel.contract.gaps import Gap
from sentinel.coverage.accounts import CoverageRow, GapRow, Rows
from sentinel.pipeline.inputs import LanePlan
from sentinel.qualify.calculation import feed_found, lateness, notes, qualification, wire_found
from sentinel.qualify.evidence import BookTransition, Environment, Fault, GapsFound, Qualification, Times, VenueAddress
from sentinel.qualify.lines import LedgerState, LineState
from sentinel.qualify.page import by_outcome
from sentinel.qualify.state import Known, ProcessState, SessionState
from sentinel.qualify.tapes import Answer, DelayState, FeedState, TapeState
from sentinel.timing.histogram import BUCKETS
from tests.sentinel.qualify.made import ENVIRONMENT, S, known
from tests.sentinel.qualify.test_claims import process

M = 60 * S
BTC = Market("coinbase", "BTC-USD")
FEED = "coinbase_advanced"
PLAN = LanePlan(0, FEED, Subscription(frozenset({"book", "trades"}), ("BTC-USD",)))
TRADES = LanePlan(1, "coinbase_exchange", Subscription(frozenset({"trades"}), ("BTC-USD",)))

GAPS = [
    Gap("book", "sequence", M + 10 * S - 1, M + 10 * S + 300_000_000, 7, 8, missing_count=2),
    Gap("book", "silence", M + 30 * S, M + 33 * S),
    Gap("trades", "trades", M + 20 * S, M + 21 * S, 103, 105, missing_count=3, repaired_count=3),
    Gap("trades", "trades", M + 40 * S, M + 41 * S, 110, 111, missing_count=2, repaired_count=1),
]
WITHHELD = 3 + 30
ROWS = Rows(
    [
        CoverageRow(BTC, "here", M, 600, 600 - WITHHELD, WITHHELD, 20, 100, 119, 4, "sequence"),
        CoverageRow(BTC, "here", 2 * M, 600, 600, 0, 10, 120, 129, 0, "sequence"),
    ],
    [GapRow(BTC, "here", gap) for gap in GAPS],
)


def state(**changed: Any) -> Known:
    tapes = TapeState(
        lanes=[PLAN, TRADES],
        starts_ns=[M - S // 2],
        answers={"coinbase:BTC-USD": [Answer(M + 22 * S, 103, 104), Answer(M + 23 * S, 105, 105)]},
        feeds={
            FEED: FeedState(
                opened=2,
                closed={"silence": 1},
                frames=999_998,
                lost=2,
                lanes=[0],
                detected_ns={"sequence": [S // 2], "silence": [2 * S]},
                reconnects_ns={"silence": [S // 4]},
            ),
            "coinbase_exchange": FeedState(
                opened=2, frames=10, lanes=[1], closed={"silence": 1}, detected_ns={"silence": [5 * S]}
            ),
        },
        steps_ns=[-3_000_000, 2_000_000],
        delays={"coinbase": DelayState(3, -1_000_000, [0] * BUCKETS)},
        wires={"coinbase": {"advanced.plus-one": Tally(995, 5, "{"), "advanced.offer": Tally(995, 5, "{")}},
    )
    usual = {
        "sessions": [SessionState(M, 3 * M, "its time was over")],
        "tapes": tapes,
        "lines": LineState(5, {"coinbase:BTC-USD": 1200 - WITHHELD}, {"coinbase:BTC-USD": LedgerState(doubled=0)}),
    }
    return known(**usual | changed)


def document(of: Known | None = None) -> Qualification:
    return qualification(of or state(), ROWS, "complete")


def test_a_market_has_its_accounts_and_how_long_it_took_to_come_back() -> None:
    (product,) = document().products
    assert (product.due, product.written, product.withheld, product.named) == (
        1200,
        1200 - WITHHELD,
        WITHHELD,
        WITHHELD,
    )
    assert (product.trades, product.missing, product.repaired) == (30, 1, 4)
    assert product.stored_samples == product.written
    assert product.first_proved_s == 0.5
    assert product.transitions == [
        BookTransition(M + 10 * S - 1, M + 10 * S + 300_000_000, "sequence", 3),
        BookTransition(M + 30 * S, M + 33 * S, "silence", 30),
    ]
    assert product.resync == Times(2, pytest.approx(0.3), 3.0, 3.0)
    assert product.repair == Times(1, 2.0, 2.0, 2.0)


def test_gaps_add_up_by_cause() -> None:
    assert document().gaps == [
        GapsFound("book", "sequence", 1, 0, 2, 0, Times(1, *[pytest.approx(0.3)] * 3)),
        GapsFound("book", "silence", 1, 0, 0, 0, Times(1, 3.0, 3.0, 3.0)),
        GapsFound("trades", "trades", 2, 1, 5, 4, Times(2, 1.0, 1.0, 1.0)),
    ]


def test_the_reliability_table_says_how_often_what_was_lost_and_how_fast() -> None:
    assert document().reliability == [
        Fault("feed fell silent", "connection", 2, 0, Times(2, 2.0, 5.0, 5.0), Times(1, 0.25, 0.25, 0.25)),
        Fault("frames lost", "book", 1, 3, Times(1, 0.5, 0.5, 0.5), Times(1, *[pytest.approx(0.3)] * 3)),
        Fault("feed fell silent", "book", 1, 30, Times(1, 2.0, 2.0, 2.0), Times(1, 3.0, 3.0, 3.0)),
        Fault("trades not received", "trades", 2, 1, Times(0), Times(1, 2.0, 2.0, 2.0)),
    ]


def test_losses_are_told_by_the_million_where_frames_have_numbers() -> None:
    of = state()
    advanced, exchange = feed_found(FEED, of), feed_found("coinbase_exchange", of)
    assert (advanced.frames_lost, advanced.lost_per_million) == (2, 2.0)
    assert (exchange.frames_lost, exchange.lost_per_million) == (None, None)
    assert advanced.reconnect == Times(1, 0.25, 0.25, 0.25)


def test_messages_of_unknown_kinds_add_up_over_processes() -> None:
    one, two = process(), process()
    assert one.last is not None
    assert two.last is not None
    one.last.lanes[0].skipped["novelty"] = 2
    two.last.lanes[0].skipped["novelty"] = 3
    two.last.lanes[0].skipped.update({"other": 1, "unusable trades": 4, "unasked trades X": 5})
    assert feed_found(FEED, state(processes=[one, ProcessState(0, 1), two])).unknown == {"novelty": 5, "other": 1}
    assert feed_found("coinbase_exchange", state(processes=[one])).unknown == {}


def test_a_fact_is_contradicted_by_more_than_what_may_be_lost() -> None:
    facts = {fact.name: fact for fact in wire_found(state().tapes)}
    assert facts["advanced.plus-one"].found == "confirmed"
    assert facts["advanced.offer"].found == "contradicted"
    assert facts["exchange.snapshot-time"].found == "not seen"
    assert by_outcome(list(facts.values())) == f"1 confirmed, 1 contradicted, {len(facts) - 2} not seen"


def test_what_several_processes_said_adds_up() -> None:
    one, two = process(), process()
    assert one.last is not None
    assert two.last is not None
    one.last.lateness[:] = [1, *[0] * (BUCKETS - 1)]
    two.last.lateness[:] = [0, 3, *[0] * (BUCKETS - 2)]
    silent = ProcessState(0, 1)
    found = lateness(known(processes=[one, silent, two]), "lateness")
    assert (found.count, found.p50_ms, found.most_ms) == (4, 0.002048, 0.002048)


def test_the_clock_and_another_address_are_told() -> None:
    found = document()
    assert (found.clock.steps, found.clock.largest_ms) == (2, 3.0)
    assert found.delays[0].least_ms == -1.0
    assert notes(state()) == []
    elsewhere = Environment(**{name: getattr(ENVIRONMENT, name) for name in ENVIRONMENT.__struct_fields__} | {
        "venues": [VenueAddress("coinbase", False), VenueAddress("kraken", True)]
    })  # fmt: skip
    (note,) = notes(state(environment=elsewhere))
    assert note.startswith("coinbase: not at the venue's own address.")


def test_a_trade_stored_twice_and_a_sample_that_is_not_there_are_found() -> None:
    lines = LineState(5, {"coinbase:BTC-USD": 3}, {"coinbase:BTC-USD": LedgerState(doubled=2)})
    found = {claim.name: claim for claim in document(state(lines=lines)).claims}
    assert found["trades"].found == "30 trades, 1 missing, 4 repaired, 2 twice"
    assert found["accounts"].verdict == "broken"
    assert found["instants"].verdict == "holds"


def test_of_nothing_there_is_a_document_all_the_same() -> None:
    found = qualification(known(sessions=[SessionState(M, 2 * M)]), Rows(), "cut short")
    assert (found.verdict, found.products, found.state) == ("not judged", [], "cut short")
