"""Evidence made by hand."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from sentinel.qualify.evidence import (
    ClockFound,
    Environment,
    FeedFound,
    Lateness,
    MemoryPoint,
    ProductFound,
    Qualification,
    Resources,
    Span,
    Times,
    VenueAddress,
)
from sentinel.qualify.state import Known

S = 1_000_000_000
H = 3600 * S
MB = 1_000_000

ENVIRONMENT = Environment(
    "sentinel-ws 1", "abc", "native", "CPython 3.11", "Linux", 2, [VenueAddress("coinbase", True)]
)
LATE = Lateness(100, 10.0, 50.0, 70.0)


def product(**changed: Any) -> ProductFound:
    """A market of which nothing is wrong."""
    usual = ProductFound(
        exchange="coinbase",
        symbol="BTC-USD",
        integrity="sequence",
        trade_proof="ids",
        window=Span(0, 60 * S),
        first_proved_s=0.5,
        due=600,
        written=600,
        withheld=0,
        named=0,
        not_collected=0,
        stored_samples=600,
        trades=50,
        missing=0,
        repaired=0,
        doubled=0,
        transitions=[],
        resync=Times(0),
        repair=Times(0),
    )
    return replace(usual, **changed)


def feed(**changed: Any) -> FeedFound:
    """A feed that was never lost."""
    usual = FeedFound(
        exchange="coinbase",
        feed="coinbase_advanced",
        connections=1,
        opened=1,
        replaced=0,
        closed={},
        failed={},
        frames=1000,
        bytes=10_000,
        frames_lost=0,
        lost_per_million=0.0,
        frames_late=0,
        undecodable=0,
        unusable=0,
        acknowledgements=3,
        refusals={},
        unknown={},
        reconnect=Times(0),
    )
    return replace(usual, **changed)


def found(**changed: Any) -> Qualification:
    """A minute in which nothing went wrong."""
    usual = Qualification(
        state="complete",
        verdict="not judged",
        window=Span(0, 60 * S),
        asked_s=60.0,
        collected_s=60.0,
        sessions=[],
        processes=[],
        environment=ENVIRONMENT,
        settings={},
        claims=[],
        products=[product()],
        feeds=[feed()],
        transitions=[],
        transitions_left_out=0,
        gaps=[],
        reliability=[],
        lateness=LATE,
        handling=LATE,
        loop_lag=LATE,
        delays=[],
        clock=ClockFound(0, 0.0),
        resources=Resources(None, None, None, None, None, None, None, None, {}, {}, []),
        wire=[],
        verified=None,
        notes=[],
    )
    return replace(usual, **changed)


def known(**changed: Any) -> Known:
    usual = Known(["BTC-USD"], 60.0, ENVIRONMENT, {}, 100_000_000)
    return replace(usual, **changed)


def points(megabytes: list[float], every_ns: int = H // 4, process: int = 0, **facts: Any) -> list[MemoryPoint]:
    """Memory at moments that are as far apart."""
    usual = {"descriptors": 20, "threads": 9, "cpu_s": 0.0} | facts
    return [
        MemoryPoint(at_ns=at * every_ns, process=process, memory_bytes=round(value * MB), **usual)
        for at, value in enumerate(megabytes)
    ]
