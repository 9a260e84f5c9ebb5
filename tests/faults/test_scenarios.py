"""A few of the seeded runs; ``python -m tests.faults.scenario 0-199 --at-once 4`` makes them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from feeds.catalogue import VENUES as COLLECTED
from tests.end_to_end.judge import CALM_NS
from tests.faults.draw import HOW, KINDS, Source, draw, kinds
from tests.faults.played import COINBASE, PLAYED
from tests.faults.scenario import play_all
from tests.faults.table import truth_of

SEEDS = (2, 10, 12, 36)
"""Chosen to have every source of trouble among them, both signals, both ways a clock steps, both sizes of memory."""

FULL_DISK = 12
"""Of these, the one whose disk refuses while there is memory enough."""

SEEDS_OF_OTHERS = {
    "tidepool": (136, 186, 189),
    "kraken": (143, 147),
    "binance": (18, 130),
    "okx": (12, 125),
    "deribit": (179, 276),
    "coinbase_derivatives": (42, 151),
}
"""Chosen to have all ``MEETINGS`` among them."""

ENDS = {"close", "abort", "announce_close"}
MEETINGS: dict[str, Callable[[set[str], set[str]], bool]] = {
    "a lost frame of a book while REST is in trouble": lambda of_book, names: "drop" in of_book and "rest" in names,
    "one between two runs": lambda of_book, names: "drop" in of_book and "restart" in names,
    "one before the end of its connection": lambda of_book, names: "drop" in of_book and bool(ENDS & names),
    "a late one": lambda of_book, names: "delay" in of_book,
    "a crossed book": lambda of_book, names: "cross" in names,
    "a connection whose end is announced": lambda of_book, names: "announce_close" in names,
}
"""What happens to frames of the book, and what happens at all."""


def test_the_report_is_the_truth_whatever_goes_wrong_at_the_same_time(tmp_path: Path) -> None:
    """At once: what takes time is waiting."""
    assert dict(play_all(SEEDS, len(SEEDS), tmp_path)) == {seed: [] for seed in SEEDS}
    truth = truth_of(tmp_path / str(FULL_DISK), COINBASE.facts.feeds[0])
    (full,) = (fact for fact in truth.faults if fact["fault"] == "disk: refuses")
    has_refused = "journal_refuses" in (tmp_path / str(FULL_DISK) / "data" / "stderr.txt").read_text()
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


def test_the_seeds_that_are_played_here_have_what_they_were_chosen_for() -> None:
    drawn = {trouble.name for seed in SEEDS for trouble in draw(seed)}
    assert {name.partition(":")[0] for name in drawn} == set(get_args(Source))
    assert drawn >= {f"{source}: {how}" for source in ("clock", "disk", "restart") for how in HOW[source]}
    assert "disk: refuses" in {trouble.name for trouble in draw(FULL_DISK)}
    met = set()
    for exchange, seeds in SEEDS_OF_OTHERS.items():
        facts = PLAYED[exchange].facts
        for seed in seeds:
            troubles = draw(seed, facts)
            names = {name for trouble in troubles for name in (trouble.source, trouble.how)}
            faults = [trouble.fault for trouble in troubles if trouble.fault is not None]
            of_book = {
                fault.kind
                for fault in faults
                if fault.feed in (None, facts.feeds[0]) and fault.channel in (None, facts.book_channel)
            }
            met |= {name for name, is_so in MEETINGS.items() if is_so(of_book, names)}
    assert met == MEETINGS.keys()


@pytest.mark.parametrize("exchange", PLAYED)
@pytest.mark.parametrize("first", [0, 50])
def test_ten_seeds_have_every_kind_of_a_venue_once(exchange: str, first: int) -> None:
    facts = PLAYED[exchange].facts
    drawn = [(trouble.source, trouble.how) for seed in range(first, first + 10) for trouble in draw(seed, facts)]
    assert sorted(drawn) == sorted((source, how) for source, hows in kinds(facts).items() for how in hows)


def test_a_campaign_of_ten_seeds_a_venue_has_every_kind_several_times() -> None:
    played = [venue.facts for exchange, venue in PLAYED.items() if exchange in COLLECTED]
    drawn = Counter(trouble.name for facts in played for seed in range(10) for trouble in draw(seed, facts))
    assert {name: count for name, count in drawn.items() if count < len(played)} == {
        f"venue: {kind}": sum(kind in facts.faults for facts in played)
        for kind in ("announce_close", "jump", "oversize_snapshot")  # few venues have them
    }
    assert drawn.keys() >= {f"{source}: {how}" for source, hows in HOW.items() for how in hows}
    assert {name.partition(": ")[2] for name in drawn} >= set(KINDS)


@pytest.mark.parametrize("exchange", PLAYED)
def test_every_seed_of_a_venue_draws_troubles_that_can_meet(exchange: str) -> None:
    for seed in range(200):
        troubles = draw(seed, PLAYED[exchange].facts)
        assert 2 <= len(troubles) <= 4
        assert len({trouble.source for trouble in troubles}) >= 2
        of_others = [trouble.source for trouble in troubles if trouble.source != "venue"]
        assert len(set(of_others)) == len(of_others)  # a host has one of a kind at a time
        moments = [trouble.at_s for trouble in troubles]
        assert max(moments) - min(moments) <= 1.7
