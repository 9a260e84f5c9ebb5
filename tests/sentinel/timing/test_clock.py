"""The clock against wall clocks that jump."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sentinel.timing.clock import Clock

S = 1_000_000_000


class Wall:
    """A wall clock and a monotonic one, moved by hand."""

    def __init__(self) -> None:
        self.wall_ns = 1_700_000_000 * S
        self.monotonic_ns = 5 * S

    def clock(self) -> Clock:
        return Clock(lambda: self.wall_ns, lambda: self.monotonic_ns)

    def pass_ns(self, ns: int) -> None:
        self.wall_ns += ns
        self.monotonic_ns += ns


def test_it_tells_wall_time() -> None:
    wall = Wall()
    clock = wall.clock()
    wall.pass_ns(3 * S)
    assert clock.now_ns() == 1_700_000_003 * S
    assert clock.anchor() == 0


def test_a_step_is_not_seen_until_anchored() -> None:
    wall = Wall()
    clock = wall.clock()
    wall.wall_ns += 60 * S
    assert clock.now_ns() == 1_700_000_000 * S


def test_a_forward_step_is_taken_over_and_recorded() -> None:
    wall = Wall()
    clock = wall.clock()
    wall.wall_ns += 1_500_000_000
    assert clock.anchor() == 1500
    assert clock.now_ns() == wall.wall_ns
    assert clock.anchor() == 0


def test_a_backward_step_is_only_recorded() -> None:
    wall = Wall()
    clock = wall.clock()
    wall.wall_ns -= 10 * S
    assert clock.anchor() == -10_000
    assert clock.step_ms == -10_000
    assert clock.now_ns() == 1_700_000_000 * S
    wall.pass_ns(S)
    assert clock.now_ns() == 1_700_000_001 * S


@given(st.lists(st.tuples(st.integers(0, 10 * S), st.integers(-100 * S, 100 * S), st.booleans())))
def test_it_never_goes_back(moves: list[tuple[int, int, bool]]) -> None:
    wall = Wall()
    clock = wall.clock()
    before_ns = clock.now_ns()
    for passed_ns, step_ns, is_anchored in moves:
        wall.pass_ns(passed_ns)
        wall.wall_ns += step_ns
        if is_anchored:
            clock.anchor()
        now_ns = clock.now_ns()
        assert now_ns >= before_ns + passed_ns
        before_ns = now_ns
