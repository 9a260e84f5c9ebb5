"""What Tidepool means: a chain of changes for each market, prints by dense ids, and an ebb that wants its flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from book.events import (
    BookEvent,
    Delta,
    Event,
    Heartbeat,
    Integrity,
    LastTradeId,
    Link,
    Meaning,
    PriceLevel,
    Refused,
    Side,
    Subscribed,
    Trade,
    Unknown,
)
from feeds.errors import Undecodable, Unplannable
from feeds.protocol import FeedFacts, Subscription
from feeds.salvage import REFUSALS, unusable
from tests.throwaway.feeds.tidepool.messages import (
    Book,
    Denied,
    Ebb,
    Joined,
    Print,
    Prints,
    decode_answer,
    decode_event,
    decode_head,
)

CHANNELS = {"book": "books", "trades": "prints"}
SIDES = {1: Side.BID, -1: Side.ASK}


class TidepoolFeed:
    """One connection."""

    venue: ClassVar[str] = "tidepool"
    exchange: ClassVar[str] = "tidepool"
    facts: ClassVar[FeedFacts] = FeedFacts(
        book_products_per_connection=10,
        connects_per_s=5,
        messages_per_s=5,
        quiet_s=3.0,
        resync="fetch",
        chain="range",
        quiet_book_s=10,
        snapshot_deadline_s=2,
    )
    integrity: ClassVar[Integrity] = "sequence"
    first_sequence: int | None = None
    has_single_changes = False

    def __init__(self, subscription: Subscription) -> None:
        unknown = subscription.channels - CHANNELS.keys()
        if unknown:
            raise Unplannable(f"{self.venue} has no channel {', '.join(sorted(unknown))}")
        self._subscription = subscription
        self._served: dict[str, set[str]] = {ours: set() for ours in subscription.channels}
        self._outbox: list[bytes] = []
        self._ref = 0

    def open(self) -> list[bytes]:
        return self.subscribe(self._subscription.products)

    def subscribe(self, products: Sequence[str]) -> list[bytes]:
        self._ref += 1
        wanted = {CHANNELS[ours]: list(products) for ours in sorted(self._subscription.channels)}
        return [msgspec.json.encode({"op": "join", "ref": self._ref, **wanted})]

    def resubscribe(self, products: Sequence[str]) -> list[bytes]:
        """Nothing: books are fetched, and their changes go on."""
        return []

    def outbox(self) -> list[bytes]:
        messages, self._outbox = self._outbox, []
        return messages

    def receive(self, frame: bytes) -> Meaning:
        try:
            return Meaning(None, self._interpret(decode_event(frame)))
        except REFUSALS as error:
            return Meaning(None, self._receive_other(frame, error))

    def _interpret(self, message: Book | Prints | Ebb) -> Sequence[Event]:
        match message:
            case Book():
                levels = [PriceLevel(SIDES[change.bid_or_ask], change.price, change.size) for change in message.c]
                return (Delta(message.m, levels, Link(message.l, message.f)),)
            case Prints():
                return [trade(message.m, message.us, one) for one in message.x]
            case Ebb():
                self._outbox.append(msgspec.json.encode({"op": "flow", "n": message.n}))
                newest = (LastTradeId(market, last) for market, last in message.last.items() if last)
                return [*newest, Heartbeat(message.n)]

    def _receive_other(self, frame: bytes, error: Exception) -> Sequence[Event]:
        """An answer, a frame with something odd in it, or one of tomorrow."""
        try:
            head = decode_head(frame)
        except REFUSALS as torn:
            raise Undecodable(self.venue, str(torn), frame) from torn
        if head.t in ("b", "p"):
            channel, touched = ("book", _DELTA) if head.t == "b" else ("trades", None)
            return (unusable(channel, frame, error, product=head.m, book_event=touched),)
        if head.op not in ("joined", "denied"):
            if not head.t and not head.op:
                raise Undecodable(self.venue, str(error), frame)
            return (Unknown(head.t or head.op),)
        try:
            return (self._answered(decode_answer(frame)),)
        except REFUSALS as odd:
            raise Undecodable(self.venue, str(odd), frame) from odd

    def _answered(self, answer: Joined | Denied) -> Event:
        if isinstance(answer, Denied):
            return Refused(answer.m, answer.why)
        for ours, theirs in (("book", answer.books), ("trades", answer.prints)):
            if ours in self._served:
                self._served[ours].update(theirs)
        return Subscribed({ours: frozenset(served) for ours, served in self._served.items()})


_DELTA: BookEvent = "delta"


def trade(market: str, us: int, one: Print, *, is_live: bool = True) -> Trade:
    taker = "buy" if one.taker == 1 else "sell"
    return Trade(market, one.trade_id, one.price, one.size, taker, us * 1000, is_live)  # type: ignore[arg-type]
