"""Times as text."""

from __future__ import annotations

import time

from sentinel.simulator.instants import ns_of


def test_times_are_read_as_written() -> None:
    now_ns = time.time_ns()
    assert ns_of("2026-08-09T21:05:48.85484Z") == 1786309548854840000
    assert ns_of("2026-08-09T21:05:48Z") == 1786309548000000000
    assert now_ns > 0
