"""Which id is the first one of a time, asked of a venue that only knows ids."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from book.events import Trade

PROBE_IDS = 100
"""Asked for at each place: the venue may lack some, and where ids are not dense most of them."""

FIRST_STEP_IDS = 10_000

Fetch = Callable[[int, int], Awaitable[Sequence[Trade]]]
"""The trades of ``first`` to ``last`` that the venue has, oldest first."""


async def first_id_from(fetch: Fetch, at_ns: int, before_id: int) -> int:
    """The lowest id below ``before_id`` whose trade is not older than ``at_ns``; ``before_id`` if there is none.

    Strides back in doubling steps until a trade is older, or the venue has none, then halves what is left between. What
    the venue does not have any more counts as older. Cost: O(log of the distance) requests.
    """
    low, high = 1, before_id
    step = FIRST_STEP_IDS
    while high > 1:
        place = max(1, high - step)
        found = await fetch(place, min(place + PROBE_IDS, high) - 1)
        if not found or found[0].venue_ns < at_ns:
            low = place
            break
        high, step = found[0].trade_id, 2 * step
    while low < high:
        place = (low + high) // 2 if high - low > PROBE_IDS else low
        end = min(place + PROBE_IDS, high)
        found = await fetch(place, end - 1)
        late = next((trade for trade in found if trade.venue_ns >= at_ns), None)
        if late is None:
            low = end
        elif late is found[0]:
            high = late.trade_id
            if place == low:
                break
        else:
            return late.trade_id
    return high
