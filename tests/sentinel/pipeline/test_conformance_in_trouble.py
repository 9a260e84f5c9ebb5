"""What becomes of every venue's data when it says nothing, something nobody can read, or goodbye.

``test_conformance`` has the situations before.
"""

from __future__ import annotations

import re

import pytest

from feeds.market import Market
from tests.sentinel.pipeline.told_story import GRACE_MS, PROVED_MS, every, ids, ns, opened, venues

# Silence, and a market in which nothing happens


@venues
def test_a_connection_that_says_nothing_is_dead_and_its_books_are_not_known_since(feed: str) -> None:
    told = opened(feed)
    quiet_ms = round(told.facts.quiet_s * 1000)
    told.tick(149 + quiet_ms)
    assert told.reconnects() == []
    told.tick(150 + quiet_ms)
    assert [lane for lane, _ in told.reconnects()] == [lane.number for lane in told.pipe.lanes]
    told.end(200 + quiet_ms)
    for product in (told.btc, told.eth):
        assert told.samples(product) == [(100, 1)]
        assert told.gaps(product) == [("silence", 150, None)]


@venues
def test_a_venue_that_wants_to_be_asked_is_asked_and_its_answer_is_a_sign_of_life(feed: str) -> None:
    told = opened(feed)
    told.pipe.commands.clear()
    after_s, quiet_ms = told.facts.ping_after_s, round(told.facts.quiet_s * 1000)
    pinged: list[int] = []
    if after_s is None:
        told.tick(150 + quiet_ms - 100)
        assert told.pipe.commands == []
        return
    for at_ms in range(1000, 2 * quiet_ms, 250):
        told.tick(at_ms)
        sent = told.answer(at_ms + 10)
        pinged += [at_ms] * sent.count(told.facts.ping)
        for product in told.products_in(sent):  # a look at a book that is quiet
            told.give_book(product, at_ms + 20)
    assert 150 + after_s * 1000 <= pinged[0] < 400 + after_s * 1000
    assert told.reconnects() == []
    assert told.gaps(told.btc) == []


@venues
def test_a_market_in_which_nothing_happens_is_sampled_as_far_as_the_venue_proves_that(feed: str) -> None:
    told = opened(feed)
    facts, until_ms = told.facts, 200_000
    asked: list[int] = []
    for at_ms in range(1000, until_ms, 1000):
        told.beat(at_ms)
        if at_ms % 60_000 == 0:
            for product in (told.btc, told.eth):
                if (word := told.story.stands(product, ns(at_ms))) is not None:
                    told.hear(word, at_ms + 10)
        told.tick(at_ms + 20)
        if wanted := told.asked_for_books(at_ms + 30):
            assert wanted == {told.btc, told.eth}
            asked.append(at_ms)
            for product in sorted(wanted):
                told.give_book(product, at_ms + 40)
    told.end(until_ms)
    assert told.reconnects() == []
    for product in (told.btc, told.eth):
        assert told.is_true(product)
        sampled = [at_ms for at_ms, _ in told.samples(product)]
        if facts.chain is None:  # any frame proves every book
            proved_ms, gaps, due = until_ms - 1100, 0, 0
        elif told.story.stands(product, ns(until_ms)) is not None:
            proved_ms, gaps, due = 180_000, 0, 0
        elif facts.look_after_s is not None:
            pause_ms = round(facts.look_after_s * 1000) + 1000
            proved_ms, gaps, due = asked[-1], 0, len(range(pause_ms, until_ms, pause_ms))
        else:
            quiet_ms = round(facts.quiet_book_s * 1000)
            due = len(range(150 + quiet_ms, until_ms, quiet_ms))
            proved_ms, gaps = 100, due
        assert len(asked) == due
        assert sampled == every(100, proved_ms)
        assert [gap[0] for gap in told.gaps(product)] == ["silence"] * gaps


# What nobody knows, and what nobody can read


@venues
def test_a_message_of_tomorrow_is_counted_and_costs_nothing(feed: str) -> None:
    told = opened(feed)
    told.hear(told.story.unknown(), 160)
    told.change(told.btc, 3, 250)
    told.change(told.btc, 4, 350)
    told.end(360)
    assert told.pipe.lanes[0].skipped.counts == {"tomorrow": 1}
    assert told.samples(told.btc) == [(100, 1), (200, 2), (300, 3)]
    assert told.gaps(told.btc) == []


@venues
@pytest.mark.parametrize("garbage", [b"", b"\xff\x00{", b"{", b"[[[[", b"<html>502 Bad Gateway</html>"])
@pytest.mark.parametrize("is_instead", [False, True])
def test_garbage_costs_what_the_venues_numbers_do_not_prove(feed: str, garbage: bytes, is_instead: bool) -> None:
    """Between two frames, or instead of one."""
    told = opened(feed)
    lost = told.change(told.btc, 3, 160, arrives_ms=None) if is_instead else b""
    told.hear(garbage, 160)
    is_numbered = told.integrity == "sequence"
    told.change(told.btc, 4, 250)
    concerned = {told.btc, told.eth}
    if is_numbered and not is_instead:
        concerned = set()
    elif is_numbered and not told.is_counted:
        concerned = {told.btc}
    assert told.asked_for_books(260) == concerned
    for product in sorted(concerned):
        told.give_book(product, 350)
    told.change(told.btc, 5, 450)
    told.change(told.eth, 5, 450)
    told.end(460)
    assert len(told.noted("undecodable")) == 1
    cause = ("sequence", 150, 350, *ids(told, lost)) if is_numbered and is_instead else ("undecodable", 150, 350)
    for product in (told.btc, told.eth):
        assert told.gaps(product) == [cause] * (product in concerned)
        sampled = [at_ms for at_ms, _ in told.samples(product)]
        assert sampled == ([100, 400] if product in concerned else every(100, 400))
        assert told.is_true(product)


@venues
def test_a_change_that_cannot_be_read_costs_its_book_alone(feed: str) -> None:
    told = opened(feed)
    frame, count = re.subn(rb'"7\.0"|7\.0+', b'"seven"', told.story.change(told.btc, 7, ns(250)))
    assert count == 1
    told.hear(frame, 250)
    assert told.asked_for_books(260) == {told.btc}
    told.give_book(told.btc, 350)
    told.change(told.btc, 8, 450)
    told.change(told.eth, 8, 450)
    told.end(460)
    assert len(told.noted("unusable")) == 1
    assert [gap[0] for gap in told.gaps(told.btc)] == ["undecodable"]
    assert told.gaps(told.btc)[0][2] == 350
    assert told.gaps(told.eth) == []
    assert [at_ms for at_ms, _ in told.samples(told.eth)] == every(100, 400)
    assert told.samples(told.btc)[-1] == (400, 7)
    assert told.is_true(told.btc)


# A connection that ends, a product that ends


@venues
def test_a_new_connection_goes_on_and_what_was_missed_meanwhile_is_named(feed: str) -> None:
    told = opened(feed)
    told.trade(told.btc, 1001, 160)
    told.beat(165)
    told.close("disconnected", 200)
    told.change(told.btc, 3, 250, arrives_ms=None)
    told.story.trade(told.btc, 1002, ns(260))
    told.tick(300)
    told.open(400)
    told.change(told.btc, 4, 550)
    told.change(told.eth, 4, 550)
    told.trade(told.btc, 1003, 560)
    told.beat(560 + GRACE_MS)
    told.tick(560 + GRACE_MS)
    assert told.repairs() == [(told.btc, 1002, 1002)]
    told.repair(told.btc, 1002, 260, 560 + GRACE_MS)
    told.change(told.btc, 5, 2150)
    told.end(2160)
    since_ms = 165 if told.facts.chain is None else 150
    assert told.gaps(told.btc) == told.gaps(told.eth) == [("disconnected", since_ms, 400 + PROVED_MS)]
    assert told.samples(told.btc)[:3] == [(100, 1), (500, 3), (600, 4)]
    assert [at_ms for at_ms, _ in told.samples(told.btc)] == [100, *every(500, 2100)]
    assert told.is_true(told.btc)
    assert sorted(told.trades(told.btc)) == [1001, 1002, 1003]


@pytest.mark.parametrize("is_halted", [False, True])
@venues
def test_a_crossed_book_is_asked_for_anew_unless_the_venue_says_that_it_is_halted(feed: str, is_halted: bool) -> None:
    told = opened(feed)
    has_word = is_halted and "halted" in told.story.states
    if has_word:
        told.hear(told.story.state(told.btc, "halted"), 160)
    told.hear(told.story.cross(told.btc, ns(250), is_crossed=True), 250)
    for at_ms in range(350, 1550, 100):
        told.change(told.btc, 3 + at_ms % 2, at_ms)
        told.change(told.eth, 3, at_ms)
    asked = told.asked_for_books(1510)
    told.hear(told.story.cross(told.btc, ns(1550), is_crossed=False), 1550)
    if asked:
        told.give_book(told.btc, 1560)
    if has_word:
        told.hear(told.story.state(told.btc, "trading"), 1570)
    told.change(told.btc, 4, 1650)
    told.change(told.eth, 4, 1650)
    told.end(1660)
    assert asked == (set() if has_word else {told.btc})
    if has_word:
        btc = Market(told.exchange, told.btc).short
        states = [note["state"] for note in told.noted("product_status") if note["symbol"] == btc]
        assert states[-2:] == ["halted", "trading"]
    assert told.gaps(told.btc) == [("crossed", 300, 1600 if has_word else 1560)]
    assert [at_ms for at_ms, _ in told.samples(told.btc)] == [100, 200, 1600]
    assert [at_ms for at_ms, _ in told.samples(told.eth)] == every(100, 1600)


@venues
def test_a_product_that_is_delisted_is_named_and_costs_the_others_nothing(feed: str) -> None:
    told = opened(feed)
    if "delisted" in told.story.states:
        told.hear(told.story.state(told.btc, "delisted"), 160)
    quiet_ms = round(told.facts.quiet_book_s * 1000)
    until_ms = quiet_ms + 100_000
    asked = 0
    for at_ms in range(1000, until_ms, 1000):
        told.beat(at_ms)
        told.change(told.eth, 3 + at_ms // 1000 % 2, at_ms + 50)
        told.tick(at_ms + 60)
        wanted = told.asked_for_books(at_ms + 70)
        assert wanted <= {told.btc}
        asked += len(wanted)
    told.end(until_ms)
    assert told.reconnects() == []
    assert asked <= 8
    assert told.gaps(told.eth) == []
    assert [at_ms for at_ms, _ in told.samples(told.eth)] == every(100, until_ms - 1000)
    assert told.is_true(told.eth)
    assert told.is_true(told.btc)
    if told.facts.chain is None:  # nothing tells such a book from one that is quiet
        assert told.gaps(told.btc) == []
    else:
        assert told.gaps(told.btc) == [("silence", 150, None)]
    if "delisted" in told.story.states:
        assert told.noted("product_status")[-1]["state"] == "delisted"
