"""Numbers for trades, of which Bybit numbers some.

On spot a trade has a number of the venue's, which is its id. A linear contract's trade has a UUID. Its id is its time
in nanoseconds, and its place among the trades of that millisecond: so ids rise, are the same on every connection, and
no two trades of a millisecond share a point (``point_ns``).
"""

from __future__ import annotations

NS_PER_MS = 1_000_000
MILLISECONDS_KEPT = 256
"""Of which trades are remembered, over all products: frames may come twice, or in another order."""

LARGEST = 2**62


class TradeIds:
    """Those of one connection, or of one answer of REST, in the order in which the trades come."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, int], dict[str, int]] = {}

    def of(self, product: str, ms: int, execution_id: str) -> int:
        """The same one for the same trade.

        Raises:
            ValueError: for a number that cannot be an id.
        """
        if execution_id.isdecimal():
            number = int(execution_id)
            if not 0 < number < LARGEST:
                raise ValueError(f"no id: {execution_id}")
            return number
        places = self._places.get((product, ms))
        if places is None:
            places = self._places[product, ms] = {}
            if len(self._places) > MILLISECONDS_KEPT:
                del self._places[next(iter(self._places))]
        return ms * NS_PER_MS + places.setdefault(execution_id, len(places))
