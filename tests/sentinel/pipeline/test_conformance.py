"""What becomes of every venue's data in the situations that every venue gets into, whatever its dialect.

The facts of a venue decide what is expected: what proves its books (a counter of the connection, a chain of each book,
nothing), how a lost one comes back, how long one may be quiet, whether ids of trades are dense.
"""

from __future__ import annotations

import pytest

from feeds.catalogue import FEEDS
from feeds.market import Market
from tests.feeds.stories import STORIES
from tests.sentinel.pipeline.told_story import (
    GRACE_MS,
    GRID_MS,
    PROVED_MS,
    ToldStory,
    every,
    ids,
    live,
    ns,
    opened,
    venues,
)

with_fetched_books = pytest.mark.parametrize(
    "feed", sorted(feed for feed in STORIES if FEEDS[feed].facts.resync != "wire")
)


def test_every_feed_has_a_story() -> None:
    told = {story.trades_feed for story in STORIES.values() if story.trades_feed is not None}
    assert told | STORIES.keys() == FEEDS.keys()


# Acknowledgement and refusal


@venues
def test_what_is_acknowledged_is_not_refused(feed: str) -> None:
    told = ToldStory(feed)
    told.open(is_answered=False)
    assert told.answer(5)
    deadline_ms = round(told.facts.subscribe_deadline_s * 1000)
    live(told, 500, deadline_ms + 1000, 500)
    assert told.noted("refused") == []
    assert told.gaps(told.btc) == []


@venues
def test_what_is_not_acknowledged_is_refused_and_asked_for_again(feed: str) -> None:
    told = ToldStory(feed)
    told.open(is_answered=False)
    told.pipe.commands.clear()
    deadline_ms = round(told.facts.subscribe_deadline_s * 1000)
    live(told, 500, deadline_ms, 500)
    assert told.noted("refused") == []
    told.beat(deadline_ms)
    told.tick(deadline_ms)
    refused = {note["symbol"] for note in told.noted("refused")}
    assert refused == {Market(told.exchange, product).short for product in told.story.products}
    assert told.gaps(told.btc) == told.gaps(told.eth) == [("refused", 0, None)]
    assert told.asked_for_books(deadline_ms + 10) >= {*told.story.products}
    told.give_book(told.btc, deadline_ms + PROVED_MS)
    told.change(told.btc, 2, deadline_ms + 150)
    told.end(deadline_ms + 160)
    assert told.gaps(told.btc) == [("refused", 0, deadline_ms + PROVED_MS)]
    assert told.samples(told.btc) == [(deadline_ms + 100, 1)]
    assert told.gaps(told.eth) == [("refused", 0, None)]


@venues
def test_a_refused_product_is_named_and_keeps_no_other_out(feed: str) -> None:
    told = ToldStory(feed)
    told.open(0, told.eth)
    start_ms, gap = 0, []
    if told.story.refuses == "request":
        deadline_ms = round(told.facts.subscribe_deadline_s * 1000)
        live(told, 500, deadline_ms + 500, 500)
        told.answer(deadline_ms + 500, told.eth)
        start_ms = deadline_ms + 500 + PROVED_MS
        told.give_book(told.btc, start_ms)
        gap = [("refused", 0, start_ms)]
    told.change(told.btc, 2, start_ms + 150)
    told.end(start_ms + 160)
    assert Market(told.exchange, told.eth).short in {note["symbol"] for note in told.noted("refused")}
    assert any(told.story.words in str(note["reason"]) for note in told.noted("refused"))
    assert [gap[0] for gap in told.gaps(told.eth)] == ["refused"]
    assert told.gaps(told.eth)[0][2] is None
    assert told.samples(told.eth) == []
    assert told.gaps(told.btc) == gap
    first_ms = start_ms - start_ms % GRID_MS + GRID_MS
    assert told.samples(told.btc) == [(at_ms, 1) for at_ms in every(first_ms, start_ms + 150)]


# A snapshot before and after deltas


@venues
def test_what_is_told_before_the_snapshot_is_in_it_and_what_is_told_after_it_is_added(feed: str) -> None:
    told = ToldStory(feed)
    told.open(is_answered=False)
    told.answer(5)
    told.change(told.btc, 2, 50)
    told.change(told.btc, 3, 110)
    told.give_book(told.btc, 120)
    told.change(told.btc, 4, 250)
    told.change(told.btc, 5, 350)
    told.end(360)
    assert told.samples(told.btc) == [(200, 3), (300, 4)]
    assert told.gaps(told.btc) == []


@with_fetched_books
def test_a_snapshot_that_was_fetched_is_aligned_with_what_was_told_meanwhile(feed: str) -> None:
    told = ToldStory(feed)
    told.open(is_answered=False)
    told.answer(5)
    told.change(told.btc, 2, 50)
    last, bids, asks = told.story.fetched(told.btc)
    told.change(told.btc, 3, 110)
    told.fetched(told.btc, (last, bids, asks), 120)
    told.change(told.btc, 4, 250)
    told.end(260)
    assert told.samples(told.btc) == [(200, 3)]
    assert told.gaps(told.btc) == []


@with_fetched_books
def test_a_snapshot_older_than_all_that_was_told_is_fetched_anew(feed: str) -> None:
    told = ToldStory(feed)
    before = told.story.fetched(told.btc)
    told.change(told.btc, 2, -100, arrives_ms=None)
    told.open(is_answered=False)
    told.answer(5)
    told.change(told.btc, 3, 50)
    told.pipe.commands.clear()
    told.fetched(told.btc, before, 120)
    told.change(told.btc, 4, 250)
    told.tick(500)
    assert told.samples(told.btc) == []
    assert told.asked_for_books(510) == {told.btc}
    told.give_book(told.btc, 520)
    told.change(told.btc, 5, 650)
    told.end(660)
    assert told.samples(told.btc) == [(600, 4)]


@venues
def test_a_snapshot_that_does_not_come_is_asked_for_again(feed: str) -> None:
    told = ToldStory(feed)
    told.open(is_answered=False)
    told.answer(5)
    told.fetches()
    deadline_ms = round(told.facts.snapshot_deadline_s * 1000)
    live(told, 500, deadline_ms, 500)
    assert told.asked_for_books(deadline_ms - 1) == set()
    assert told.asked_for_books(deadline_ms + 5) == {told.btc, told.eth}
    told.give_book(told.btc, deadline_ms + 20)
    told.change(told.btc, 2, deadline_ms + 150)
    told.end(deadline_ms + 160)
    assert told.samples(told.btc) == [(deadline_ms + 100, 1)]
    assert told.gaps(told.btc) == []


# A gap, a duplicate, another order


@venues
def test_a_lost_change_is_a_gap_with_its_numbers_and_the_book_is_asked_for_anew(feed: str) -> None:
    told = opened(feed)
    lost = told.change(told.btc, 3, 250, arrives_ms=None)
    told.hear(told.story.deepen(told.btc, 1, ns(350)), 350)
    told.change(told.eth, 3, 350)
    if told.integrity == "none":  # nothing shows it, and the data says so
        assert told.asked_for_books(360) == set()
        told.change(told.eth, 4, 450)
        told.end(460)
        assert told.gaps(told.btc) == []
        assert not told.is_true(told.btc)
        return
    concerned = {told.btc, told.eth} if told.is_counted else {told.btc}
    assert told.asked_for_books(360) == concerned
    for product in sorted(concerned):
        told.give_book(product, 450)
    told.change(told.btc, 5, 550)
    told.change(told.eth, 4, 550)
    told.end(560)
    for product in (told.btc, told.eth):
        assert told.is_true(product)
        if product in concerned:
            assert told.gaps(product) == [("sequence", 150, 450, *ids(told, lost))]
            assert [at_ms for at_ms, _ in told.samples(product)] == [100, 500]
        else:
            assert told.gaps(product) == []
            assert [at_ms for at_ms, _ in told.samples(product)] == every(100, 500)


@venues
def test_a_lost_trade_is_asked_for_and_where_ids_are_dense_it_is_a_gap(feed: str) -> None:
    told = opened(feed)
    told.trade(told.btc, 1001, 160)
    told.story.trade(told.btc, 1002, ns(260))
    told.trade(told.btc, 1003, 360)
    told.tick(370)
    assert told.repairs() == []
    told.beat(360 + GRACE_MS)
    told.tick(360 + GRACE_MS)
    assert told.trades(told.btc) == [1001, 1003]
    if not told.story.numbers_trades:
        assert told.repairs() == told.gaps(told.btc, "trades") == []
        return
    assert told.repairs() == [(told.btc, 1002, 1002)]
    assert told.gaps(told.btc, "trades") == ([("trades", 160, 360, 1002, 1002)] if told.facts.has_dense_ids else [])
    told.repair(told.btc, 1002, 260, 2000)
    told.end(2100)
    assert told.trades(told.btc) == [1001, 1003, 1002]
    assert [gap["repaired_count"] for gap in told.told.gap_list("trades")] == [1]
    assert told.total("repaired") == 1


@venues
def test_what_comes_twice_counts_once(feed: str) -> None:
    told = opened(feed)
    frame = told.change(told.btc, 3, 250)
    told.hear(frame, 260)
    told.hear(frame, 270)
    trade = told.trade(told.btc, 1001, 280)
    told.hear_trade(trade, 290)
    told.change(told.btc, 4, 350)
    told.end(360)
    assert told.samples(told.btc) == [(100, 1), (200, 2), (300, 3)]
    assert told.trades(told.btc) == [1001]
    assert told.gaps(told.btc) == told.gaps(told.btc, "trades") == []
    assert told.asked_for_books(370) == set()


@venues
def test_changes_in_another_order_are_not_believed_where_anything_shows_it(feed: str) -> None:
    told = opened(feed)
    late = told.change(told.btc, 3, 250, arrives_ms=None)
    told.hear(told.story.deepen(told.btc, 1, ns(260)), 260)
    told.hear(late, 270)
    if told.integrity == "none":
        assert told.asked_for_books(360) == set()
        told.end(400)
        assert told.gaps(told.btc) == []
        return
    assert told.btc in told.asked_for_books(280)
    told.give_book(told.btc, 450)
    told.change(told.btc, 5, 550)
    told.end(560)
    assert told.samples(told.btc) == [(100, 1), (500, 3)]
    assert told.gaps(told.btc) == [("sequence", 150, 450, *ids(told, late))]


@venues
def test_trades_in_another_order_are_all_there_or_asked_for(feed: str) -> None:
    told = opened(feed)
    told.trade(told.btc, 1001, 160)
    late = told.story.trade(told.btc, 1002, ns(260))
    told.trade(told.btc, 1003, 360)
    told.hear_trade(late, 370)
    told.beat(360 + GRACE_MS)
    told.tick(360 + GRACE_MS)
    if told.is_counted:  # a frame that is late by its number is as good as lost
        assert told.repairs() == [(told.btc, 1002, 1002)]
        return
    told.end(2000)
    assert told.trades(told.btc) == [1001, 1003, 1002]
    assert told.repairs() == []
    assert told.gaps(told.btc, "trades") == []


# The venue begins to number anew


@venues
def test_a_venue_that_numbers_anew_is_followed_or_named(feed: str) -> None:
    told = opened(feed)
    told.story.restart()
    gap: tuple[str, int, int] | None
    match told.story.reset:
        case "counter":
            told.change(told.btc, 3, 250)
            told.change(told.eth, 3, 250)
            assert told.reconnects() == [(0, "sequence")]
            told.close("sequence", 260)
            told.open(400)
            gap, again_ms = ("sequence", 150, 400 + PROVED_MS), 500
        case "lower ids":  # as good as told twice, until the book has been quiet for too long
            quiet_ms = round(told.facts.quiet_book_s * 1000)
            told.change(told.btc, 3, 250)
            told.change(told.eth, 3, 250)
            live(told, 1000, quiet_ms + 1000)
            told.beat(quiet_ms + 1000)
            assert told.asked_for_books(quiet_ms + 1000) == {told.btc, told.eth}
            told.give_book(told.btc, quiet_ms + 1020)
            gap, again_ms = ("silence", 150, quiet_ms + 1020), quiet_ms + 1100
        case "chained":
            told.change(told.btc, 3, 250)
            gap, again_ms = None, 200
        case "unchained":
            told.change(told.btc, 3, 250)
            assert told.asked_for_books(260) == {told.btc}
            told.give_book(told.btc, 450)
            gap, again_ms = ("sequence", 150, 450), 500
        case "snapshot":
            told.give_book(told.btc, 250)
            told.change(told.btc, 3, 260)
            gap, again_ms = (None, 200) if told.integrity == "none" else (("sequence", 150, 250), 300)
    told.change(told.btc, 4, again_ms + 150)
    told.end(again_ms + 160)
    assert told.gaps(told.btc) == ([] if gap is None else [gap])
    assert [at_ms for at_ms, _ in told.samples(told.btc)] == [100, *every(again_ms, again_ms + 100)]
    assert told.is_true(told.btc)


@venues
def test_trades_that_are_numbered_anew_are_all_kept_and_the_reset_is_named(feed: str) -> None:
    told = opened(feed)
    for number, trade_id in enumerate((5001, 5002, 1, 2, 3)):
        told.trade(told.btc, trade_id, 1160 + 100 * number)
    told.end(2000)
    assert sorted(told.trades(told.btc)) == [1, 2, 3, 5001, 5002]
    assert told.gaps(told.btc, "trades") == [("reset", 1260, 1360, 5002, 1)] * told.story.numbers_trades
