"""No sample unless the book is proved, and no hole that is not a named gap."""

from __future__ import annotations

import msgspec
import pytest

from sentinel.pipeline import Reconnect
from tests.sentinel.pipeline.venue import MS, START, SYMBOL, Connection, S, Told, pipeline, plan, sent

GRID = 100 * MS


def test_an_instant_is_written_when_the_next_frame_proves_it() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 50 * MS)
    pipe.receive(0, wire.update(("bid", 100.0, 2.0)), START + 90 * MS)
    pipe.tick(START + 150 * MS)
    told.take(pipe)
    assert told.instants() == []  # nothing has come after the instant: a frame may have been lost before it
    pipe.receive(0, wire.beat(), START + 160 * MS)
    told.take(pipe)
    assert told.instants() == [START + 100 * MS]
    top = dict(told.tops[0].fields)
    assert (top["bid"], top["ask"], top["bid_size"], top["age_ms"], top["updates"]) == (100.0, 101.0, 2.0, 10.0, 2)


def test_a_frame_received_on_the_instant_is_in_its_sample() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START)
    pipe.receive(0, wire.update(("bid", 100.0, 2.0)), START + 100 * MS)
    pipe.receive(0, wire.beat(), START + 101 * MS)
    told.take(pipe)
    assert [(p.time_ns, dict(p.fields)["bid"]) for p in told.tops] == [(START, 99.0), (START + 100 * MS, 100.0)]


def test_a_hole_is_a_gap_from_the_last_good_frame_to_the_next_snapshot() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    sent(pipe)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    pipe.receive(0, wire.beat(), START + 250 * MS)
    wire.update(("bid", 100.0, 2.0))  # number 2, lost
    wire.beat()  # number 3, lost
    pipe.receive(0, wire.beat(), START + 460 * MS)
    assert [m["type"] for m in sent(pipe)] == ["unsubscribe", "subscribe"]
    pipe.receive(0, wire.update(("bid", 98.0, 2.0)), START + 500 * MS)
    pipe.tick(START + 600 * MS)
    pipe.receive(0, wire.snapshot(100.0, 101.0), START + 720 * MS)
    pipe.receive(0, wire.beat(), START + 910 * MS)
    pipe.stop(START + 950 * MS)
    told.take(pipe)
    assert told.instants() == [START + k * GRID for k in (1, 2, 8, 9)]
    assert dict(told.tops[2].fields)["bid"] == 100.0
    (gap,) = told.gap_list()
    assert gap["cause"] == "sequence"
    assert (gap["start_seq"], gap["end_seq"], gap["missing_count"]) == (2, 3, 2)
    assert (gap["start_ns"], gap["end_ns"]) == (START + 250 * MS, START + 720 * MS)
    assert (told.total("samples_due"), told.total("samples_written"), told.total("samples_withheld")) == (9, 4, 5)
    assert told.total("frames_lost") == 2


def test_a_second_hole_before_the_snapshot_is_named_too() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    for instant in (200, 300):
        wire.beat()
        pipe.receive(0, wire.beat(), START + instant * MS)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 400 * MS)
    told.take(pipe)
    assert sorted((g["start_seq"], g["end_seq"], g["end_ns"]) for g in told.gap_list()) == [
        (1, 1, START + 400 * MS),
        (3, 3, START + 400 * MS),
    ]


def test_a_snapshot_under_way_is_not_asked_for_again() -> None:
    """Unsubscribing would stop the stream behind that snapshot, and it would pass for proof of a dead book."""
    pipe, wire = pipeline(), Connection()
    pipe.opened(0, START)
    sent(pipe)
    acknowledged = {"subscriptions": {"level2": ["BTC-USD"], "market_trades": ["BTC-USD"]}}
    pipe.receive(0, wire.frame("subscriptions", [acknowledged]), START + 10 * MS)
    wire.beat()
    pipe.receive(0, wire.beat(), START + 20 * MS)
    assert sent(pipe) == []
    for second in range(1, 10):
        pipe.receive(0, wire.beat(), START + second * S)
        pipe.tick(START + second * S)
    assert sent(pipe) == []
    pipe.receive(0, wire.beat(), START + 10 * S)
    pipe.tick(START + 10 * S)
    assert [m["type"] for m in sent(pipe)] == ["unsubscribe", "subscribe"]


def test_duplicates_and_old_frames_change_nothing() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    first = wire.snapshot(99.0, 101.0)
    second = wire.update(("bid", 100.0, 2.0))
    pipe.receive(0, first, START + 10 * MS)
    pipe.receive(0, second, START + 20 * MS)
    pipe.receive(0, wire.update(("bid", 100.0, 0.0)), START + 30 * MS)
    pipe.receive(0, second, START + 40 * MS)
    pipe.receive(0, wire.beat(), START + 130 * MS)
    pipe.stop(START + 140 * MS)
    told.take(pipe)
    assert dict(told.tops[0].fields)["bid"] == 99.0
    assert told.total("frames_duplicate") == 1
    assert told.gap_list() == []


def test_a_counter_that_starts_over_ends_the_connection() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    pipe.receive(0, wire.beat(), START + 20 * MS)
    pipe.receive(0, Connection().beat(), START + 30 * MS)
    assert Reconnect(0, "sequence") in pipe.commands
    told.take(pipe)
    assert [g["cause"] for g in told.gap_list()] == ["sequence"]


def test_silence_is_noticed_and_ends_with_the_next_connection() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    pipe.receive(0, wire.beat(), START + 1000 * MS)
    for tenth in range(10, 36):
        pipe.tick(START + tenth * GRID)
    assert pipe.commands[-1:] == [Reconnect(0, "silence")]
    pipe.closed(0, "silence", START + 3600 * MS)
    wire = Connection()
    pipe.opened(0, START + 3700 * MS)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 3790 * MS)
    pipe.receive(0, wire.beat(), START + 4010 * MS)
    pipe.stop(START + 4020 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("silence", START + 1000 * MS, START + 3790 * MS)
    assert told.instants() == [START + k * GRID for k in (*range(1, 10), 38, 39, 40)]
    assert told.total("samples_due") == told.total("samples_written") + told.total("samples_withheld") == 40


def test_a_frozen_process_proves_nothing_of_the_time_it_stood_still() -> None:
    """The frames that waited in the socket are read before the first tick: in sequence, but hours old perhaps."""
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    pipe.receive(0, wire.beat(), START + 1000 * MS)
    sent(pipe)
    pipe.receive(0, wire.beat(), START + 6050 * MS)
    assert [message["type"] for message in sent(pipe)] == ["unsubscribe", "subscribe"]
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 6150 * MS)
    pipe.receive(0, wire.beat(), START + 6250 * MS)
    pipe.stop(START + 6260 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("silence", START + 1000 * MS, START + 6150 * MS)
    assert told.instants() == [START + k * GRID for k in (*range(1, 10), 62)]
    assert told.total("samples_due") == told.total("samples_written") + told.total("samples_withheld") == 62


def test_a_venue_that_cannot_be_reached_is_one_gap_however_often_it_is_tried() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    for attempt in range(5):
        pipe.closed(0, "disconnected", START + attempt * S)
        pipe.tick(START + attempt * S + 500 * MS)
    pipe.opened(0, START + 5 * S)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 5 * S)
    pipe.stop(START + 5 * S)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("disconnected", START, START + 5 * S)
    assert told.total("samples_withheld") == told.total("samples_due") == 50


def test_a_crossed_book_is_withheld_and_fetched_anew_when_it_lasts() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    sent(pipe)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    pipe.receive(0, wire.update(("bid", 102.0, 1.0)), START + 150 * MS)
    for tenth in range(2, 12):
        pipe.receive(0, wire.beat(), START + tenth * GRID + MS)
    assert sent(pipe) == []
    pipe.receive(0, wire.beat(), START + 12 * GRID + MS)
    assert [m["type"] for m in sent(pipe)] == ["unsubscribe", "subscribe"]
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 1330 * MS)
    pipe.receive(0, wire.beat(), START + 1410 * MS)
    pipe.stop(START + 1420 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("crossed", START + 200 * MS, START + 1330 * MS)
    assert told.instants() == [START + 100 * MS, START + 1400 * MS]


def test_a_short_cross_heals_by_itself() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    sent(pipe)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    pipe.receive(0, wire.update(("bid", 101.0, 1.0)), START + 150 * MS)
    pipe.receive(0, wire.update(("bid", 101.0, 0.0)), START + 250 * MS)
    pipe.receive(0, wire.beat(), START + 310 * MS)
    pipe.stop(START + 320 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("crossed", START + 200 * MS, START + 300 * MS)
    assert sent(pipe) == []


def test_a_frame_that_cannot_be_read_shows_as_a_hole_of_one() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    wire.beat()
    pipe.receive(0, b'{"channel":"l2_data","sequence_num":1,"ev', START + 20 * MS)
    pipe.receive(0, wire.beat(), START + 130 * MS)
    output = told.take(pipe)
    assert told.instants() == []
    assert [(g["cause"], g["start_seq"], g["end_seq"]) for g in told.gap_list()] == [("sequence", 1, 1)]
    assert [note.event for note in output.notes][:1] == ["undecodable"]
    assert pipe.lanes[0].counts.undecodable == 1
    assert pipe.lanes[0].counts.residue == 0


def test_a_refused_product_is_named_and_the_others_go_on() -> None:
    products = ("BTC-USD", "NOPE-USD")
    pipe, wire, told = pipeline(plan(0, "book", products=products)), Connection(), Told()
    pipe.opened(0, START)
    sent(pipe)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    pipe.receive(0, b'{"type":"error","message":"failure to subscribe"}', START + 20 * MS)
    for tenth in range(1, 52):
        pipe.receive(0, wire.beat(), START + tenth * GRID + MS)
        pipe.tick(START + tenth * GRID + 2 * MS)
    output = told.take(pipe)
    assert [(g["symbol"], g["cause"]) for g in told.gap_list()] == [("NOPE-USD", "refused")]
    refused = [note.facts for note in output.notes if note.event == "refused"]
    assert refused[-1] == {"lane": 0, "symbol": "NOPE-USD", "reason": "failure to subscribe"}
    assert len(told.instants("BTC-USD")) == 51
    assert [m["product_ids"] for m in sent(pipe)] == [["NOPE-USD"]]


def test_two_connections_lose_nothing_when_one_does() -> None:
    pipe = pipeline(plan(0), plan(1, copy=1))
    told, a, b = Told(), Connection(), Connection()
    for lane, wire in enumerate((a, b)):
        pipe.opened(lane, START)
        pipe.receive(lane, wire.snapshot(99.0, 101.0), START + (10 + lane) * MS)
    pipe.receive(0, a.beat(), START + 210 * MS)
    pipe.closed(0, "disconnected", START + 220 * MS)
    pipe.receive(1, b.beat(), START + 450 * MS)
    a = Connection()
    pipe.opened(0, START + 460 * MS)
    pipe.receive(0, a.snapshot(99.0, 101.0), START + 470 * MS)
    pipe.receive(0, a.beat(), START + 610 * MS)
    b.beat()
    pipe.receive(1, b.beat(), START + 620 * MS)  # a hole on B
    pipe.receive(0, a.beat(), START + 810 * MS)
    pipe.stop(START + 820 * MS)
    told.take(pipe)
    assert told.instants() == [START + k * GRID for k in range(1, 9)]
    assert told.gap_list() == []
    assert told.total("samples_withheld") == 0


def test_the_time_between_two_runs_is_one_stopped_gap() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    pipe.receive(0, wire.beat(), START + 510 * MS)
    told.take(pipe)  # killed here: nothing is said any more
    checkpoint = pipe.checkpoint()
    again, wire = pipeline(checkpoint=checkpoint), Connection()
    again.start(START + 90 * S)
    again.opened(0, START + 90 * S + 300 * MS)
    again.receive(0, wire.snapshot(99.0, 101.0), START + 90 * S + 450 * MS)
    again.receive(0, wire.beat(), START + 90 * S + 610 * MS)
    again.stop(START + 90 * S + 650 * MS)
    told.take(again)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("stopped", START + 510 * MS, START + 90 * S + 450 * MS)
    assert gap["missing_count"] == 894  # 600 ms .. 89.9 s: instants no minute accounts for
    assert told.total("samples_due") == 5 + 7
    assert told.total("samples_withheld") == 5
    assert told.instants() == [START + k * GRID for k in (1, 2, 3, 4, 5, 905, 906)]


def test_a_minute_keeps_its_proof_when_the_next_run_ends_before_it_connects() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    pipe.receive(0, wire.beat(), START + 510 * MS)
    told.take(pipe)
    again = pipeline(checkpoint=pipe.checkpoint())
    again.start(START + 90 * S)
    again.stop(START + 91 * S)
    told.take(again)
    assert [dict(row.fields)["integrity"] for row in told.coverage.values()] == ["sequence"] * len(told.coverage)
    assert told.total("samples_written") == 5


def test_while_the_disk_refuses_nothing_is_written_and_that_is_a_gap() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 10 * MS)
    pipe.receive(0, wire.beat(), START + 210 * MS)
    pipe.suspend(START + 220 * MS)
    pipe.receive(0, wire.update(("bid", 100.0, 1.0)), START + 410 * MS)
    pipe.tick(START + 420 * MS)
    pipe.resume(START + 550 * MS)
    pipe.receive(0, wire.beat(), START + 710 * MS)
    pipe.stop(START + 720 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("disk", START + 210 * MS, START + 550 * MS)
    assert told.instants() == [START + k * GRID for k in (1, 2, 6, 7)]
    assert dict(told.tops[2].fields)["bid"] == 100.0


def test_a_minute_is_written_once_its_last_instant_is_settled() -> None:
    pipe, wire, told = pipeline(), Connection(), Told()
    start = START - START % (60 * S) + 59 * S
    pipe.opened(0, start)
    pipe.receive(0, wire.snapshot(99.0, 101.0), start)
    pipe.receive(0, wire.beat(), start + 850 * MS)
    pipe.tick(start + 2010 * MS)
    told.take(pipe)
    assert not told.coverage  # the instant 59.9 s is not proved yet
    pipe.receive(0, wire.beat(), start + 2050 * MS)
    pipe.tick(start + 3100 * MS)
    told.take(pipe)
    (row,) = told.coverage.values()
    assert row.time_ns == start - 59 * S
    assert dict(row.fields)["samples_written"] == 10


def test_a_run_that_ended_before_its_first_proof_has_not_stopped_since_1970() -> None:
    pipe, wire = pipeline(), Connection()
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 50 * MS)
    again, told = pipeline(checkpoint=pipe.checkpoint()), Told()
    again.start(START + 5 * S)
    told.take(again)
    (gap,) = told.gap_list("book")
    assert (gap["cause"], gap["start_ns"], gap["missing_count"]) == ("stopped", START + 100 * MS, 49)


def test_what_a_run_has_told_of_a_time_to_come_is_accounted_for_until_it_is_told_anew() -> None:
    """The last run was ahead by more than it had lived, in the same minute: eight samples of it are there."""
    ahead, wire = pipeline(), Connection()
    ahead.opened(0, START + 3 * S)
    ahead.receive(0, wire.snapshot(99.0, 101.0), START + 3_050 * MS)
    ahead.receive(0, wire.beat(), START + 3_850 * MS)
    pipe, told, wire = pipeline(checkpoint=ahead.checkpoint()), Told(), Connection()
    pipe.start(START + 1 * MS)
    pipe.opened(0, START + 1 * MS)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 250 * MS)
    pipe.receive(0, wire.beat(), START + 550 * MS)
    pipe.stop(START + 600 * MS)
    told.take(pipe)
    (row,) = told.coverage.values()
    facts = dict(row.fields)
    assert [facts[f"samples_{name}"] for name in ("due", "written", "withheld")] == [8 + 5, 8 + 3, 2]


def test_what_a_run_has_told_of_a_later_minute_is_accounted_for_at_once() -> None:
    """It was killed before it could, and it may be a year till that minute comes."""
    ahead, wire = pipeline(), Connection()
    ahead.opened(0, START + 600 * S)
    ahead.receive(0, wire.snapshot(99.0, 101.0), START + 600_050 * MS)
    ahead.receive(0, wire.beat(), START + 600_850 * MS)
    pipe, told = pipeline(checkpoint=ahead.checkpoint()), Told()
    pipe.start(START + 1 * MS)
    told.take(pipe)
    (row,) = told.coverage.values()
    assert (row.time_ns, dict(row.fields)["samples_written"]) == (START + 580 * S, 8)


def test_what_a_run_has_withheld_of_a_time_to_come_is_accounted_for_no_more() -> None:
    """Its gap there is withdrawn: the eight samples before that stay."""
    ahead, wire = pipeline(), Connection()
    ahead.opened(0, START + 3 * S)
    ahead.receive(0, wire.snapshot(99.0, 101.0), START + 3_050 * MS)
    ahead.receive(0, wire.beat(), START + 3_850 * MS)
    wire.beat()  # lost
    ahead.receive(0, wire.beat(), START + 4_050 * MS)
    ahead.tick(START + 4_550 * MS)
    pipe, told = pipeline(checkpoint=ahead.checkpoint()), Told()
    pipe.start(START + 1 * MS)
    pipe.stop(START + 2 * MS)
    told.take(pipe)
    (row,) = told.coverage.values()
    facts = dict(row.fields)
    assert [facts[f"samples_{name}"] for name in ("due", "written", "withheld")] == [8, 8, 0]


def test_a_step_forward_after_a_run_that_was_ahead_keeps_nobody_from_writing() -> None:
    """The last run was ten minutes ahead: it has spoken for the instants that the step passes over, and for more."""
    ahead, wire = pipeline(), Connection()
    ahead.opened(0, START + 600 * S)
    ahead.receive(0, wire.snapshot(99.0, 101.0), START + 600 * S + 50 * MS)
    ahead.receive(0, wire.beat(), START + 600 * S + 250 * MS)
    pipe, told, wire = pipeline(checkpoint=ahead.checkpoint()), Told(), Connection()
    pipe.start(START)
    pipe.opened(0, START)
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 50 * MS)
    pipe.receive(0, wire.beat(), START + 250 * MS)
    pipe.step(3 * S, START + 3_260 * MS)
    pipe.receive(0, wire.beat(), START + 3_550 * MS)
    told.take(pipe)
    assert told.instants() == [START + at * MS for at in (100, 200, 3_300, 3_400, 3_500)]


@pytest.mark.parametrize("is_of_before", [False, True])
@pytest.mark.parametrize("steps_ns", [[START + 600 * S], [START - 86_400 * S, START + 600 * S]])
def test_a_clock_that_was_behind_passes_over_nothing_before_anybody_had_begun(
    steps_ns: list[int], *, is_of_before: bool
) -> None:
    """A machine without a battery. One product is not traded, but a trade of the other has told that the time of the
    first run has come. A checkpoint of an older version says nothing of it."""
    (planned,), wire = [plan(0, products=(SYMBOL, "ETH-USD"))], Connection()
    first = pipeline(planned)
    first.opened(0, START)
    for product in (SYMBOL, "ETH-USD"):
        first.receive(0, wire.snapshot(99.0, 101.0, product=product), START + 50 * MS)
    first.receive(0, wire.trades(25_000, product="ETH-USD"), START + 5_050 * MS)  # it is of START + 5 s
    first.tick(START + 5_100 * MS)
    first.stop(START + 6 * S)
    checkpoint = first.checkpoint()
    if is_of_before:
        state = msgspec.msgpack.decode(checkpoint)
        for kept in state["products"]:
            del kept["books"]["said"]
        checkpoint = msgspec.msgpack.encode(state)
    again, told, wire, now_ns = pipeline(planned, checkpoint=checkpoint), Told(), Connection(), 100 * S
    again.start(now_ns)
    again.opened(0, now_ns)
    for product in (SYMBOL, "ETH-USD"):
        again.receive(0, wire.snapshot(99.0, 101.0, product=product), now_ns + 50 * MS)
    for then_ns in steps_ns:
        again.receive(0, wire.beat(), now_ns + S)
        again.step(then_ns - now_ns - S, then_ns)
        now_ns = then_ns
    again.receive(0, wire.beat(), now_ns + S)
    told.take(again)
    gaps = [gap for gap in told.gap_list("book") if gap["cause"] == "clock"]
    assert len(gaps) == 2
    assert all(int(str(gap["start_ns"])) > START for gap in gaps)
