"""Is this the next one? What a venue sends along that proves nothing was lost between it and us.

A counter numbers every frame of a connection and lives as long as that. A chain belongs to one book: it begins with a
snapshot, and each delta of the book must follow from what came before. All of them judge in one shape: a ``Verdict``,
or a ``Hole`` where what is missing has numbers. They move on from whatever they judge, so a loss is told once.
"""

from __future__ import annotations

import enum
import zlib
from typing import Protocol

from msgspec import Struct
from sortedcontainers import SortedDict

from book.events import ChainKind, Delta, Link, MapDelta, Sizes, Snapshot


class Verdict(enum.Enum):
    """What is said of a frame, or of a delta of one book."""

    NEXT = "next"
    DUPLICATE = "duplicate"
    """Seen already, or older: apply nothing."""
    RESET = "reset"
    """Zero again without a new connection: the server lost its place, and so have we."""
    BROKEN = "broken"
    """It does not follow from what we hold, and nothing says what is missing."""


class Hole(Struct, frozen=True, gc=False):
    """``first`` to ``last`` (both included) never arrived; what showed it is itself good.

    ``is_dense``: every number between them is one that is missing; else only some are, nobody knows how many.
    """

    first: int
    last: int
    is_dense: bool = True

    @property
    def count(self) -> int:
        """How many are missing; 0 where that is unknown."""
        return self.last - self.first + 1 if self.is_dense else 0


class FrameCounter:
    """Counts one connection's frames: each must be the last one plus 1."""

    __slots__ = ("expected",)

    def __init__(self, first: int) -> None:
        self.expected = first

    def check(self, sequence: int) -> Verdict | Hole:
        """Judges a frame's number and moves on from it. Cost: O(1)."""
        expected = self.expected
        if sequence == expected:
            self.expected = sequence + 1
            return Verdict.NEXT
        if sequence > expected:
            self.expected = sequence + 1
            return Hole(expected, sequence - 1)
        return Verdict.RESET if sequence == 0 and expected > 1 else Verdict.DUPLICATE


class Chain(Protocol):
    """What proves the deltas of one book. A snapshot or delta without the link it needs is ``BROKEN``."""

    def begin(self, snapshot: Snapshot) -> Verdict:
        """Starts anew from a snapshot: ``NEXT``, or ``BROKEN`` if it contradicts itself."""

    def stands(self, snapshot: Snapshot) -> bool:
        """Whether a snapshot bears the id that the book has: then nothing has changed since its last frame."""

    def check(self, delta: Delta) -> Verdict | Hole:
        """Judges a delta, and moves on from it unless it is a duplicate."""

    def fallen(self) -> Delta | None:
        """What the delta judged last pushed out of the depth the venue serves, as deletions: it sends none."""

    def link(self) -> Link:
        """That of a snapshot of the book as it stands, its levels in rising price: ``begin`` goes on from it."""


class RangeChain:
    """Each delta covers the ids ``first`` to ``last``, and begins right after the one before ended.

    The first one after a snapshot may begin before the snapshot's id, as long as it does not end there: sizes are
    absolute, so what is told twice does no harm. The same goes for any other that begins too early.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: int | None = None

    def begin(self, snapshot: Snapshot) -> Verdict:
        link = snapshot.link
        self._last = None if link is None else link.last
        return Verdict.BROKEN if self._last is None else Verdict.NEXT

    def stands(self, snapshot: Snapshot) -> bool:
        return self._last is not None and snapshot.link is not None and snapshot.link.last == self._last

    def check(self, delta: Delta) -> Verdict | Hole:
        link, held = delta.link, self._last
        if held is None or link is None or link.first is None or link.last is None or link.first > link.last:
            self._last = None
            return Verdict.BROKEN
        if link.last <= held:
            return Verdict.DUPLICATE
        self._last = link.last
        return Verdict.NEXT if link.first <= held + 1 else Hole(held + 1, link.first - 1)

    def fallen(self) -> None:
        return None

    def link(self) -> Link:
        return Link(self._last)


class PreviousChain:
    """Each delta names the id before its own: that must be the last one we know. Ids rise by steps of any size.

    A delta that names one id twice changed nothing: a sign of life. A venue may go on from a lower id, and says so by
    naming the last one as the previous. A snapshot that was fetched is not of the moment of any delta: the first one
    must contain its id, and what ends before it is part of it.
    """

    __slots__ = ("_accepted", "_is_begun", "_last")

    def __init__(self) -> None:
        self._last: int | None = None
        self._accepted: tuple[int, int] | None = None
        self._is_begun = False

    def begin(self, snapshot: Snapshot) -> Verdict:
        link = snapshot.link
        self._last = None if link is None else link.last
        self._accepted = None
        self._is_begun = True
        return Verdict.BROKEN if self._last is None else Verdict.NEXT

    def stands(self, snapshot: Snapshot) -> bool:
        return self._last is not None and snapshot.link is not None and snapshot.link.last == self._last

    def check(self, delta: Delta) -> Verdict | Hole:
        link, held = delta.link, self._last
        if held is None or link is None or link.previous is None or link.last is None:
            self._last = None
            return Verdict.BROKEN
        previous, last = link.previous, link.last
        is_first, self._is_begun = self._is_begun, False
        if previous == held:
            self._last, self._accepted = last, (previous, last)
            return Verdict.NEXT
        if is_first and previous <= held and last <= held:
            self._is_begun = True
            return Verdict.DUPLICATE
        if (previous, last) == self._accepted:
            return Verdict.DUPLICATE
        self._last, self._accepted = last, (previous, last)
        if is_first and previous < held:
            return Verdict.NEXT
        return Hole(held + 1, previous, is_dense=False) if previous > held else Verdict.BROKEN

    def fallen(self) -> None:
        return None

    def link(self) -> Link:
        return Link(self._last)


CHECKED_LEVELS = 10


class ChecksumChain:
    """Each snapshot and delta states the CRC32 of the best ten asks and bids that result from it.

    What is summed are the venue's own digits, ``link.digits``, one text for each bid and then for each ask.
    The venue serves ``depth`` levels a side and says nothing of those that fall out. Deeper than ten levels a loss
    stays unseen until it comes to the top.
    """

    __slots__ = ("_asks", "_bids", "_depth", "_fallen")

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._bids: SortedDict[float, str] = SortedDict()
        self._asks: SortedDict[float, str] = SortedDict()
        self._fallen: Delta | None = None

    def begin(self, snapshot: Snapshot) -> Verdict:
        self._bids.clear()
        self._asks.clear()
        return self._take(snapshot.product, snapshot.bids, snapshot.asks, snapshot.link)

    def stands(self, snapshot: Snapshot) -> bool:
        """A checksum is no id: it says nothing of what is deeper."""
        return False

    def check(self, delta: Delta) -> Verdict:
        return self._take(delta.product, *delta.by_side(), delta.link)

    def fallen(self) -> Delta | None:
        return self._fallen

    def link(self) -> Link:
        return Link(checksum=self.checksum(), digits=(*self._bids.values(), *self._asks.values()))

    def _take(self, product: str, bids: Sizes, asks: Sizes, link: Link | None) -> Verdict:
        self._fallen = None
        if link is None or link.checksum is None or len(link.digits) != len(bids) + len(asks):
            return Verdict.BROKEN
        digits = iter(link.digits)
        for held, sizes in ((self._bids, bids), (self._asks, asks)):
            for (price, size), text in zip(sizes.items(), digits, strict=False):
                if size:
                    held[price] = text
                else:
                    held.pop(price, None)
        bids, asks = self._fall(self._bids, 0), self._fall(self._asks, -1)
        if bids or asks:
            self._fallen = MapDelta(product, bids, asks, len(bids) + len(asks))
        return Verdict.NEXT if self.checksum() == link.checksum else Verdict.BROKEN

    def _fall(self, held: SortedDict[float, str], worst: int) -> Sizes:
        """Forgets what is too deep."""
        return {held.popitem(worst)[0]: 0.0 for _ in range(len(held) - self._depth)}

    def checksum(self) -> int:
        """CRC32 of the best asks, rising, then the best bids, falling."""
        asks, bids = self._asks, self._bids
        best_asks = map(
            asks.__getitem__, asks.keys()[:CHECKED_LEVELS]
        )  # a slice of ``values`` takes four times as long
        best_bids = map(bids.__getitem__, bids.keys()[: -CHECKED_LEVELS - 1 : -1])
        return zlib.crc32("".join((*best_asks, *best_bids)).encode())


def make_chain(kind: ChainKind | None, depth: int | None = None) -> Chain | None:
    """A new chain of one book; None for a venue that has none. ``depth`` is what a checksum needs to know."""
    match kind:
        case "range":
            return RangeChain()
        case "previous":
            return PreviousChain()
        case "checksum":
            assert depth is not None
            return ChecksumChain(depth)
        case None:
            return None
