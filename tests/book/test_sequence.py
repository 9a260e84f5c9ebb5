"""The counter of a connection against the set of numbers seen."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from book.sequence import Hole, SequenceTracker, Verdict


@given(st.lists(st.integers(0, 30), max_size=60))
def test_holes_and_frames_account_for_every_number(numbers: list[int]) -> None:
    tracker = SequenceTracker(0)
    good: list[int] = []
    lost: list[int] = []
    for number in numbers:
        verdict = tracker.check(number)
        if verdict is Verdict.NEXT:
            good.append(number)
        elif isinstance(verdict, Hole):
            lost.extend(range(verdict.first, verdict.last + 1))
            assert verdict.count == verdict.last - verdict.first + 1
            good.append(number)
        else:
            assert number < tracker.expected
    assert sorted(good + lost) == list(range(tracker.expected))
    assert good == sorted(set(good))


def test_zero_again_is_a_reset_once_the_connection_has_moved_on() -> None:
    tracker = SequenceTracker(0)
    assert tracker.check(0) is Verdict.NEXT
    assert tracker.check(0) is Verdict.DUPLICATE
    assert tracker.check(1) is Verdict.NEXT
    assert tracker.check(0) is Verdict.RESET
    assert tracker.check(1) is Verdict.DUPLICATE


def test_frames_lost_before_the_first_one_are_lost_too() -> None:
    assert SequenceTracker(0).check(3) == Hole(0, 2)
