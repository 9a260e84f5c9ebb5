"""One planned connection as the pipeline sees it: its feed, its counter, its deadlines and its books.

The feed and the counter live as long as one connection; the books are replaced by the next one's snapshots.

Each lane has a spare, which is a lane with the same plan and with books only while it is used. A connection that is to
end has its successor opened on the spare, and both go on side by side, as two copies do, until the successor can do all
that the first one does. Then the spare is the lane, and the lane its spare, until the next time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from book.events import ProductState, Subscribed
from book.proof import FrameCounter, make_chain
from book.sampler import first_instant
from feeds.protocol import Feed
from sentinel.pipeline.inputs import Command, FetchBook, LanePlan, S, Send, Settings, spare_of
from sentinel.pipeline.lane_book import LaneBook
from sentinel.pipeline.witness import BookWitness

if TYPE_CHECKING:
    from sentinel.pipeline.product import Product

ATTEMPTS_ON_ONE_CONNECTION = 2
"""Snapshots asked for in vain, of every book there is, before the connection itself is given up."""
PAUSES_OF_CALM = 4
"""So many pauses without a request are the end of a trouble, and the next pause is the first one again."""

SKIPPED_KINDS = 32
SKIPPED_CHARS = 48

CONTROL, DUPLICATE, UNDECODABLE, UNASKED, APPLIED = range(5)
"""What became of an event. A frame is counted by the highest of its events."""


@dataclass(slots=True)
class FrameCounts:
    """Where every frame of a lane went: ``received = applied + control + duplicate + undecodable + unasked``.

    ``lost`` frames never came. ``applied`` frames carried market data that reached a book or a ledger, ``unasked`` ones
    only such as nobody asked for. Of an ``undecodable`` frame nothing could be used.
    """

    received: int = 0
    applied: int = 0
    control: int = 0
    duplicate: int = 0
    undecodable: int = 0
    lost: int = 0
    unasked: int = 0

    def enter(self, fate: int) -> None:
        """Counts one received frame that brought nothing for us, by what became of it."""
        if fate == CONTROL:
            self.control += 1
        elif fate == DUPLICATE:
            self.duplicate += 1
        elif fate == UNASKED:
            self.unasked += 1
        else:
            self.undecodable += 1

    @property
    def residue(self) -> int:
        """Zero, or the accounts are wrong."""
        sorted_out = self.applied + self.control + self.duplicate + self.undecodable + self.unasked
        return self.received - sorted_out


class Skipped:
    """Counts what is passed over, by kind.

    Kinds are the venue's words, so only so many are told apart, by so much of each.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, kind: str) -> None:
        kind = kind[:SKIPPED_CHARS]
        if kind not in self.counts and len(self.counts) >= SKIPPED_KINDS:
            kind = "others"
        self.counts[kind] = self.counts.get(kind, 0) + 1


class Lane:
    """State of one connection slot. ``feed`` is None while there is no connection.

    ``number`` is what it is called in commands, inputs and on tapes. ``counts``, ``skipped`` and ``states``, what the
    venue has said of what can be done with products, are those of the plan, whichever of lane and spare serves it.
    ``ready_ns`` is since when it could do all that its spare does.

    ``products`` are those it carries, by the venue's symbols: nothing a frame says is looked up anywhere else, so what
    another venue calls the same is not touched. ``books`` are its own copies of their books.

    ``heard_ns`` is when the last frame came, whatever it was: a sign of life. ``good_ns`` is when the last one came
    that could be read and was in sequence: up to there the books are proved, but for those with a chain of their own.
    ``is_numbered``: numbers show every frame that is lost, of the connection or of each book.
    """

    def __init__(self, plan: LanePlan, settings: Settings, spare: Lane | None = None) -> None:
        self.plan = plan
        self.number = plan.lane if spare is None else spare_of(plan.lane)
        self.feed: Feed | None = None
        self.products: dict[str, Product] = {}
        self.counter: FrameCounter | None = None
        self.books: dict[str, LaneBook] = {}
        self.counts: FrameCounts = FrameCounts() if spare is None else spare.counts
        self.skipped: Skipped = Skipped() if spare is None else spare.skipped
        self.ready_ns: int | None = None
        self.spare: Lane
        if spare is not None:
            self.spare, spare.spare = spare, self
        self.heard_ns = 0
        self.good_ns = 0
        self.has_chains = False
        self.is_numbered = False
        self.quiet_ns = 0
        self.next_grid_ns = 0
        self.opened_ns = 0
        self.is_live = False
        self.last_refusal = ""
        self.unserved: dict[str, set[str]] = {}
        self.states: dict[str, ProductState] = {} if spare is None else spare.states
        self._settings = settings
        self._wanted: set[str] = set()
        self._pinged_ns = 0
        self._retry_refused_ns = 0
        self._refused_pause_ns = settings.refused_retry_ns
        self._resync_ns = 0
        self._pause_ns = settings.resync_pause_ns

    @property
    def carries_books(self) -> bool:
        return "book" in self.plan.subscription.channels

    @property
    def carries_trades(self) -> bool:
        return "trades" in self.plan.subscription.channels

    @property
    def is_fetching(self) -> bool:
        """Whether snapshots of its books are fetched by REST always."""
        return self.feed is not None and self.feed.facts.resync == "fetch"

    def _is_to_be_fetched(self, product: str) -> bool:
        """Where a snapshot may come both ways, every second attempt is by REST."""
        may_be_fetched = self.feed is not None and self.feed.facts.resync == "both"
        return self.is_fetching or (may_be_fetched and self.books[product].attempts % 2 == 1)

    def open(self, feed: Feed, now_ns: int) -> Send:
        """A new connection: nothing of the old one is true any more."""
        self.feed = feed
        facts = feed.facts
        self.quiet_ns = round(facts.quiet_s * S)
        self.has_chains = facts.chain is not None
        self.is_numbered = feed.first_sequence is not None or facts.chain in ("range", "previous")
        first = feed.first_sequence
        self.counter = None if first is None else FrameCounter(first)
        self.opened_ns = self.heard_ns = self.good_ns = now_ns
        self.next_grid_ns = first_instant(now_ns, self._settings.cadence_ns)
        self.is_live = False
        self.last_refusal = ""
        self.ready_ns = None
        self._wanted.clear()
        self._retry_refused_ns = now_ns + round(facts.subscribe_deadline_s * S)
        self._refused_pause_ns = self._settings.refused_retry_ns
        self.unserved = {channel: set(self.plan.subscription.products) for channel in self.plan.subscription.channels}
        for book in self.books.values():
            book.asked_ns = None if self.is_fetching else now_ns  # what is fetched must not be older than its stream
            book.chain = make_chain(facts.chain, facts.depth)
            book.good_ns = now_ns
            book.buffer.clear()
            book.witness = None
            if feed.integrity == "none":
                book.witness = BookWitness(is_batched=not feed.has_single_changes)
        return Send(self.number, tuple(feed.open()))

    def step(self, step_ns: int, now_ns: int) -> None:
        """The clock was put forward by ``step_ns`` to ``now_ns``: no deadline has come any nearer."""
        if not self.opened_ns:  # there is nothing to time yet
            return
        self.heard_ns += step_ns
        self.good_ns += step_ns
        self.opened_ns += step_ns
        self._pinged_ns += step_ns
        self.next_grid_ns = first_instant(now_ns, self._settings.cadence_ns)
        self._retry_refused_ns += step_ns
        self._resync_ns += step_ns
        if self.ready_ns is not None:
            self.ready_ns += step_ns

    def drop(self, symbol: str) -> None:
        """It carries a product no more; what still comes of it is nothing that was asked for."""
        del self.products[symbol]
        self.states.pop(symbol, None)
        self._wanted.discard(symbol)
        for waiting in self.unserved.values():
            waiting.discard(symbol)

    def close(self) -> None:
        self.feed = None
        self.is_live = False

    def can_replace(self, other: Lane) -> bool:
        """Whether all that ``other`` brings comes on this lane as well, and has done so for long enough."""
        if self.feed is None or self.opened_ns <= other.opened_ns:
            return False
        if any(products - other.unserved[channel] for channel, products in self.unserved.items()):
            return False
        return all(self.books[symbol].can_replace(book) for symbol, book in other.books.items())

    def acknowledge(self, subscribed: Subscribed) -> None:
        """Strikes what the venue says it serves from the list of what is awaited."""
        for channel, products in subscribed.channels.items():
            if channel in self.unserved:
                self.unserved[channel] -= products

    def serve(self, channel: str, product: str) -> None:
        """Data is as good as an acknowledgement."""
        waiting = self.unserved.get(channel)
        if waiting:
            waiting.discard(product)

    def want_snapshots(self, products: list[str], now_ns: int, commands: list[Command]) -> None:
        """Asks for fresh snapshots, at once or when the pause since the last time is over.

        A product whose snapshot is on its way is left alone: asking again would unsubscribe it, and the snapshot under
        way would then pass for proof of a book that is not fed any more.
        """
        self._wanted |= {product for product in products if self.books[product].asked_ns is None}
        self._ask(now_ns, commands)

    def _ask(self, now_ns: int, commands: list[Command]) -> None:
        if not self._wanted or self.feed is None or now_ns < self._resync_ns:
            return
        products = sorted(self._wanted)
        self._wanted.clear()
        for product in products:
            self.books[product].asked_ns = now_ns
        self._resync_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, self._settings.resync_pause_most_ns)
        fetched = [product for product in products if self._is_to_be_fetched(product)]
        commands.extend(FetchBook(self.number, product, self.feed.exchange) for product in fetched)
        if len(fetched) < len(products):
            asked = [product for product in products if product not in fetched]
            commands.append(Send(self.number, tuple(self.feed.resubscribe(asked))))

    def tick(self, now_ns: int, commands: list[Command]) -> bool:
        """Asks again for snapshots that did not come, ever more rarely; True when not one comes, which is the
        connection's fault: it is to end. A book that does come must not pay for one that does not."""
        if now_ns - self._resync_ns > min(PAUSES_OF_CALM * self._pause_ns, self._settings.resync_pause_most_ns):
            self._pause_ns = self._settings.resync_pause_ns
        late = [product for product, book in self.books.items() if self._is_late(product, book, now_ns)]
        for product in late:
            self.books[product].asked_ns = None
            self.books[product].attempts += 1
        awaited = [book for product, book in self.books.items() if product not in self.unserved["book"]]
        if late and not self.is_fetching and all(book.attempts >= ATTEMPTS_ON_ONE_CONNECTION for book in awaited):
            return True
        self._wanted.update(late)
        self._ask(now_ns, commands)
        return False

    def _is_late(self, product: str, book: LaneBook, now_ns: int) -> bool:
        """A snapshot the venue owes us; not that of a product it does not serve."""
        if book.asked_ns is None or product in self.unserved["book"]:
            return False
        assert self.feed is not None
        deadline_ns = round(self.feed.facts.snapshot_deadline_s * S)
        patience_ns = min(deadline_ns << min(book.attempts, 16), self._settings.snapshot_deadline_most_ns)
        return now_ns - book.asked_ns >= patience_ns

    def newly_refused(self, now_ns: int, commands: list[Command]) -> list[str]:
        """Products of which the venue has neither acknowledged nor sent some channel, when it is time to say so.

        Each is asked for again in a message of its own, so that one bad name cannot keep the others out, and ever more
        rarely. Its book may be served all the same: ``refuses_book`` tells.
        """
        if now_ns < self._retry_refused_ns:
            return []
        self._retry_refused_ns = now_ns + self._refused_pause_ns
        self._refused_pause_ns = min(2 * self._refused_pause_ns, self._settings.refused_retry_most_ns)
        refused = sorted(set().union(*self.unserved.values()))
        if refused and self.feed is not None:
            messages = [message for product in refused for message in self.feed.subscribe([product])]
            commands.append(Send(self.number, tuple(messages)))
            if not self.is_fetching:
                for product in self.unserved.get("book", ()):
                    self.books[product].asked_ns = now_ns
        return refused

    def refuses_book(self, product: str) -> bool:
        """Whether the book itself has neither been acknowledged nor sent on this connection."""
        return product in self.unserved.get("book", ())

    def is_silent(self, now_ns: int) -> bool:
        return now_ns - self.heard_ns >= self.quiet_ns

    def quiet_books(self, now_ns: int) -> list[str]:
        """Books proved by their own frames only, of which none has come for longer than the venue's books are quiet."""
        return [] if self.feed is None else self._quiet_for(self.feed.facts.quiet_book_s, now_ns)

    def books_to_look_at(self, now_ns: int) -> list[str]:
        """Those that have been quiet for so long that a snapshot shall say whether they stand."""
        look_after_s = None if self.feed is None else self.feed.facts.look_after_s
        return [] if look_after_s is None else self._quiet_for(look_after_s, now_ns)

    def _quiet_for(self, quiet_s: float, now_ns: int) -> list[str]:
        if not self.has_chains:
            return []
        quiet_ns = round(quiet_s * S)
        return [symbol for symbol, book in self.books.items() if book.is_proved and now_ns - book.good_ns >= quiet_ns]

    def ping(self, now_ns: int, commands: list[Command]) -> None:
        """Asks for a sign of life when the venue wants to be asked, and nothing has come for a while."""
        if self.feed is None or self.feed.facts.ping_after_s is None:
            return
        if now_ns - max(self.heard_ns, self._pinged_ns) >= round(self.feed.facts.ping_after_s * S):
            self._pinged_ns = now_ns
            commands.append(Send(self.number, (self.feed.facts.ping,)))
