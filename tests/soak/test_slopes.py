"""Whether a leak is found in two hours, and noise is not."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import exp

import pytest

from tests.soak.slopes import LIMITS, MB, Slope, judge, theil_sen

TWO_HOURS_S = 7200
READ_EVERY_S = 5
SEEDS = range(40)


def series(of: Callable[[float], float], seconds: int = TWO_HOURS_S) -> list[tuple[float, float]]:
    return [(float(at_s), of(at_s)) for at_s in range(0, seconds, READ_EVERY_S)]


def memory(seed: int, leak_mb_an_hour: float = 0.0, *, seconds: int = TWO_HOURS_S) -> Slope:
    """As a collector's: it warms up, a garbage collector saws, something is large for a while, the allocator takes a
    step now and then."""
    rng = random.Random(f"memory {seed}")
    steps = [(rng.uniform(0, seconds), rng.uniform(0.5, 4.0))]
    bursts = [rng.uniform(0, seconds) for _ in range(10)]

    def size(at_s: float) -> float:
        warm = 150 + 60 * (1 - exp(-at_s / 300))
        saw = (at_s % 37) / 37
        step = sum(height for step_s, height in steps if at_s >= step_s)
        burst = 20 * any(0 <= at_s - burst_s < 30 for burst_s in bursts)
        return MB * (warm + saw + step + burst + rng.gauss(0, 0.5) + leak_mb_an_hour * at_s / 3600)

    return judge("rss_bytes", series(size, seconds), LIMITS["rss_bytes"])


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_steps_and_a_warm_up_are_no_slope(seed: int) -> None:
    assert memory(seed).verdict == "flat"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_megabyte_an_hour_is_found_in_two(seed: int) -> None:
    assert memory(seed, 1.0).verdict == "RISES"


@pytest.mark.parametrize("lost_an_hour", [2, 10])
def test_a_descriptor_that_is_lost_now_and_then_is_found(lost_an_hour: int) -> None:
    rng = random.Random(lost_an_hour)
    found = judge(
        "descriptors",
        series(lambda at_s: 60 + int(lost_an_hour * at_s / 3600) + rng.randrange(4) * (rng.random() < 0.2)),
        LIMITS["descriptors"],
    )
    assert found.verdict == ("RISES" if lost_an_hour == 10 else "flat")


def test_a_short_run_tells_of_descriptors_and_not_of_memory() -> None:
    assert memory(1, 60.0, seconds=600).verdict == "too short"
    leak = series(lambda at_s: 60 + at_s // 30, 600)
    assert judge("descriptors", leak, LIMITS["descriptors"]).verdict == "RISES"
    assert judge("descriptors", series(lambda at_s: 60.0, 600), LIMITS["descriptors"]).verdict == "flat"


def test_a_pool_that_fills_is_no_slope() -> None:
    pool = series(lambda at_s: 14 + min(6.0, at_s // 60), 400)
    assert judge("threads", pool, LIMITS["threads"]).verdict == "too short"
    assert judge("threads", series(lambda at_s: 14 + min(6.0, at_s // 60)), LIMITS["threads"]).verdict == "flat"
    assert judge("threads", series(lambda at_s: 14 + at_s // 60), LIMITS["threads"]).verdict == "RISES"


def test_what_falls_or_was_hardly_seen_is_no_slope() -> None:
    assert judge("tasks", series(lambda at_s: 300 - at_s / 100), LIMITS["tasks"]).verdict == "flat"
    assert judge("tasks", [(3.0, 5.0)], LIMITS["tasks"]).verdict == "too short"


def test_the_slope_of_a_line_is_its_own() -> None:
    assert theil_sen([(at_s, 3 + 2 * at_s) for at_s in range(10)]) == (2, 2, 2)
    lowest, slope, highest = theil_sen([(at_s, 2 * at_s + (100 if at_s == 4 else 0)) for at_s in range(12)])
    assert (lowest, slope) == (2, 2)
    assert highest >= 2
