"""A chain taken up from its link judges what follows as the one that was there from the beginning."""

from __future__ import annotations

import random
import zlib

import pytest

from book.events import ChainKind, Link, MapDelta, Snapshot
from book.proof import Chain, Verdict, make_chain

DEPTH = 10


def changes(kind: ChainKind, rng: random.Random, count: int) -> list[Snapshot | MapDelta]:
    """A snapshot and deltas that follow, a size being told with as many zeros as a venue likes."""
    texts: list[dict[float, str]] = [{}, {}]
    found: list[Snapshot | MapDelta] = []
    last = 100
    for number in range(count):
        sides: list[dict[float, float]] = [{}, {}]
        digits = []
        for side, held in enumerate(texts):
            for price in sorted(rng.sample(range(1, 9), 3)):
                at = float(price if side else -price) + 20.0
                size = rng.choice((0, 1, 2)) if number else 1
                sides[side][at] = float(size)
                digits.append(f"{price}{size}00")
                held[at] = digits[-1]
                if not size:
                    del held[at]
        first, previous, last = last + 1, last, last + rng.randrange(1, 4)
        asks, bids = sorted(texts[1]), sorted(texts[0], reverse=True)
        text = "".join([*(texts[1][at] for at in asks), *(texts[0][at] for at in bids)])
        link = {
            "range": Link(last, first=first),
            "previous": Link(last, previous=previous),
            "checksum": Link(checksum=zlib.crc32(text.encode()), digits=digits),
        }[kind]
        found.append(MapDelta("X", *sides, 6, link) if number else Snapshot("X", *sides, link))
    return found


def judged(chain: Chain, told: list[Snapshot | MapDelta]) -> list[object]:
    return [chain.begin(one) if isinstance(one, Snapshot) else chain.check(one) for one in told]


@pytest.mark.parametrize("kind", ["range", "previous", "checksum"])
@pytest.mark.parametrize("seed", range(5))
def test_it_goes_on_as_if_nothing_had_been(kind: ChainKind, seed: int) -> None:
    rng = random.Random(f"{kind} {seed}")
    told = changes(kind, rng, 30)
    middle = rng.randrange(1, 29)
    whole, again = make_chain(kind, DEPTH), make_chain(kind, DEPTH)
    assert whole is not None
    assert again is not None
    assert set(judged(whole, told[:middle])) == {Verdict.NEXT}
    book: list[dict[float, float]] = [{}, {}]
    for one in told[:middle]:
        parts = (one.bids, one.asks)
        for held, part in zip(book, parts, strict=True):
            held.update(part)
    bids, asks = ({price: size for price, size in sorted(side.items()) if size} for side in book)
    assert again.begin(Snapshot("X", bids, asks, whole.link())) is Verdict.NEXT
    rest = [*told[middle:20], *told[21:]]  # and what is missing is missing for both
    assert judged(again, rest) == judged(whole, rest)
