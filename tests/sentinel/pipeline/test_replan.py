"""Products that join and leave while others are collected."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from book.sampler import count_instants
from feeds.market import Market
from sentinel.coverage.accounts import Rows, from_points
from sentinel.coverage.holes import Hole, accounts_of, sample_holes
from sentinel.gap_report.report import Window, build, lowest_percent
from sentinel.pipeline import LanePlan
from sentinel.pipeline.checkpoint import decode_checkpoint
from sentinel.pipeline.inputs import Replan
from tests.sentinel.pipeline.venue import MS, START, Connection, S, Told, opened, plan, sent

BTC, ETH = "BTC-USD", "ETH-USD"
MINUTE_NS = 60 * S
HAPPENINGS = ["leave", "join", "open", "close", "book", "beat", "tick", "disk"]


def both() -> LanePlan:
    return plan(0, products=(BTC, ETH))


def rows_of(told: Told) -> Rows:
    """What the accounts are to a reader."""
    return from_points([*told.coverage.values(), *told.gaps.values()])


def gaps_of(told: Told, symbol: str) -> list[tuple[object, object, object]]:
    found = [gap for gap in told.gap_list("book") if gap["symbol"] == symbol]
    return [(gap["cause"], gap["start_ns"], gap.get("end_ns")) for gap in found]


def test_one_that_is_delisted_leaves_and_nothing_more_is_due_of_it() -> None:
    pipe, wire, told = opened(both()), Connection(), Told()
    pipe.receive(0, wire.snapshot(99.0, 101.0), START)
    pipe.receive(0, wire.snapshot(9.0, 11.0, product=ETH), START)
    pipe.receive(0, wire.beat(), START + S)
    pipe.replan([plan(0, products=(BTC,))], START + 1500 * MS)
    for second in range(2, 130):
        pipe.receive(0, wire.beat(), START + second * S)
        pipe.tick(START + second * S)
    pipe.receive(0, wire.update(("bid", 9.0, 2.0), product=ETH), START + 130 * S)
    pipe.stop(START + 130 * S)
    output = told.take(pipe)
    assert gaps_of(told, ETH) == [("delisted", START + S, None)]
    assert gaps_of(told, BTC) == []
    assert (told.total("samples_written", ETH), told.total("samples_withheld", ETH)) == (10, 0)
    assert told.total("samples_written", BTC) == 1300
    assert [note.event for note in output.notes if note.facts.get("symbol") == ETH] == []
    assert (pipe.lanes[0].counts.unasked, pipe.lanes[0].counts.residue) == (1, 0)
    assert ETH not in str(sent(pipe))


def test_its_time_is_named_in_the_report_and_not_counted() -> None:
    pipe, wire, told = opened(both()), Connection(), Told()
    begin = START - START % MINUTE_NS
    pipe.receive(0, wire.snapshot(9.0, 11.0, product=ETH), START)
    pipe.receive(0, wire.beat(), START + S)
    pipe.replan([plan(0, products=(BTC,))], START + 1500 * MS)
    pipe.tick(START + 200 * S)
    pipe.stop(START + 200 * S)
    told.take(pipe)
    market = Market("coinbase", ETH)
    for window in (Window(begin, begin + 10 * MINUTE_NS), Window(begin + 5 * MINUTE_NS, begin + 6 * MINUTE_NS)):
        report = build(rows_of(told), window, markets=[market])
        (product,) = report.products
        assert [gap.cause for gap in product.gaps] == ["delisted"]
        assert (report.verdict, lowest_percent(report)) == ("complete", 100)
        assert product.samples.withheld == product.samples.not_collected == 0
    rows = rows_of(told)
    accounts = accounts_of(
        [row for row in rows.coverage if row.market == market], [row for row in rows.gaps if row.market == market]
    )
    asked = START, START + 600 * S
    assert sample_holes(accounts, asked) == [Hole(START + S, asked[1], "delisted")]


def test_listed_again_it_joins_again_and_the_time_between_is_one_gap() -> None:
    pipe, wire, told = opened(both()), Connection(), Told()
    pipe.receive(0, wire.snapshot(9.0, 11.0, product=ETH), START)
    pipe.receive(0, wire.beat(), START + S)
    pipe.replan([plan(0, products=(BTC,))], START + 1500 * MS)
    pipe.tick(START + 100 * S)
    again, other = plan(1, products=(ETH,)), Connection()
    pipe.replan([plan(0, products=(BTC,)), again], START + 100 * S)
    pipe.opened(1, START + 101 * S)
    pipe.closed(1, "disconnected", START + 101 * S)  # it is not there yet, whoever does not have it
    pipe.opened(1, START + 102 * S)
    pipe.receive(1, other.snapshot(9.0, 11.0, product=ETH), START + 103 * S)
    pipe.receive(1, other.beat(), START + 104 * S)
    pipe.stop(START + 104 * S)
    told.take(pipe)
    assert gaps_of(told, ETH) == [("delisted", START + S, START + 103 * S)]
    (gap,) = (gap for gap in told.gap_list("book") if gap["symbol"] == ETH)
    assert gap["missing_count"] == 1020
    assert (told.total("samples_written", ETH), told.total("samples_withheld", ETH)) == (20, 0)
    report = build(rows_of(told), Window(START, START + 104 * S), markets=[Market("coinbase", ETH)])
    assert report.verdict == "complete"
    assert lowest_percent(report) == 100


def test_a_new_one_is_due_from_its_first_book_on() -> None:
    pipe, wire, told = opened(plan(0)), Connection(), Told()
    pipe.receive(0, wire.snapshot(99.0, 101.0), START)
    pipe.replan([plan(0), plan(1, products=(ETH,))], START + 50 * S)
    pipe.opened(1, START + 51 * S)
    other = Connection()
    pipe.receive(1, other.snapshot(9.0, 11.0, product=ETH), START + 52 * S)
    pipe.receive(1, other.beat(), START + 53 * S)
    pipe.stop(START + 53 * S)
    told.take(pipe)
    assert gaps_of(told, ETH) == []
    assert (told.total("samples_due", ETH), told.total("samples_written", ETH)) == (10, 10)


def test_a_gap_that_was_open_ends_where_the_product_leaves() -> None:
    pipe, wire, told = opened(both()), Connection(), Told()
    pipe.receive(0, wire.snapshot(9.0, 11.0, product=ETH), START)
    pipe.receive(0, wire.beat(), START + S)
    pipe.closed(0, "disconnected", START + 2 * S)
    pipe.replan([plan(0, products=())], START + 3 * S)
    pipe.stop(START + 9 * S)
    told.take(pipe)
    assert gaps_of(told, ETH) == [
        ("disconnected", START + S, START + 3 * S),
        ("delisted", START + 3 * S, None),
    ]
    assert told.total("samples_withheld", ETH) == 20
    assert pipe.lanes[0].feed is None


def test_a_restart_goes_on_with_it() -> None:
    pipe, wire, told = opened(both()), Connection(), Told()
    pipe.receive(0, wire.snapshot(9.0, 11.0, product=ETH), START)
    pipe.receive(0, wire.beat(), START + S)
    pipe.replan([plan(0, products=(BTC,))], START + 1500 * MS)
    pipe.stop(START + 5 * S)
    told.take(pipe)
    checkpoint = pipe.checkpoint()
    assert [gap.cause for gap in decode_checkpoint(checkpoint)[Market("coinbase", ETH)].books.gaps] == ["delisted"]
    pipe = opened(both(), checkpoint=checkpoint)
    pipe.start(START + 100 * S)
    pipe.feed(Replan((plan(0, products=(BTC,)),)), START + 100 * S)
    pipe.tick(START + 200 * S)
    pipe.stop(START + 200 * S)
    told.take(pipe)
    assert gaps_of(told, ETH) == [("delisted", START + S, None)]
    assert told.total("samples_withheld", ETH) == 0


def test_a_lane_that_was_empty_is_taken_again() -> None:
    pipe, told = opened(plan(0, products=(ETH,))), Told()
    pipe.replan([plan(0, products=())], START + S)
    pipe.replan([plan(0, products=(BTC,))], START + 2 * S)
    pipe.opened(0, START + 3 * S)
    assert [message.get("product_ids") for message in sent(pipe)] == [[BTC], [BTC], None]
    wire = Connection()
    pipe.receive(0, wire.snapshot(99.0, 101.0), START + 4 * S)
    pipe.receive(0, wire.beat(), START + 5 * S)
    pipe.stop(START + 5 * S)
    told.take(pipe)
    assert told.total("samples_written", BTC) == 10


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["leave", "join", "open", "close", "book", "beat", "tick", "disk"]), st.integers(1, 4000)
        ),
        max_size=60,
    )
)
def test_whatever_happens_every_instant_is_written_withheld_or_of_a_time_without_the_product(
    happenings: list[tuple[str, int]],
) -> None:
    pipe, told, now_ns, wires = opened(plan(0, products=(ETH,))), Told(), START, {0: Connection()}
    pipe.receive(0, wires[0].snapshot(9.0, 11.0, product=ETH), START)
    plans, is_suspended = [plan(0, products=(ETH,))], False
    for what, passed_ms in happenings:
        now_ns += passed_ms * MS
        lane = pipe.lanes[-1]
        number = lane.plan.lane
        match what:
            case "leave":
                plans[-1] = plan(number, products=())
                pipe.replan(plans, now_ns)
            case "join" if not lane.products:
                plans.append(plan(number + 1, products=(ETH,)))
                pipe.replan(plans, now_ns)
            case "open" if lane.products and lane.feed is None:
                wires[number] = Connection()
                pipe.opened(number, now_ns)
            case "close" if lane.feed is not None:
                pipe.closed(number, "disconnected", now_ns)
            case "book" if lane.feed is not None:
                pipe.receive(number, wires[number].snapshot(9.0, 11.0, product=ETH), now_ns)
            case "beat" if lane.feed is not None:
                pipe.receive(number, wires[number].beat(), now_ns)
            case "disk":
                pipe.resume(now_ns) if is_suspended else pipe.suspend(now_ns)
                is_suspended = not is_suspended
            case _:
                pipe.tick(now_ns)
    pipe.stop(now_ns)
    told.take(pipe)
    books = pipe.products[Market("coinbase", ETH)].books
    gone = sum(int(str(gap["missing_count"])) for gap in told.gap_list("book") if gap["cause"] == "delisted")
    assert books.next_ns is not None
    assert told.total("samples_due", ETH) + gone == count_instants(START, books.next_ns, 100 * MS)
    assert told.total("samples_due", ETH) == told.total("samples_written", ETH) + told.total("samples_withheld", ETH)
    assert len(told.instants(ETH)) == told.total("samples_written", ETH)
    closed = sorted(
        (int(str(gap["start_ns"])), int(str(gap["end_ns"]))) for gap in told.gap_list("book") if "end_ns" in gap
    )
    assert not any(start <= instant < end for start, end in closed for instant in told.instants(ETH))
    assert sum("end_ns" not in gap for gap in told.gap_list("book") if gap["cause"] == "delisted") <= 1
