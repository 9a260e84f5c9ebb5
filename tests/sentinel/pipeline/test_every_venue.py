"""Every venue's proofs as a state machine: whatever is lost, doubled, torn, late or down, in any order, what is written
is true, what is not is named, and all of it heals. ``make fuzz`` plays more of it."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.feeds.stories import STORIES
from tests.sentinel.pipeline.model.venues import VenueWorld
from tests.sentinel.pipeline.told_story import ns

MOMENT = st.sampled_from([0, 50, 150, 400, 1_100, 2_600])
PRODUCT = st.integers(0, 1)


class Troubles(RuleBasedStateMachine):
    """``then`` is how long, in ms, the world goes on after each."""

    def __init__(self) -> None:
        super().__init__()
        self.world: VenueWorld | None = None

    @initialize(feed=st.sampled_from(sorted(STORIES)), then=MOMENT)
    def begin(self, feed: str, then: int) -> None:
        self.world = VenueWorld(feed)
        self.world.wait(1_000 + then)

    def _do(self, step: str, *arguments: Any, then: int) -> None:
        world, self.world = self.world, None  # a failed world is not settled
        assert world is not None
        getattr(world, step)(*arguments)
        world.wait(then)
        self.world = world

    def _set(self, what: str, value: object, then: int) -> None:
        assert self.world is not None
        setattr(self.world, what, value)
        self._do("wait", 0, then=then)

    @rule(then=st.sampled_from([900, 5_000, 20_000]))
    def wait(self, then: int) -> None:
        self._do("wait", 0, then=then)

    @rule(ms=st.sampled_from([3_000, 30_000, 70_000]), then=MOMENT)
    def quiet(self, ms: int, then: int) -> None:
        self._do("quiet", ms, then=then)

    @rule(frames=st.integers(1, 4), then=MOMENT)
    def lose(self, frames: int, then: int) -> None:
        self._set("lose", frames, then)

    @rule(copies=st.integers(1, 2), then=MOMENT)
    def double(self, copies: int, then: int) -> None:
        self._set("double", copies, then)

    @rule(how=st.sampled_from(["cut", "garbage", "odd"]), then=MOMENT)
    def tear(self, how: str, then: int) -> None:
        self._set("tear", how, then)

    @rule(mode=st.sampled_from(["right", "old", "down", "empty"]), then=MOMENT)
    def rest_is(self, mode: str, then: int) -> None:
        self._set("rest", mode, then)

    @rule(product=PRODUCT, then=MOMENT)
    def late_frame(self, product: int, then: int) -> None:
        self._do("late_frame", self._product(product), then=then)

    @rule(product=PRODUCT, count=st.integers(1, 3), then=MOMENT)
    def hide_trades(self, product: int, count: int, then: int) -> None:
        assert self.world is not None
        for _ in range(count):
            self.world.publish(self._product(product), is_told=False)
        self._do("wait", 0, then=then)

    @rule(product=PRODUCT, is_crossed=st.booleans(), then=MOMENT)
    def cross(self, product: int, is_crossed: bool, then: int) -> None:
        assert self.world is not None
        story, name = self.world.story, self._product(product)
        if is_crossed or story.bids[name].get("102.0"):
            self.world.deliver(story.cross(name, ns(self.world.now_ms), is_crossed=is_crossed), name)
        self._do("wait", 0, then=then)

    @rule(down_ms=st.sampled_from([0, 0, 1_500, 20_000]), then=MOMENT)
    def disconnect(self, down_ms: int, then: int) -> None:
        self._do("disconnect", down_ms, then=then)

    @rule(then=MOMENT)
    def suspend(self, then: int) -> None:
        self._do("suspend", then=then)

    @rule(then=MOMENT)
    def resume(self, then: int) -> None:
        self._do("resume", then=then)

    @rule(down_ms=st.sampled_from([50, 1_500, 20_000]), then=MOMENT)
    def crash(self, down_ms: int, then: int) -> None:
        self._do("crash", down_ms, then=then)

    def _product(self, number: int) -> str:
        assert self.world is not None
        return self.world.story.products[number]

    def teardown(self) -> None:
        if self.world is not None:
            self.world.settle()


IS_FUZZ = settings.get_current_profile_name() == "fuzz"

TestTroubles = Troubles.TestCase
TestTroubles.settings = settings(
    settings.default,
    max_examples=100_000 if IS_FUZZ else 60,
    stateful_step_count=25 if IS_FUZZ else 8,
    derandomize=not IS_FUZZ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.generate, Phase.shrink],
    deadline=None,
    database=None,
)


@pytest.mark.parametrize("feed", sorted(STORIES))
def test_without_trouble_every_instant_is_written(feed: str) -> None:
    world = VenueWorld(feed)
    world.wait(8_000)
    world.settle()
    for product in world.story.products:
        assert world.gaps(product) == world.gaps(product, "trades") == []
        assert world.trades(product) == sorted(world.traded[product])[-len(world.trades(product)) :]


@pytest.mark.parametrize("feed", sorted(STORIES))
def test_frames_lost_one_after_another_never_make_an_untrue_sample(feed: str) -> None:
    world = VenueWorld(feed)
    world.wait(1_000)
    for frames, ms in zip((1, 2, 1, 3, 2, 4), (900, 950, 650, 1_150, 850, 2_000), strict=True):
        world.lose = frames
        world.wait(ms)
    world.tear = "garbage"
    world.wait(1_000)
    world.settle()
    assert world.has_lost_unseen == (world.integrity == "none")
