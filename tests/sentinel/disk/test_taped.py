"""Every input there is comes back from a tape as it went in."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from book.events import Trade, Unusable
from feeds.market import Market
from feeds.protocol import Subscription
from sentinel.contract.gaps import Cause
from sentinel.disk.tape import Kind, Record, TapeWriter, read_tape, tape_files
from sentinel.disk.taped import input_of, record_of
from sentinel.pipeline import BookAnswer, FetchedBook, RepairAnswer, inputs
from sentinel.pipeline.inputs import Input

NOW_NS = 1_790_000_000_000_000_007
SIDES = {99.5: 1e-08, 98.0: 2.0}, {101.0: 0.5}
ANSWER = RepairAnswer(
    "BTC-USD", 5, 9, (Trade("BTC-USD", 7, 100.5, 0.25, "sell", NOW_NS, is_live=False),), is_complete=False,
    unusable=(Unusable("BTC-USD", "trades", "no price", b'{"\xff', trade_id=8),), exchange="elsewhere",
)  # fmt: skip
PLAN = inputs.LanePlan(0, "coinbase_advanced", Subscription(frozenset({"book", "trades"}), ("BTC-USD", "ETH-USD")), 1)
EXAMPLES: list[tuple[Input, Kind, int]] = [
    (inputs.Start(b"\x00state"), Kind.START, 0),
    (inputs.Start(), Kind.START, 0),
    (inputs.Opened(3, -250), Kind.OPENED, 3),
    (inputs.Closed(3, "silence"), Kind.CLOSED, 3),
    (inputs.Frame(65_535, b"\x00{}"), Kind.FRAME, 65_535),
    (ANSWER, Kind.REPAIR, 0),
    (BookAnswer("BTC-USD", NOW_NS, *SIDES, "elsewhere"), Kind.BOOK, 0),
    (FetchedBook(3, "BTC-USD", 2**53 + 1, *SIDES), Kind.FETCHED, 3),
    (inputs.Replan((PLAN, inputs.LanePlan(1, "coinbase_exchange", Subscription(frozenset(), ())))), Kind.REPLAN, 0),
    (
        inputs.Replan(
            (PLAN,), (inputs.KnownTrade(Market("kraken", "BTC/USD"), 2**53 + 1, NOW_NS),), (Market("okx", "A-B"),)
        ),
        Kind.REPLAN,
        0,
    ),
    (inputs.Step(-1_500_000_000), Kind.STEP, 0),
    (inputs.Tick(), Kind.TICK, 0),
    (inputs.Suspend(), Kind.SUSPEND, 0),
    (inputs.Resume(), Kind.RESUME, 0),
    (inputs.Stop(), Kind.STOP, 0),
]


def test_there_is_an_example_of_every_input_and_of_every_kind() -> None:
    assert {type(example) for example, _, _ in EXAMPLES} == set(get_args(Input))
    assert {kind for _, kind, _ in EXAMPLES} == set(Kind)


@pytest.mark.parametrize(("example", "kind", "lane"), EXAMPLES)
def test_it_comes_back_as_it_was(example: Input, kind: Kind, lane: int) -> None:
    record = record_of(example, NOW_NS)
    assert (record.kind, record.lane, record.received_ns) == (kind, lane, NOW_NS)
    assert input_of(record) == example


def test_a_file_of_all_of_them_gives_them_in_order(tmp_path: Path) -> None:
    tape = TapeWriter(tmp_path, {"created_ns": 1})
    recorded = [example for example, _, _ in EXAMPLES]
    for example in recorded:
        tape.write(*record_of(example, NOW_NS))
    tape.close()
    assert [input_of(record) for file in tape_files(tmp_path) for record in read_tape(file)] == recorded


def test_a_plan_of_before_there_was_more_than_one_machine_is_one_still() -> None:
    payload = msgspec.msgpack.encode({"type": "Replan", "lanes": [PLAN]})
    assert input_of(Record(Kind.REPLAN, 0, NOW_NS, payload)) == inputs.Replan((PLAN,))


@pytest.mark.parametrize("cause", get_args(Cause))
def test_a_connection_ends_for_any_cause(cause: Cause) -> None:
    assert input_of(record_of(inputs.Closed(0, cause), NOW_NS)) == inputs.Closed(0, cause)


@given(
    st.dictionaries(st.floats(min_value=1e-12, max_value=1e12), st.floats(min_value=0, max_value=1e12)),
    st.integers(0, 2**63 - 1),
)
def test_a_fetched_book_keeps_every_digit_of_its_levels_and_their_order(bids: dict[float, float], last: int) -> None:
    book = FetchedBook(0, "BTC-USD", last, bids, {})
    back = input_of(record_of(book, NOW_NS))
    assert back == book
    assert isinstance(back, FetchedBook)
    assert list(back.bids) == list(bids)


def test_answers_of_before_there_were_exchanges_are_of_the_first_one() -> None:
    old = msgspec.to_builtins(BookAnswer("BTC-USD", NOW_NS, *SIDES))
    del old["exchange"]
    back = input_of(Record(Kind.BOOK, 0, NOW_NS, msgspec.msgpack.encode(old)))
    assert back == BookAnswer("BTC-USD", NOW_NS, *SIDES, "coinbase")


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (Kind.CLOSED, b"boredom"),
        (Kind.CLOSED, b"\xff"),
        (Kind.OPENED, b"soon"),
        (Kind.STEP, b""),
        (Kind.REPAIR, b"\xc1"),
        (Kind.BOOK, msgspec.msgpack.encode({"symbol": "BTC-USD"})),
        (Kind.FETCHED, b""),
    ],
)
def test_a_record_that_says_nothing_known_is_refused(kind: Kind, payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        input_of(Record(kind, 0, NOW_NS, payload))
