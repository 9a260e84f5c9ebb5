"""The document that a qualification is: its public, versioned shape, and the digest it is cited by.

docs/qualify.md describes it. A later version may add keys; what a key means stays, or ``VERSION`` rises.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

FORMAT = "sentinel-ws qualification"
VERSION = 1

State = Literal["running", "complete", "cut short"]
Verdict = Literal["holds", "broken", "not judged"]
Found = Literal["confirmed", "contradicted", "not seen"]


class Times(Struct, frozen=True):
    """How long something took, in seconds. All but ``count`` are None when it never happened."""

    count: int
    p50_s: float | None = None
    p99_s: float | None = None
    most_s: float | None = None


def times_of(spans_ns: Sequence[int]) -> Times:
    """By nearest rank: each figure is one that really occurred."""
    if not spans_ns:
        return Times(0)
    ordered = sorted(spans_ns)

    def rank(share: float) -> float:
        return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] / 1e9

    return Times(len(ordered), rank(0.5), rank(0.99), ordered[-1] / 1e9)


class Span(Struct, frozen=True):
    """``start_ns <= t < end_ns``."""

    start_ns: int
    end_ns: int


class Session(Struct, frozen=True):
    """One run of the command. ``ended`` says how."""

    start_ns: int
    end_ns: int
    ended: str


class Process(Struct, frozen=True):
    """One collector process. ``status`` is its exit status, None while it runs or if its end was not seen."""

    start_ns: int
    end_ns: int
    status: int | None


class VenueAddress(Struct, frozen=True):
    """Whether a venue was where its documentation says it is: if not, this is evidence of something else."""

    exchange: str
    is_own: bool


class Environment(Struct, frozen=True):
    """What it ran on. Neither names nor paths of the machine are in it."""

    software: str
    commit: str | None
    flavour: str
    python: str
    platform: str
    cores: int
    venues: list[VenueAddress]


class FeedFound(Struct, frozen=True):
    """One feed. ``closed`` and ``failed`` are by cause: connections that ended, and that did not come about.

    ``frames_lost`` are those whose number never came; None where frames have no numbers of their own.
    """

    exchange: str
    feed: str
    connections: int
    opened: int
    replaced: int
    closed: dict[str, int]
    failed: dict[str, int]
    frames: int
    bytes: int
    frames_lost: int | None
    lost_per_million: float | None
    frames_late: int
    undecodable: int
    unusable: int
    acknowledgements: int
    refusals: dict[str, int]
    unknown: dict[str, int]
    reconnect: Times


class Transition(Struct, frozen=True):
    """Of a connection. ``after_s`` is how long it had been open, or closed, before."""

    at_ns: int
    connection: int
    feed: str
    event: Literal["opened", "closed", "replaced", "failed"]
    cause: str = ""
    after_s: float | None = None


class BookTransition(Struct, frozen=True):
    """A time in which a book was not proved. ``end_ns`` is None if it did not end."""

    start_ns: int
    end_ns: int | None
    cause: str
    withheld: int


class ProductFound(Struct, frozen=True):
    """One market. ``named`` is how many instants its gaps name: as many as were withheld, or some are unexplained.
    ``stored_samples`` counts lines, not accounts; ``doubled`` are trades that were stored twice, None where ids do not
    tell."""

    exchange: str
    symbol: str
    integrity: str
    trade_proof: str
    window: Span
    first_proved_s: float | None
    due: int
    written: int
    withheld: int
    named: int
    not_collected: int
    stored_samples: int
    trades: int
    missing: int
    repaired: int
    doubled: int | None
    transitions: list[BookTransition]
    resync: Times
    repair: Times


class GapsFound(Struct, frozen=True):
    """All gaps of one channel and cause. ``missing`` and ``repaired`` are frames on the book, ids of trades."""

    channel: str
    cause: str
    count: int
    open: int
    missing: int
    repaired: int
    length: Times


class Fault(Struct, frozen=True):
    """One row of the reliability table. ``lost`` is what stayed missing: samples of a book, trades."""

    fault: str
    channel: str
    seen: int
    lost: int
    detect: Times
    heal: Times


class Lateness(Struct, frozen=True):
    """Upper bounds of buckets, at most an eighth above the truth. Of frames, one in some is timed."""

    count: int
    p50_ms: float
    p99_ms: float
    most_ms: float


class Delay(Struct, frozen=True):
    """From the venue's time of a live trade until it was here. ``least_ms`` below zero: the clocks differ by at least
    that."""

    exchange: str
    count: int
    least_ms: float
    p50_ms: float
    p99_ms: float
    most_ms: float


class ClockFound(Struct, frozen=True):
    """Steps of the wall clock that were noticed."""

    steps: int
    largest_ms: float


class MemoryPoint(Struct, frozen=True):
    """One moment of one process."""

    at_ns: int
    process: int
    memory_bytes: int
    descriptors: int | None
    threads: int
    cpu_s: float


class Resources(Struct, frozen=True):
    """``memory_slope_mb_per_h`` is of the last three quarters of the longest process, by least squares."""

    memory_start_mb: float | None
    memory_end_mb: float | None
    memory_most_mb: float | None
    memory_slope_mb_per_h: float | None
    cpu_share: float | None
    descriptors_start: int | None
    descriptors_end: int | None
    threads_end: int | None
    disk_bytes: dict[str, int]
    disk_bytes_per_day: dict[str, int]
    series: list[MemoryPoint]


class WireFound(Struct, frozen=True):
    """What is believed of a venue's wire, and what its frames said."""

    exchange: str
    name: str
    says: str
    confidence: str
    found: Found
    confirmed: int
    contradicted: int
    example: str = ""


class Claim(Struct, frozen=True):
    """What we say of ourselves, the rule it is judged by, and what was found."""

    name: str
    says: str
    rule: str
    verdict: Verdict
    found: str


class Verified(Struct, frozen=True):
    """What ``sentinel-ws verify`` said of the hours that were over."""

    certificates: int
    holds: bool
    checks: dict[str, int]
    problems: list[str]
    heads: dict[str, str]


class Qualification(Struct, frozen=True, kw_only=True):
    """The document."""

    format: str = FORMAT
    version: int = VERSION
    sha256: str = ""
    state: State
    verdict: Verdict
    window: Span
    asked_s: float
    collected_s: float
    sessions: list[Session]
    processes: list[Process]
    environment: Environment
    settings: dict[str, Any]
    claims: list[Claim]
    products: list[ProductFound]
    feeds: list[FeedFound]
    transitions: list[Transition]
    transitions_left_out: int
    gaps: list[GapsFound]
    reliability: list[Fault]
    lateness: Lateness
    handling: Lateness
    loop_lag: Lateness
    delays: list[Delay]
    clock: ClockFound
    resources: Resources
    wire: list[WireFound]
    verified: Verified | None
    notes: list[str]


def digest(document: dict[str, Any]) -> str:
    """SHA-256 of the document without its ``sha256``: keys sorted, no spaces, UTF-8."""
    bare = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(found: Qualification) -> Qualification:
    """The document with its digest."""
    return msgspec.structs.replace(found, sha256=digest(msgspec.to_builtins(found)))


def as_json(found: Qualification) -> bytes:
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
