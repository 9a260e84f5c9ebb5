"""Frames in, lines out: everything between the sockets and the disk, as one pure state machine.

It is told what happened and when (``opened``, ``closed``, ``receive``, ``repaired``, ``tick``), and gives lines of line
protocol (``take``) and things it wants done (``commands``). It reads no clock and does no I/O, so the same inputs give
the same lines, byte for byte: live, replayed from a tape, or in a test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from book.events import Beat, Delta, Event, Meaning, Quote, Refused, Snapshot, Subscribed, Tail, Trade, Unknown
from book.sampler import first_instant
from book.sequence import Hole, Verdict
from feeds.catalogue import FEEDS
from feeds.errors import FeedError
from feeds.protocol import Feed
from sentinel.pipeline.books import sequence_gap
from sentinel.pipeline.comparison import LAG_NS
from sentinel.pipeline.gaps import Gap
from sentinel.pipeline.inputs import (
    BookAnswer,
    Cause,
    Command,
    LanePlan,
    Note,
    Output,
    Reconnect,
    RepairAnswer,
    Send,
    Settings,
)
from sentinel.pipeline.lane import Lane
from sentinel.pipeline.product import Product, ProductState

MakeFeed = Callable[[LanePlan], Feed]

ACCOUNTS_EVERY_NS = 1_000_000_000


class Checkpoint(Struct):
    """Everything a restart must know. Products no longer collected are kept, should they come back."""

    products: dict[str, ProductState] = {}


class Pipeline:
    """All lanes and products of one collector.

    ``commands`` is filled by every call and emptied by the caller.

    Raises:
        msgspec.DecodeError: if ``checkpoint`` was not written by this version.
    """

    def __init__(
        self,
        settings: Settings,
        plans: Sequence[LanePlan],
        make_feed: MakeFeed,
        checkpoint: bytes | None = None,
    ) -> None:
        self.settings = settings
        self.commands: list[Command] = []
        self.lanes = [Lane(plan, settings) for plan in plans]
        self.products: dict[str, Product] = {}
        self.clock_step_ms = 0
        self._make_feed = make_feed
        self._output = Output()
        self._accounts_ns = 0
        self._is_suspended = False
        self._in_doubt: dict[tuple[int, str], int] = {}
        known = msgspec.msgpack.decode(checkpoint, type=Checkpoint).products if checkpoint else {}
        for lane in self.lanes:
            for symbol in lane.plan.subscription.products:
                product = self.products.get(symbol)
                if product is None:
                    exchange = FEEDS[lane.plan.venue].exchange
                    product = Product(exchange, symbol, settings, self._output, known.pop(symbol, None))
                    self.products[symbol] = product
                product.join(lane)
        self._dormant = known

    # What happens

    def start(self, now_ns: int) -> None:
        """Before any lane opens: the time since the last run is a gap, unless this is the first one."""
        for product in self.products.values():
            product.books.restart(now_ns)

    def opened(self, lane_number: int, now_ns: int) -> None:
        """A socket is open: says what to send on it."""
        lane = self.lanes[lane_number]
        self.commands.append(lane.open(self._make_feed(lane.plan), now_ns))
        feed = lane.feed
        assert feed is not None
        if lane.carries_books:
            for symbol in lane.plan.subscription.products:
                self.products[symbol].integrity = feed.integrity

    def closed(self, lane_number: int, cause: Cause, now_ns: int) -> None:
        """A socket has ended, or could not be opened at all; the service is about to try again."""
        lane = self.lanes[lane_number]
        since_ns = lane.good_ns if lane.feed is not None else now_ns
        lane.close()
        self._lose(lane, cause, since_ns)

    def read(self, lane_number: int, frame: bytes) -> Meaning | None:
        """What a frame means that is to be received, or None if that cannot be said: half of the work of a large one,
        done ahead of it. Changes nothing here."""
        feed = self.lanes[lane_number].feed
        try:
            return None if feed is None else feed.receive(frame)
        except FeedError:
            return None

    def receive(self, lane_number: int, frame: bytes, received_ns: int, meaning: Meaning | None = None) -> None:
        """A frame has arrived; ``meaning`` if it was read already. Never raises, whatever the bytes."""
        lane = self.lanes[lane_number]
        feed = lane.feed
        if feed is None:  # given up: what still trickles in belongs to a conversation that is over
            return
        lane.heard_ns = received_ns
        counts = lane.counts
        counts.received += 1
        try:
            if meaning is None:
                meaning = feed.receive(frame)
        except FeedError as error:
            self._undecodable(lane, feed, error, received_ns)
            return
        sequence, tracker = meaning.sequence, lane.tracker
        if tracker is not None and sequence is not None:
            if sequence == tracker.expected:  # what ``check`` says of nearly every frame, without the call
                tracker.expected = sequence + 1
            elif not self._go_on(lane, tracker.check(sequence), received_ns):
                return
        if received_ns > lane.next_grid_ns:
            self._advance(lane, received_ns)
        lane.good_ns = received_ns
        is_data = False
        for event in meaning.events:
            if isinstance(event, Delta):
                book = lane.books.get(event.product)
                if book is not None:
                    book.take(event, received_ns)
                is_data = True
            else:
                is_data = self._interpret(lane, event, received_ns) or is_data
        if is_data:
            counts.applied += 1
            lane.is_live = True
        else:
            counts.control += 1
            self._answer(lane, feed)

    def _answer(self, lane: Lane, feed: Feed) -> None:
        """What a control frame makes us say."""
        messages = feed.outbox()
        if messages:
            self.commands.append(Send(lane.plan.lane, tuple(messages)))

    def repaired(self, answer: RepairAnswer, now_ns: int) -> None:
        """REST has answered a ``Repair``, in whole or in part."""
        product = self.products.get(answer.symbol)
        if product is not None:
            product.trades.repaired(answer, now_ns)

    def compared(self, answer: BookAnswer, now_ns: int) -> None:
        """REST has said what a whole book is: a substitute for the numbers that some lanes' frames do not have."""
        for lane in self.lanes:
            book = lane.books.get(answer.symbol)
            if book is None or book.witness is None or not book.is_proved:
                continue
            if (lane.plan.lane, answer.symbol) in self._in_doubt:  # the last answer is not judged yet
                continue
            if book.witness.comparison.hear(book.book, answer, now_ns):
                self._in_doubt[lane.plan.lane, answer.symbol] = now_ns + LAG_NS

    def tick(self, now_ns: int) -> None:
        """Time passes, ten times a second or so: deadlines, silence, finished minutes."""
        for lane in self.lanes:
            if lane.feed is not None:
                self._tick_lane(lane, now_ns)
        if self._in_doubt:
            self._judge_doubts(now_ns)
        if not self._is_suspended:
            for product in self.products.values():
                product.tick(now_ns, self.commands)
        if now_ns >= self._accounts_ns:
            self._accounts_ns = now_ns + ACCOUNTS_EVERY_NS
            for product in self.products.values():
                product.write_minutes(now_ns, self.clock_step_ms, is_final=False)

    def suspend(self, now_ns: int) -> None:
        """Nothing can be written: samples are withheld, and the ids of trades noted for a later repair."""
        if not self._is_suspended:
            self._is_suspended = True
            for product in self.products.values():
                product.books.suspend()
                product.trades.suspend()

    def resume(self, now_ns: int) -> None:
        """Writing is possible again."""
        if self._is_suspended:
            self._is_suspended = False
            for product in self.products.values():
                product.books.resume(now_ns)
                product.trades.resume()

    def stop(self, now_ns: int) -> None:
        """Nothing more will come: names what is missing, and writes the minutes under way."""
        for product in self.products.values():
            product.books.tick(now_ns)
            product.trades.stop(now_ns)
            product.write_minutes(now_ns, self.clock_step_ms, is_final=True)

    # What comes of it

    def take(self) -> Output:
        """The lines and notes since the last take."""
        output = self._output
        taken = Output(output.trades, output.book, output.accounts, output.notes)
        output.trades, output.book, output.accounts, output.notes = [], [], [], []
        return taken

    def checkpoint(self) -> bytes:
        """The state to start again from; it belongs with the lines taken so far."""
        states = {symbol: product.state() for symbol, product in self.products.items()}
        return msgspec.msgpack.encode(Checkpoint(self._dormant | states))

    # How

    def _interpret(self, lane: Lane, event: Event, received_ns: int) -> bool:
        """Acts on any event but a delta; True if it is market data."""
        match event:
            case Trade():
                product = self.products.get(event.product)
                if product is not None and lane.carries_trades:
                    product.trade_frames += 1
                    lane.serve("trades", event.product)
                    product.trades.receive(event, received_ns, lane.plan.lane)
                    self._hear_witness(lane, event, received_ns)
                return True
            case Snapshot():
                book = lane.books.get(event.product)
                if book is not None:
                    book.frames += 1
                    lane.serve("book", event.product)
                    self.products[event.product].books.replace(book, event, received_ns)
                return True
            case Tail() if event.product in self.products:
                self.products[event.product].trades.hear(event, received_ns, lane.plan.lane)
            case Subscribed():
                lane.acknowledge(event)
            case Refused():
                self._refused(lane, event, received_ns)
            case Unknown():
                lane.oddities[event.kind] += 1
            case Quote():
                self._hear_witness(lane, event, received_ns)
            case Beat() | Delta() | Tail():
                pass
        return False

    def _hear_witness(self, lane: Lane, event: Quote | Trade, received_ns: int) -> None:
        """Holds a book without numbers against what else is said of it; a book contradicted is given up."""
        book = lane.books.get(event.product)
        if book is None or book.witness is None or not book.is_proved:
            return
        if isinstance(event, Quote):
            is_contradicted = book.witness.contradicts_quote(book.book, event)
        else:
            is_contradicted = book.witness.contradicts_trade(event)
        if is_contradicted:
            self._contradicted(lane, event.product, received_ns)

    def _judge_doubts(self, now_ns: int) -> None:
        """Gives up the books that REST contradicted for good."""
        for (number, symbol), due_ns in list(self._in_doubt.items()):
            lane = self.lanes[number]
            if now_ns < due_ns or (lane.feed is not None and lane.heard_ns < due_ns):  # frames may wait in the socket
                continue
            del self._in_doubt[number, symbol]
            book = lane.books[symbol]
            wrong = book.witness.comparison.judge() if book.witness is not None and book.is_proved else []
            if wrong:
                facts: dict[str, str | int | None] = {"symbol": symbol, "levels": len(wrong), "price": str(wrong[0][1])}
                self._output.notes.append(Note("contradicted_by_rest", facts))
                self._contradicted(lane, symbol, now_ns)

    def _contradicted(self, lane: Lane, symbol: str, now_ns: int) -> None:
        book = lane.books[symbol]
        if book.witness is not None:
            book.witness.forget()
        self.products[symbol].books.lose(book, Gap("book", "witness", now_ns))
        lane.want_snapshots([symbol], now_ns, self.commands)

    def _advance(self, lane: Lane, received_ns: int) -> None:
        """A frame in sequence proves the lane's books at every grid instant before it."""
        lane.next_grid_ns = first_instant(received_ns, self.settings.cadence_ns)
        if received_ns - lane.good_ns >= self.settings.silence_ns:
            # we stood still ourselves: what waited in the socket meanwhile says nothing of when it came
            proved = [symbol for symbol, book in lane.books.items() if book.is_proved]
            for symbol in proved:
                self.products[symbol].books.lose(lane.books[symbol], Gap("book", "silence", lane.good_ns))
            lane.want_snapshots(proved, received_ns, self.commands)
            return
        for symbol, book in lane.books.items():
            books = self.products[symbol].books
            books.advance(book, received_ns)
            crossed_ns = books.crossed_since()
            if crossed_ns is not None and received_ns - crossed_ns >= self.settings.crossed_ns and book.is_proved:
                books.lose(book, Gap("book", "crossed", crossed_ns))
                lane.want_snapshots([symbol], received_ns, self.commands)

    def _go_on(self, lane: Lane, verdict: Verdict | Hole, received_ns: int) -> bool:
        """Deals with a counter out of order; False if the frame is to be ignored."""
        if verdict is Verdict.DUPLICATE:
            lane.counts.duplicate += 1
            return False
        if verdict is Verdict.RESET:
            lane.counts.control += 1
            self._lose(lane, "sequence", lane.good_ns)
            self._give_up(lane, "sequence")
            return False
        assert isinstance(verdict, Hole)
        lane.counts.lost += verdict.count
        for symbol, book in lane.books.items():
            gap = sequence_gap(lane.good_ns, verdict.first, verdict.last)
            self.products[symbol].books.lose(book, gap)
        lane.want_snapshots(list(lane.books), received_ns, self.commands)
        return True

    def _undecodable(self, lane: Lane, feed: Feed, error: FeedError, received_ns: int) -> None:
        """On a numbered feed the next frame shows whether anything was lost; elsewhere every book is suspect."""
        lane.counts.undecodable += 1
        self._output.notes.append(Note("undecodable", {"lane": lane.plan.lane, "error": str(error)}))
        if feed.integrity == "none" and lane.books:
            self._lose(lane, "undecodable", lane.good_ns)
            lane.want_snapshots(list(lane.books), received_ns, self.commands)

    def _lose(self, lane: Lane, cause: Cause, since_ns: int) -> None:
        for symbol, book in lane.books.items():
            self.products[symbol].books.lose(book, Gap("book", cause, since_ns))

    def _give_up(self, lane: Lane, cause: Cause) -> None:
        lane.close()
        self.commands.append(Reconnect(lane.plan.lane, cause))

    def _refused(self, lane: Lane, event: Refused, received_ns: int) -> None:
        lane.last_refusal = event.reason
        facts: dict[str, str | int | None] = {
            "lane": lane.plan.lane,
            "symbol": event.product,
            "reason": event.reason,
        }
        self._output.notes.append(Note("refused", facts))
        if event.product in lane.books:
            self.products[event.product].books.lose(lane.books[event.product], Gap("book", "refused", received_ns))

    def _tick_lane(self, lane: Lane, now_ns: int) -> None:
        if lane.is_silent(now_ns):
            self._lose(lane, "silence", lane.good_ns)
            self._give_up(lane, "silence")
            return
        for symbol in lane.newly_refused(now_ns, self.commands):
            facts: dict[str, str | int | None] = {
                "lane": lane.plan.lane,
                "symbol": symbol,
                "reason": lane.last_refusal or "not acknowledged",
            }
            self._output.notes.append(Note("refused", facts))
            if symbol in lane.books:
                self.products[symbol].books.lose(lane.books[symbol], Gap("book", "refused", lane.opened_ns))
        if lane.tick(now_ns, self.commands):
            self._lose(lane, "silence", lane.good_ns)
            self._give_up(lane, "silence")
