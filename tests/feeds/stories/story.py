"""Each venue as one who tells: of two products, frame by frame, in its own words, and answering what it is asked.

``dialects`` has one frame of each kind by itself; here they hang together. Whatever is told advances the venue's own
numbers, so a frame that is not delivered is one that is lost. Each product has a bid at 99.0 and an ask at 101.0: what
changes is the size of this bid, or a bid below it or above the ask. ``Story.truth`` remembers which size it had when.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import ClassVar, Literal

from book.events import Sizes
from tests.feeds.dialects import DIALECTS, Request

MS = 1_000_000

BID, DEEPER, CROSSING, ASK = "99.0", "98.0", "102.0", "101.0"

Change = tuple[str, str, str]
"""``bid`` or ``ask``, price and size as they are written; the size 0 deletes."""

Reset = Literal["counter", "lower ids", "chained", "unchained", "snapshot"]
"""What shows that the venue has begun to number anew on a connection: its counter is 0 again; the ranges of ids are
lower; they are lower and the chain says so; they are lower and it does not; nothing but a snapshot nobody asked for."""


def instant(ns: int) -> str:
    """As most venues write it: to the microsecond."""
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns // 1000 % 10**6:06d}Z"


def packed(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


class Story(ABC):
    """One venue. ``at_ns`` is its time of what it tells.

    ``refuses``: what a name it does not know costs, the ``product`` alone or the whole ``request`` it was in; ``words``
    are among those that tell so.
    ``numbers_trades`` unless their ids skip as a rule, so that one that does not come is missed by nobody.
    ``reset`` is how it shows that it numbers anew, ``states`` are its words of what can be done with a product.
    """

    feed: ClassVar[str]
    trades_feed: ClassVar[str | None] = None
    """The feed of its trades, where that is another one."""
    products: ClassVar[tuple[str, str]]
    words: ClassVar[str]
    refuses: ClassVar[Literal["product", "request"]] = "product"
    numbers_trades: ClassVar[bool] = True
    reset: ClassVar[Reset]
    states: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        self.bids = {product: {BID: 1} for product in self.products}
        self.ids = dict.fromkeys(self.products, 1000)
        """Of the last change of a book, where the venue has such ids."""
        self.truth: dict[str, list[tuple[int, int]]] = {product: [(0, 1)] for product in self.products}
        self.newest = dict.fromkeys(self.products, 0)
        """The id of the last trade."""

    # The conversation

    def connect(self) -> None:
        """A new connection begins, on which nothing is served yet, by channel."""
        self.served: dict[str, list[str]] = {}

    def read(self, message: bytes) -> Request:
        """What a message asks for."""
        return DIALECTS[self.feed].read(message)

    @abstractmethod
    def answers(self, messages: Sequence[bytes], refused: Collection[str] = ()) -> list[bytes]:
        """What it says to what is sent to it on one connection; it does not know the products ``refused``."""

    @abstractmethod
    def beat(self) -> bytes:
        """A sign of life that says nothing of any book."""

    def unknown(self) -> bytes:
        return DIALECTS[self.feed].unknown

    def state(self, product: str, word: str) -> bytes:
        """That this can be done with it from now on; only where there are ``states``."""
        raise NotImplementedError

    # Books

    @abstractmethod
    def tell_book(self, product: str, changes: Sequence[Change], at_ns: int, *, is_whole: bool) -> bytes:
        """The snapshot of a book, or what changes in it."""

    def whole(self, product: str) -> list[Change]:
        return [*(("bid", price, f"{size}.0") for price, size in self.best_bids(product)), ("ask", ASK, "1.0")]

    def best_bids(self, product: str) -> list[tuple[str, int]]:
        """Falling."""
        return sorted(self.bids[product].items(), key=lambda level: float(level[0]), reverse=True)

    def snapshot(self, product: str, at_ns: int) -> bytes:
        return self.tell_book(product, self.whole(product), at_ns, is_whole=True)

    def change(self, product: str, size: int, at_ns: int) -> bytes:
        """The bid has this size from now on."""
        self.truth[product].append((at_ns, size))
        return self._change(product, BID, size, at_ns)

    def deepen(self, product: str, size: int, at_ns: int) -> bytes:
        """The bid below it has this size from now on."""
        return self._change(product, DEEPER, size, at_ns)

    def cross(self, product: str, at_ns: int, *, is_crossed: bool) -> bytes:
        """A bid comes that is above the ask, or it goes."""
        return self._change(product, CROSSING, int(is_crossed), at_ns)

    def _change(self, product: str, price: str, size: int, at_ns: int) -> bytes:
        bids = {**self.bids[product], price: size}
        self.bids[product] = {price: size for price, size in bids.items() if size}
        return self.tell_book(product, [("bid", price, f"{size}.0")], at_ns, is_whole=False)

    def numbers(self, change: bytes) -> tuple[int, int] | None:
        """The first and last number that is missing if this frame is, where the venue numbers anything."""
        return None

    def stands(self, product: str, at_ns: int) -> bytes | None:
        """That a book has not changed, where the venue has a word for it."""
        return None

    def fetched(self, product: str) -> tuple[int, Sizes, Sizes]:
        """What REST says of a book: the id of its last change, bids, asks."""
        bids = {float(price): float(size) for price, size in self.bids[product].items()}
        return self.ids[product], bids, {float(ASK): 1.0}

    def restart(self) -> None:
        """It numbers anew from here, on the same connection."""
        self.ids = dict.fromkeys(self.products, 3)

    # Trades

    @abstractmethod
    def tell_trade(self, product: str, trade_id: int, at_ns: int) -> bytes:
        """One at 100.5 of 0.25, in which the taker sold."""

    def trade(self, product: str, trade_id: int, at_ns: int) -> bytes:
        self.newest[product] = trade_id
        return self.tell_trade(product, trade_id, at_ns)


def sides(changes: Iterable[Change], side: str) -> list[list[str]]:
    return [[price, size] for of, price, size in changes if of == side]
