"""What a dialect says of its venue beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from sentinel.simulator.faults import Kind


class DialectFacts(Struct, frozen=True, kw_only=True):
    """What is known of a venue's exchange and does not change."""

    name: str
    """As people write it."""
    feeds: tuple[str, ...]
    """Each is a WebSocket, and a ``feed`` of fault and truth files. The first has the books."""
    paths: Mapping[str, str] = {}
    """Where the venue has the WebSocket of a feed, if not at the name of it."""
    rests: tuple[str, ...] = ("rest",)
    """What the addresses of REST are called: here all are the same."""
    book_channel: str
    """What fault files call the frames of books."""
    channels: dict[str, tuple[str, ...]] = {}
    """By feed, what they call the frames that are worth a fault of their own; those of books, where it is not said."""
    faults: frozenset[Kind]
    """Those that can happen to it."""
    product_name: str = "{}-USD"
    """How a product of a base currency is called, where only their number was asked for."""
    has_product_numbers: bool = False
    """Whether the numbers of a frame are its product's own, and not the connection's."""
    has_checksums: bool = False
    """Whether it says the checksum of a book with each frame of it."""
    time_step_us: int = 1
    """What the times of its trades are whole multiples of."""
    subscribe_within_s: float = 5.0
    """Who has not said anything by then is closed."""
    rest_per_s: float
    """REST requests, or their weights."""
    rest_burst: float
    weigh: Callable[[str, Mapping[str, str]], int] = lambda path, query: 1
    """What a request weighs."""
