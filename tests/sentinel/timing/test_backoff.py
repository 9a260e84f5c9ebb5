"""Waits between attempts."""

from __future__ import annotations

import random

from sentinel.timing.backoff import Backoff


def test_the_ceiling_doubles_up_to_the_most() -> None:
    backoff = Backoff(lambda: 1.0, first_s=0.5, most_s=5.0)
    assert [backoff.next_s() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_every_wait_is_a_random_share_of_the_ceiling() -> None:
    draws = random.Random(7)
    backoff = Backoff(draws.random, first_s=1.0, most_s=8.0)
    again = random.Random(7)
    assert [backoff.next_s() for _ in range(5)] == [again.random() * ceiling for ceiling in (1, 2, 4, 8, 8)]


def test_reset_begins_anew() -> None:
    backoff = Backoff(lambda: 1.0, first_s=0.5)
    backoff.next_s()
    backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 0.5


def test_it_goes_on_for_ever() -> None:
    backoff = Backoff(lambda: 1.0, first_s=1.0, most_s=30.0)
    assert [backoff.next_s() for _ in range(5000)][-1] == 30.0
