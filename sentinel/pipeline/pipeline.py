"""Frames in, lines out: everything between the sockets and the disk, as one pure state machine.

It is told what happened and when (``opened``, ``closed``, ``receive``, ``repaired``, ``tick``), and gives lines of line
protocol (``take``) and things it wants done (``commands``). It reads no clock and does no I/O, so the same inputs give
the same lines, byte for byte: live, replayed from a tape, or in a test.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import assert_never

from book.events import (
    Delta,
    Meaning,
)
from feeds.catalogue import FEEDS, VENUES
from feeds.errors import FeedError
from feeds.market import Market
from feeds.protocol import Feed, proof_of_trades
from sentinel.contract.gaps import Cause
from sentinel.pipeline.checkpoint import decode_checkpoint, encode_checkpoint, markets_of
from sentinel.pipeline.comparison import LAG_NS
from sentinel.pipeline.inputs import (
    BookAnswer,
    Closed,
    Command,
    FetchedBook,
    Frame,
    Input,
    KnownTrade,
    LanePlan,
    Note,
    Opened,
    Output,
    RepairAnswer,
    Replan,
    Resume,
    Retire,
    Send,
    Settings,
    Start,
    Step,
    Stop,
    Succeed,
    Suspend,
    Tick,
)
from sentinel.pipeline.interpreter import Interpreter
from sentinel.pipeline.lane import APPLIED, CONTROL, Lane
from sentinel.pipeline.product import Product
from sentinel.pipeline.proofs import Proofs

MakeFeed = Callable[[LanePlan], Feed]

ACCOUNTS_EVERY_NS = 1_000_000_000
NS_PER_MS = 1_000_000

STEP_SHOWN_NS = 3_600_000_000_000
"""How long ``clock_step_ms`` tells of a step: long enough for an alert to be raised and seen."""


class Pipeline:
    """All lanes and products of one collector.

    ``lanes`` has the one that serves for each plan, ``slots`` all of them and their spares, by number.
    ``tails``, as of the last checkpoint: of each market the last trade id up to which none is missing, and its time.
    ``clock_step_ms`` is the largest step of the wall clock within the last hour, or what it is behind still.
    ``commands`` is filled by every call and cleared by the caller: it stays the same list.

    Raises:
        SentinelError: if ``checkpoint`` cannot be read.
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
        self.lanes: list[Lane] = []
        self.slots: dict[int, Lane] = {}
        self.products: dict[Market, Product] = {}
        self.tails: dict[Market, tuple[int, int]] = {}
        self.clock_step_ms = 0
        self._behind_ms = 0
        self._step_shown_ns = 0
        self._make_feed = make_feed
        self._output = Output()
        self._proofs = Proofs(self._output, self.commands, settings.cadence_ns)
        self._interpreter = Interpreter(self._proofs, self._output, self.commands)
        self._accounts_ns = 0
        self._is_suspended = False
        self._in_doubt: dict[tuple[int, str], int] = {}
        self._dormant = decode_checkpoint(checkpoint)
        self._elsewhere = markets_of(checkpoint) - self._dormant.keys()
        for plan in plans:
            lane = self._add_lane(plan)
            for market in plan.markets:
                self._product(market, plan.venue).join(lane)
        for market in [market for market, state in self._dormant.items() if state.books.is_away]:
            self._revive(market)  # its trades may still be to be repaired

    def _add_lane(self, plan: LanePlan) -> Lane:
        """One more, and its spare."""
        lane = Lane(plan, self.settings)
        self.lanes.append(lane)
        for each in (lane, Lane(plan, self.settings, lane)):
            self.slots[each.number] = each
        return lane

    def _product(self, market: Market, feed: str) -> Product:
        """One that is carried, or was; else a new one, with the state it had when it was collected before."""
        product = self.products.get(market)
        if product is None:
            known, facts = FEEDS[feed], FEEDS[feed].facts
            self._elsewhere.discard(market)
            state = self._dormant.pop(market, None)
            product = Product(
                market, self.settings, self._output, state, proof_of_trades(known), skips_ids=facts.skips_ids
            )
            self.products[market] = product
            if self._is_suspended:
                product.books.suspend()
                product.trades.suspend()
        return product

    @property
    def venue_ns(self) -> int:
        """What the live trade that came last says of the time; 0 before there is one. Cost: O(products)."""
        return max((product.trades.heard for product in self.products.values()), default=(0, 0))[1]

    # What happens

    def feed(self, given: Input, now_ns: int) -> None:
        """Whatever happens, one input at a time: live, from a tape or in a test."""
        match given:
            case Frame(lane, frame):
                self.receive(lane, frame, now_ns)
            case Tick():
                self.tick(now_ns)
            case Opened(lane, step_ms):
                self.note_step(step_ms, now_ns)
                self.opened(lane, now_ns)
            case Closed(lane, cause):
                self.closed(lane, cause, now_ns)
            case RepairAnswer():
                self.repaired(given, now_ns)
            case BookAnswer():
                self.compared(given, now_ns)
            case FetchedBook():
                self.fetched(given, now_ns)
            case _:
                self._turn(given, now_ns)

    def _turn(self, given: Start | Replan | Step | Suspend | Resume | Stop, now_ns: int) -> None:
        """What concerns all there is."""
        match given:
            case Start():
                self.start(now_ns)
            case Replan(plans, known, handed):
                self.replan(plans, now_ns, known, handed)
            case Step(step_ns):
                self.step(step_ns, now_ns)
            case Suspend():
                self.suspend(now_ns)
            case Resume():
                self.resume(now_ns)
            case Stop():
                self.stop(now_ns)
            case _:
                assert_never(given)

    def start(self, now_ns: int) -> None:
        """Before any lane opens: the time since the last run is a gap, unless this is the first one.

        Should that run have been ahead of the time now, since its clock was wrong, its future is said anew.
        """
        ahead_ns = max([product.restart(now_ns) for product in self.products.values()], default=0)
        if ahead_ns:
            self._output.notes.append(Note("last_run_was_ahead", {"ahead_ms": ahead_ns // NS_PER_MS}))
            self.note_step(-ahead_ns // NS_PER_MS, now_ns)

    def replan(
        self,
        plans: Sequence[LanePlan],
        now_ns: int,
        known: Sequence[KnownTrade] = (),
        handed: Collection[Market] = (),
    ) -> None:
        """What the lanes carry from here on. A product that none carries any more is not listed by its venue, unless it
        is ``handed`` over: of the last run's, too, nothing is due from then on that is. One that comes for the first
        time is due from its first book on, and its trades from the one that is ``known`` of it."""
        of_market = {newest.market: newest for newest in known}
        lighter = [lane for lane in self.lanes if not set(handed).isdisjoint(lane.plan.markets)]
        for plan in plans[len(self.lanes) :]:
            self._add_lane(plan)
        for plan in plans:
            self._replan_lane(self.slots[plan.lane], plan, of_market, now_ns)
        self._lighten(lighter)
        for market in handed:
            self._hand_over_market(market, now_ns)
        for product in self.products.values():
            if not product.is_carried and not product.books.is_absent:
                product.books.delist(now_ns)

    def _lighten(self, lanes: Iterable[Lane]) -> None:
        """The venue goes on sending what has been handed over: a connection without it takes the place of each that had
        something of it and goes on. Where every book would have to be fetched for that, the next one will do."""
        for lane in lanes:
            if lane.products and lane.feed is not None and lane.spare.feed is None and not lane.is_fetching:
                self.commands.append(Succeed(lane.number))

    def is_accounted(self, market: Market) -> bool:
        """Whether this collector accounts for a market, or did in the last run and has not said what became of it."""
        product = self.products.get(market)
        return market in self._dormant if product is None else not product.books.is_away

    def _hand_over_market(self, market: Market, now_ns: int) -> None:
        """Others collect a market from now on, or have since the last run."""
        if market in self._dormant:
            product = self._revive(market)
            product.take_back(now_ns)  # else nothing were due here, once it is back, before a future that never was
            product.hand_over(product.books.next_ns or 0, now_ns, self._behind_ms)
        elif market in self.products and not self.products[market].is_carried:
            self.products[market].hand_over(now_ns, now_ns, self._behind_ms)

    def _revive(self, market: Market) -> Product:
        """One of the last run that no lane carries. What is asked of its feed is the same for all of its exchange."""
        return self._product(market, VENUES[market.exchange].feeds[0].venue)

    def _replan_lane(self, lane: Lane, plan: LanePlan, known: Mapping[Market, KnownTrade], now_ns: int) -> None:
        both = (lane, lane.spare)
        for each in both:
            each.plan = plan
        before = lane.products.copy()
        for symbol, product in before.items():
            if symbol not in plan.subscription.products:
                for each in both:
                    self._in_doubt.pop((each.number, symbol), None)
                product.part(lane, now_ns)
        for market in plan.markets:
            if market.symbol not in before:
                self._join_later(market, lane, known.get(market), now_ns)
        if not lane.products:
            for each in both:
                each.close()

    def _join_later(self, market: Market, lane: Lane, known: KnownTrade | None, now_ns: int) -> None:
        """A product joins while others are collected already; others may have collected it until now."""
        is_new = market not in self.products
        product = self._product(market, lane.plan.venue)
        if is_new:
            product.restart(now_ns)
        if known is not None and not product.is_carried:
            product.take_over(known.trade_id, known.time_ns, now_ns)
        product.join(lane)

    def step(self, step_ns: int, now_ns: int) -> None:
        """The wall clock was found to be off by ``step_ns``.

        Ahead: the collector's clock has followed it to ``now_ns``. Whatever is timed here goes on being timed as if it
        had not. Behind: the collector's clock goes on as before and is ahead by so much until the next start; 0 says
        that they agree again.
        """
        self._behind_ms = -(max(0, -step_ns) // NS_PER_MS)
        if step_ns > 0:
            self._accounts_ns += step_ns
            self._in_doubt = {key: due_ns + step_ns for key, due_ns in self._in_doubt.items()}
            for lane in self.slots.values():
                lane.step(step_ns, now_ns)
            for product in self.products.values():
                product.step(step_ns, now_ns)
        self._output.notes.append(Note("clock_step", {"step_ms": int(step_ns / NS_PER_MS)}))
        self.note_step(int(step_ns / NS_PER_MS), now_ns)

    def note_step(self, step_ms: int, now_ns: int) -> None:
        """Enters a step into the accounts of the minute, and keeps it for a while for all to see."""
        if not step_ms:
            return
        for product in self.products.values():
            product.books.account(now_ns).note_step(step_ms)
        if abs(step_ms) >= abs(self.clock_step_ms):
            self.clock_step_ms = step_ms
            self._step_shown_ns = now_ns + STEP_SHOWN_NS

    def opened(self, lane_number: int, now_ns: int) -> None:
        """A socket is open: says what to send on it."""
        lane = self.slots[lane_number]
        for product in lane.products.values():
            product.use(lane)
            if lane.carries_trades:
                product.trades.interrupt()
        if lane.spare.feed is None:
            self.lanes[lane.plan.lane] = lane
            lane.states.clear()
            for product in lane.products.values():
                product.heed_state(now_ns)
        self.commands.append(lane.open(self._make_feed(lane.plan), now_ns))
        feed = lane.feed
        assert feed is not None
        if lane.carries_books:
            for product in lane.products.values():
                product.integrity = feed.integrity

    def closed(self, lane_number: int, cause: Cause, now_ns: int) -> None:
        """A socket has ended, or could not be opened at all; the service is about to try again."""
        lane = self.slots[lane_number]
        self._end(lane, cause, lane.good_ns if lane.feed is not None else now_ns)

    def read(self, lane_number: int, frame: bytes) -> Meaning | None:
        """What a frame means that is to be received, or None if that cannot be said: half of the work of a large one,
        done ahead of it. Changes nothing here."""
        feed = self.slots[lane_number].feed
        try:
            return None if feed is None else feed.receive(frame)
        except FeedError:
            return None

    def receive(self, lane_number: int, frame: bytes, received_ns: int, meaning: Meaning | None = None) -> None:
        """A frame has arrived; ``meaning`` if it was read already. Never raises, whatever the bytes."""
        lane = self.slots[lane_number]
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
            self._proofs.undecodable(lane, error, received_ns)
            return
        sequence, counter = meaning.sequence, lane.counter
        if counter is not None and sequence is not None:
            if sequence == counter.expected:  # what ``check`` says of nearly every frame, without the call
                counter.expected = sequence + 1
            elif not self._proofs.go_on(lane, counter.check(sequence), received_ns):
                return
        if received_ns > lane.next_grid_ns:
            self._proofs.advance(lane, received_ns)
        lane.good_ns = received_ns
        fate = CONTROL
        for event in meaning.events:
            if isinstance(event, Delta) and (book := lane.books.get(event.product)) is not None and book.chain is None:
                book.take(event, received_ns)
                fate = APPLIED
            else:
                became = self._interpreter.interpret(lane, event, received_ns)
                if became > fate:
                    fate = became
        if fate == APPLIED:
            counts.applied += 1
            lane.is_live = True
        else:
            counts.enter(fate)
            self._answer(lane, feed)

    def _answer(self, lane: Lane, feed: Feed) -> None:
        """What a control frame makes us say."""
        messages = feed.outbox()
        if messages:
            self.commands.append(Send(lane.number, tuple(messages)))

    def repaired(self, answer: RepairAnswer, now_ns: int) -> None:
        """REST has answered a ``Repair``, in whole or in part."""
        for record in answer.unusable:
            self._interpreter.name(record, answer.exchange, None)
        product = self.products.get(answer.market)
        if product is not None:
            product.trades.repaired(answer, now_ns)

    def compared(self, answer: BookAnswer, now_ns: int) -> None:
        """REST has said what a whole book is: a substitute for the numbers that some lanes' frames do not have."""
        product = self.products.get(answer.market)
        if product is None:
            return
        for number, book in product.books.lanes.items():
            if book.witness is None or not book.is_proved:
                continue
            if (number, answer.symbol) in self._in_doubt:  # the last answer is not judged yet
                continue
            # the answer bears the venue's time: ours is as much ahead of it as of the wall
            if book.witness.comparison.hear(book.book, answer, now_ns + self._behind_ms * NS_PER_MS):
                self._in_doubt[number, answer.symbol] = now_ns + LAG_NS

    def fetched(self, answer: FetchedBook, now_ns: int) -> None:
        """REST has given the snapshot of a book: it is taken if the deltas that came meanwhile follow from it."""
        lane = self.slots[answer.lane]
        book = lane.books.get(answer.symbol)
        if lane.feed is None or book is None or book.chain is None or book.is_proved or book.asked_ns is None:
            return  # nobody waits for it any more
        snapshot = answer.snapshot()
        following = book.buffer.follow(book.chain, snapshot)
        if following is None:
            book.asked_ns = None
            lane.want_snapshots([answer.symbol], now_ns, self.commands)
            return
        lane.products[answer.symbol].books.replace(book, snapshot, now_ns)
        for delta in following:
            book.book.apply(delta)
        book.good_ns = now_ns

    def tick(self, now_ns: int) -> None:
        """Time passes, ten times a second or so: deadlines, silence, finished minutes."""
        for lane in self.slots.values():
            if lane.feed is not None:
                self._tick_lane(lane, now_ns)
            if lane.books or lane.spare.feed is not None:
                self._hand_over(lane, now_ns)
        if self._in_doubt:
            self._judge_doubts(now_ns)
        if not self._is_suspended:
            self._settle()
            for product in self.products.values():
                product.tick(now_ns, self.commands)
        if now_ns >= self._step_shown_ns:
            self.clock_step_ms = self._behind_ms
        if now_ns >= self._accounts_ns:
            self._accounts_ns = now_ns + ACCOUNTS_EVERY_NS
            for market, product in list(self.products.items()):
                product.write_minutes(now_ns, self._behind_ms, is_final=False)
                if product.is_over(now_ns):
                    del self.products[market]
                    self._elsewhere.add(market)

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
            product.write_minutes(now_ns, self._behind_ms, is_final=True)

    # What comes of it

    def take(self) -> Output:
        """The lines and notes since the last take."""
        output = self._output
        taken = Output(output.trades, output.book, output.accounts, output.notes)
        output.trades, output.book, output.accounts, output.notes = [], [], [], []
        return taken

    def checkpoint(self) -> bytes:
        """The state to start again from; it belongs with the lines taken so far. ``tails`` are of it."""
        states = self._dormant | {market: product.state() for market, product in self.products.items()}
        found = ((market, state.trades.tail()) for market, state in states.items())
        self.tails = {market: tail for market, tail in found if tail is not None}
        return encode_checkpoint(states, self._elsewhere)

    # How

    def _settle(self) -> None:
        """The time of the newest trade of all has come, for products that are not traded, too."""
        come_ns = max((product.trades.newest_ns for product in self.products.values()), default=0)
        for product in self.products.values():
            product.books.settle(come_ns)

    def _judge_doubts(self, now_ns: int) -> None:
        """Gives up the books that REST contradicted for good."""
        for (number, symbol), due_ns in list(self._in_doubt.items()):
            lane = self.slots[number]
            if now_ns < due_ns or (lane.feed is not None and lane.heard_ns < due_ns):  # frames may wait in the socket
                continue
            del self._in_doubt[number, symbol]
            book = lane.books.get(symbol)
            witness = None if book is None or not book.is_proved else book.witness
            wrong = [] if witness is None else witness.comparison.judge()
            if wrong:
                facts: dict[str, str | int | None] = {
                    "symbol": lane.products[symbol].market.short,
                    "levels": len(wrong),
                    "price": str(wrong[0][1]),
                }
                self._output.notes.append(Note("contradicted_by_rest", facts))
                self._proofs.contradicted(lane, symbol, now_ns)

    def _end(self, lane: Lane, cause: Cause, since_ns: int) -> None:
        """The lane has no connection any more; its spare serves, if that has one."""
        lane.close()
        self._proofs.lose(lane, cause, since_ns)
        if lane.spare.feed is not None:
            self.lanes[lane.plan.lane] = lane.spare

    def _hand_over(self, lane: Lane, now_ns: int) -> None:
        """Retires a connection whose successor can do all that it does, and a lane that is not used any more."""
        heir = lane.spare
        if lane.feed is not None and heir.can_replace(lane):
            if heir.ready_ns is None:
                heir.ready_ns = now_ns
            if now_ns - heir.ready_ns >= self.settings.handover_ns:
                self._end(lane, "disconnected", lane.good_ns)
                self.commands.append(Retire(lane.number))
        elif lane.feed is None and heir.books and not any(book.held for book in lane.books.values()):
            for product in list(lane.products.values()) if lane.books else ():
                product.leave(lane)

    def _tick_lane(self, lane: Lane, now_ns: int) -> None:
        if lane.is_silent(now_ns):
            self._proofs.lose(lane, "silence", lane.good_ns)
            self._proofs.give_up(lane, "silence")
            return
        for symbol in lane.newly_refused(now_ns, self.commands):
            facts: dict[str, str | int | None] = {
                "lane": lane.plan.lane,
                "symbol": Market(lane.plan.exchange, symbol).short,
                "reason": lane.last_refusal or "not acknowledged",
            }
            self._output.notes.append(Note("refused", facts))
            if lane.refuses_book(symbol):
                self._proofs.lose_book(lane, symbol, "refused", lane.opened_ns)
        quiet = lane.quiet_books(now_ns)
        for symbol in quiet:
            self._proofs.lose_book(lane, symbol, "silence", now_ns)
        lane.want_snapshots([*quiet, *lane.books_to_look_at(now_ns)], now_ns, self.commands)
        lane.ping(now_ns, self.commands)
        if lane.tick(now_ns, self.commands):
            self._proofs.lose(lane, "silence", lane.good_ns)
            self._proofs.give_up(lane, "silence")
