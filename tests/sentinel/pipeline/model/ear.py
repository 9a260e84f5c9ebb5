"""What a perfect listener on one connection could prove, and what the book was meanwhile.

A book is sound from its snapshot on, until a frame is missing, damaged where nothing counts frames, or later than the
silence allows. Each frame in order proves the instants since the one before it: those, and no others, may be sampled.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field

from tests.sentinel.pipeline.model.market import MS, Book
from tests.sentinel.pipeline.model.wire import Frame

SILENCE_NS = 2_500 * MS
CROSSED_NS = 900 * MS
"""A book crossed for longer may be given up, though it may come right by itself."""


@dataclass
class Proof:
    """Instants in ``start_ns <= g < end_ns`` were proved by the input ``turn``. ``is_due``: they are to be written."""

    start_ns: int
    end_ns: int
    turn: int
    is_due: bool


@dataclass
class Spell:
    """One product's book on one connection, from a snapshot until it is lost: ``books[n]`` from ``stamps[n]`` on.
    ``is_free``: a frame without a number was lost, so nobody can know what is right. ``crossed_ns``: since when.
    ``is_given_up``: it may have been given up, so that nothing more is expected of it, and nothing wrong with it."""

    start_ns: int
    end_ns: int
    is_free: bool = False
    crossed_ns: int | None = None
    is_given_up: bool = False
    stamps: list[int] = field(default_factory=list)
    books: list[Book] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)

    def at(self, ns: int) -> tuple[Book, int]:
        """The book at an instant, and since when it is so."""
        index = bisect_right(self.stamps, ns) - 1
        return self.books[index], self.stamps[index]


class Ear:
    """One connection, listened to. Every ``ns`` is the collector's clock but ``true_ns``, which no clock step moves."""

    def __init__(self, lane: int, true_ns: int) -> None:
        self.lane = lane
        self.spells: dict[str, list[Spell]] = {}
        self.ignored: set[str] = set()
        self.told: dict[str, tuple[list[int], list[int]]] = {}
        self._sound: dict[str, Spell] = {}
        self._expected = 0
        self._good_true_ns = true_ns
        self._sound_true_ns: dict[str, int] = {}
        self._opened_true_ns = true_ns

    def unsound_for_ns(self, products: Collection[str], true_ns: int) -> int:
        """Since when one of these books has been waiting for its snapshot."""
        return (
            max(true_ns - self._sound_true_ns.get(product, self._opened_true_ns) for product in products)
            if products
            else 0
        )

    def is_sound(self, product: str) -> bool:
        """Whether a listener who lost nothing that shows has a book that can be sampled."""
        spell = self._sound.get(product)
        return spell is not None and (spell.is_free or not spell.books[-1].is_crossed)

    def hear(self, frame: Frame, ns: int, true_ns: int, turn: int, *, is_torn: bool, due_from_ns: int | None) -> bool:
        """A frame has reached the collector. ``due_from_ns``: from when on samples may be written; None: not at all.
        False for a frame that is to be ignored."""
        if is_torn:
            if frame.number is None:
                self._tear(frame)
            return False
        if frame.number is not None:
            if frame.number < self._expected:
                return False
            if frame.number > self._expected:
                self._sound.clear()
            self._expected = frame.number + 1
        if true_ns - self._good_true_ns >= SILENCE_NS:
            self._sound.clear()
        self._good_true_ns = true_ns
        for product, spell in self._sound.items():
            self._prove(spell, ns, turn, due_from_ns)
            self._sound_true_ns[product] = true_ns
        if frame.book is not None:
            self._learn(frame.book, ns)
        return True

    def _prove(self, spell: Spell, ns: int, turn: int, due_from_ns: int | None) -> None:
        if spell.crossed_ns is not None and ns - spell.crossed_ns >= CROSSED_NS:
            spell.is_given_up = True
        is_due = due_from_ns is not None and due_from_ns < ns and not spell.is_given_up
        start_ns = max(spell.end_ns, due_from_ns) if is_due and due_from_ns is not None else spell.end_ns
        spell.proofs.append(Proof(start_ns, ns, turn, is_due))
        spell.end_ns = ns

    def _learn(self, told: tuple[str, bool, Book, int], ns: int) -> None:
        product, is_snapshot, book, count = told
        if product in self.ignored:
            return
        stamps, counts = self.told.setdefault(product, ([], []))
        stamps.append(ns)
        counts.append(count + (counts[-1] if counts else 0))
        spell = self._sound.get(product)
        if is_snapshot and (spell is None or spell.is_free or spell.is_given_up):
            spell = self._sound[product] = Spell(ns, ns)
            self.spells.setdefault(product, []).append(spell)
        if spell is not None:
            spell.stamps.append(ns)
            spell.books.append(book)
            spell.crossed_ns = (spell.crossed_ns or ns) if book.is_crossed else None

    def _tear(self, frame: Frame) -> None:
        """Whoever cannot tell what a damaged frame was may give up every book, and must give up its own."""
        for spell in self._sound.values():
            spell.is_given_up = True
        if frame.book is not None:
            self._sound.pop(frame.book[0], None)

    def lost(self, frame: Frame) -> None:
        """A frame did not arrive. A number shows it later; without one nobody can say what the book is."""
        if frame.number is None and frame.book is not None and frame.book[0] in self._sound:
            spell = self._sound.pop(frame.book[0])
            free = Spell(spell.end_ns, spell.end_ns, is_free=True, stamps=[spell.end_ns], books=[spell.books[-1]])
            self.spells[frame.book[0]].append(free)
            self._sound[frame.book[0]] = free

    def unsubscribed(self, product: str) -> None:
        """The venue tells of this book no more."""
        self._sound.pop(product, None)

    def ignore(self, product: str) -> None:
        """Nobody wants to hear of it here any more."""
        self.ignored.add(product)
        self._sound.pop(product, None)

    def changes(self, product: str, after_ns: int, until_ns: int) -> int:
        """How many changes were told in ``after_ns < t <= until_ns``."""
        stamps, counts = self.told.get(product, ([], []))
        return _total(counts, bisect_right(stamps, until_ns)) - _total(counts, bisect_right(stamps, after_ns))


def _total(counts: list[int], index: int) -> int:
    return counts[index - 1] if index else 0
