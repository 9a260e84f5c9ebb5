"""What a dialect says of its venue beforehand."""

from __future__ import annotations

from msgspec import Struct

from sentinel.simulator.faults import Kind


class DialectFacts(Struct, frozen=True, kw_only=True):
    """What is known of a venue's exchange and does not change."""

    name: str
    """As people write it."""
    feeds: tuple[str, ...]
    """Each is a WebSocket at the path of its name, and a ``feed`` of fault and truth files. The first has the books."""
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
    subscribe_within_s: float = 5.0
    """Who has not said anything by then is closed."""
    rest_per_s: float
    """REST requests."""
    rest_burst: float
