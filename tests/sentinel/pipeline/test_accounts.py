"""A minute's accounts close, whatever is entered and taken back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sentinel.pipeline.accounts import Account


def test_what_was_due_and_is_neither_written_nor_withheld_is_the_residue() -> None:
    assert Account(samples_due=600, samples_written=590, samples_withheld=10).residue == 0
    assert Account(samples_due=600, samples_written=590, samples_withheld=7).residue == 3
    assert Account(samples_due=600, samples_written=600, samples_withheld=1).residue == -1


@given(st.integers(0, 600), st.integers(0, 600), st.data())
def test_instants_are_taken_back_from_what_was_written_first(written: int, withheld: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, written + withheld))
    account = Account(samples_due=written + withheld, samples_written=written, samples_withheld=withheld)
    account.take_back(count)
    assert account.samples_written == max(0, written - count)
    assert account.samples_withheld == min(withheld, written + withheld - count)
    assert account.residue == 0


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
