"""What the events of a frame mean to the lane that brought it: to its books, its trades and its conversation."""

from __future__ import annotations

from book.events import (
    Alias,
    Closing,
    Delta,
    Event,
    Heartbeat,
    LastTradeId,
    ProductStatus,
    Quote,
    Refused,
    Snapshot,
    Subscribed,
    Trade,
    Unknown,
    Unusable,
)
from book.proof import Hole, Verdict
from feeds.errors import REASON_CHARS
from feeds.market import Market
from sentinel.pipeline.gaps import sequence_gap
from sentinel.pipeline.inputs import Command, Note, Output, Succeed
from sentinel.pipeline.lane import APPLIED, CONTROL, DUPLICATE, UNASKED, UNDECODABLE, Lane
from sentinel.pipeline.lane_book import LaneBook
from sentinel.pipeline.proofs import Proofs


class Interpreter:
    """Acts on events, one at a time: it looks up nothing but the lane, and says what became of each."""

    def __init__(self, proofs: Proofs, output: Output, commands: list[Command]) -> None:
        self._proofs = proofs
        self._output = output
        self._commands = commands

    def interpret(self, lane: Lane, event: Event, received_ns: int) -> int:
        """Acts on any event but a delta of a book without a chain; gives what became of it."""
        match event:
            case Trade():
                return self._trade(lane, event, received_ns)
            case Snapshot():
                book = lane.books.get(event.product)
                if book is None:
                    return self._unasked(lane, "book", event.product)
                book.frames += 1
                lane.serve("book", event.product)
                if book.chain is None or self._begins_chain(lane, book, event, received_ns):
                    lane.products[event.product].books.replace(book, event, received_ns)
                    book.catch_up()
                    book.drop_fallen()
                return APPLIED
            case Delta():
                book = lane.books.get(event.product)
                if book is None:
                    return self._unasked(lane, "book", event.product)
                return self._follow(lane, book, event, received_ns)
            case LastTradeId():
                product = lane.products.get(event.product)
                if product is None:
                    return self._unasked(lane, "trades", event.product)
                product.trades.hear(event, received_ns, lane.number)
            case Quote():
                if event.product not in lane.plan.subscription.products:
                    return self._unasked(lane, "quotes", event.product)
                lane.serve("quotes", event.product)
                self._hear_witness(lane, event, received_ns)
            case Unusable():
                return self._unusable(lane, event, received_ns)
            case _:
                self._hear(lane, event, received_ns)
        return CONTROL

    def _hear(
        self,
        lane: Lane,
        event: Subscribed | Refused | ProductStatus | Closing | Unknown | Alias | Heartbeat,
        received_ns: int,
    ) -> None:
        """What the venue says of the conversation itself."""
        match event:
            case Subscribed():
                lane.acknowledge(event)
                if lane.is_fetching:
                    served = event.channels.get("book", frozenset())
                    lost = [symbol for symbol, book in lane.books.items() if symbol in served and not book.is_proved]
                    lane.want_snapshots(lost, received_ns, self._commands)
            case Refused():
                self._refused(lane, event, received_ns)
            case ProductStatus():
                self._product_status(lane, event, received_ns)
            case Closing():
                self._output.notes.append(Note("venue_closes", {"lane": lane.plan.lane, "reason": event.reason}))
                self._commands.append(Succeed(lane.number))
            case Unknown():
                lane.skipped.add(event.kind)
            case Alias():
                alias = _about(lane, event.product)
                self._output.notes.append(Note("alias", alias | {"sent_as": event.sent_as}))
            case Heartbeat():
                pass

    def _product_status(self, lane: Lane, event: ProductStatus, received_ns: int) -> None:
        """Kept for all to see, and told when it is news; a venue tells it of products nobody asked for, too."""
        product = lane.products.get(event.product)
        if product is None:
            return
        before = product.state_at_venue
        lane.states[event.product] = event.state
        product.heed_state(received_ns)
        if product.state_at_venue != before:
            facts: dict[str, str | int | None] = {"symbol": product.market.short, "state": event.state}
            self._output.notes.append(Note("product_status", facts))

    def _begins_chain(self, lane: Lane, book: LaneBook, snapshot: Snapshot, received_ns: int) -> bool:
        """Whether a snapshot may be taken. If it bears the id that the book has, the book has stood still since its
        last frame; any other says nothing of that time."""
        assert book.chain is not None
        has_stood = book.is_proved and book.chain.stands(snapshot)
        verdict = book.chain.begin(snapshot)
        if has_stood:
            self._proofs.advance_book(lane, snapshot.product, book, received_ns)
        elif book.is_proved or verdict is not Verdict.NEXT:
            gap = sequence_gap(book.unproved_ns(lane.good_ns), Verdict.BROKEN)
            lane.products[snapshot.product].books.lose(book, gap)
        book.good_ns = received_ns
        if verdict is Verdict.NEXT:
            return True
        book.asked_ns = None
        lane.want_snapshots([snapshot.product], received_ns, self._commands)
        return False

    def _follow(self, lane: Lane, book: LaneBook, delta: Delta, received_ns: int) -> int:
        """A delta of a book with a chain: if it follows, it proves that book up to now, and no other."""
        symbol, chain = delta.product, book.chain
        assert chain is not None
        lane.serve("book", symbol)
        if book.is_proved:
            verdict = chain.check(delta)
            if verdict is Verdict.DUPLICATE:
                return DUPLICATE
            if verdict is Verdict.NEXT:
                if received_ns > book.next_ns:
                    self._proofs.advance_book(lane, symbol, book, received_ns)
                book.good_ns = received_ns
            else:
                book.holes += 1
                if isinstance(verdict, Hole):
                    verdict = book.buffer.shortened(verdict)
                lane.products[symbol].books.lose(book, sequence_gap(book.good_ns, verdict))
                book.buffer.clear()
        book.take(delta, received_ns)
        if book.is_proved:
            if book.buffer:
                book.catch_up()
                book.buffer.clear()
            book.drop_fallen()
            return APPLIED
        if lane.is_numbered:
            book.buffer.add(delta)
        lane.want_snapshots([symbol], received_ns, self._commands)
        return APPLIED

    def _trade(self, lane: Lane, trade: Trade, received_ns: int) -> int:
        product = lane.products.get(trade.product)
        if product is None or not lane.carries_trades:
            return self._unasked(lane, "trades", trade.product)
        product.trade_frames += 1
        lane.serve("trades", trade.product)
        product.trades.receive(trade, received_ns, lane.number)
        self._hear_witness(lane, trade, received_ns)
        return APPLIED

    def _unasked(self, lane: Lane, channel: str, name: str) -> int:
        """Data of a product, or of a channel of it, that this connection was not asked to bring."""
        lane.skipped.add(f"unasked {channel} {name}")
        return UNASKED

    def _unusable(self, lane: Lane, record: Unusable, received_ns: int) -> int:
        """A record that cannot be used costs itself; one that may have changed a book costs that book."""
        if record.product is not None and record.product not in lane.plan.subscription.products:
            return self._unasked(lane, record.channel, record.product)
        lane.skipped.add(f"unusable {record.channel}")
        self.name(record, lane.plan.exchange, lane.plan.lane)
        if record.product is not None:
            lane.serve(record.channel, record.product)
            if record.channel == "trades" and record.trade_id is not None and lane.carries_trades:
                # it was published, so its id is missing until REST or another witness has it
                self.interpret(lane, LastTradeId(record.product, record.trade_id), received_ns)
        if record.book_event is not None:
            symbols = list(lane.books) if record.product is None else [record.product]
            is_answer = record.book_event == "snapshot"
            self._proofs.doubt_books(lane, symbols, received_ns, received_ns, is_answer=is_answer)
        return UNDECODABLE

    def name(self, record: Unusable, exchange: str, lane_number: int | None) -> None:
        """Tells the log of a record of this exchange that came on a lane, or by REST."""
        facts: dict[str, str | int | None] = {
            "lane": lane_number,
            "symbol": None if record.product is None else Market(exchange, record.product).short,
            "channel": record.channel,
            "trade_id": record.trade_id,
            "reason": record.reason,
            "excerpt": repr(record.excerpt),
        }
        self._output.notes.append(Note("unusable", facts))

    def _hear_witness(self, lane: Lane, event: Quote | Trade, received_ns: int) -> None:
        """Holds a book without numbers against what else is said of it; a book contradicted is given up."""
        book = lane.books.get(event.product)
        if book is None or book.witness is None or not book.is_proved:
            return
        if isinstance(event, Quote):
            is_contradicted = book.witness.contradicts_quote(book.book, event, received_ns)
        else:
            is_contradicted = book.witness.contradicts_trade(event)
        if is_contradicted:
            self._proofs.contradicted(lane, event.product, received_ns)

    def _refused(self, lane: Lane, event: Refused, received_ns: int) -> None:
        lane.last_refusal = event.reason[:REASON_CHARS]
        refused = _about(lane, event.product)
        self._output.notes.append(Note("refused", refused | {"reason": lane.last_refusal}))
        if event.product is not None and lane.refuses_book(event.product):
            self._proofs.lose_book(lane, event.product, "refused", received_ns)


def _about(lane: Lane, product: str | None) -> dict[str, str | int | None]:
    """What the log says of a lane and a product on it."""
    symbol = None if product is None else Market(lane.plan.exchange, product).short
    return {"lane": lane.plan.lane, "symbol": symbol}
