"""Memory by least squares, of the process that ran longest."""

from __future__ import annotations

import pytest

from sentinel.qualify.resources import MOST_POINTS, longest_process, resources, slope_mb_per_h, thinned
from sentinel.qualify.state import SessionState
from tests.sentinel.qualify.made import H, S, known, points


def test_a_line_has_its_slope() -> None:
    assert slope_mb_per_h(points([100.0 + 2.5 * quarter for quarter in range(9)])) == pytest.approx(10.0)


def test_the_first_quarter_does_not_count() -> None:
    assert slope_mb_per_h(points([20, 60, 100, 100, 100, 100, 100, 100, 100])) == pytest.approx(0.0)


@pytest.mark.parametrize("megabytes", [[], [100.0], [100.0, 101.0, 102.0, 103.0]])
def test_less_than_an_hour_has_none(megabytes: list[float]) -> None:
    assert slope_mb_per_h(points(megabytes)) is None


def test_the_longest_process_is_looked_at() -> None:
    first, second = points([1.0] * 3), points([2.0] * 5, process=1)
    assert longest_process([*first, *second]) == second
    assert longest_process([]) == []


def test_what_is_left_out_of_a_picture_is_never_the_end() -> None:
    series = points([float(at) for at in range(4 * MOST_POINTS + 2)])
    kept = thinned(series)
    assert len(kept) <= MOST_POINTS + 1
    assert (kept[0], kept[-1]) == (series[0], series[-1])
    assert thinned(series[:7]) == series[:7]


def test_disk_is_told_by_the_day() -> None:
    state = known(sessions=[SessionState(0, 6 * H), SessionState(10 * H, 16 * H)], disk_bytes={"journal": 300})
    found = resources(state)
    assert found.disk_bytes_per_day == {"journal": 600}
    assert state.collected_s == 12 * H / S
    assert found.cpu_share is None
