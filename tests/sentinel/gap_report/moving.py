"""A market that moves between collectors, instant by instant and id by id: what they write of it, and what is true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import hypothesis.strategies as st
from msgspec import Struct

from feeds.market import Market
from sentinel.contract.gaps import Gap
from sentinel.contract.line_protocol import decode
from sentinel.coverage.accounts import Rows, from_points
from sentinel.gap_report.orphans import Store
from sentinel.pipeline.accounts import Account
from sentinel.pipeline.lines import ProductLines

CADENCE_NS = 100_000_000
MINUTE_NS = 60_000_000_000
START_NS = 1_700_000_040_000_000_000 // MINUTE_NS * MINUTE_NS
PER_MINUTE = 600
MARKET = Market("coinbase", "BTC-USD")
FIRST_ID = 1000

Fate = Literal["handed", "revived", "dies"]


class Stay(Struct):
    """A time in which one collector has the market, in instants; ``pause`` is before it.

    It is ``handed`` on in order; or its process is killed and ``revived``, and goes on with the market by its
    checkpoint after the next pause; or it ``dies`` for good. ``lost`` are times without a book, ``unheard`` those
    without trades, each with whether REST has them. ``tail`` is how much the tail that it joins with is behind, None if
    it has none.
    """

    pause: int
    length: int
    fate: Fate
    lost: list[tuple[int, int]]
    unheard: list[tuple[int, int, bool]]
    tail: int | None
    is_tail_repaired: bool


def stays(most: int = 4) -> st.SearchStrategy[list[Stay]]:
    """The history of one collector."""
    parts = st.tuples(st.integers(0, 600), st.integers(1, 200))
    unheard = st.tuples(st.integers(0, 600), st.integers(1, 40), st.booleans())
    one = st.builds(
        Stay,
        pause=st.integers(0, 900),
        length=st.integers(1, 900),
        fate=st.sampled_from(["handed", "handed", "revived", "dies"]),
        lost=st.lists(parts, max_size=2),
        unheard=st.lists(unheard, max_size=2),
        tail=st.none() | st.integers(0, 30),
        is_tail_repaired=st.booleans(),
    )
    return st.lists(one, max_size=most)


def id_at(instant: int) -> int | None:
    """A trade at every seventh instant."""
    return FIRST_ID + instant // 7 if instant % 7 == 0 else None


def ns(instant: int) -> int:
    return START_NS + instant * CADENCE_NS


class Moving:
    """What becomes of some histories.

    ``written`` are the instants sampled by anybody and ``ids`` the trades stored, ``due`` and ``entered`` those in
    minutes that are accounted for; ``known`` is what somebody speaks of, ``named`` the ids that somebody misses, and
    ``repaired`` those that somebody says he has from REST.
    """

    def __init__(self, histories: Iterable[list[Stay]]) -> None:
        self.written: set[int] = set()
        self.accounted: set[int] = set()
        self.known: set[int] = set()
        self.ids: set[int] = set()
        self.entered: set[int] = set()
        self.named: set[int] = set()
        self.repaired: set[int] = set()
        self.points: list[bytes] = []
        timed = [(name, *_timed(history)) for name, history in zip("abcd", histories, strict=False)]
        spans = [(start, end) for _, stays_, _ in timed for _, start, end in stays_]
        self.end = max((end for _, end in spans), default=0)
        for name, of_one, _ in timed:
            _Collector(name, self, spans).live(of_one)
        self.rows: Rows = from_points(decode(line) for line in self.points)

    @property
    def store(self) -> Store:
        """What the store has."""
        times = sorted(map(ns, self.written))
        trades = {number: ns((number - FIRST_ID) * 7) for number in self.ids}
        return Store(
            lambda _, start_ns, end_ns: [at for at in times if start_ns <= at < end_ns],
            lambda _, start_ns, end_ns: [number for number, at in trades.items() if start_ns <= at < end_ns],
        )

    def write(self, text: bytes) -> None:
        self.points.append(text)


def _timed(history: list[Stay]) -> tuple[list[tuple[Stay, int, int]], int]:
    found, at = [], 0
    for stay in history:
        start = at + stay.pause
        at = start + stay.length
        found.append((stay, start, at))
        if stay.fate == "dies":
            break
    return found, at


class _Collector:
    def __init__(self, name: str, world: Moving, spans: list[tuple[int, int]]) -> None:
        self._lines = ProductLines(*MARKET, name, (), tells_parts=True)
        self._world = world
        self._spans = spans
        self._minutes: dict[int, Account] = {}
        self._here: dict[int, tuple[set[int], set[int], set[int]]] = {}

    def live(self, history: list[tuple[Stay, int, int]]) -> None:
        before: tuple[Stay, int, int] | None = None
        for stay, start, end in history:
            if before is not None and before[0].fate == "revived":
                if start > before[2]:
                    self._gap(Gap("book", "stopped", ns(before[2]), ns(start), missing_count=start - before[2]))
                    self._world.known |= set(range(before[2], start))
                self._miss(_ids(before[2], start), before[2], start, end, is_repaired=stay.is_tail_repaired)
            elif stay.tail is not None and (heard := [min(there, start) for at, there in self._spans if at < start]):
                own = 0 if before is None else before[2]
                tail = max(own, max(heard) - stay.tail)
                self._miss(_ids(tail, start), tail, start, end, is_repaired=stay.is_tail_repaired)
            self._stay(stay, start, end)
            before = stay, start, end

    def _stay(self, stay: Stay, start: int, end: int) -> None:
        lost = {at for first, length in stay.lost for at in range(start + first, min(end, start + first + length))}
        spans, heard = [], start
        for first, length, is_repaired in sorted(stay.unheard):
            span = range(max(heard, start + first), min(end, start + first + length))
            if span:
                spans.append((span, is_repaired))
                heard = span.stop
        unheard = {at for span, _ in spans for at in span}
        self._minutes = {number: account for number, account in self._minutes.items() if number >= start // PER_MINUTE}
        for at in range(start, end):
            account = self._account(at)
            account.owe(ns(at), ns(at + 1))
            due, written, entered = self._here[at // PER_MINUTE]
            due.add(at)
            if at in lost:
                account.samples_withheld += 1
            else:
                account.samples_written += 1
                written.add(at)
                self._world.written.add(at)
            number = id_at(at)
            if number is not None and at not in unheard:
                account.enter_trade(number)
                entered.add(number)
                self._world.ids.add(number)
        for first, after in _runs(lost):
            is_open = stay.fate == "dies" and after == end
            self._gap(Gap("book", "silence", ns(first), None if is_open else ns(after)))
            if not is_open:
                self._world.known |= set(range(first, after))
        for span, is_repaired in spans:
            self._miss(_ids(span.start, span.stop), span.start, span.stop, end, is_repaired=is_repaired)
        for number in sorted(self._minutes):
            if stay.fate != "dies" or (number + 1) * PER_MINUTE <= end:
                self._write(number)

    def _write(self, number: int) -> None:
        self._world.write(self._lines.coverage(ns(number * PER_MINUTE), self._minutes[number], "sequence").text)
        due, written, entered = self._here[number]
        self._world.known |= due
        self._world.accounted |= written
        self._world.entered |= entered

    def _account(self, at: int) -> Account:
        self._here.setdefault(at // PER_MINUTE, (set(), set(), set()))
        return self._minutes.setdefault(at // PER_MINUTE, Account())

    def _miss(self, ids: list[int], since: int, until: int, end: int, *, is_repaired: bool) -> None:
        """Ids are missed; what REST has of them is entered in the last minute of the stay."""
        if not ids:
            return
        account = self._account(end - 1)
        self._world.named |= set(ids)
        account.missing += len(ids)
        repaired = len(ids) if is_repaired else 0
        self._world.repaired |= set(ids) if is_repaired else set()
        self._gap(Gap("trades", "trades", ns(since), ns(until), ids[0], ids[-1], len(ids), repaired))
        for number in ids if is_repaired else ():
            account.enter_trade(number)
            account.repaired += 1
            self._here[(end - 1) // PER_MINUTE][2].add(number)
            self._world.ids.add(number)

    def _gap(self, gap: Gap) -> None:
        self._world.write(self._lines.gap(gap).text)


def _ids(start: int, end: int) -> list[int]:
    return [number for at in range(start, end) if (number := id_at(at)) is not None]


def _runs(instants: set[int]) -> Iterator[tuple[int, int]]:
    """From and until of each run."""
    for at in sorted(instants):
        if at - 1 not in instants:
            end = at
            while end in instants:
                end += 1
            yield at, end
