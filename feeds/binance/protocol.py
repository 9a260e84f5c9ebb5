"""What Binance's spot streams mean: for each book a chain of ranges of update ids, trades by dense ids, nothing more.

There is no sign of life of the venue's own but WebSocket pings, so the feed asks which streams there are when nothing
has come for a while. A stream of a symbol that does not exist is acknowledged like any other and stays silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec import Raw

from book.events import (
    Closing,
    Event,
    Heartbeat,
    Integrity,
    Link,
    MapDelta,
    Meaning,
    Refused,
    Subscribed,
    Trade,
    Unknown,
)
from feeds.binance.messages import (
    MICROSECONDS_FROM,
    Any,
    Depth,
    Shutdown,
    Trouble,
    WireTrade,
    decode_any,
    decode_depth_parts,
    decode_event,
    decode_id,
    decode_level,
    decode_loose_level,
    decode_names,
    decode_trouble,
    decode_wrapped,
)
from feeds.errors import REASON_CHARS, Undecodable, Unplannable
from feeds.protocol import FeedFacts, Subscription, by_message
from feeds.salvage import REFUSALS, left_out, levels, maybe, name_of, unusable

CHANNELS = {"book": "@depth@100ms", "trades": "@trade"}
"""What follows the symbol, in small letters, in the name of a stream."""

LIST_ID = 0
LIST = msgspec.json.encode({"method": "LIST_SUBSCRIPTIONS", "id": LIST_ID})
WRAPPED = b'{"stream"'


class BinanceFeed:
    """One connection to ``wss://stream.binance.com:9443/stream``, or to ``/ws``.

    The venue takes 5 messages a second on a connection, pongs included, 1024 streams, and 300 connections in 5 minutes
    from one address. It ends every connection after 24 hours, and earlier with ``serverShutdown``.

    Raises:
        Unplannable: for an unknown channel.
    """

    venue: ClassVar[str] = "binance"
    exchange: ClassVar[str] = "binance"
    facts: ClassVar[FeedFacts] = FeedFacts(
        book_products_per_connection=500,
        streams_per_connection=1024,
        products_per_message=100,  # two streams each: a message stays near 5 kB
        connects_per_s=1,
        messages_per_s=4,
        quiet_s=20,
        ping=LIST,
        ping_after_s=8,
        chain="range",
        quiet_book_s=300,
        resync="fetch",
        lifetime_s=86_400,
    )
    integrity: ClassVar[Integrity] = "sequence"
    first_sequence: int | None = None
    has_single_changes = False

    def __init__(self, subscription: Subscription) -> None:
        unknown = subscription.channels - CHANNELS.keys()
        if unknown:
            raise Unplannable(f"{self.venue} has no channel {', '.join(sorted(unknown))}")
        self._subscription = subscription
        self._names = {
            product.lower() + stream: (ours, product)
            for ours, stream in CHANNELS.items()
            if ours in subscription.channels
            for product in subscription.products
        }
        self._asked: dict[int, list[str]] = {}
        self._served: set[str] = set()
        self._last_id = LIST_ID

    def open(self) -> list[bytes]:
        """One message, or several for many products."""
        return self.subscribe(self._subscription.products)

    def subscribe(self, products: Sequence[str]) -> list[bytes]:
        return [self._request(some) for some in by_message(self.facts, products)]

    def resubscribe(self, products: Sequence[str]) -> list[bytes]:
        """Nothing: books are fetched, and their changes go on."""
        return []

    def outbox(self) -> list[bytes]:
        """Nothing: pings are frames of WebSocket, answered where the socket is."""
        return []

    def _request(self, products: Sequence[str]) -> bytes:
        self._last_id += 1
        streams = [
            product.lower() + CHANNELS[ours] for ours in sorted(self._subscription.channels) for product in products
        ]
        self._asked[self._last_id] = streams
        return msgspec.json.encode({"method": "SUBSCRIBE", "params": streams, "id": self._last_id})

    def receive(self, frame: bytes) -> Meaning:
        """What the frame means.

        Raises:
            FeedError: for any bytes that are not a valid frame, and nothing else.
        """
        try:
            event = decode_wrapped(frame).data if frame.startswith(WRAPPED) else decode_event(frame)
        except REFUSALS as error:
            return Meaning(None, self._receive_other(frame, error))
        if type(event) is Depth:  # the hot path
            bids, asks = event.b, event.a
            link = Link(event.u, event.U)
            return Meaning(None, (MapDelta(event.s, dict(bids), dict(asks), len(bids) + len(asks), link),))
        if type(event) is WireTrade:
            return Meaning(None, (trade(event),))
        return Meaning(None, (Closing(Shutdown.__struct_config__.tag),))  # type: ignore[arg-type]

    def _receive_other(self, frame: bytes, error: Exception) -> Sequence[Event]:
        """An answer, an event with something odd in it or wrapped another way, or one of tomorrow."""
        outer = self._read(frame, frame)
        trouble = maybe(decode_trouble, outer.error) or maybe(decode_trouble, Raw(frame))
        if trouble is not None:
            return (self._refused(outer, trouble),)
        stream = name_of(outer.stream)
        if stream is not None:
            return self._event(frame, bytes(outer.data), self._read(bytes(outer.data), frame), stream, error)
        request = maybe(decode_id, outer.id)
        if request is not None:
            return self._answered(request, outer.result)
        return self._event(frame, frame, outer, "", error)

    def _read(self, part: bytes, frame: bytes) -> Any:
        try:
            return decode_any(part)
        except REFUSALS as torn:
            raise Undecodable(self.venue, str(torn), frame) from torn

    def _event(self, frame: bytes, part: bytes, parts: Any, stream: str, error: Exception) -> Sequence[Event]:
        kind = name_of(parts.e) or stream.partition("@")[2]
        match kind:
            case "depthUpdate":
                return self._odd_depth(part, parts, error)
            case "trade":
                try:
                    found = decode_event(part)
                except REFUSALS as odd:
                    return (unusable("trades", part, odd, product=name_of(parts.s), trade_id=parts.t),)
                return (trade(found),) if isinstance(found, WireTrade) else ()
            case "serverShutdown":
                return (Closing(kind),)
            case "":
                raise Undecodable(self.venue, str(error), frame) from error
            case _:
                return (Unknown(kind),)

    def _odd_depth(self, part: bytes, parts: Any, error: Exception) -> Sequence[Event]:
        product = name_of(parts.s)
        try:
            depth = decode_depth_parts(part)
            bids, bids_out = levels(depth.b, decode_level, decode_loose_level, is_snapshot=False)
            asks, asks_out = levels(depth.a, decode_level, decode_loose_level, is_snapshot=False)
        except REFUSALS as odd:
            return (unusable("book", part, odd, product=product, book_event="delta"),)
        if not product:
            return (unusable("book", part, error, book_event="delta"),)
        delta = MapDelta(
            product,
            {level.price: level.size for level in bids},
            {level.price: level.size for level in asks},
            len(bids) + len(asks),
            Link(depth.u, depth.U),
        )
        return (delta, *left_out(product, bids_out + asks_out))

    def _refused(self, answer: Any, trouble: Trouble) -> Event:
        self._asked.pop(maybe(decode_id, answer.id) or LIST_ID, None)
        return Refused(None, f"{trouble.code}: {trouble.msg}"[:REASON_CHARS])

    def _answered(self, request: int, result: Raw) -> Sequence[Event]:
        """What is served adds up; a list says what is served at the moment, all of it."""
        names = maybe(decode_names, result)
        if names is not None:
            self._served = self._names.keys() & names
            return (self._subscribed(), Heartbeat(None)) if request == LIST_ID else (self._subscribed(),)
        asked = self._asked.pop(request, None)
        if asked is None:
            return (Unknown("answer to nothing"),)
        self._served.update(asked)
        return (self._subscribed(),)

    def _subscribed(self) -> Subscribed:
        served: dict[str, set[str]] = {ours: set() for ours in self._subscription.channels}
        for stream in self._served & self._names.keys():
            ours, product = self._names[stream]
            served[ours].add(product)
        return Subscribed({ours: frozenset(products) for ours, products in served.items()})


def instant_ns(time: int) -> int:
    """Nanoseconds, whichever unit the venue was asked for."""
    return time * (1_000 if time >= MICROSECONDS_FROM else 1_000_000)


def trade(wire: WireTrade, *, is_live: bool = True) -> Trade:
    """``m``: the buyer was the maker, so the taker sold."""
    return Trade(wire.s, wire.t, wire.p, wire.q, "sell" if wire.m else "buy", instant_ns(wire.T), is_live)
