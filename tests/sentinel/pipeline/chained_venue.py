"""Tiny venues whose books have chains of their own, and a feed that reads them: JSON, one event a frame."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from msgspec.structs import replace

from book.events import Event, Heartbeat, Integrity, Link, MapDelta, Meaning, Snapshot, Subscribed, Unusable
from feeds.errors import Undecodable
from feeds.protocol import FeedFacts, Subscription
from sentinel.pipeline import FetchBook, Pipeline, Settings
from tests.sentinel.pipeline.venue import plan

FACTS = FeedFacts(
    book_products_per_connection=50,
    connects_per_s=1,
    messages_per_s=5,
    quiet_s=25,
    snapshot_deadline_s=10,
    quiet_book_s=20,
    ping=b"ping",
    ping_after_s=10,
)
RANGE = replace(FACTS, chain="range", resync="fetch")
PREVIOUS = replace(FACTS, chain="previous")
BOTH = replace(PREVIOUS, resync="both")
CHECKSUM = replace(FACTS, chain="checksum", depth=2)


class ChainedFeed:
    """``{"event":"snapshot"|"delta","product":...,"bids":[["99.0","1.0"]],"asks":[...],"link":{...}}``

    With ``"is_spoilt":true``, a level more could not be read.
    """

    venue: ClassVar[str] = "chained"
    exchange: ClassVar[str] = "toy"
    facts = FACTS
    integrity: ClassVar[Integrity] = "sequence"
    has_single_changes = False
    first_sequence: int | None = None

    def __init__(self, subscription: Subscription, facts: FeedFacts) -> None:
        self.facts = facts  # type: ignore[misc]
        self._subscription = subscription

    def open(self) -> list[bytes]:
        return self.subscribe(self._subscription.products)

    def receive(self, frame: bytes) -> Meaning:
        try:
            message: dict[str, Any] = json.loads(frame)
        except ValueError as error:
            raise Undecodable(self.venue, str(error), frame) from error
        match message["event"]:
            case "beat":
                return Meaning(None, (Heartbeat(None),))
            case "subscribed":
                return Meaning(None, (Subscribed({"book": frozenset(message["products"])}),))
        product, levels = message["product"], [*message["bids"], *message["asks"]]
        bids, asks = ({float(price): float(size) for price, size in message[name]} for name in ("bids", "asks"))
        link = Link(**message["link"], digits=[digits_of(*level) for level in levels])
        event: Event = MapDelta(product, bids, asks, len(levels), link)
        if message["event"] == "snapshot":
            event = Snapshot(product, bids, asks, link)
        spoilt = Unusable(product, "book", "odd", frame, book_event=message["event"])
        return Meaning(None, (event, spoilt) if message.get("is_spoilt") else (event,))

    def subscribe(self, products: Sequence[str]) -> list[bytes]:
        return [json.dumps({"type": "subscribe", "products": list(products)}).encode()]

    def resubscribe(self, products: Sequence[str]) -> list[bytes]:
        return [json.dumps({"type": "resubscribe", "products": list(products)}).encode()]

    def outbox(self) -> list[bytes]:
        return []


Sizes = Sequence[tuple[str, str]]


def digits_of(*numbers: str) -> str:
    return "".join(number.replace(".", "").lstrip("0") for number in numbers)


def checksum(bids: Sizes, asks: Sizes) -> int:
    """Of whole sides, best first."""
    return zlib.crc32("".join(digits_of(*level) for level in (*asks, *bids)).encode())


def frame(
    event: Literal["snapshot", "delta"],
    product: str,
    bids: Sizes,
    asks: Sizes,
    *,
    is_spoilt: bool = False,
    **link: int,
) -> bytes:
    said = {"event": event, "product": product, "bids": bids, "asks": asks, "link": link, "is_spoilt": is_spoilt}
    return json.dumps(said).encode()


BEAT = b'{"event":"beat"}'


def chained(facts: FeedFacts, *products: str) -> Pipeline:
    """A collector of one connection to such a venue."""
    plans = [plan(0, "book", products=products or ("BTC-USD",))]
    return Pipeline(Settings("tester"), plans, lambda planned: ChainedFeed(planned.subscription, facts))


def fetches(pipe: Pipeline) -> list[str]:
    """The products whose books are to be fetched; empties the commands of them."""
    found = [command.symbol for command in pipe.commands if isinstance(command, FetchBook)]
    pipe.commands[:] = [command for command in pipe.commands if not isinstance(command, FetchBook)]
    return found
