"""Markets that leave because others collect them from then on, and that come back."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from book.sampler import CADENCE_NS, first_instant
from feeds.market import Market
from sentinel.coverage.accounts import Rows, from_points, merged, unwritten
from sentinel.coverage.holes import NOT_COLLECTED, Hole, Interval, accounts_of, merge, sample_holes
from sentinel.disk.taped import input_of, record_of
from sentinel.pipeline import LanePlan, Pipeline, Repair, RepairAnswer, Succeed
from sentinel.pipeline.checkpoint import decode_checkpoint, markets_of
from sentinel.pipeline.inputs import Frame, Input, KnownTrade, Opened, Replan, Start, Stop, Tick
from tests.sentinel.pipeline.test_trades import rest
from tests.sentinel.pipeline.venue import MS, START, Connection, S, Told, opened, pipeline, plan

BTC, ETH = "BTC-USD", "ETH-USD"
OF_ETH = Market("coinbase", ETH)
MINUTE_NS = 60 * S
NONE = plan(0, products=())
ONE = plan(0, products=(ETH,))
LATER_NS = START + 30 * 86_400 * S


def hand_over(pipe: Pipeline, now_ns: int, *plans: LanePlan, known: tuple[int, int] | None = None) -> None:
    """These are the lanes from now on, and ETH is others' unless it is on one of them."""
    is_ours = any(OF_ETH in each.markets for each in plans)
    trades = () if known is None else (KnownTrade(OF_ETH, *known),)
    pipe.feed(Replan(plans, trades, () if is_ours else (OF_ETH,)), now_ns)


def begun() -> tuple[Pipeline, Connection, Told]:
    """ETH is collected since ``START``, 20 s after a minute began."""
    pipe, wire = opened(ONE, tells_parts=True), Connection()
    pipe.receive(0, wire.snapshot(9.0, 11.0, product=ETH), START)
    pipe.receive(0, wire.beat(), START + S)
    return pipe, wire, Told()


def beat(pipe: Pipeline, wire: Connection, since_ns: int, until_ns: int) -> None:
    """All is well, second by second."""
    for now_ns in range(since_ns + S, until_ns + 1, S):
        pipe.receive(0, wire.beat(), now_ns)
        pipe.tick(now_ns)


def come_back(pipe: Pipeline, now_ns: int, *frames: bytes, known: tuple[int, int] | None = None) -> Connection:
    hand_over(pipe, now_ns, ONE, known=known)
    wire = Connection()
    pipe.opened(0, now_ns)
    pipe.receive(0, wire.snapshot(9.0, 11.0, product=ETH), now_ns)
    return wire


def rows_of(told: Told, pipe: Pipeline | None = None) -> Rows:
    """What the accounts are to a reader, of a collector that was killed if ``pipe`` is its own."""
    written = from_points([*told.coverage.values(), *told.gaps.values()])
    return merged([written, unwritten(decode_checkpoint(pipe.checkpoint()))]) if pipe else written


def covered(rows: Rows) -> list[Interval]:
    found = accounts_of([row for row in rows.coverage if row.market == OF_ETH], rows.gaps)
    return found["tester"].covered if found else []


def ids(commands: Iterable[object]) -> list[tuple[int, int]]:
    return [(command.first, command.last) for command in commands if isinstance(command, Repair)]


def test_its_account_ends_with_what_is_proved_and_nothing_is_due_after() -> None:
    pipe, _, told = begun()
    hand_over(pipe, START + 1500 * MS, NONE)
    for second in range(2, 200):
        pipe.tick(START + second * S)
    pipe.stop(START + 200 * S)
    output = told.take(pipe)
    assert told.gap_list() == []
    assert told.instants(ETH) == [START + number * CADENCE_NS for number in range(10)]
    assert (told.total("samples_due", ETH), told.total("samples_written", ETH)) == (10, 10)
    assert [note.event for note in output.notes] == []
    assert covered(rows_of(told)) == [(START, START + S)]
    accounts = accounts_of(rows_of(told).coverage, [])
    asked = START, START + 60 * S
    assert sample_holes(accounts, asked) == [Hole(START + S, asked[1], NOT_COLLECTED)]


def test_the_row_of_its_minute_is_written_at_once() -> None:
    pipe, _, told = begun()
    hand_over(pipe, START + 1500 * MS, NONE)
    told.take(pipe)
    (row,) = rows_of(told).coverage
    assert (row.samples_due, row.due) == (10, ((START, START + S),))


def test_while_its_book_is_not_proved_it_is_a_gap_until_it_leaves() -> None:
    pipe, _, told = begun()
    pipe.closed(0, "disconnected", START + 2 * S)
    hand_over(pipe, START + 3 * S, NONE)
    pipe.stop(START + 99 * S)
    told.take(pipe)
    (gap,) = told.gap_list("book")
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("disconnected", START + S, START + 3 * S)
    assert (told.total("samples_written", ETH), told.total("samples_withheld", ETH)) == (10, 20)
    assert covered(rows_of(told)) == [(START, START + 3 * S)]


def test_a_restart_does_not_go_on_with_it() -> None:
    pipe, _, told = begun()
    hand_over(pipe, START + 1500 * MS, NONE)
    pipe.stop(START + 5 * S)
    told.take(pipe)
    again = pipeline(tells_parts=True, checkpoint=pipe.checkpoint())
    again.start(START + 100 * S)
    again.tick(START + 100 * S)
    again.stop(START + 200 * S)
    told.take(again)
    assert told.gap_list() == []
    assert covered(rows_of(told)) == [(START, START + S)]
    assert again.products.keys() == {Market("coinbase", BTC)}
    assert decode_checkpoint(again.checkpoint()).keys() == {Market("coinbase", BTC)}


def test_what_only_the_last_run_collected_ends_where_that_did() -> None:
    pipe, _, told = begun()
    pipe.receive(0, Connection(2).trades(7, product=ETH), START + 1400 * MS)
    told.take(pipe)  # and killed
    again = pipeline(tells_parts=True, checkpoint=pipe.checkpoint())
    again.start(START + 100 * S)
    assert again.is_accounted(OF_ETH)
    again.feed(Replan((plan(0),), (), (OF_ETH,)), START + 100 * S)
    assert not again.is_accounted(OF_ETH)
    again.stop(START + 100 * S)
    told.take(again)
    assert [gap for gap in told.gap_list() if gap["symbol"] == ETH] == []
    assert told.total("trades", ETH) == 1
    assert covered(rows_of(told)) == [(START, START + 1400 * MS)]


def test_one_that_comes_back_within_the_minute_is_accounted_for_twice_in_one_row() -> None:
    pipe, _, told = begun()
    hand_over(pipe, START + 2 * S, NONE)
    wire = come_back(pipe, START + 10 * S)
    beat(pipe, wire, START + 10 * S, START + 15 * S)
    pipe.tick(START + 15 * S)
    pipe.stop(START + 15 * S)
    told.take(pipe)
    assert told.gap_list() == []
    (row,) = rows_of(told).coverage
    assert (row.samples_due, row.due) == (60, ((START, START + S), (START + 10 * S, START + 15 * S)))
    assert covered(rows_of(told, pipe)) == [(START, START + S), (START + 10 * S, START + 15 * S)]


def test_it_may_leave_and_come_back_often() -> None:
    pipe, wire, told = begun()
    beat(pipe, wire, START + S, START + 50 * S)
    ours = [(START, START + 50 * S)]
    for begin_s, end_s in [(60, 63), (70, 75), (96, 97), (99, 160), (240, 350)]:
        hand_over(pipe, START + (begin_s - 2) * S, NONE)
        wire = come_back(pipe, START + begin_s * S)
        beat(pipe, wire, START + begin_s * S, START + end_s * S)
        ours.append((START + begin_s * S, START + end_s * S))
    hand_over(pipe, START + 351 * S, NONE)
    pipe.tick(START + 1000 * S)
    told.take(pipe)
    assert told.gap_list() == []
    assert covered(rows_of(told)) == ours


def test_one_that_was_delisted_is_others_once_they_have_it() -> None:
    pipe, _, told = begun()
    pipe.feed(Replan((NONE,)), START + 2 * S)
    hand_over(pipe, START + 9 * S, NONE)
    pipe.stop(START + 100 * S)
    told.take(pipe)
    (gap,) = told.gap_list("book")
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("delisted", START + S, START + 9 * S)
    assert gap["missing_count"] == 80
    assert covered(rows_of(told)) == [(START, START + 9 * S)]


def test_it_is_not_delisted_by_a_later_plan() -> None:
    pipe, _, told = begun()
    hand_over(pipe, START + 2 * S, NONE)
    pipe.feed(Replan((NONE, plan(1))), START + 3 * S)
    pipe.stop(START + 9 * S)
    told.take(pipe)
    assert told.gap_list() == []


def test_it_is_forgotten_when_its_minute_is_over() -> None:
    pipe, _, told = begun()
    hand_over(pipe, START + 2 * S, NONE)
    pipe.tick(START + 39 * S)
    assert OF_ETH in pipe.products
    pipe.tick(START + 41 * S)
    told.take(pipe)
    assert pipe.products == {}
    assert decode_checkpoint(pipe.checkpoint()) == {}


def test_its_name_is_kept_for_whoever_asks_what_there_is() -> None:
    pipe, _, _ = begun()
    hand_over(pipe, START + 2 * S, NONE)
    pipe.tick(START + 41 * S)
    again = pipeline(NONE, checkpoint=pipe.checkpoint())
    assert again.products == {}
    assert markets_of(again.checkpoint()) == {OF_ETH}
    come_back(again, START + 50 * S)
    assert markets_of(again.checkpoint()) == decode_checkpoint(again.checkpoint()).keys() == {OF_ETH}
    assert markets_of(None) == set()


def test_a_connection_that_carries_others_still_is_replaced_by_one_without_it() -> None:
    both = plan(0, products=(BTC, ETH))
    pipe = opened(both)
    hand_over(pipe, START + S, plan(0, products=(BTC,)))
    assert pipe.commands == [Succeed(0)]
    pipe.commands.clear()
    hand_over(pipe, START + 2 * S, NONE)
    assert pipe.commands == []


# Trades


def test_what_is_missing_of_its_trades_is_repaired_after_it_has_left() -> None:
    pipe, wire, told = begun()
    pipe.receive(0, wire.trades(5, product=ETH), START + S)
    pipe.receive(0, wire.trades(8, product=ETH), START + 1100 * MS)
    hand_over(pipe, START + 1500 * MS, NONE)
    pipe.tick(START + 3 * S)
    assert ids(pipe.commands) == [(6, 7)]
    pipe.commands.clear()
    pipe.tick(START + 100 * S)
    again = pipeline(tells_parts=True, checkpoint=pipe.checkpoint())  # nor does a restart keep it from it
    again.start(START + 101 * S)
    again.tick(START + 102 * S)
    assert ids(again.commands) == [(6, 7)]
    again.repaired(RepairAnswer(ETH, 6, 7, rest(6, 7), is_complete=True), START + 103 * S)
    again.tick(START + 200 * S)
    again.tick(START + 300 * S)
    told.take(pipe)
    told.take(again)
    (gap,) = told.gap_list()
    assert (gap["start_seq"], gap["end_seq"], gap["repaired_count"]) == (6, 7, 2)
    assert OF_ETH not in again.products
    assert covered(rows_of(told)) == [(START, START + 1100 * MS)]


def test_what_others_had_last_is_where_its_trades_go_on() -> None:
    pipe, told = pipeline(NONE, tells_parts=True), Told()
    wire = come_back(pipe, START, known=(100, START - 2 * S))
    pipe.receive(0, wire.trades(104, product=ETH), START + S)
    pipe.tick(START + 3 * S)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_seq"], gap["end_seq"]) == ("trades", 101, 103)
    assert ids(pipe.commands) == [(101, 103)]
    assert gap["start_ns"] == START - 2 * S


def test_an_old_trade_of_the_snapshot_is_no_news() -> None:
    pipe, told = pipeline(NONE, tells_parts=True), Told()
    wire = come_back(pipe, START, known=(100, LATER_NS))
    pipe.receive(0, wire.trades(98, 99, 100, 101, kind="snapshot", product=ETH), START + S)
    pipe.tick(START + 3 * S)
    told.take(pipe)
    assert told.gap_list() == []
    assert pipe.products[OF_ETH].trades.ledger.last == 101


def test_without_any_it_begins_with_its_first() -> None:
    pipe, told = pipeline(NONE, tells_parts=True), Told()
    wire = come_back(pipe, START)
    pipe.receive(0, wire.trades(104, product=ETH), START + S)
    pipe.tick(START + 3 * S)
    told.take(pipe)
    assert told.gap_list() == []


def left_with(*held: int) -> Pipeline:
    """ETH is others' since a moment ago."""
    pipe, wire, _ = begun()
    pipe.receive(0, wire.trades(*held, product=ETH), START + S)
    hand_over(pipe, START + 2 * S, NONE)
    return pipe


def test_of_its_own_last_trade_and_that_of_others_the_newer_one_counts() -> None:
    for known, missing in [((200, LATER_NS), (201, 203)), ((3, START - 5 * S), (6, 203)), (None, (6, 203))]:
        pipe, told = left_with(5), Told()
        wire = come_back(pipe, START + 9 * S, known=known)
        pipe.receive(0, wire.trades(204, product=ETH), START + 9 * S)
        pipe.tick(START + 20 * S)
        told.take(pipe)
        assert [(gap["start_seq"], gap["end_seq"]) for gap in told.gap_list("trades")] == [missing], known


def test_what_it_has_yet_to_repair_stays_so_when_it_comes_back() -> None:
    pipe, told = left_with(5, 8), Told()
    wire = come_back(pipe, START + 9 * S, known=(200, LATER_NS))
    pipe.receive(0, wire.trades(201, product=ETH), START + 9 * S)
    pipe.tick(START + 20 * S)
    told.take(pipe)
    assert [(gap["start_seq"], gap["end_seq"]) for gap in told.gap_list("trades")] == [(6, 7)]


def test_ids_that_began_anew_while_others_had_it_are_another_numbering() -> None:
    pipe, told = left_with(61_000), Told()
    wire = come_back(pipe, START + 9 * S, known=(5_020, START + 5 * S))
    pipe.receive(0, wire.trades(5_022, product=ETH), START + 9 * S)
    pipe.tick(START + 20 * S)
    told.take(pipe)
    assert [(gap["cause"], gap["start_seq"], gap["end_seq"]) for gap in told.gap_list("trades")] == [
        ("trades", 5_021, 5_021)
    ]


def test_the_last_trade_told_to_others_has_nothing_missing_before_it() -> None:
    pipe, wire, _ = begun()
    trades = pipe.products[OF_ETH].trades
    assert trades.state().tail() is None
    pipe.receive(0, wire.trades(5, product=ETH), START + S)
    assert trades.state().tail() == (5, trades.newest_ns)
    pipe.receive(0, wire.trades(8, product=ETH), START + S)
    tail = trades.state().tail()
    assert tail is not None
    assert tail[0] == 5
    pipe.tick(START + 9 * S)
    assert trades.state().tail() == tail
    pipe.repaired(RepairAnswer(ETH, 6, 7, rest(6, 7), is_complete=True), START + 10 * S)
    assert trades.state().tail() == (8, trades.newest_ns)


def test_a_tape_of_it_gives_the_same_lines() -> None:
    wire, later = Connection(), Connection()
    trades = wire.trades(5, product=ETH), wire.trades(8, product=ETH)
    told: list[Input] = [
        Start(),
        Opened(0),
        *(Frame(0, frame) for frame in (wire.snapshot(9.0, 11.0, product=ETH), *trades, wire.beat())),
        Tick(),
        Replan((NONE,), (), (OF_ETH,)),
        Tick(),
        Replan((ONE,), (KnownTrade(OF_ETH, 40, START + 50 * S),)),
        Opened(0),
        RepairAnswer(ETH, 6, 7, rest(6, 7), is_complete=True),
        *(Frame(0, frame) for frame in (later.snapshot(9.0, 11.0, product=ETH), later.trades(43, product=ETH))),
        Tick(),
        Tick(),
        Replan((NONE,), (), (OF_ETH,)),
        Tick(),
        Stop(),
    ]
    live, replayed = pipeline(NONE, tells_parts=True), pipeline(NONE, tells_parts=True)
    live.replan((ONE,), START)
    replayed.replan((ONE,), START)
    for number, happened in enumerate(told):
        record = record_of(happened, START + number * 1700 * MS)
        live.feed(happened, record.received_ns)
        replayed.feed(input_of(record), record.received_ns)
        assert live.take() == replayed.take(), happened
    assert live.checkpoint() == replayed.checkpoint()


# Whatever happens


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["leave", "join", "open", "close", "book", "beat", "tick", "disk", "restart", "die", "taken"]
            ),
            st.integers(1, 40_000),
        ),
        max_size=40,
    )
)
def test_whatever_happens_it_accounts_for_the_time_in_which_it_was_its_own(happenings: list[tuple[str, int]]) -> None:
    """The model: from the first book on, until it leaves; then from the next book on. A run that has ended is a gap, if
    ETH is collected by the next one, and the end of the account if it is not."""
    begin_ns = START + 40 * S  # a minute; in which part of the first one of all a collector ran is told by its samples
    pipe, told, now_ns, wire = pipeline(ONE, tells_parts=True), Told(), begin_ns, Connection()
    pipe.opened(0, begin_ns)
    pipe.receive(0, wire.snapshot(9.0, 11.0, product=ETH), begin_ns)
    expected: list[Interval] = []
    since_ns: int | None = begin_ns
    is_ours, is_suspended = True, False

    def end_ns() -> int:
        next_ns = pipe.products[OF_ETH].books.next_ns
        assert next_ns is not None
        return next_ns

    for what, passed_ms in happenings:
        now_ns += passed_ms * MS
        lane = pipe.lanes[0]
        match what:
            case "leave" if is_ours:
                hand_over(pipe, now_ns, NONE)
                is_ours = False
                if since_ns is not None:
                    expected.append((since_ns, end_ns()))
                    since_ns = None
            case "join" if not is_ours:
                hand_over(pipe, now_ns, ONE, known=(7, now_ns))
                is_ours = True
            case "open" if is_ours and lane.feed is None:
                wire = Connection()
                pipe.opened(0, now_ns)
            case "close" if lane.feed is not None:
                pipe.closed(0, "disconnected", now_ns)
            case "book" if lane.feed is not None:
                pipe.receive(0, wire.snapshot(9.0, 11.0, product=ETH), now_ns)
            case "beat" if lane.feed is not None:
                pipe.receive(0, wire.beat(), now_ns)
            case "disk":
                pipe.resume(now_ns) if is_suspended else pipe.suspend(now_ns)
                is_suspended = not is_suspended
            case "restart" | "die":
                if what == "restart":
                    pipe.stop(now_ns)
                told.take(pipe)
                pipe, is_suspended = (
                    pipeline(ONE if is_ours else NONE, tells_parts=True, checkpoint=pipe.checkpoint()),
                    False,
                )
                now_ns += 1
                pipe.start(now_ns)
            case "taken" if is_ours:  # by others, while nobody ran here
                told.take(pipe)
                if since_ns is not None:
                    expected.append((since_ns, end_ns()))
                    since_ns = None
                pipe, is_suspended, is_ours = (
                    pipeline(NONE, tells_parts=True, checkpoint=pipe.checkpoint()),
                    False,
                    False,
                )
                pipe.start(now_ns)
                hand_over(pipe, now_ns, NONE)
            case _:
                pipe.tick(now_ns)
        if is_ours and since_ns is None and not is_suspended and pipe.lanes[0].books[ETH].is_proved:
            since_ns = first_instant(pipe.lanes[0].books[ETH].since_ns, CADENCE_NS)
    pipe.stop(now_ns)
    told.take(pipe)
    if since_ns is not None:
        expected.append((since_ns, end_ns()))
    rows = rows_of(told, pipe)
    assert covered(rows) == merge(expected)
    assert not any(gap["cause"] == "delisted" for gap in told.gap_list())
    written = [row for row in rows_of(told).coverage if row.samples_due]
    assert all(row.samples_due == row.samples_written + row.samples_withheld for row in written)
    assert sum(row.samples_written for row in written) == len(told.instants(ETH))
    lost = [(gap["start_ns"], gap["end_ns"]) for gap in told.gap_list("book") if "end_ns" in gap]
    assert not any(start <= instant < end for start, end in lost for instant in told.instants(ETH))  # type: ignore[operator]


def test_it_is_forgotten_though_a_clock_that_was_ahead_has_told_of_a_time_to_come() -> None:
    ahead, now_ns = begun()[0], START - 3600 * S
    pipe, wire = pipeline(ONE, checkpoint=ahead.checkpoint(), tells_parts=True), Connection()
    pipe.start(now_ns)
    pipe.opened(0, now_ns)
    pipe.receive(0, wire.snapshot(9.0, 11.0, product=ETH), now_ns)
    beat(pipe, wire, now_ns, now_ns + 5 * S)
    hand_over(pipe, now_ns + 5 * S, NONE)
    for seconds in range(5, 45):
        pipe.tick(now_ns + seconds * S)
    assert OF_ETH not in pipe.products
    assert OF_ETH in markets_of(pipe.checkpoint())
