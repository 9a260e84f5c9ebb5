"""What Deribit means: a chain of ids for each book, trades by dense numbers, and answers that say what is granted.

The list in an answer to a subscription holds what was accepted, and nothing says what was not: what is asked for and
absent is refused. A heartbeat of the type ``test_request`` has to be answered, or the venue hangs up; the answers are
also what keeps a gateway from closing a socket on which a client says nothing for 30 s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec
from msgspec import Raw

from book.events import (
    Event,
    Heartbeat,
    Integrity,
    Link,
    MapDelta,
    Meaning,
    ProductState,
    ProductStatus,
    Refused,
    Sizes,
    Snapshot,
    Subscribed,
    Unknown,
    Unusable,
)
from feeds.deribit.messages import (
    Book,
    BookKind,
    Error,
    Level,
    Message,
    decode_book,
    decode_book_kind,
    decode_book_parts,
    decode_channels,
    decode_error,
    decode_instrument_state,
    decode_level,
    decode_loose_level,
    decode_message,
    decode_platform_state,
)
from feeds.deribit.trades import NS_PER_MS, read_trades
from feeds.errors import REASON_CHARS, Undecodable, Unplannable
from feeds.protocol import FeedFacts, Subscription
from feeds.salvage import NOTHING, REFUSALS, decode_text, left_out, levels, maybe, unusable
from feeds.timestamps import possible_ns

INTERVAL = "100ms"
"""The quickest that is served without a login: ``raw`` is refused with error 13778."""

TIME = re.compile(rb'"timestamp"\s*:\s*(\d{1,16})')

OURS = ("trades", "book")
"""Our names of the channels, which are theirs: trades first."""

STATES = ("instrument.state.future.any", "instrument.state.option.any", "instrument.state.spot.any", "platform_state")
"""What tells of instruments that come, go or may not be traded. A kind ``any`` is not among those documented for all
who speak this dialect."""

CHANNELS_PER_MESSAGE = 100
HEARTBEAT_S = 10
"""The shortest interval the venue takes."""

STATE_WORDS: dict[str, ProductState] = {
    "created": "halted",
    "inactive": "halted",
    "started": "trading",
    "open": "trading",
    "settled": "trading",
    "settlement": "halted",
    "locked": "halted",
    "halted": "halted",
    "closed": "delisted",
    "delivered": "delisted",
    "archivized": "delisted",
    "terminated": "delisted",
}
"""States of instruments in the channel and of their books in REST. Which words the channel uses is unconfirmed."""


class DeribitFeed:
    """One connection to ``wss://www.deribit.com/ws/api/v2``, without a login.

    Raises:
        Unplannable: for an unknown channel.
    """

    venue: ClassVar[str] = "deribit"
    exchange: ClassVar[str] = "deribit"
    facts: ClassVar[FeedFacts] = FeedFacts(
        book_products_per_connection=100,
        connects_per_s=2,
        messages_per_s=3,
        quiet_s=2.5 * HEARTBEAT_S,
        chain="previous",
        quiet_book_s=120,
        look_after_s=60,
    )
    integrity: ClassVar[Integrity] = "sequence"
    first_sequence: int | None = None
    has_single_changes = False

    def __init__(self, subscription: Subscription) -> None:
        unknown = subscription.channels.difference(OURS)
        if unknown:
            raise Unplannable(f"{self.venue} has no channel {', '.join(sorted(unknown))}")
        self._subscription = subscription
        self._channels = [ours for ours in OURS if ours in subscription.channels]
        self._served: dict[str, set[str]] = {ours: set() for ours in self._channels}
        self._asked: dict[int, list[str]] = {}
        self._dropped: set[int] = set()
        self._outbox: list[bytes] = []
        self._last_request = 0

    # What is said

    def open(self) -> list[bytes]:
        """Signs of life first: they keep the connection."""
        heartbeat = self._request("public/set_heartbeat", {"interval": HEARTBEAT_S})
        return [heartbeat, *self.subscribe(self._subscription.products), *self._subscribe(STATES)]

    def subscribe(self, products: Sequence[str]) -> list[bytes]:
        return self._subscribe([_channel(ours, product) for product in products for ours in self._channels])

    def resubscribe(self, products: Sequence[str]) -> list[bytes]:
        """Only a new subscription is sure to begin with a snapshot."""
        channels = [_channel("book", product) for product in products]
        dropped = self._in_messages("public/unsubscribe", channels)
        self._dropped.update(range(self._last_request - len(dropped) + 1, self._last_request + 1))
        return [*dropped, *self._subscribe(channels)]

    def outbox(self) -> list[bytes]:
        """Answers to the venue's tests."""
        messages, self._outbox = self._outbox, []
        return messages

    def _subscribe(self, channels: Sequence[str]) -> list[bytes]:
        return self._in_messages("public/subscribe", channels)

    def _in_messages(self, method: str, channels: Sequence[str]) -> list[bytes]:
        messages = []
        for first in range(0, len(channels), CHANNELS_PER_MESSAGE):
            some = list(channels[first : first + CHANNELS_PER_MESSAGE])
            messages.append(self._request(method, {"channels": some}))
            self._asked[self._last_request] = some
        return messages

    def _request(self, method: str, params: dict[str, object]) -> bytes:
        self._last_request += 1
        return msgspec.json.encode({"jsonrpc": "2.0", "id": self._last_request, "method": method, "params": params})

    # What is heard

    def receive(self, frame: bytes) -> Meaning:
        """What the frame means; frames bear no number.

        Raises:
            FeedError: for any bytes that are not a valid frame, and nothing else.
        """
        try:
            message = decode_message(frame)
        except REFUSALS as error:
            raise Undecodable(self.venue, str(error), frame) from error
        params = message.params
        if message.method == "subscription" and params is not None and params.channel:
            return Meaning(None, self._notified(params.channel, params.data))
        if message.method == "heartbeat" and params is not None:
            if params.type == "test_request":
                self._outbox.append(self._request("public/test", {}))
            return Meaning(None, (Heartbeat(None),))
        if message.method or (message.result == NOTHING and message.error == NOTHING):
            if not message.method or message.method == "subscription":
                raise Undecodable(self.venue, "neither a notification nor an answer", frame)
            return Meaning(None, (Unknown(message.method),))
        return Meaning(None, self._answered(message))

    def _notified(self, channel: str, data: Raw) -> Sequence[Event]:
        kind, _, rest = channel.partition(".")
        product = rest.rpartition(".")[0]
        try:
            if kind == "book" and product:
                return (_book(decode_book(data)),)
            if kind == "trades" and product:
                return read_trades(data, product, is_live=True)
            if channel.startswith("instrument.state."):
                change = decode_instrument_state(data)
                return self._states([change.instrument_name], STATE_WORDS.get(change.state), change.state)
            if channel == "platform_state":
                platform = decode_platform_state(data)
                concerned = [
                    product
                    for product in self._subscription.products
                    if platform.price_index in (None, price_index(product))
                ]
                return self._states(concerned, "halted" if platform.locked else "trading", channel)
        except REFUSALS as error:
            return _salvage_book(product, data, error) if kind == "book" else (unusable(kind, data, error),)
        return (Unknown(kind),)

    def _states(self, products: Iterable[str], state: ProductState | None, word: str) -> Sequence[Event]:
        """Of our own products only: the channels are of everything the venue has."""
        if state is None:
            return (Unknown(f"state {word}"),)
        return [ProductStatus(product, state) for product in products if product in self._subscription.products]

    def _answered(self, message: Message) -> Sequence[Event]:
        asked = self._asked.pop(message.id, []) if message.id is not None else []
        is_drop = message.id in self._dropped
        self._dropped.discard(message.id or 0)
        if message.error != NOTHING:
            error = maybe(decode_error, message.error) or Error()
            reason = f"{error.message} ({error.code})"[:REASON_CHARS]
            return _refused(asked, reason) or (Refused(None, reason),)
        granted = maybe(decode_channels, message.result)
        if granted is None:  # of a heartbeat or a test
            return (Heartbeat(None),)
        if is_drop:
            return ()
        for ours, product in map(_parted, granted):
            if ours in self._served:
                self._served[ours].add(product)
        subscribed = Subscribed({ours: frozenset(served) for ours, served in self._served.items() if served})
        return [subscribed, *_refused([channel for channel in asked if channel not in granted], "not granted")]


def _channel(ours: str, product: str) -> str:
    return f"{ours}.{product}.{INTERVAL}"


def _parted(channel: str) -> tuple[str, str]:
    """Our name of a channel, and its product."""
    ours, _, rest = channel.partition(".")
    return ours, rest.rpartition(".")[0]


def _refused(channels: Sequence[str], reason: str) -> list[Refused]:
    """Once for each product; what is of no product is of the connection."""
    products: dict[str | None, list[str]] = {}
    for channel in channels:
        ours, product = _parted(channel)
        products.setdefault(product if ours in OURS else None, []).append(channel)
    return [Refused(product, f"{reason}: {', '.join(of)}"[:REASON_CHARS]) for product, of in products.items()]


def price_index(product: str) -> str:
    """By what an instrument is priced: ``btc_usd`` for ``BTC-PERPETUAL``, ``sol_usdc`` for ``SOL_USDC-PERPETUAL``."""
    pair = product.partition("-")[0].lower()
    return pair if "_" in pair else f"{pair}_usd"


def _book(book: Book) -> Snapshot | MapDelta:
    return _book_event(book.type, book.instrument_name, book.bids, book.asks, book.change_id, book.prev_change_id)


def _book_event(
    kind: str, product: str, bids: list[Level], asks: list[Level], change_id: int, previous: int | None
) -> Snapshot | MapDelta:
    link = Link(last=change_id, previous=previous)
    if kind == "snapshot":
        return Snapshot(product, _sizes(bids), _sizes(asks), link)
    return MapDelta(product, _sizes(bids), _sizes(asks), len(bids) + len(asks), link)


def _sizes(changed: list[Level]) -> Sizes:
    return {level.price: 0.0 if level.action == "delete" else level.size for level in changed}


def book_ns(frame: bytes) -> int | None:
    """The venue's time on a frame of a book, which says it before the levels."""
    found = TIME.search(frame)
    return None if found is None else possible_ns(int(found[1]) * NS_PER_MS)


def _salvage_book(product: str, data: Raw, error: Exception) -> Sequence[Event]:
    """What is left of a book frame that the strict decoder refuses."""
    kind = maybe(decode_book_kind, data) or BookKind()
    is_snapshot = maybe(decode_text, kind.type) == "snapshot"
    try:
        parts = decode_book_parts(data)
        bids, odd_bids = levels(parts.bids, decode_level, decode_loose_level, is_snapshot=is_snapshot)
        asks, odd_asks = levels(parts.asks, decode_level, decode_loose_level, is_snapshot=is_snapshot)
    except REFUSALS:
        return (unusable("book", data, error, product=product, book_event="snapshot" if is_snapshot else "delta"),)
    event = _book_event(parts.type, parts.instrument_name, bids, asks, parts.change_id, parts.prev_change_id)
    flaws: list[Unusable] = left_out(parts.instrument_name, [*odd_bids, *odd_asks])
    return [event, *flaws]
