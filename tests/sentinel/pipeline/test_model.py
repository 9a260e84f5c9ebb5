"""The pipeline as a state machine: every trouble of design section 6 at once, in any order, and the truth at the end.

Each rule is one trouble, after which some time passes; when a sequence is over, all troubles end, everything has time
to heal, and the judge compares the disk with the truth. A failing sequence is printed as the calls that lead to it:
copied into a test below, it stays tried for ever.

The suite plays the same few thousand steps each time; ``make fuzz`` plays others until it is stopped, or one fails.
"""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sentinel.pipeline import Repair, RepairAnswer
from tests.sentinel.pipeline.model.judge import judge_jumps, settle_and_judge
from tests.sentinel.pipeline.model.lines import read
from tests.sentinel.pipeline.model.market import S
from tests.sentinel.pipeline.model.traffic import LAYOUTS, PRODUCTS
from tests.sentinel.pipeline.model.world import World
from tests.sentinel.pipeline.venue import START, SYMBOL, heartbeat, match, pipeline, plan

MOMENT = st.sampled_from([0, 50, 130, 400, 1_100, 2_600])
LONG = st.sampled_from([300, 900, 2_000, 2_400, 2_600, 5_000])
LANE = st.integers(0, 3)
PRODUCT = st.sampled_from(PRODUCTS)
PLACES = [*[{"matches", "market_trades"}] * 3, {"matches"}, {"market_trades"}, {"matches", "market_trades", "rest"}]
CLOCK_MS = st.sampled_from([-600_000, -3_000, -50, 50, 1_000, 3_000, 600_000])


class Troubles(RuleBasedStateMachine):
    """All inputs at once. ``then`` is how long, in ms, the world goes on after each."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None

    @initialize(layout=st.sampled_from(sorted(LAYOUTS)), copies=st.sampled_from([1, 2]), then=MOMENT)
    def begin(self, layout: str, copies: int, then: int) -> None:
        self.world = World(layout, copies)
        self.world.wait(1_000 + then)

    def _do(self, step: str, *arguments: Any, then: int, **named: Any) -> None:
        world, self.world = self.world, None  # a failed world is not settled
        assert world is not None
        getattr(world, step)(*arguments, **named)
        world.wait(then)
        self.world = world

    def _lane(self, lane: int) -> int:
        assert self.world is not None
        return lane % len(self.world.plans)

    @rule(then=LONG)
    def wait(self, then: int) -> None:
        self._do("wait", 0, then=then)

    @rule(lane=LANE, count=st.integers(1, 3), then=MOMENT)
    def lose(self, lane: int, count: int, then: int) -> None:
        self._do("lose", self._lane(lane), count, then=then)

    @rule(lane=LANE, then=MOMENT)
    def double(self, lane: int, then: int) -> None:
        self._do("double", self._lane(lane), then=then)

    @rule(lane=LANE, how=st.sampled_from(["cut", "garbage", "odd"]), then=MOMENT)
    def tear(self, lane: int, how: str, then: int) -> None:
        self._do("tear", self._lane(lane), how, then=then)

    @rule(lane=LANE, product=PRODUCT, then=MOMENT)
    def cross_copy(self, lane: int, product: str, then: int) -> None:
        self._do("cross_copy", self._lane(lane), product, then=then)

    @rule(product=PRODUCT, then=MOMENT)
    def cross_market(self, product: str, then: int) -> None:
        self._do("cross_market", product, then=then)

    @rule(lane=LANE, kind=st.sampled_from(["product", "of_tomorrow"]), then=MOMENT)
    def stray(self, lane: int, kind: str, then: int) -> None:
        self._do("stray", self._lane(lane), kind, then=then)

    @rule(lane=LANE, ms=LONG, then=MOMENT)
    def stall(self, lane: int, ms: int, then: int) -> None:
        self._do("stall", self._lane(lane), ms, then=then)

    @rule(ms=LONG, tick_first=st.booleans(), then=MOMENT)
    def freeze(self, ms: int, tick_first: bool, then: int) -> None:
        self._do("freeze", ms, tick_first=tick_first, then=then)

    @rule(lane=LANE, down_ms=st.sampled_from([0, 0, 1_500, 4_000]), then=MOMENT)
    def disconnect(self, lane: int, down_ms: int, then: int) -> None:
        self._do("disconnect", self._lane(lane), down_ms, then=then)

    @rule(mode=st.sampled_from(["right", "in pages", "half", "empty", "late", "down"]), then=MOMENT)
    def rest_is(self, mode: str, then: int) -> None:
        self._do("rest_is", mode, then=then)

    @rule(product=PRODUCT, then=MOMENT)
    def compare(self, product: str, then: int) -> None:
        self._do("compare", product, then=then)

    @rule(product=PRODUCT, places=st.sampled_from(PLACES), count=st.integers(1, 4), then=MOMENT)
    def hide(self, product: str, places: set[str], count: int, then: int) -> None:
        self._do("hide", product, frozenset(places), count, then=then)

    @rule(most_held=st.sampled_from([0, 0, 40, 100_000]), then=LONG)
    def disk_refuses(self, most_held: int, then: int) -> None:
        self._do("disk_refuses", most_held, then=then)

    @rule(then=MOMENT)
    def disk_is_back(self, then: int) -> None:
        self._do("disk_is_back", then=then)

    @rule(ms=CLOCK_MS, then=MOMENT)
    def step_clock(self, ms: int, then: int) -> None:
        self._do("step_clock", ms, then=then)

    @precondition(lambda self: self.world is not None and not any(m.era for m in self.world.markets.values()))
    @precondition(lambda self: self.world is not None and not self.world.aways)  # then nobody here need know of it
    @rule(product=PRODUCT, then=MOMENT)
    def begin_ids_anew(self, product: str, then: int) -> None:
        self._do("begin_ids_anew", product, at_one=True, then=then)

    @rule(product=PRODUCT, then=MOMENT)
    def wild_heartbeat(self, product: str, then: int) -> None:
        self._do("wild_heartbeat", product, then=then)

    @rule(product=PRODUCT, then=MOMENT)
    def wild_trade(self, product: str, then: int) -> None:
        self._do("wild_trade", product, then=then)

    @precondition(lambda self: self.world is not None and not any(m.era for m in self.world.markets.values()))
    @rule(product=PRODUCT, then=LONG)
    def hand_over(self, product: str, then: int) -> None:
        self._do("hand_over", product, then=then)

    @rule(product=PRODUCT, behind=st.sampled_from([0, 0, 3]), then=LONG)
    def take_back(self, product: str, behind: int, then: int) -> None:
        self._do("take_back", product, behind, then=then)

    @rule(then=MOMENT)
    def commit(self, then: int) -> None:
        self._do("commit", then=then)

    @precondition(lambda self: self.world is not None and self.world.collector is not None)
    @rule(then=MOMENT)
    def stop(self, then: int) -> None:
        self._do("stop", then=0)
        assert self.world is not None
        judge_jumps(self.world, with_checkpoint=self.world.disk.refuses)
        self.world.wait(then)

    @precondition(lambda self: self.world is not None and self.world.collector is not None)
    @rule(commits_lost=st.sampled_from([0, 0, 1, 3]), then=MOMENT)
    def kill(self, commits_lost: int, then: int) -> None:
        self._do("kill", commits_lost, then=0)
        assert self.world is not None
        judge_jumps(self.world, with_checkpoint=True)
        self.world.wait(then)

    @precondition(lambda self: self.world is not None and self.world.collector is None)
    @rule(then=MOMENT)
    def start(self, then: int) -> None:
        self._do("start", then=then)

    # Two at the same time, as no two steps would be drawn often enough

    @rule(ms=CLOCK_MS, lane=LANE, then=MOMENT)
    def step_clock_and_reopen(self, ms: int, lane: int, then: int) -> None:
        self._do("step_clock", ms, then=0)
        self._do("disconnect", self._lane(lane), 0, then=then)

    @precondition(lambda self: self.world is not None and self.world.collector is not None)
    @rule(product=PRODUCT, count=st.integers(1, 3), after=st.sampled_from([700, 1_100, 1_500]), is_kill=st.booleans())
    def end_amid_a_jump(self, product: str, count: int, after: int, is_kill: bool) -> None:
        self._do("hide", product, frozenset({"matches", "market_trades"}), count, then=after)
        self._do("commit", then=0)
        if is_kill:
            self.kill(0, 0)
        else:
            self.stop(0)

    @rule(product=PRODUCT, after=st.sampled_from([1_500, 2_000, 2_600]), most_held=st.sampled_from([0, 40]), then=LONG)
    def refuse_amid_an_order(self, product: str, after: int, most_held: int, then: int) -> None:
        self._do("hide", product, frozenset({"matches", "market_trades"}), 2, then=after)
        self._do("disk_refuses", most_held, then=then)

    @precondition(lambda self: self.world is not None and self.world.collector is not None)
    @rule(ms=CLOCK_MS, then=MOMENT)
    def restart_with_another_clock(self, ms: int, then: int) -> None:
        self.stop(0)
        self._do("step_clock", ms, then=0)
        self._do("start", then=then)

    def teardown(self) -> None:
        if self.world is not None:
            settle_and_judge(self.world)


IS_FUZZ = settings.get_current_profile_name() == "fuzz"

TestTroubles = Troubles.TestCase
TestTroubles.settings = settings(
    settings.default,
    max_examples=100_000 if IS_FUZZ else 260,
    stateful_step_count=40 if IS_FUZZ else 10,
    derandomize=not IS_FUZZ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.generate, Phase.shrink],
    deadline=None,
    database=None,
)


# Sequences that were found, shrunk


def world_of(layout: str, copies: int, ms: int = 3_000) -> World:
    world = World(layout, copies)
    world.wait(ms)
    return world


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_without_trouble_every_instant_is_written(layout: str, copies: int) -> None:
    world = world_of(layout, copies, 6_000)
    settle_and_judge(world)
    assert len(world.disk.batches) > 5


def test_copies_that_take_turns_count_the_changes_of_a_sample_as_one_does() -> None:
    world = world_of("alone", 2)
    world.stall(0, 900)
    world.wait(2_000)
    settle_and_judge(world)


def test_an_answer_of_rest_while_the_disk_refuses_is_asked_for_again() -> None:
    world = world_of("numbered", 1)
    world.rest_is("late")
    world.hide("BTC-USD", frozenset({"matches", "market_trades"}), 2)
    world.wait(2_600)
    world.disk_refuses(0)
    world.wait(5_000)
    settle_and_judge(world)


@pytest.mark.parametrize("lane", [0, 1])
def test_a_crossed_copy_is_fetched_anew_while_the_other_serves(lane: int) -> None:
    world = world_of("alone", 2, 5_000)
    world.cross_copy(lane, "ETH-USD")
    world.wait(5_000)
    settle_and_judge(world)


def test_a_copy_heard_late_while_the_disk_refuses_counts_each_change_once() -> None:
    world = world_of("numbered", 2, 3_600)
    world.stall(0, 2_400)
    world.disk_refuses(0)
    world.wait(5_000)
    settle_and_judge(world)


def test_a_copy_opened_while_the_disk_refuses_counts_each_change_once() -> None:
    world = world_of("alone", 2, 1_050)
    world.stall(1, 2_400)
    world.wait(400)
    world.disk_refuses(40)
    world.wait(2_000)
    world.disconnect(0, 0)
    world.wait(400)
    settle_and_judge(world)


@pytest.mark.parametrize("ms", [3_000, 600_000])
def test_a_step_of_the_clock_costs_the_other_connections_nothing(ms: int) -> None:
    world = world_of("numbered", 1)
    world.step_clock(ms)
    world.disconnect(1, 0)
    world.wait(3_000)
    settle_and_judge(world)


def test_a_step_of_the_clock_stays_in_the_accounts_when_the_next_connection_opens() -> None:
    world = world_of("numbered", 2)
    world.step_clock(2_000)
    for lane in (1, 3):
        world.disconnect(lane, 0)
        world.wait(1_000)
    settle_and_judge(world)


def test_a_clock_that_was_ahead_and_is_put_right_keeps_no_run_from_writing() -> None:
    world = world_of("alone", 1)
    world.stop()
    world.step_clock(-600_000)
    settle_and_judge(world)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_ids_jumped_over_just_before_the_end_are_named(end: str) -> None:
    world = world_of("numbered", 1)
    world.hide("BTC-USD", frozenset({"matches", "market_trades"}), 2)
    world.wait(1_500)
    world.commit()
    getattr(world, end)()
    judge_jumps(world, with_checkpoint=end == "kill")
    settle_and_judge(world)


@pytest.mark.parametrize("wild", ["wild_heartbeat", "wild_trade"])
def test_an_id_beyond_belief_makes_nothing_missing(wild: str) -> None:
    world = world_of("numbered", 1)
    getattr(world, wild)("BTC-USD")
    world.wait(5_000)
    settle_and_judge(world)


@pytest.mark.parametrize("at_one", [True, False])
@pytest.mark.parametrize("lost", [0, 2])
def test_ids_that_begin_anew_lose_no_trade(lost: int, *, at_one: bool) -> None:
    world = world_of("numbered", 1)
    world.begin_ids_anew("BTC-USD", at_one=at_one)
    world.wait(5_000)
    world.hide("BTC-USD", frozenset({"matches", "market_trades"}), lost)
    world.wait(5_000)
    settle_and_judge(world)


def test_what_rest_never_has_is_asked_for_ever_more_rarely() -> None:
    """A month with one hole that REST cannot fill."""
    pipe = pipeline(plan(0, "trades", venue="coinbase_exchange"))
    pipe.opened(0, START)
    for trade_id in (10, 14):
        pipe.receive(0, match(trade_id), START)
    asked_s: list[int] = []
    for elapsed_s in range(0, 30 * 86_400, 60):
        now_ns = START + elapsed_s * S
        pipe.receive(0, heartbeat(14), now_ns)
        pipe.tick(now_ns)
        for command in pipe.commands:
            if isinstance(command, Repair):
                assert (command.first, command.last) == (11, 13)
                asked_s.append(elapsed_s)
                pipe.repaired(RepairAnswer(SYMBOL, 11, 13, (), is_complete=True), now_ns)
        pipe.commands.clear()
        pipe.take()
    half = sum(elapsed_s < 15 * 86_400 for elapsed_s in asked_s)
    assert 5 < len(asked_s) < 200
    assert len(asked_s) - half < half / 2


def test_a_run_that_ended_between_snapshot_and_first_proof_names_no_gap_since_1970() -> None:
    world = World("alone", 1)
    world.wait(150)
    world.commit()
    world.kill()
    world.wait(1_000)
    settle_and_judge(world)
    causes = [gap["cause"] for lines in read(world.disk.batches).values() for gap in lines.gaps_of("book")]
    assert set(causes) == {"stopped"}


def test_a_step_forward_after_a_clock_was_put_back_keeps_no_run_from_writing() -> None:
    world = world_of("alone", 1)
    world.step_clock(-600_000)
    world.stop()
    world.start()
    world.step_clock(3_000)
    settle_and_judge(world)


def test_what_a_late_copy_says_of_an_earlier_numbering_makes_nothing_missing() -> None:
    world = world_of("unnumbered", 2)
    world.stall(0, 2_000)
    world.wait(1_100)
    world.begin_ids_anew("ETH-USD", at_one=True)
    world.wait(2_600)
    settle_and_judge(world)


def test_the_last_trade_before_a_reset_may_come_after_it_while_the_disk_refuses() -> None:
    world = world_of("numbered", 1, 3_600)
    world.stall(1, 2_400)
    world.wait(1_100)
    world.disk_refuses(0)
    world.wait(300)
    world.begin_ids_anew("ETH-USD", at_one=True)
    world.wait(1_100)
    settle_and_judge(world)


def test_trades_that_only_a_late_connection_has_from_before_a_reset_are_of_the_ids_before() -> None:
    world = world_of("numbered", 1, 3_600)
    world.stall(1, 2_400)
    world.hide("ETH-USD", frozenset({"market_trades"}), 2)
    world.wait(700)
    world.begin_ids_anew("ETH-USD", at_one=True)
    world.wait(1_100)
    settle_and_judge(world)


def test_an_id_beyond_belief_from_before_a_reset_makes_nothing_missing() -> None:
    world = world_of("alone", 2, 1_000)
    world.stall(0, 900)
    world.wild_trade("BTC-USD")
    world.wait(400)
    world.begin_ids_anew("BTC-USD", at_one=True)
    world.wait(400)
    settle_and_judge(world)


@pytest.mark.parametrize("behind", [0, 3])
@pytest.mark.parametrize("away_ms", [900, 5_000, 130_000])
@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_one_that_others_collected_meanwhile_goes_on_from_where_they_were(
    layout: str, away_ms: int, behind: int
) -> None:
    world = world_of(layout, 1)
    world.hand_over("ETH-USD")
    world.wait(away_ms)
    world.take_back("ETH-USD", behind)
    world.wait(3_000)
    settle_and_judge(world)
    gaps = read(world.disk.batches)["ETH-USD"].gaps_of("book")
    assert gaps == []


def test_one_that_was_handed_over_just_before_a_kill_is_others_after_it() -> None:
    world = world_of("numbered", 1)
    world.hand_over("ETH-USD")
    world.kill(1)
    world.wait(3_000)
    world.start()
    world.wait(3_000)
    settle_and_judge(world)
    assert read(world.disk.batches)["ETH-USD"].gaps_of("book") == []


def test_one_that_was_handed_over_by_a_run_that_was_ahead_is_written_once_it_is_back() -> None:
    world = World("alone", 1)
    world.wait(1_000)
    world.disk_refuses(0)
    world.hand_over("BTC-USD")
    world.stop()
    world.step_clock(-600_000)
    world.start()
    settle_and_judge(world)
    assert {line.run for line in read(world.disk.batches)["BTC-USD"].tops} == {0, 1}
