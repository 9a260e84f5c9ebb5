"""Books with chains of their own: a hole costs that book only, and a book's own frames prove its instants."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from book.events import MapDelta
from book.order_book import OrderBook
from feeds.protocol import FeedFacts
from sentinel.pipeline import FetchedBook, Pipeline, Send, lane_book
from tests.sentinel.pipeline.chained_venue import (
    BEAT,
    BOTH,
    CHECKSUM,
    PREVIOUS,
    RANGE,
    chained,
    checksum,
    fetches,
    frame,
)
from tests.sentinel.pipeline.venue import MS, START, S, Told, sent

BTC, ETH = "BTC-USD", "ETH-USD"
GRID = 100 * MS
BIDS, ASKS = [("99.0", "1.0")], [("101.0", "1.0")]


def update(product: str, size: str, **link: int) -> bytes:
    return frame("delta", product, [("99.0", size)], [], **link)


def quiet(product: str, last: int) -> bytes:
    """A venue's word that nothing has changed."""
    return frame("delta", product, [], [], previous=last, last=last)


def opened(pipe: Pipeline, *products: str) -> Told:
    pipe.opened(0, START)
    for product in products:
        pipe.receive(0, frame("snapshot", product, BIDS, ASKS, previous=-1, last=10), START + 10 * MS)
    sent(pipe)
    return Told()


def sizes(told: Told, symbol: str) -> list[float]:
    found = [point for point in told.tops if dict(point.tags)["symbol"] == symbol]
    return [float(dict(point.fields)["bid_size"]) for point in found]


def test_a_hole_costs_its_own_book_only() -> None:
    pipe = chained(PREVIOUS, BTC, ETH)
    told = opened(pipe, BTC, ETH)
    pipe.receive(0, update(BTC, "2", previous=10, last=15), START + 150 * MS)
    pipe.receive(0, update(ETH, "2", previous=10, last=15), START + 150 * MS)
    pipe.receive(0, update(BTC, "4", previous=18, last=20), START + 350 * MS)
    pipe.receive(0, update(ETH, "3", previous=15, last=20), START + 350 * MS)
    assert [message["products"] for message in sent(pipe)] == [[BTC]]
    pipe.receive(0, frame("snapshot", BTC, BIDS, ASKS, previous=-1, last=40), START + 450 * MS)
    pipe.receive(0, quiet(BTC, 40), START + 550 * MS)
    pipe.receive(0, quiet(ETH, 20), START + 550 * MS)
    pipe.stop(START + 560 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["symbol"], gap["cause"], gap["start_seq"], gap["end_seq"]) == (BTC, "sequence", 16, 18)
    assert (gap["start_ns"], gap["end_ns"], gap["missing_count"]) == (START + 150 * MS, START + 450 * MS, 0)
    assert told.instants(BTC) == [START + k * GRID for k in (1, 5)]
    assert told.instants(ETH) == [START + k * GRID for k in range(1, 6)]
    assert pipe.lanes[0].counts.residue == 0


def test_a_frame_proves_the_books_it_carries_and_no_other() -> None:
    pipe = chained(PREVIOUS, BTC, ETH)
    told = opened(pipe, BTC, ETH)
    pipe.receive(0, update(ETH, "2", previous=10, last=15), START + 5 * S)
    pipe.receive(0, BEAT, START + 5 * S)
    pipe.tick(START + 5 * S)
    told.take(pipe)
    assert len(told.instants(ETH)) == 49
    assert told.instants(BTC) == []
    pipe.receive(0, quiet(BTC, 10), START + 10 * S + MS)
    told.take(pipe)
    assert told.instants(BTC) == [START + k * GRID for k in range(1, 101)]
    assert told.gap_list() == []


def test_a_book_quiet_for_too_long_is_withheld_since_its_last_frame() -> None:
    pipe = chained(PREVIOUS, BTC, ETH)
    told = opened(pipe, BTC, ETH)
    pipe.receive(0, quiet(BTC, 10), START + 110 * MS)
    for second in range(1, 21):
        pipe.receive(0, quiet(ETH, 10), START + second * S)
        pipe.tick(START + second * S + 50 * MS)
    assert sent(pipe) == []
    pipe.tick(START + 20 * S + 120 * MS)
    assert [message["products"] for message in sent(pipe)] == [[BTC]]
    pipe.receive(0, frame("snapshot", BTC, BIDS, ASKS, previous=-1, last=10), START + 20 * S + 250 * MS)
    pipe.stop(START + 20 * S + 260 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["symbol"], gap["cause"]) == (BTC, "silence")
    assert (gap["start_ns"], gap["end_ns"]) == (START + 110 * MS, START + 20 * S + 250 * MS)
    assert told.instants(BTC) == [START + GRID]


LOOKING = replace(PREVIOUS, look_after_s=10, ping_after_s=None)


def test_a_quiet_book_is_looked_at_and_has_stood_if_the_snapshot_bears_its_id() -> None:
    pipe = chained(LOOKING, BTC, ETH)
    told = opened(pipe, BTC, ETH)
    pipe.receive(0, quiet(ETH, 10), START + 9 * S)
    pipe.tick(START + 10 * S)
    assert sent(pipe) == []
    pipe.tick(START + 10 * S + 20 * MS)
    assert [message["products"] for message in sent(pipe)] == [[BTC]]
    pipe.tick(START + 10 * S + 400 * MS)
    assert sent(pipe) == []
    pipe.receive(0, frame("snapshot", BTC, BIDS, ASKS, previous=-1, last=10), START + 10 * S + 450 * MS)
    pipe.receive(0, update(BTC, "2", previous=10, last=15), START + 10 * S + 650 * MS)
    pipe.tick(START + 11 * S)
    told.take(pipe)
    assert told.instants(BTC) == [START + k * GRID for k in range(1, 107)]
    assert told.gap_list() == []


def test_a_quiet_book_of_which_something_was_lost_is_a_gap_since_its_last_frame() -> None:
    pipe = chained(LOOKING, BTC)
    told = opened(pipe, BTC)
    pipe.receive(0, quiet(BTC, 10), START + 150 * MS)
    pipe.tick(START + 10 * S + 200 * MS)
    assert [message["products"] for message in sent(pipe)] == [[BTC]]
    pipe.receive(0, frame("snapshot", BTC, BIDS, ASKS, previous=-1, last=11), START + 10 * S + 250 * MS)
    pipe.receive(0, quiet(BTC, 11), START + 10 * S + 350 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("sequence", START + 150 * MS, START + 10 * S + 250 * MS)
    assert told.instants(BTC) == [START + GRID, START + 10 * S + 3 * GRID]


def test_a_look_that_is_not_answered_proves_nothing() -> None:
    pipe = chained(LOOKING, BTC)
    told = opened(pipe, BTC)
    pipe.receive(0, quiet(BTC, 10), START + 150 * MS)
    for second in range(1, 21):
        pipe.receive(0, BEAT, START + second * S)
        pipe.tick(START + second * S)
    pipe.tick(START + 20 * S + 150 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"]) == ("silence", START + 150 * MS)
    assert told.instants(BTC) == [START + GRID]


def test_a_lost_connection_costs_each_book_what_its_own_frames_have_not_proved() -> None:
    pipe = chained(PREVIOUS, BTC, ETH)
    told = opened(pipe, BTC, ETH)
    pipe.receive(0, quiet(BTC, 10), START + 210 * MS)
    pipe.receive(0, quiet(ETH, 10), START + 810 * MS)
    pipe.closed(0, "disconnected", START + 900 * MS)
    told.take(pipe)
    assert {gap["symbol"]: gap["start_ns"] for gap in told.gap_list()} == {
        BTC: START + 210 * MS,
        ETH: START + 810 * MS,
    }


def test_an_id_may_fall_if_the_chain_holds() -> None:
    pipe = chained(PREVIOUS)
    told = opened(pipe, BTC)
    for number, (previous, last) in enumerate([(10, 90), (90, 3), (3, 7)]):
        pipe.receive(0, update(BTC, "2", previous=previous, last=last), START + number * S + 150 * MS)
    told.take(pipe)
    assert told.gap_list() == []
    assert len(told.instants()) == 21


def test_a_snapshot_nobody_asked_for_proves_nothing_before_it() -> None:
    pipe = chained(PREVIOUS)
    told = opened(pipe, BTC)
    pipe.receive(0, quiet(BTC, 10), START + 210 * MS)
    pipe.receive(0, frame("snapshot", BTC, BIDS, ASKS, previous=-1, last=70), START + 450 * MS)
    pipe.receive(0, quiet(BTC, 70), START + 610 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("sequence", START + 210 * MS, START + 450 * MS)
    assert told.instants() == [START + k * GRID for k in (1, 2, 5, 6)]


RANGE_ON_WIRE = replace(PREVIOUS, chain="range")
ON_WIRE = pytest.mark.parametrize("facts", [PREVIOUS, RANGE_ON_WIRE, BOTH], ids=["previous", "range", "both"])


def change(size: str, at: int) -> bytes:
    """The change with this id, told in every way at once."""
    return update(BTC, size, first=at, previous=at - 1, last=at)


def snapshot_at(last: int) -> bytes:
    return frame("snapshot", BTC, BIDS, ASKS, previous=-1, last=last)


@ON_WIRE
def test_a_snapshot_that_is_overtaken_is_a_book_with_what_overtook_it(facts: FeedFacts) -> None:
    pipe, told = chained(facts), Told()
    pipe.opened(0, START)
    for at, message in enumerate([change("7", 10), change("2", 12), change("3", 11), snapshot_at(10)]):
        pipe.receive(0, message, START + (at + 1) * 10 * MS)
    assert pipe.lanes[0].books[BTC].book.bids == {99.0: 2.0}
    sent(pipe)
    pipe.receive(0, change("3", 11), START + 50 * MS)  # the venue may tell it again on a subscription that is new
    pipe.receive(0, change("4", 13), START + 150 * MS)
    pipe.receive(0, change("5", 14), START + 250 * MS)
    told.take(pipe)
    assert told.gap_list() == []
    assert sizes(told, BTC) == [2.0, 4.0]
    assert sent(pipe) == []


@ON_WIRE
def test_what_came_before_its_snapshot_is_no_part_of_a_hole(facts: FeedFacts) -> None:
    pipe, told = chained(facts), Told()
    pipe.opened(0, START)
    for at, message in enumerate([change("2", 13), change("3", 14), snapshot_at(10), change("4", 15)]):
        pipe.receive(0, message, START + (at + 1) * 10 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["start_seq"], gap["end_seq"]) == (11, 12)


@ON_WIRE
def test_what_overtook_a_snapshot_follows_from_what_comes_after_that(facts: FeedFacts) -> None:
    pipe, told = chained(facts), Told()
    pipe.opened(0, START)
    for at, message in enumerate([change("3", 12), snapshot_at(10), change("2", 11), change("4", 13)]):
        pipe.receive(0, message, START + (at + 1) * 10 * MS)
    told.take(pipe)
    assert told.gap_list() == []
    assert pipe.lanes[0].books[BTC].book.bids == {99.0: 4.0}


def test_what_came_before_a_maintenance_is_no_part_of_the_book_that_comes_after_it() -> None:
    pipe, told = chained(PREVIOUS), Told()
    pipe.opened(0, START)
    for previous, last in ((12, 13), (13, 9000), (9000, 3)):
        pipe.receive(0, update(BTC, "9", previous=previous, last=last), START + 10 * MS)
    pipe.receive(0, snapshot_at(5), START + 20 * MS)
    for at in range(6, 15):
        pipe.receive(0, change(str(at), at), START + at * 10 * MS)
    told.take(pipe)
    assert told.gap_list() == []
    assert pipe.lanes[0].books[BTC].book.bids == {99.0: 14.0}


def test_a_wrong_checksum_ends_a_book_and_the_levels_beyond_the_depth_are_gone() -> None:
    pipe, told = chained(CHECKSUM), Told()
    pipe.opened(0, START)
    sent(pipe)
    bids = [("99.0", "1.0"), ("98.0", "1.0")]
    pipe.receive(0, frame("snapshot", BTC, bids, ASKS, checksum=checksum(bids, ASKS)), START + 10 * MS)
    better = [("99.5", "1.0"), ("99.0", "1.0")]  # 98.0 falls out, and nothing says so
    pipe.receive(0, frame("delta", BTC, better[:1], [], checksum=checksum(better, ASKS)), START + 150 * MS)
    assert list(pipe.lanes[0].books[BTC].book.bids) == [99.0, 99.5]
    wrong = checksum([("99.5", "7.0"), ("99.0", "1.0")], ASKS)
    pipe.receive(0, frame("delta", BTC, [("99.0", "1.0")], [], checksum=wrong), START + 250 * MS)
    assert [message["type"] for message in sent(pipe)] == ["resubscribe"]
    pipe.receive(0, frame("snapshot", BTC, better, ASKS, checksum=wrong), START + 350 * MS)
    pipe.tick(START + 700 * MS)
    assert [message["type"] for message in sent(pipe)] == ["resubscribe"]
    pipe.receive(0, frame("snapshot", BTC, better, ASKS, checksum=checksum(better, ASKS)), START + 750 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["cause"], gap["start_ns"], gap["end_ns"]) == ("sequence", START + 150 * MS, START + 750 * MS)
    assert told.instants() == [START + GRID]


def answer(last: int, product: str = BTC, size: float = 1.0) -> FetchedBook:
    return FetchedBook(0, product, last, {99.0: size}, {101.0: 1.0})


def test_a_book_made_of_an_answer_does_not_change_it() -> None:
    fetched = answer(10)
    book = OrderBook()
    book.replace(fetched.snapshot().bids, fetched.snapshot().asks)
    book.apply(MapDelta(BTC, {99.0: 0.0}, {101.0: 2.0}, 2))
    assert fetched == answer(10)


def streaming(*products: str) -> tuple[Pipeline, Told]:
    pipe = chained(RANGE, *(products or (BTC,)))
    pipe.opened(0, START)
    sent(pipe)
    assert fetches(pipe) == []  # what is fetched before the stream has begun may be older than it
    return pipe, Told()


def test_deltas_are_buffered_and_aligned_to_the_book_that_is_fetched() -> None:
    pipe, told = streaming()
    pipe.receive(0, update(BTC, "2", first=100, last=104), START + 10 * MS)
    assert fetches(pipe) == [BTC]
    pipe.receive(0, update(BTC, "3", first=105, last=109), START + 110 * MS)
    pipe.receive(0, update(BTC, "4", first=110, last=112), START + 210 * MS)
    pipe.fetched(answer(107), START + 250 * MS)
    assert pipe.lanes[0].books[BTC].book.bids == {99.0: 4.0}
    pipe.receive(0, update(BTC, "5", first=113, last=113), START + 410 * MS)
    told.take(pipe)
    assert told.instants() == [START + 300 * MS, START + 400 * MS]
    assert sizes(told, BTC) == [4.0, 4.0]
    assert fetches(pipe) == []
    assert told.gap_list() == []


def test_a_book_ahead_of_the_stream_waits_for_it() -> None:
    pipe, told = streaming()
    pipe.receive(0, update(BTC, "2", first=100, last=104), START + 10 * MS)
    pipe.fetched(answer(120, size=9.0), START + 50 * MS)
    pipe.receive(0, update(BTC, "3", first=105, last=118), START + 110 * MS)
    pipe.receive(0, update(BTC, "4", first=119, last=123), START + 210 * MS)
    told.take(pipe)
    assert told.instants() == [START + k * GRID for k in (1, 2)]
    assert sizes(told, BTC) == [9.0, 9.0]
    assert pipe.lanes[0].counts.duplicate == 1
    assert pipe.lanes[0].counts.residue == 0


def test_a_book_older_than_its_stream_is_fetched_again_after_a_pause() -> None:
    pipe, _ = streaming()
    pipe.receive(0, update(BTC, "2", first=100, last=104), START + 10 * MS)
    fetches(pipe)
    pipe.fetched(answer(98), START + 50 * MS)
    assert fetches(pipe) == []
    pipe.tick(START + 270 * MS)
    assert fetches(pipe) == [BTC]
    pipe.fetched(answer(99), START + 300 * MS)
    assert pipe.lanes[0].books[BTC].book.bids == {99.0: 2.0}


def test_what_does_not_come_is_asked_for_again() -> None:
    pipe, _ = streaming()
    pipe.receive(0, update(BTC, "2", first=100, last=104), START + 10 * MS)
    fetches(pipe)
    for second in range(1, 200):
        pipe.receive(0, BEAT, START + second * S)
        pipe.tick(START + second * S)
    assert len(fetches(pipe)) == 4  # after 10, 20, 40 and 80 s; the connection is not at fault
    assert pipe.lanes[0].feed is not None


def test_a_delta_lost_while_fetching_is_no_part_of_the_book() -> None:
    pipe, _ = streaming()
    pipe.receive(0, update(BTC, "2", first=100, last=104), START + 10 * MS)
    pipe.receive(0, update(BTC, "3", first=107, last=109), START + 20 * MS)
    pipe.fetched(answer(102), START + 50 * MS)
    assert not pipe.lanes[0].books[BTC].is_proved
    pipe.tick(START + 300 * MS)
    pipe.fetched(answer(106), START + 350 * MS)
    assert pipe.lanes[0].books[BTC].book.bids == {99.0: 3.0}


def test_a_delta_of_which_a_part_cannot_be_read_is_no_part_of_the_book_that_is_fetched() -> None:
    pipe, _ = streaming()
    pipe.receive(0, update(BTC, "2", first=100, last=104), START + 10 * MS)
    pipe.receive(0, frame("delta", BTC, [], [], is_spoilt=True, first=105, last=109), START + 20 * MS)
    pipe.receive(0, update(BTC, "3", first=110, last=112), START + 30 * MS)
    pipe.fetched(answer(102), START + 50 * MS)
    assert not pipe.lanes[0].books[BTC].is_proved
    pipe.tick(START + 300 * MS)
    pipe.fetched(answer(109), START + 350 * MS)
    assert pipe.lanes[0].books[BTC].book.bids == {99.0: 3.0}


@ON_WIRE
def test_a_delta_of_which_a_part_cannot_be_read_does_not_follow_the_snapshot_it_overtook(facts: FeedFacts) -> None:
    pipe = chained(facts)
    pipe.opened(0, START)
    spoilt = frame("delta", BTC, [], [], is_spoilt=True, first=11, previous=10, last=11)
    for at, message in enumerate([spoilt, snapshot_at(10), change("3", 12)]):
        pipe.receive(0, message, START + (at + 1) * 10 * MS)
    assert not pipe.lanes[0].books[BTC].is_proved


def test_the_buffer_is_bounded_and_what_fell_out_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_book, "BUFFERED_MOST", 20)
    pipe, _ = streaming()
    for number in range(100, 200):
        pipe.receive(0, update(BTC, str(number), first=number, last=number), START + number * MS)
    pipe.fetched(answer(188), START + 250 * MS)
    assert not pipe.lanes[0].books[BTC].is_proved
    pipe.tick(START + 600 * MS)
    pipe.fetched(answer(189), START + 650 * MS)
    assert pipe.lanes[0].books[BTC].book.bids == {99.0: 199.0}


def test_a_connection_that_ends_while_fetching_begins_anew() -> None:
    pipe, told = streaming()
    pipe.receive(0, update(BTC, "2", first=100, last=104), START + 10 * MS)
    fetches(pipe)
    pipe.closed(0, "disconnected", START + 20 * MS)
    pipe.fetched(answer(104), START + 30 * MS)
    pipe.opened(0, START + 40 * MS)
    pipe.fetched(answer(104), START + 50 * MS)
    assert not pipe.lanes[0].books[BTC].is_proved
    pipe.tick(START + 300 * MS)
    pipe.receive(0, update(BTC, "3", first=120, last=121), START + 310 * MS)
    assert fetches(pipe) == [BTC]
    pipe.fetched(answer(104), START + 320 * MS)  # of the old connection's request: too old, as any other would be
    assert not pipe.lanes[0].books[BTC].is_proved
    told.take(pipe)
    assert [gap["cause"] for gap in told.gap_list()] == ["disconnected"]


def test_a_delta_lost_afterwards_makes_the_book_be_fetched_anew() -> None:
    pipe, told = streaming(BTC, ETH)
    pipe.receive(0, b'{"event":"subscribed","products":["BTC-USD","ETH-USD"]}', START + 5 * MS)
    assert fetches(pipe) == [BTC, ETH]
    for product in (BTC, ETH):
        pipe.receive(0, update(product, "2", first=100, last=104), START + 10 * MS)
        pipe.fetched(answer(104, product), START + 20 * MS)
    pipe.receive(0, update(BTC, "3", first=105, last=105), START + 310 * MS)
    pipe.receive(0, update(BTC, "4", first=108, last=109), START + 610 * MS)
    pipe.tick(START + 800 * MS)
    assert fetches(pipe) == [BTC]
    pipe.receive(0, update(ETH, "3", first=105, last=106), START + 910 * MS)
    pipe.fetched(answer(107), START + 950 * MS)
    assert pipe.lanes[0].books[BTC].book.bids == {99.0: 4.0}
    pipe.receive(0, update(BTC, "5", first=110, last=110), START + 1110 * MS)
    told.take(pipe)
    (gap,) = told.gap_list()
    assert (gap["symbol"], gap["start_seq"], gap["end_seq"], gap["missing_count"]) == (BTC, 106, 107, 2)
    assert (gap["start_ns"], gap["end_ns"]) == (START + 310 * MS, START + 950 * MS)
    assert told.instants(BTC) == [START + k * GRID for k in (1, 2, 3, 10, 11)]
    assert told.instants(ETH) == [START + k * GRID for k in range(1, 10)]


def test_a_silent_venue_is_pinged_and_then_given_up() -> None:
    pipe, _ = streaming()
    pings = []
    for second in range(1, 26):
        pipe.tick(START + second * S)
        pings += [second for command in pipe.commands if isinstance(command, Send) and command.messages == (b"ping",)]
        pipe.commands.clear()
    assert pings == [10, 20]
    assert pipe.lanes[0].feed is None


def test_a_book_that_is_proved_is_not_fetched_again_by_a_later_acknowledgement() -> None:
    pipe = chained(RANGE, BTC, ETH)
    pipe.opened(0, START)
    pipe.receive(0, b'{"event":"subscribed","products":["BTC-USD"]}', START + MS)
    assert fetches(pipe) == [BTC]
    pipe.fetched(FetchedBook(0, BTC, 10, {99.0: 1.0}, {101.0: 1.0}), START + 2 * MS)
    pipe.receive(0, b'{"event":"subscribed","products":["BTC-USD","ETH-USD"]}', START + S)
    assert fetches(pipe) == [ETH]


def test_a_book_that_should_come_on_the_wire_and_does_not_is_fetched_and_aligned() -> None:
    pipe, told = chained(BOTH, BTC, ETH), Told()
    pipe.opened(0, START)
    pipe.receive(0, frame("snapshot", ETH, BIDS, ASKS, previous=-1, last=10), START + 10 * MS)
    pipe.receive(0, update(BTC, "2", previous=100, last=104), START + 20 * MS)
    pipe.receive(0, update(BTC, "3", previous=104, last=109), START + 5 * S)
    assert [message["type"] for message in sent(pipe)] == ["subscribe"]
    pipe.tick(START + 10 * S)
    assert fetches(pipe) == [BTC]
    assert sent(pipe) == []
    pipe.receive(0, update(BTC, "4", previous=109, last=112), START + 10 * S + 110 * MS)
    pipe.fetched(answer(104), START + 10 * S + 250 * MS)
    assert pipe.lanes[0].books[BTC].book.bids == {99.0: 4.0}
    pipe.receive(0, update(BTC, "5", previous=112, last=113), START + 10 * S + 410 * MS)
    told.take(pipe)
    assert sizes(told, BTC) == [4.0, 4.0]


def test_what_is_not_fetched_either_is_asked_for_on_the_wire_again_and_a_snapshot_there_ends_the_waiting() -> None:
    pipe, told = chained(BOTH, BTC, ETH), Told()
    pipe.opened(0, START)
    pipe.receive(0, frame("snapshot", ETH, BIDS, ASKS, previous=-1, last=10), START + 10 * MS)
    pipe.receive(0, update(BTC, "2", previous=100, last=104), START + 20 * MS)
    sent(pipe)
    pipe.receive(0, quiet(ETH, 10), START + 9 * S)
    pipe.tick(START + 10 * S)
    assert fetches(pipe) == [BTC]
    pipe.receive(0, quiet(ETH, 10), START + 19 * S)
    pipe.receive(0, quiet(ETH, 10), START + 29 * S)
    pipe.tick(START + 30 * S)
    assert fetches(pipe) == []
    assert [(message["type"], message["products"]) for message in sent(pipe)] == [("resubscribe", [BTC])]
    pipe.receive(0, frame("snapshot", BTC, BIDS, ASKS, previous=-1, last=204), START + 30 * S + 10 * MS)
    pipe.fetched(answer(104), START + 30 * S + 20 * MS)  # too late to matter
    pipe.receive(0, update(BTC, "7", previous=204, last=205), START + 30 * S + 150 * MS)
    pipe.receive(0, update(BTC, "8", previous=205, last=206), START + 30 * S + 250 * MS)
    told.take(pipe)
    assert sizes(told, BTC) == [1.0, 7.0]
    assert fetches(pipe) == []


def test_a_book_that_is_lost_and_comes_on_the_wire_is_not_fetched() -> None:
    pipe = chained(BOTH, BTC)
    opened(pipe, BTC)
    pipe.receive(0, update(BTC, "4", previous=18, last=20), START + 350 * MS)
    assert [message["type"] for message in sent(pipe)] == ["resubscribe"]
    pipe.receive(0, frame("snapshot", BTC, BIDS, ASKS, previous=-1, last=40), START + 450 * MS)
    pipe.receive(0, update(BTC, "5", previous=40, last=41), START + 460 * MS)
    pipe.tick(START + 10 * S)
    assert pipe.lanes[0].books[BTC].book.bids == {99.0: 5.0}
    assert fetches(pipe) == []


def test_a_snapshot_fetched_after_a_maintenance_is_aligned_though_higher_ids_came_before() -> None:
    pipe, told = chained(BOTH, BTC, ETH), Told()
    pipe.opened(0, START)
    pipe.receive(0, frame("snapshot", ETH, BIDS, ASKS, previous=-1, last=10), START + 10 * MS)
    for size, previous, last in (("2", 9000, 9007), ("3", 9007, 3), ("4", 3, 5), ("5", 5, 9)):
        pipe.receive(0, update(BTC, size, previous=previous, last=last), START + 5 * S)
    sent(pipe)
    pipe.tick(START + 10 * S)
    assert fetches(pipe) == [BTC]
    pipe.fetched(answer(5), START + 10 * S + 50 * MS)
    assert pipe.lanes[0].books[BTC].book.bids == {99.0: 5.0}
    pipe.receive(0, update(BTC, "6", previous=9, last=11), START + 10 * S + 250 * MS)
    told.take(pipe)
    assert sizes(told, BTC) == [5.0, 5.0]
