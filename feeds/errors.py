"""Everything a feed may raise."""

from __future__ import annotations

EXCERPT_BYTES = 200
REASON_CHARS = 200


class FeedError(Exception):
    """A frame or a request that breaks the venue's protocol. Nothing else leaves a feed, whatever the bytes."""


class Undecodable(FeedError):
    """The frame is not JSON, is truncated, or is without what every frame has: a type, a number.

    ``excerpt`` is the first 200 bytes of the frame: enough to see what it was, little enough to log. ``may_be_book`` is
    False when it was certainly no book event, ``product`` the only one whose book it can have been about, None if that
    cannot be said. On a numbered feed neither matters: its next frame shows a hole, and a hole is everybody's.
    """

    def __init__(
        self,
        venue: str,
        reason: str,
        frame: bytes,
        *,
        may_be_book: bool = True,
        product: str | None = None,
    ) -> None:
        self.excerpt = frame[:EXCERPT_BYTES]
        self.may_be_book = may_be_book
        self.product = product
        super().__init__(f"{venue}: undecodable frame of {len(frame)} bytes: {reason[:REASON_CHARS]}: {self.excerpt!r}")


class Unplannable(FeedError):
    """A subscription the venue cannot serve: an unknown channel, too many products, a missing key."""


class NoAnswer(FeedError):
    """What REST said is of no use; asking again later may help. ``wait_s``: not before so long, whatever is asked."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        self.wait_s = wait_s
        super().__init__(reason)
