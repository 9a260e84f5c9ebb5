"""What goes wrong in a run: two to four troubles at the same time, from at least two different sources, by seed.

Ten seeds, such as 0 to 9, are a round: in each, every kind of trouble that a venue can have comes once. Which of them
meet is another draw for each round and venue.
"""

from __future__ import annotations

import random
from typing import Any, Literal

from msgspec import Struct

from sentinel.simulator.coinbase.facts import FACTS
from sentinel.simulator.facts import DialectFacts
from sentinel.simulator.faults import Fault

Source = Literal["venue", "rest", "disk", "store", "clock", "restart"]

FIRST_S, LAST_S = 3.5, 6.5
"""When the moment lies at which the troubles meet."""

MEET_WITHIN_S = 0.8
KINDS = (
    "drop", "drop", "drop", "duplicate", "reorder", "corrupt", "delay", "jump", "orphan_delete", "oversize_snapshot",
    "close", "abort", "stall", "refuse_connections", "hide", "hide", "cross",
    "announce_close",
)  # fmt: skip
HOW: dict[Source, tuple[str, ...]] = {
    "rest": ("down", "slow", "429", "empty", "garbage"),
    "disk": ("refuses", "refuses and memory is short"),
    "store": ("down", "slow", "500", "503", "resets", "keeps and resets"),
    "clock": ("forward", "back"),
    "restart": ("SIGKILL", "SIGTERM"),
}
ROUND = 10
"""So many seeds: more than kinds of any source but the venue, of which a run has one at most."""


class Trouble(Struct, frozen=True):
    """One trouble. ``fault`` is what the exchange does, of the sources ``venue`` and ``rest``; ``how`` what else
    happens, from ``at_s`` on for ``duration_s``, by ``step_s`` if it is a step of the clock."""

    source: Source
    how: str
    at_s: float
    duration_s: float = 0.0
    step_s: float = 0.0
    fault: Fault | None = None

    @property
    def name(self) -> str:
        return f"{self.source}: {self.how}"


def draw(seed: int, facts: DialectFacts = FACTS) -> list[Trouble]:
    """The troubles of the run with this seed, of those that can happen to this venue."""
    number, place = divmod(seed, ROUND)
    rng = random.Random(f"scenario {seed} of {facts.feeds[0]}")
    meeting_s = rng.uniform(FIRST_S, LAST_S)
    return [
        _trouble(rng, facts, source, how, round(meeting_s + rng.uniform(-MEET_WITHIN_S, MEET_WITHIN_S), 2))
        for source, how in _dealt(number, facts)[place]
    ]


def kinds(facts: DialectFacts) -> dict[Source, list[str]]:
    """All that can happen to a collector of this venue."""
    of_venue: dict[Source, list[str]] = {"venue": [kind for kind in dict.fromkeys(KINDS) if kind in facts.faults]}
    return of_venue | {source: list(hows) for source, hows in HOW.items()}


def _dealt(number: int, facts: DialectFacts) -> list[list[tuple[Source, str]]]:
    """The kinds for each seed of a round, dealt in turn, source by source: the venue's first, as they are more than
    seeds, so that whoever gets two of these gets a third of another source."""
    rng = random.Random(f"round {number} of {facts.feeds[0]}")
    of_venue, *others = kinds(facts).items()
    rng.shuffle(others)
    deck = [(source, how) for source, hows in (of_venue, *others) for how in rng.sample(hows, len(hows))]
    hands = [deck[place::ROUND] for place in range(ROUND)]
    rng.shuffle(hands)
    return hands


def _trouble(rng: random.Random, facts: DialectFacts, source: Source, how: str, at_s: float) -> Trouble:
    duration_s = round(rng.uniform(1.0, 3.5), 2)
    match source:
        case "venue":
            return Trouble(source, how, at_s, fault=_fault(rng, how, at_s, facts))
        case "rest":
            fault = Fault(kind="rest", at_s=at_s, duration_s=duration_s, mode=how)
            return Trouble(source, how, at_s, duration_s, fault=fault)
        case "clock":
            step_s = round(rng.uniform(0.3, 4.0), 2)
            return Trouble(source, how, at_s, step_s=step_s if how == "forward" else -step_s)
        case _:
            return Trouble(source, how, at_s, duration_s)


def fault_of_venue(rng: random.Random, at_s: float, venue: DialectFacts = FACTS) -> Fault:
    """Something the exchange does on its sockets or in its market."""
    return _fault(rng, rng.choice([kind for kind in KINDS if kind in venue.faults]), at_s, venue)


def _fault(rng: random.Random, kind: str, at_s: float, venue: DialectFacts) -> Fault:
    of_books, *_ = venue.feeds
    feed = rng.choice((of_books, *venue.feeds))
    is_of_books = kind in ("jump", "orphan_delete", "oversize_snapshot", "cross")
    facts: dict[str, Any] = {"kind": kind, "at_s": at_s}
    if kind == "hide":
        return Fault(
            kind="hide",
            at_s=at_s,
            count=rng.randrange(1, 12),
            feed=rng.choice((None, None, *venue.feeds)),
            from_rest=rng.random() < 0.2,
        )
    if kind in ("refuse_connections", "cross"):
        facts["duration_s"] = rng.uniform(0.5, 4.0)
    if kind == "stall":
        facts["duration_s"] = rng.uniform(0.3, 4.5)
    if not is_of_books and kind != "refuse_connections":
        facts["channel"] = rng.choice((None, *venue.channels.get(feed, (venue.book_channel,))))
    facts["feed"] = of_books if is_of_books else feed
    facts["count"] = rng.randrange(1, 6) if kind in ("drop", "duplicate", "jump", "orphan_delete") else 1
    facts["skip"] = rng.randrange(1, 9)
    facts["how"] = rng.choice(("truncate", "garbage", "nan"))
    facts["code"] = rng.choice((1000, 1001, 1011, 1012, 1013))
    facts["delay_s"] = rng.uniform(0.1, 1.5)
    facts["connection"] = rng.choice((None, 1, 2)) if kind != "cross" else None
    if kind == "orphan_delete":  # the market's own, so on every connection
        facts["connection"] = None
    if kind == "cross":  # and on either feed
        facts["feed"] = None
    return Fault(**facts)
