"""When an hour is written, and where: all that a collector must know of the archive without loading Arrow."""

from __future__ import annotations

HOUR_NS = 3_600_000_000_000

GRACE_NS = 60_000_000_000
"""How long after its end an hour is left alone: the last sample waits for its proof, the last trades for a witness."""

UNLIMITED = "-"
"""How no limit is spelled on the worker's command line."""


def end_of_archive_ns(now_ns: int) -> int:
    """The end of the last hour that is over for good."""
    return (now_ns - GRACE_NS) // HOUR_NS * HOUR_NS


def by_design_s(interval_s: float) -> float:
    """How long a line may wait for the archive: its hour, then until the next pass, and as long again for the pass."""
    return (HOUR_NS + GRACE_NS) / 1e9 + 2 * interval_s


def end_of_waiting_ns(before_ns: int) -> int:
    """The end of the hours that may be under way when those before ``before_ns`` are over; what is later is ahead."""
    return before_ns + 2 * HOUR_NS
