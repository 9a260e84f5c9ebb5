"""The story of a venue, told to a real pipeline with the venue's real feeds, and what the data shows of it.

Times are milliseconds since ``START``; the grid has an instant every 100.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TypeVar

import pytest

from book.events import Sizes, Trade
from feeds.catalogue import FEEDS
from feeds.protocol import FeedFacts
from sentinel.pipeline import (
    Cause,
    FetchBook,
    FetchedBook,
    LanePlan,
    Note,
    Pipeline,
    Reconnect,
    Repair,
    RepairAnswer,
    Send,
)
from tests.feeds.stories import STORIES
from tests.sentinel.pipeline.venue import MS, START, Told, pipeline, plan, tags

T = TypeVar("T", Send, FetchBook, Repair, Reconnect)

GRID_MS = 100
PROVED_MS = 20
"""When a connection opened at 0 has its first books."""

GRACE_MS = 1_500
"""What is missing is a gap by then, and asked for."""

venues = pytest.mark.parametrize("feed", sorted(STORIES))


def ns(at_ms: int) -> int:
    return START + at_ms * MS


class ToldStory:
    """``told`` is all that was said by the pipeline, ``notes`` among it for the log. Commands wait until they are asked
    about, those to send until they are answered."""

    def __init__(self, feed: str) -> None:
        self.story = STORIES[feed]()
        self.btc, self.eth = self.story.products
        self.exchange = FEEDS[feed].exchange
        self.pipe: Pipeline = pipeline(*self._plans(), edges_bps=(Fraction(10),))
        self.told = Told()
        self.notes: list[Note] = []

    def _plans(self) -> list[LanePlan]:
        feed, trades_feed, products = self.story.feed, self.story.trades_feed, self.story.products
        if trades_feed is None:
            return [plan(0, venue=feed, products=products)]
        return [plan(0, "book", venue=feed, products=products), plan(1, "trades", venue=trades_feed, products=products)]

    @property
    def facts(self) -> FeedFacts:
        return FEEDS[self.story.feed].facts

    @property
    def integrity(self) -> str:
        return FEEDS[self.story.feed].integrity

    @property
    def is_counted(self) -> bool:
        """Whether one counter numbers all frames of the connection."""
        return self.integrity == "sequence" and self.facts.chain is None

    # What happens

    def open(self, at_ms: int = 0, *refused: str, is_answered: bool = True) -> None:
        """All connections, acknowledged at once; and then the books."""
        self.story.connect()
        for lane in self.pipe.lanes:
            self.pipe.opened(lane.number, ns(at_ms))
        if is_answered:
            self.answer(at_ms + 5, *refused)
            for product in self.story.products:
                if product not in refused and not (refused and self.story.refuses == "request"):
                    self.give_book(product, at_ms + PROVED_MS)
            self.fetches()

    def close(self, cause: Cause, at_ms: int) -> None:
        """All connections end."""
        for lane in self.pipe.lanes:
            self.pipe.closed(lane.number, cause, ns(at_ms))

    def answer(self, at_ms: int, *refused: str) -> list[bytes]:
        """What was sent is answered; gives what that was."""
        sends = self._taken(Send)
        for command in sends:
            for frame in self.story.answers(command.messages, refused):
                self.pipe.receive(command.lane, frame, ns(at_ms))
        return [message for command in sends for message in command.messages]

    def _taken(self, kind: type[T]) -> list[T]:
        found = [command for command in self.pipe.commands if isinstance(command, kind)]
        self.pipe.commands[:] = [command for command in self.pipe.commands if not isinstance(command, kind)]
        return found

    def asked_for_books(self, at_ms: int) -> set[str]:
        """The products whose books were asked for since the last time and up to now, on the wire (where it is answered)
        or of REST."""
        self.tick(at_ms)
        return self.products_in(self.answer(at_ms)) | self.fetches()

    def products_in(self, messages: list[bytes]) -> set[str]:
        """Those that are asked for."""
        requests = [self.story.read(message) for message in messages if message != self.facts.ping]
        return {product for request in requests for product in request.products}

    def fetches(self) -> set[str]:
        return {command.symbol for command in self._taken(FetchBook)}

    def give_book(self, product: str, at_ms: int) -> None:
        """As the venue has it now."""
        if self.facts.resync == "fetch":
            self.fetched(product, self.story.fetched(product), at_ms)
        else:
            self.hear(self.story.snapshot(product, ns(at_ms)), at_ms)

    def fetched(self, product: str, book: tuple[int, Sizes, Sizes], at_ms: int) -> None:
        """REST has answered."""
        self.pipe.fetched(FetchedBook(0, product, *book), ns(at_ms))

    def hear(self, frame: bytes, at_ms: int) -> None:
        """Something that is not of trades."""
        self.pipe.receive(0, frame, ns(at_ms))

    def change(self, product: str, size: int, at_ms: int, *, arrives_ms: int | None = 0) -> bytes:
        """The bid has this size from now on; ``arrives_ms`` later we hear of it, or never."""
        frame = self.story.change(product, size, ns(at_ms))
        if arrives_ms is not None:
            self.hear(frame, at_ms + arrives_ms)
        return frame

    def trade(self, product: str, trade_id: int, at_ms: int) -> bytes:
        """Arrives by whatever brings trades."""
        frame = self.story.trade(product, trade_id, ns(at_ms))
        self.hear_trade(frame, at_ms)
        return frame

    def hear_trade(self, frame: bytes, at_ms: int) -> None:
        self.pipe.receive(len(self.pipe.lanes) - 1, frame, ns(at_ms))

    def beat(self, at_ms: int) -> None:
        for lane in self.pipe.lanes:
            self.pipe.receive(lane.number, self.story.beat(), ns(at_ms))

    def tick(self, at_ms: int) -> None:
        self.pipe.tick(ns(at_ms))

    def repairs(self) -> list[tuple[str, int, int]]:
        """Those asked for since the last time."""
        found = self._taken(Repair)
        assert {repair.exchange for repair in found} <= {self.exchange}
        return [(repair.symbol, repair.first, repair.last) for repair in found]

    def repair(self, product: str, trade_id: int, traded_ms: int, at_ms: int) -> None:
        """REST has the trade."""
        trade = Trade(product, trade_id, 100.5, 0.25, "sell", ns(traded_ms), is_live=False)
        answer = RepairAnswer(product, trade_id, trade_id, (trade,), is_complete=True, exchange=self.exchange)
        self.pipe.repaired(answer, ns(at_ms))

    def reconnects(self) -> list[tuple[int, str]]:
        return [(command.lane, command.cause) for command in self._taken(Reconnect)]

    def end(self, at_ms: int) -> None:
        """Nothing more comes: the accounts must add up."""
        self.pipe.stop(ns(at_ms))
        self.look()
        self._assert_sound()

    # What the data shows

    def look(self) -> None:
        self.notes += self.told.take(self.pipe).notes

    def samples(self, product: str) -> list[tuple[int, float]]:
        """When, and the size of the best bid."""
        self.look()
        return [
            ((point.time_ns - START) // MS, float(dict(point.fields)["bid_size"]))
            for point in self.told.tops
            if tags(point)["symbol"] == product
        ]

    def gaps(self, product: str, channel: str = "book") -> list[tuple[object, ...]]:
        """Cause, start and end; where anything is numbered, the first and last of what is missing as well."""
        self.look()
        found = []
        for gap in self.told.gap_list(channel):
            if gap["symbol"] == product:
                end = None if "end_ns" not in gap else (int(str(gap["end_ns"])) - START) // MS
                times = (int(str(gap["start_ns"])) - START) // MS, end
                numbers = (gap["start_seq"], gap["end_seq"]) if "start_seq" in gap else ()
                found.append((gap["cause"], *times, *numbers))
        return sorted(found, key=str)

    def trades(self, product: str) -> list[int]:
        self.look()
        return [int(dict(p.fields)["trade_id"]) for p in self.told.trades if tags(p)["symbol"] == product]

    def noted(self, event: str) -> list[dict[str, str | int | None]]:
        self.look()
        return [note.facts for note in self.notes if note.event == event]

    def total(self, field: str) -> int:
        """Of both products, over all minutes that are written."""
        self.look()
        return sum(self.told.total(field, product) for product in self.story.products)

    def size_at(self, product: str, at_ms: int) -> int:
        """The truth: of what was told up to then."""
        return [size for told_ns, size in self.story.truth[product] if told_ns <= ns(at_ms)][-1]

    def is_true(self, product: str) -> bool:
        return all(size == self.size_at(product, at_ms) for at_ms, size in self.samples(product))

    def _assert_sound(self) -> None:
        """Every frame is accounted for, every instant that is due is written or withheld, none is written twice or
        inside a gap, none is of another product or exchange, and what proves them is said."""
        assert [lane.counts.residue for lane in self.pipe.lanes] == [0] * len(self.pipe.lanes)
        points = [*self.told.tops, *self.told.trades, *self.told.gaps.values(), *self.told.coverage.values()]
        assert {(tags(point)["exchange"], tags(point)["symbol"]) for point in points} <= {
            (self.exchange, product) for product in self.story.products
        }
        proofs = {(dict(p.fields)["integrity"], dict(p.fields).get("trade_proof")) for p in self.told.coverage.values()}
        assert proofs <= {(self.integrity, None if self.facts.has_dense_ids else "none")}
        for point in self.told.trades:
            assert (tags(point)["side"], dict(point.fields)["price"], dict(point.fields)["size"]) == (
                "sell",
                100.5,
                0.25,
            )
        for product in self.story.products:
            written = [at_ms for at_ms, _ in self.samples(product)]
            assert written == sorted(set(written))
            assert self.told.total("samples_written", product) == len(written)
            withheld = self.told.total("samples_withheld", product)
            assert self.told.total("samples_due", product) == len(written) + withheld
            for _, start_ms, end_ms, *_ in self.gaps(product):
                assert isinstance(start_ms, int)
                assert not [at for at in written if start_ms <= at and (not isinstance(end_ms, int) or at < end_ms)]
            assert len(self.trades(product)) == len(set(self.trades(product)))


def every(first_ms: int, last_ms: int) -> list[int]:
    """The instants of the grid from one to another, both included."""
    return list(range(first_ms, last_ms + 1, GRID_MS))


def opened(feed: str) -> ToldStory:
    """A connection whose books were changed once, at 150, which proved the instant 100."""
    told = ToldStory(feed)
    told.open()
    for product in (told.btc, told.eth):
        told.change(product, 2, 150)
    told.beat(150)
    assert told.samples(told.btc) == told.samples(told.eth) == [(100, 1)]
    return told


def live(told: ToldStory, from_ms: int, to_ms: int, step_ms: int = 1000) -> None:
    """Time passes in which the connection is alive, and no book is changed."""
    for at_ms in range(from_ms, to_ms, step_ms):
        told.beat(at_ms)
        told.tick(at_ms)


def ids(told: ToldStory, lost: bytes) -> tuple[int, ...]:
    """What is named of a frame that is lost."""
    return told.story.numbers(lost) or ()
