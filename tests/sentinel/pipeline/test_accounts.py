"""A minute's accounts close, whatever is entered and taken back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from book.sampler import CADENCE_NS
from sentinel.pipeline.accounts import Account


def test_what_was_due_and_is_neither_written_nor_withheld_is_the_residue() -> None:
    assert Account(samples_due=600, samples_written=590, samples_withheld=10).residue == 0
    assert Account(samples_due=600, samples_written=590, samples_withheld=7).residue == 3
    assert Account(samples_due=600, samples_written=600, samples_withheld=1).residue == -1


@given(st.lists(st.tuples(st.integers(0, 59), st.integers(1, 30), st.booleans()), max_size=8))
def test_an_instant_that_is_accounted_for_anew_counts_once(told: list[tuple[int, int, bool]]) -> None:
    account, due = Account(), set()
    for start, count, is_one_by_one in told:
        length = 1 if is_one_by_one else count
        for at in range(start, start + count, length):
            account.owe(at * CADENCE_NS, (at + length) * CADENCE_NS, length)
            account.samples_written += length
        due |= set(range(start, start + count))
    assert account.samples_due == account.samples_written == len(due)
    assert account.residue == 0
    assert {at for start, end in account.due for at in range(start // CADENCE_NS, end // CADENCE_NS)} == due


def test_what_is_withdrawn_was_withheld() -> None:
    account = Account()
    account.owe(0, 30 * CADENCE_NS, 30)
    account.samples_written += 20
    account.samples_withheld += 10
    account.withdraw(18 * CADENCE_NS, 25 * CADENCE_NS, CADENCE_NS)
    assert (account.samples_due, account.samples_written, account.samples_withheld) == (23, 20, 3)
    account.owe(18 * CADENCE_NS, 25 * CADENCE_NS, 7)
    account.samples_withheld += 7
    assert (account.samples_due, account.samples_written, account.samples_withheld) == (30, 20, 10)
    assert account.due == [(0, 30 * CADENCE_NS)]


def test_trades_count_in_whatever_order_they_come() -> None:
    account = Account()
    for trade_id in (7, 5, 9, 8):
        account.enter_trade(trade_id)
    assert (account.trades, account.first_trade_id, account.last_trade_id) == (4, 5, 9)


def test_the_largest_step_of_a_minute_stays_whatever_its_direction() -> None:
    account = Account()
    for step_ms in (20, -300, 250):
        account.note_step(step_ms)
    assert account.clock_step_ms == -300


def test_a_minute_without_trades_says_nothing_of_ids_and_of_all_else_that_it_was_nothing() -> None:
    counts = dict(Account(samples_due=3).counts())
    assert counts["samples_due"] == 3
    assert counts["missing"] == counts["trades"] == 0
    assert not [name for name in counts if name.endswith("_trade_id")]
    assert dict(Account(trades=1, first_trade_id=4, last_trade_id=4).counts())["first_trade_id"] == 4
