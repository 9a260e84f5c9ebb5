"""A few of the seeded runs; ``python -m tests.faults.scenario 0-199 --at-once 4`` makes them all."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from feeds.catalogue import VENUES as COLLECTED
from tests.end_to_end.judge import CALM_NS
from tests.faults.draw import Source, draw
from tests.faults.played import COINBASE, PLAYED
from tests.faults.scenario import play_all
from tests.faults.table import truth_of

SEEDS = (3, 13, 31, 146)
"""Chosen to have every source of trouble among them, both signals, both ways a clock steps, both sizes of memory."""


SEEDS_OF_OTHERS = {
    "tidepool": (14, 46, 55, 76),
    "kraken": (60, 95),
    "binance": (33, 95),
    "okx": (13, 14),
    "deribit": (60, 95),
    "coinbase_derivatives": (62, 87),
}
"""With a lost frame of a book while REST is in trouble, between two runs, before the end of its connection; a late one;
a crossed book; a connection whose end is announced."""


def test_the_report_is_the_truth_whatever_goes_wrong_at_the_same_time(tmp_path: Path) -> None:
    """At once: what takes time is waiting."""
    assert dict(play_all(SEEDS, len(SEEDS), tmp_path)) == {seed: [] for seed in SEEDS}
    truth = truth_of(tmp_path / "146", COINBASE.facts.feeds[0])
    (full,) = (fact for fact in truth.faults if fact["fault"] == "disk: refuses")
    has_refused = "journal_refuses" in (tmp_path / "146" / "data" / "stderr.txt").read_text()
    assert has_refused or truth.stood_near(full["start_ns"], CALM_NS)


@pytest.mark.parametrize("exchange", SEEDS_OF_OTHERS)
def test_it_is_whatever_venue_it_is(exchange: str, tmp_path: Path) -> None:
    seeds = SEEDS_OF_OTHERS[exchange]
    assert dict(play_all(seeds, len(seeds), tmp_path, exchange)) == {seed: [] for seed in seeds}


@pytest.mark.parametrize("exchange", PLAYED)
def test_only_what_can_happen_to_a_venue_is_drawn(exchange: str) -> None:
    facts = PLAYED[exchange].facts
    faults = [trouble.fault for seed in range(300) for trouble in draw(seed, facts) if trouble.fault is not None]
    kinds = {fault.kind for fault in faults}
    assert kinds <= facts.faults
    assert kinds >= facts.faults & {"drop", "duplicate", "reorder", "corrupt", "close", "stall", "hide", "rest"}
    assert {fault.feed for fault in faults} == {None, *facts.feeds}
    assert facts.channels.keys() <= set(facts.feeds)
    known = {None, facts.book_channel, *(channel for named in facts.channels.values() for channel in named)}
    assert {fault.channel for fault in faults} <= known


@pytest.mark.parametrize("exchange", sorted(PLAYED.keys() & COLLECTED.keys()))
def test_what_bears_books_and_trades_has_faults_of_its_own(exchange: str) -> None:
    facts = PLAYED[exchange].facts
    assert facts.channels.keys() == set(facts.feeds)
    assert facts.book_channel in facts.channels[facts.feeds[0]]
    assert sum(map(len, facts.channels.values())) >= 2


def test_every_seed_draws_two_to_four_troubles_of_two_sources_that_meet() -> None:
    for seed in range(200):
        troubles = draw(seed)
        assert 2 <= len(troubles) <= 4
        assert len({trouble.source for trouble in troubles}) >= 2
        moments = [trouble.at_s for trouble in troubles]
        assert max(moments) - min(moments) <= 1.7
    assert {trouble.source for seed in SEEDS for trouble in draw(seed)} == set(get_args(Source))
