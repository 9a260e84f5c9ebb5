"""Counters and chains against the set of what was sent."""

from __future__ import annotations

import zlib
from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import given

from book.events import ChainKind, Delta, Link, PriceLevel, Side, Snapshot
from book.proof import Chain, ChecksumChain, FrameCounter, Hole, PreviousChain, RangeChain, Verdict, make_chain


@given(st.lists(st.integers(0, 30), max_size=60))
def test_holes_and_frames_account_for_every_number(numbers: list[int]) -> None:
    counter = FrameCounter(0)
    good: list[int] = []
    lost: list[int] = []
    for number in numbers:
        verdict = counter.check(number)
        if verdict is Verdict.NEXT:
            good.append(number)
        elif isinstance(verdict, Hole):
            lost.extend(range(verdict.first, verdict.last + 1))
            assert verdict.count == verdict.last - verdict.first + 1
            good.append(number)
        else:
            assert number < counter.expected
    assert sorted(good + lost) == list(range(counter.expected))
    assert good == sorted(set(good))


def test_zero_again_is_a_reset_once_the_connection_has_moved_on() -> None:
    counter = FrameCounter(0)
    assert counter.check(0) is Verdict.NEXT
    assert counter.check(0) is Verdict.DUPLICATE
    assert counter.check(1) is Verdict.NEXT
    assert counter.check(0) is Verdict.RESET
    assert counter.check(1) is Verdict.DUPLICATE


def test_frames_lost_before_the_first_one_are_lost_too() -> None:
    assert FrameCounter(0).check(3) == Hole(0, 2)


def begun(chain: Chain, last: int) -> Chain:
    assert chain.begin(Snapshot("X", (), Link(last))) is Verdict.NEXT
    return chain


def ids(first: int, last: int) -> Delta:
    return Delta("X", (), Link(last, first=first))


def after(previous: int, last: int) -> Delta:
    return Delta("X", (), Link(last, previous=previous))


def test_a_range_must_straddle_the_snapshot_and_then_follow() -> None:
    chain = begun(RangeChain(), 100)
    verdicts = [
        chain.check(ids(*pair)) for pair in ((90, 99), (95, 100), (98, 103), (104, 104), (107, 109), (110, 110))
    ]
    dup, good = Verdict.DUPLICATE, Verdict.NEXT
    assert verdicts == [dup, dup, good, good, Hole(105, 106), good]
    assert begun(RangeChain(), 100).check(ids(101, 102)) is good
    assert begun(RangeChain(), 100).check(ids(102, 102)) == Hole(101, 101)


def test_a_previous_id_is_the_last_one_known() -> None:
    chain = begun(PreviousChain(), 10)
    pairs = ((10, 15), (15, 15), (15, 15), (15, 44), (44, 3), (3, 5), (3, 5), (9, 12), (12, 13), (2, 4), (4, 6))
    dup, good = Verdict.DUPLICATE, Verdict.NEXT
    hole = Hole(6, 9, is_dense=False)
    assert [chain.check(after(*pair)) for pair in pairs] == [
        good, good, good, good, good, good, dup, hole, good, Verdict.BROKEN, good,
    ]  # fmt: skip
    assert hole.count == 0


def test_a_fetched_snapshot_lies_within_the_first_delta_that_counts() -> None:
    chain = begun(PreviousChain(), 20)
    pairs = ((5, 12), (12, 20), (20, 31))
    assert [chain.check(after(*pair)) for pair in pairs] == [Verdict.DUPLICATE, Verdict.DUPLICATE, Verdict.NEXT]
    assert begun(PreviousChain(), 20).check(after(17, 25)) is Verdict.NEXT
    assert begun(PreviousChain(), 20).check(after(22, 25)) == Hole(21, 22, is_dense=False)
    late = begun(PreviousChain(), 20)
    assert [late.check(after(*pair)) for pair in ((20, 25), (17, 26))] == [Verdict.NEXT, Verdict.BROKEN]


@given(
    kind=st.sampled_from(["range", "previous"]),
    steps=st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=40),
    begins_at=st.integers(0, 40),
)
def test_a_chain_breaks_exactly_where_a_delta_was_lost(
    kind: ChainKind, steps: list[tuple[int, bool]], begins_at: int
) -> None:
    """Deltas of a venue, some of which never arrive, after a snapshot fetched at any of its ids."""
    chain = make_chain(kind)
    assert chain is not None
    deltas, last = [], 0
    for width, arrives in steps:
        deltas.append((last, last + width, arrives))
        last += width
    begun(chain, begins_at)
    known = begins_at
    for previous, last, arrives in deltas:
        if not arrives:
            continue
        verdict = chain.check(ids(previous + 1, last) if kind == "range" else after(previous, last))
        if last <= begins_at:
            assert verdict is Verdict.DUPLICATE
            continue
        if previous <= known:
            assert verdict is Verdict.NEXT
        else:
            assert verdict == Hole(known + 1, previous, is_dense=kind == "range")
        known = last


@pytest.mark.parametrize("chain", [RangeChain(), PreviousChain(), ChecksumChain(10)])
def test_without_its_link_nothing_is_proved(chain: Chain) -> None:
    assert chain.begin(Snapshot("X", ())) is Verdict.BROKEN
    assert chain.check(Delta("X", ())) is Verdict.BROKEN


ASKS = """45285.2/0.00100000 45286.4/1.54571953 45286.6/1.54571109 45289.6/1.54560911 45290.2/0.15890660
45291.8/1.54553491 45294.7/0.04454749 45296.1/0.35380000 45297.5/0.09945542 45299.5/0.18772827"""
BIDS = """45283.5/0.10000000 45283.4/1.54582015 45282.1/0.10000000 45281.0/0.10000000 45280.3/1.54592586
45279.0/0.07990000 45277.6/0.03310103 45277.5/0.30000000 45277.3/1.54602737 45276.6/0.15445238"""


def text_of(*numbers: str) -> str:
    return "".join(number.replace(".", "").lstrip("0") for number in numbers)


def test_the_checksum_is_that_of_the_venues_own_example() -> None:
    """Kraken's, reference protocols section 5; the order of the levels does not matter."""
    pairs = [(side, pair.split("/")) for side, text in ((Side.ASK, ASKS), (Side.BID, BIDS)) for pair in text.split()]
    pairs.reverse()
    levels = [PriceLevel(side, float(price), float(size)) for side, (price, size) in pairs]
    link = Link(checksum=3310070434, digits=[text_of(*pair) for _, pair in pairs])
    assert ChecksumChain(10).begin(Snapshot("X", levels, link)) is Verdict.NEXT


DEPTH = 12
CHANGE = st.tuples(st.sampled_from(Side), st.integers(1, 40), st.integers(0, 5))


@given(st.lists(st.tuples(st.lists(CHANGE, max_size=20), st.booleans()), max_size=12))
def test_a_checksum_follows_the_venues_book_until_a_delta_in_its_sight_is_lost(
    steps: list[tuple[list[tuple[Side, int, int]], bool]],
) -> None:
    """The venue's book is plain dicts of decimals, cut to its depth; our floats are another copy of it."""
    theirs: dict[Side, dict[int, int]] = {Side.BID: {}, Side.ASK: {}}
    ours: dict[Side, dict[float, float]] = {Side.BID: {}, Side.ASK: {}}
    chain = ChecksumChain(DEPTH)
    is_whole = chain.begin(Snapshot("X", (), Link(checksum=zlib.crc32(b"")))) is Verdict.NEXT
    assert is_whole

    def wire(price: int, size: int) -> tuple[str, str]:
        return f"{Decimal(price) / 10:.1f}", f"{Decimal(size) / 100:.8f}"

    for changes, arrives in steps:
        for side, price, size in changes:
            theirs[side][price] = size
            if not size:
                del theirs[side][price]
        for side, held in theirs.items():
            best = sorted(held, reverse=side is Side.BID)
            theirs[side] = {price: held[price] for price in best[:DEPTH]}
        top = [wire(*level) for side in (Side.ASK, Side.BID) for level in list(theirs[side].items())[:10]]
        checksum = zlib.crc32("".join(text_of(*level) for level in top).encode())
        is_whole = is_whole and arrives
        if not arrives:
            continue
        levels = [PriceLevel(side, float(wire(price, 0)[0]), float(wire(0, size)[1])) for side, price, size in changes]
        digits = [text_of(*wire(price, size)) for _, price, size in changes]
        verdict = chain.check(Delta("X", levels, Link(checksum=checksum, digits=digits)))
        if not is_whole:
            continue
        assert verdict is Verdict.NEXT
        for level in [*levels, *chain.fallen()]:
            ours[level.side][level.price] = level.size
        for side, held in theirs.items():
            held_by_us = {price: size for price, size in ours[side].items() if size}
            assert held_by_us == {price / 10: size / 100 for price, size in held.items()}


def test_a_lost_change_at_the_top_breaks_the_checksum() -> None:
    chain = ChecksumChain(10)
    digits = ["1005", "1001"]
    levels = [PriceLevel(Side.BID, 100.0, 5.0), PriceLevel(Side.ASK, 100.1, 1.0)]
    good = zlib.crc32(b"10011005")
    assert chain.begin(Snapshot("X", levels, Link(checksum=good, digits=digits))) is Verdict.NEXT
    assert chain.check(Delta("X", (), Link(checksum=zlib.crc32(b"10011006")))) is Verdict.BROKEN
