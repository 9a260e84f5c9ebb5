"""Clocks that step under a running collector: nobody is cut off, samples bear right times at once, and it is said."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from book.sampler import CADENCE_NS
from sentinel.collector.intake import Intake
from sentinel.contract.line_protocol import decode
from sentinel.coverage.accounts import from_points
from sentinel.disk.tape import TapeWriter, tape_files
from sentinel.gap_report.report import Window, build
from sentinel.pipeline import Command, Output, Reconnect, Send
from sentinel.replay.play import play
from sentinel.timing.clock import Clock
from tests.sentinel.pipeline.venue import MS, START, SYMBOL, Connection, S, Told, pipeline, plan, tags

HOUR = 3600 * S


class Collector:
    """A pipeline behind an intake whose clocks are moved by hand, and connections with a sign of life each 100 ms.

    ``ahead_ns`` is how far the wall clock is ahead of the true time.
    """

    def __init__(
        self,
        *,
        lanes: int = 1,
        ahead_ns: int = 0,
        checkpoint: bytes | None = None,
        true_ns: int = START,
        tape: Path | None = None,
    ) -> None:
        self.true_ns, self.ahead_ns = true_ns, ahead_ns
        self.plans = [plan(lane, "book", copy=lane) for lane in range(lanes)]
        self.pipe = pipeline(*self.plans, checkpoint=checkpoint)
        header = {
            "created_ns": true_ns,
            "settings": msgspec.to_builtins(self.pipe.settings, enc_hook=str),
            "lanes": msgspec.to_builtins(self.plans),
            "book": "",
        }
        self.tape = None if tape is None else TapeWriter(tape, header)
        self.done: list[Command] = []
        clock = Clock(lambda: self.true_ns + self.ahead_ns, lambda: self.true_ns - START // 2)
        self.intake = Intake(self.pipe, clock, self.done.append, self.tape)
        self.told, self.outputs = Told(), []
        self.wires = [Connection() for _ in range(lanes)]
        self.intake.start(checkpoint)
        for lane in range(lanes):
            self.open(lane)

    def open(self, lane: int) -> None:
        self.wires[lane] = Connection()
        self.intake.opened(lane)
        self.receive(lane, self.wires[lane].snapshot(99.0, 101.0))

    def receive(self, lane: int, frame: bytes) -> None:
        self.intake.receive(lane, frame, self.intake.clock.now_ns())

    def run(self, seconds: float, *, is_ticking: bool = True) -> None:
        """Signs of life 30 ms after each 100 ms, ticks at half time."""
        for _ in range(round(seconds * 10)):
            self.true_ns += 30 * MS
            for lane, wire in enumerate(self.wires):
                self.receive(lane, wire.beat())
            self.true_ns += 20 * MS
            if is_ticking:
                self.intake.tick()
            self.true_ns += 50 * MS

    def take(self) -> Output:
        output = self.told.take(self.pipe)
        self.outputs.append(output)
        return output

    def end(self) -> Told:
        self.intake.stop()
        self.take()
        if self.tape is not None:
            self.tape.close()
        return self.told

    def reconnects(self) -> list[Command]:
        return [command for command in self.done if isinstance(command, Reconnect)]

    def fetched(self) -> int:
        """Snapshots asked for, those of opening left out."""
        return sum(isinstance(command, Send) for command in self.done) - sum(self.intake.opened_counts)


def steps_of(told: Told) -> list[int]:
    return [int(dict(row.fields)["clock_step_ms"]) for row in told.coverage.values()]


def lines_of(outputs: list[Output]) -> list[bytes]:
    found = (getattr(output, stream) for stream in ("trades", "book", "accounts") for output in outputs)
    return [lines.text for part in found for lines in part]


@pytest.mark.parametrize("step_ns", [50 * MS, 2_500 * MS, 10 * S, HOUR, 400 * 24 * HOUR])
@pytest.mark.parametrize("is_reopening", [True, False])
def test_a_step_forwards_costs_no_connection_and_no_snapshot(step_ns: int, is_reopening: bool, tmp_path: Path) -> None:
    run = Collector(lanes=2, tape=tmp_path)
    run.run(3)
    run.ahead_ns += step_ns
    if is_reopening:
        run.intake.closed(1, "disconnected")
        run.open(1)
        run.open(1)  # a second opening has nothing to tell, and hides nothing
    run.run(3)
    assert run.reconnects() == []
    assert run.fetched() == 0
    assert run.pipe.clock_step_ms == step_ns // MS
    told = run.end()
    assert step_ns // MS in steps_of(told)
    written = told.instants()
    assert written[-1] == (START + 5930 * MS + step_ns - 1) // CADENCE_NS * CADENCE_NS
    assert len(written) >= 60 - 12
    assert told.total("samples_due") == told.total("samples_written") + told.total("samples_withheld")
    in_gaps = [(int(gap["start_ns"]), int(gap["end_ns"]), int(gap["missing_count"])) for gap in told.gap_list()]  # type: ignore[call-overload]
    assert {gap["cause"] for gap in told.gap_list()} <= {"clock"}
    missing = (written[-1] - written[0]) // CADENCE_NS + 1 - len(written)
    assert sum(count for _, _, count in in_gaps) == missing
    assert not any(start_ns <= ns < end_ns for ns in written for start_ns, end_ns, _ in in_gaps)
    replayed = [step.pipeline.take() for step in play(tape_files(tmp_path))]
    assert sorted(lines_of(replayed)) == sorted(lines_of(run.outputs))


def test_the_age_of_a_book_and_the_wait_for_a_snapshot_are_durations() -> None:
    run = Collector()
    run.run(2)
    wire = run.wires[0]
    wire.beat()  # lost
    run.receive(0, wire.beat())
    assert run.fetched() == 1
    run.ahead_ns += HOUR
    run.run(5)
    assert run.fetched() == 1  # the snapshot is not late
    run.receive(0, wire.snapshot(99.0, 101.0))
    run.run(2)
    run.ahead_ns += HOUR
    run.run(2)
    told = run.end()
    assert max(float(dict(point.fields)["age_ms"]) for point in told.tops) < 5000


def test_a_wrong_clock_at_boot_is_put_right_within_a_second_without_a_reconnect() -> None:
    run = Collector(ahead_ns=-HOUR)
    run.run(2)
    run.ahead_ns = 0
    run.run(3)
    assert run.intake.opened_counts == [1]
    told = run.end()
    at_last = [ns for ns in told.instants() if ns >= START]
    assert at_last[-1] == START + 4900 * MS
    assert len(at_last) >= 19
    assert HOUR // MS in steps_of(told)


def test_a_step_is_in_the_minute_it_happened_and_in_no_other() -> None:
    run = Collector()
    run.run(70)
    run.ahead_ns += 700 * MS
    run.run(130)
    assert run.pipe.clock_step_ms == 700
    run.take()
    steps = steps_of(run.told)
    assert steps.count(700) == 1
    assert set(steps) == {0, 700}
    run.true_ns += HOUR
    run.intake.tick()
    assert run.pipe.clock_step_ms == 0


def test_a_clock_that_is_ahead_is_told_of_in_every_minute_and_goes_on() -> None:
    run = Collector(ahead_ns=HOUR)
    run.run(30)
    run.ahead_ns = 0
    run.run(150)
    assert run.pipe.clock_step_ms == -HOUR // MS
    assert run.reconnects() == []
    told = run.end()
    assert told.instants() == [START + HOUR + tenth * CADENCE_NS for tenth in range(1800)]
    assert set(steps_of(told)) == {-HOUR // MS}
    noticed = [note for output in run.outputs for note in output.notes if note.event == "clock_step"]
    assert len(noticed) == 1


@pytest.mark.parametrize("ahead_ns", [5 * S, 40 * S, HOUR, 30 * 24 * HOUR])
def test_a_checkpoint_from_the_future_stops_nobody(ahead_ns: int, tmp_path: Path) -> None:
    """Ahead at boot, put right, restarted: samples come at once, and no account is entered twice."""
    first = Collector(ahead_ns=ahead_ns)
    first.run(100)
    first.ahead_ns = 0
    first.run(1)
    first.intake.stop()
    first.take()
    again = Collector(checkpoint=first.pipe.checkpoint(), true_ns=first.true_ns + 2 * S, tape=tmp_path)
    began_ns = again.true_ns
    again.run(90)
    assert any(note.event == "last_run_was_ahead" for note in again.take().notes)
    assert again.pipe.clock_step_ms == pytest.approx(-ahead_ns // MS, abs=3000)
    again.run(90)
    told = again.end()
    assert told.instants() == list(range(-(-began_ns // CADENCE_NS) * CADENCE_NS, again.true_ns, CADENCE_NS))
    rows = [dict(row.fields) for row in told.coverage.values()]
    assert all(row["samples_due"] == row["samples_written"] + row["samples_withheld"] for row in rows)
    assert all(0 <= int(row["samples_due"]) <= 600 for row in rows)
    assert any(step < 0 for step in steps_of(told))
    report = build(from_points([*told.coverage.values(), *told.gaps.values()]), Window(began_ns, again.true_ns))
    assert report.products[0].samples.due >= 1800
    replayed = [step.pipeline.take() for step in play(tape_files(tmp_path))]
    assert sorted(lines_of(replayed)) == sorted(lines_of(again.outputs))
    flow = [decode(line) for output in again.outputs for item in output.book for line in item.text.split(b"\n")]
    seconds = [point.time_ns for point in flow if point.measurement == "flow"]
    assert began_ns <= min(seconds) + S < began_ns + 3 * S


def test_a_machine_that_boots_in_1970_counts_the_years_between_as_nobodys() -> None:
    """No battery: the time is known a minute after the start. What the run before has said stands, since its venue has
    told of that time."""
    first = Collector()
    first.run(90)
    for kept in first.pipe.products.values():
        kept.books.settle(first.true_ns)
    first.intake.stop()
    first.take()
    again = Collector(checkpoint=first.pipe.checkpoint(), true_ns=first.true_ns + 600 * S, ahead_ns=-START)
    again.run(5)
    again.ahead_ns = 0
    again.run(60)
    told = again.end()
    both = [*first.told.coverage.values(), *told.coverage.values(), *first.told.gaps.values(), *told.gaps.values()]
    report = build(from_points(both), Window(START, again.true_ns))
    (product,) = report.products
    assert len(told.coverage) < 10
    assert product.samples.written == pytest.approx(900 + 600, abs=30)
    assert product.samples.due == pytest.approx((again.true_ns - START) // CADENCE_NS, abs=30)
    assert [tags(point)["symbol"] for point in told.tops[:1]] == [SYMBOL]


@pytest.mark.parametrize("ahead_ns", [HOUR, 400 * 24 * HOUR])
@pytest.mark.parametrize("is_running", [True, False])
def test_a_gap_over_time_that_comes_after_all_is_taken_back_where_it_has_not_come(
    ahead_ns: int, is_running: bool
) -> None:
    """Put forward by mistake, while it runs or while it does not, and put right before the next start."""
    first = Collector()
    first.run(5)
    if is_running:
        first.ahead_ns = ahead_ns
        first.run(20)
    first.end()
    second = Collector(checkpoint=first.pipe.checkpoint(), ahead_ns=ahead_ns, true_ns=first.true_ns + S)
    second.run(3)
    wire = second.wires[0]
    wire.beat()  # lost: a gap of the future, too
    second.receive(0, wire.beat())
    second.run(1)
    second.receive(0, wire.snapshot(99.0, 101.0))
    second.run(5)
    second.end()
    third = Collector(checkpoint=second.pipe.checkpoint(), true_ns=second.true_ns + S)
    third.run(60)
    third.end()
    runs = [first, second, third]
    gaps = {key: point for each in runs for key, point in each.told.gaps.items()}
    spans = [(int(held["start_ns"]), int(held["end_ns"])) for held in (dict(gap.fields) for gap in gaps.values())]
    now = [ns for ns in third.told.instants() if ns < third.true_ns]
    assert len(now) > 500
    assert not [ns for ns in now for start_ns, end_ns in spans if start_ns <= ns < end_ns]
    rows = {key: row for each in runs for key, row in each.told.coverage.items()}
    report = build(from_points([*rows.values(), *gaps.values()]), Window(START, third.true_ns))
    (product,) = report.products
    assert product.samples.due == pytest.approx((third.true_ns - START) // CADENCE_NS, abs=3)


@pytest.mark.parametrize("ppm", [500, -500, 100_000, -100_000])
def test_a_wall_clock_that_is_slewed_is_followed_without_a_book_being_lost(ppm: int) -> None:
    """Faster: what it gains is no time of anybody's. Slower: ours is ahead, and says so."""
    run = Collector()
    for _ in range(600):
        run.run(0.1)
        run.ahead_ns += 100 * MS * ppm // 1_000_000
    told = run.end()
    written = told.instants()
    assert written == sorted(set(written))
    gaps = told.gap_list()
    assert {gap["cause"] for gap in gaps} <= ({"clock"} if ppm > 0 else set())
    skipped = (written[-1] - written[0]) // CADENCE_NS + 1 - len(written)
    assert skipped == sum(int(gap["missing_count"]) for gap in gaps)  # type: ignore[call-overload]
    assert told.total("samples_due") == told.total("samples_written") == len(written)
    assert run.reconnects() == []


def test_a_run_that_was_hardly_ahead_is_waited_out() -> None:
    first = Collector(ahead_ns=500 * MS)
    first.run(10)
    checkpoint = first.pipe.checkpoint()
    again = Collector(checkpoint=checkpoint, true_ns=first.true_ns + 100 * MS)
    again.run(3)
    told = again.end()
    assert min(told.instants()) >= START + 10 * S + 400 * MS
    assert steps_of(told) == [0]


def test_a_frame_that_waited_while_the_clock_stepped_takes_no_time_back() -> None:
    run = Collector()
    run.run(1)
    came_ns = run.intake.clock.now_ns()
    run.ahead_ns += 10 * S
    run.intake.tick()
    run.true_ns += 2 * S
    run.intake.tick()
    run.intake.receive(0, run.wires[0].beat(), came_ns)
    assert run.pipe.lanes[0].heard_ns >= START + 11 * S
