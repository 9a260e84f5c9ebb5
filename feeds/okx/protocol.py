"""What OKX means. Its books and its trades one by one are on two addresses, so it has two feeds.

Books prove themselves: each update names the id of the one before (``Link.previous``). Ids rise by steps of any size
and may fall at a maintenance, which the chain says itself; an update that names one id twice says that nothing has
changed, about once a minute. The checksum is 0 for ever since 2026-06-23 and is not looked at.
A book begins with a snapshot on the wire. That this is to end was announced for August 2026 and is not confirmed: one
that does not come is fetched.

That ids of trades are dense is not promised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec
from msgspec import Raw

from book.events import (
    BookEvent,
    Closing,
    Event,
    Heartbeat,
    Integrity,
    Link,
    MapDelta,
    Meaning,
    ProductState,
    ProductStatus,
    Refused,
    Snapshot,
    Subscribed,
    Trade,
    Unknown,
    Unusable,
)
from feeds.errors import Undecodable, Unplannable
from feeds.okx.messages import (
    Arg,
    BookData,
    Head,
    WireLevel,
    WireTrade,
    decode_action,
    decode_arg,
    decode_book,
    decode_book_parts,
    decode_head,
    decode_identity,
    decode_instrument,
    decode_level,
    decode_loose_level,
    decode_trade,
    decode_trades,
)
from feeds.protocol import FeedFacts, Subscription
from feeds.salvage import (
    REFUSALS,
    decode_text,
    decode_trade_id,
    each,
    left_out,
    levels,
    maybe,
    name_of,
    unusable,
)

PING, PONG = b"ping", b"pong"

ARGS_PER_MESSAGE = 100
"""Keeps a subscribe message near 6 kB; the venue takes 64 kB."""

REFUSED_PRODUCT = re.compile(r"instId:([A-Z0-9_-]{1,64})")
CONTRACT = re.compile(r"-(?:(SWAP)|\d{6})$")


class OkxConnection:
    """What is the same on both addresses: subscriptions, refusals, notices, signs of life.

    Raises:
        Unplannable: for a channel that this address does not have.
    """

    venue: ClassVar[str]
    exchange: ClassVar[str] = "okx"
    channels: ClassVar[dict[str, str]]
    """Theirs by ours."""
    first_sequence: int | None = None
    has_single_changes = False

    def __init__(self, subscription: Subscription) -> None:
        unknown = subscription.channels - self.channels.keys()
        if unknown:
            raise Unplannable(f"{self.venue} has no channel {', '.join(sorted(unknown))}")
        self._subscription = subscription
        self._served: dict[str, set[str]] = {ours: set() for ours in subscription.channels}
        self._ours = {self.channels[ours]: ours for ours in subscription.channels}

    def open(self) -> list[bytes]:
        return self.subscribe(self._subscription.products)

    def subscribe(self, products: Sequence[str]) -> list[bytes]:
        return _requests("subscribe", self._args(products))

    def resubscribe(self, products: Sequence[str]) -> list[bytes]:
        """A repeated subscribe is acknowledged and brings nothing; unsubscribe and subscribe does."""
        args = self._args(products)
        return [*_requests("unsubscribe", args), *_requests("subscribe", args)]

    def outbox(self) -> list[bytes]:
        """Nothing: what the venue wants to hear is a ping, and that is in the facts."""
        return []

    def _args(self, products: Sequence[str]) -> list[dict[str, str]]:
        theirs = [self.channels[ours] for ours in sorted(self._subscription.channels)]
        return [{"channel": channel, "instId": product} for channel in theirs for product in products]

    def _receive_other(self, frame: bytes, error: Exception) -> Sequence[Event]:
        """A word on the conversation, another channel, or data with something odd in it."""
        if frame == PONG:
            return (Heartbeat(None),)
        try:
            head = decode_head(frame)
        except REFUSALS as torn:
            raise Undecodable(self.venue, str(torn), frame) from torn
        word, arg = name_of(head.event), maybe(decode_arg, head.arg)
        if word is not None:
            return self._hear(word, arg, head, frame)
        if arg is None:
            raise Undecodable(self.venue, str(error), frame)
        return self._salvage(arg, head, frame, error)

    def _salvage(self, arg: Arg, head: Head, frame: bytes, error: Exception) -> Sequence[Event]:
        return (Unknown(arg.channel),)

    def _hear(self, word: str, arg: Arg | None, head: Head, frame: bytes) -> Sequence[Event]:
        match word:
            case "subscribe" | "unsubscribe":
                return self._acknowledged(word, arg, frame)
            case "error":
                reason = _words(head)
                named = REFUSED_PRODUCT.search(reason)
                return (Refused(named[1] if named else None, reason),)
            case "notice":  # the only one that is documented: 64008, a minute before a service upgrade
                return (Closing(_words(head)),)
        return (Unknown(word),)

    def _acknowledged(self, word: str, arg: Arg | None, frame: bytes) -> Sequence[Event]:
        if arg is None:
            return (unusable("subscriptions", frame, "no arg"),)
        ours = self._ours.get(arg.channel)
        if ours is None or not arg.instId:
            return ()
        if word == "unsubscribe":
            self._served[ours].discard(arg.instId)
            return ()
        self._served[ours].add(arg.instId)
        return (Subscribed({channel: frozenset(served) for channel, served in self._served.items()}),)


class OkxFeed(OkxConnection):
    """One connection to the public address: books of 400 levels a side, and what can be done with the products.

    The venue advises fewer than 30 channels of such books on a connection, closes one that is silent for 30 s, and
    takes 480 requests an hour on each. Before an auction opens, the best ask may be below the best bid.
    """

    venue: ClassVar[str] = "okx"
    channels: ClassVar[dict[str, str]] = {"book": "books"}
    facts: ClassVar[FeedFacts] = FeedFacts(
        book_products_per_connection=25,
        connects_per_s=3,
        messages_per_s=3,
        quiet_s=15,
        snapshot_deadline_s=5,
        chain="previous",
        depth=400,
        quiet_book_s=75,
        resync="both",
        ping=PING,
        ping_after_s=5,
        has_dense_ids=False,
    )
    integrity: ClassVar[Integrity] = "sequence"

    def __init__(self, subscription: Subscription) -> None:
        super().__init__(subscription)
        self._states: dict[str, ProductState] = dict.fromkeys(subscription.products, "trading")

    def open(self) -> list[bytes]:
        """What is asked for, and the instruments of the same kinds, which say when one is halted."""
        kinds = sorted({_kind(product) for product in self._subscription.products})
        instruments = [{"channel": "instruments", "instType": kind} for kind in kinds]
        return _requests("subscribe", [*self._args(self._subscription.products), *instruments])

    def receive(self, frame: bytes) -> Meaning:
        try:
            message = decode_book(frame)
        except REFUSALS as error:
            return Meaning(None, self._receive_other(frame, error))
        return Meaning(None, (_book_event(message.arg.instId, message.action == "snapshot", message.data[0]),))

    def _salvage(self, arg: Arg, head: Head, frame: bytes, error: Exception) -> Sequence[Event]:
        if arg.channel == "instruments":
            return self._statuses(head)
        return super()._salvage(arg, head, frame, error) if arg.channel != "books" else _rescue(arg, head, frame, error)

    def _statuses(self, head: Head) -> Sequence[Event]:
        """Only what is news. A state of tomorrow is not trading."""
        instruments, flaws = each(head.data, decode_instrument, "instruments")
        events: list[Event] = [*flaws]
        for instrument in instruments:
            state = state_of(instrument.state)
            if self._states.get(instrument.instId, state) != state:
                self._states[instrument.instId] = state
                events.append(ProductStatus(instrument.instId, state))
        return events


class OkxTradesFeed(OkxConnection):
    """One connection to the business address: every fill by itself. Nothing is sent of before the subscription."""

    venue: ClassVar[str] = "okx_trades"
    channels: ClassVar[dict[str, str]] = {"trades": "trades-all"}
    facts: ClassVar[FeedFacts] = FeedFacts(
        book_products_per_connection=25,
        connects_per_s=3,
        messages_per_s=3,
        quiet_s=15,
        ping=PING,
        ping_after_s=5,
        has_dense_ids=False,
    )
    integrity: ClassVar[Integrity] = "none"

    def receive(self, frame: bytes) -> Meaning:
        try:
            message = decode_trades(frame)
        except REFUSALS as error:
            return Meaning(None, self._receive_other(frame, error))
        return Meaning(None, [trade(one, is_live=True) for one in message.data])

    def _salvage(self, arg: Arg, head: Head, frame: bytes, error: Exception) -> Sequence[Event]:
        if arg.channel not in ("trades-all", "trades"):
            return super()._salvage(arg, head, frame, error)
        raws = maybe(msgspec.json.Decoder(list[Raw]).decode, head.data)
        if raws is None:
            return (unusable("trades", frame, error, product=arg.instId or None),)
        return [trade_or_flaw(arg.instId, raw, is_live=True) for raw in raws]


def trade(wire: WireTrade, *, is_live: bool) -> Trade:
    return Trade(wire.instId, wire.tradeId, wire.px, wire.sz, wire.side, wire.ts * 1_000_000, is_live)


def trade_or_flaw(symbol: str, part: Raw, *, is_live: bool) -> Trade | Unusable:
    """A trade by itself, on the wire or from REST."""
    try:
        return trade(decode_trade(part), is_live=is_live)
    except REFUSALS as error:
        flaw = unusable("trades", part, error, product=symbol)
        identity = maybe(decode_identity, part)
        trade_id = None if identity is None else maybe(decode_trade_id, identity.tradeId)
        return msgspec.structs.replace(flaw, trade_id=trade_id)


def state_of(state: str) -> ProductState:
    """What the venue's word for a state means: only ``live`` is trading."""
    return "trading" if state == "live" else "halted"


def sizes(side: Iterable[WireLevel]) -> dict[float, float]:
    return {level.price: level.size for level in side}


def _book_event(product: str, is_snapshot: bool, data: BookData) -> Snapshot | MapDelta:
    link = None if data.seqId is None else Link(last=data.seqId, previous=data.prevSeqId)
    bids, asks = sizes(data.bids), sizes(data.asks)
    if is_snapshot:
        return Snapshot(product, bids, asks, link)
    return MapDelta(product, bids, asks, len(data.bids) + len(data.asks), link)


def _rescue(arg: Arg, head: Head, frame: bytes, error: Exception) -> Sequence[Event]:
    """What can be used of a frame of a book that the strict decoder refuses."""
    action = maybe(decode_action, head.action)
    kind: BookEvent = "snapshot" if action == "snapshot" else "delta"
    product = arg.instId or None
    try:
        (parts,) = decode_book_parts(head.data)
        is_snapshot = decode_action(head.action) == "snapshot"
        bids, bids_out = levels(parts.bids, decode_level, decode_loose_level, is_snapshot=is_snapshot)
        asks, asks_out = levels(parts.asks, decode_level, decode_loose_level, is_snapshot=is_snapshot)
    except REFUSALS as refused:
        return (unusable("book", frame, refused, product=product, book_event=kind),)
    if product is None:
        return (unusable("book", frame, error, book_event=kind),)
    data = BookData(asks, bids, parts.prevSeqId, parts.seqId)
    return (_book_event(product, is_snapshot, data), *left_out(product, bids_out + asks_out))


def _requests(action: str, args: Sequence[dict[str, str]]) -> list[bytes]:
    batches = (args[first : first + ARGS_PER_MESSAGE] for first in range(0, len(args), ARGS_PER_MESSAGE))
    return [msgspec.json.encode({"op": action, "args": batch}) for batch in batches]


def _words(head: Head) -> str:
    code, message = (maybe(decode_text, part) or "" for part in (head.code, head.msg))
    return f"{code} {message}".strip()


def _kind(product: str) -> str:
    """``instType`` of a symbol."""
    found = CONTRACT.search(product)
    if found is None:
        return "SPOT"
    return "SWAP" if found[1] else "FUTURES"
