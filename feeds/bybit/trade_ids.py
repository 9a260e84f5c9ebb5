"""Numbers for trades, of which Bybit numbers some.

On spot a trade has a number of the venue's, which is its id. A linear contract's trade has a UUID, and the number of
the venue's step, ``seq``, in which its order swept the book. That number never falls, and the trades of one step come
in one frame (110 of 110 steps, recording; not promised): so a frame that is lost takes all of them, and each place
within a step is the same for everybody who has some of it: another connection, REST, another run or host.

The id is the time in nanoseconds: the venue's millisecond, the step as its microsecond, and the place within the step.
So no two trades share an id or a point (``point_ns``), and ids rise, but where a millisecond has two steps on both
sides of a multiple of ``STEPS``. Steps that many apart in one millisecond share their places, in order of coming.
"""

from __future__ import annotations

NS_PER_MS = 1_000_000
STEPS = 1_000
"""Steps of a millisecond that can be told apart; 47 is the widest that one has been seen to reach."""

PLACES = NS_PER_MS // STEPS
"""Trades of a step; 46 are the most that have been seen."""

STEPS_KEPT = 256
"""Of which trades are remembered, over all products: frames may come twice, or in another order."""

LARGEST = 2**62


class TradeIds:
    """Those of one connection, or of one answer of REST, in the order in which the trades come."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, int], dict[str, int]] = {}

    def of(self, product: str, ms: int, execution_id: str, step: int | None) -> tuple[int, int]:
        """A trade's id, and its time in nanoseconds: the same for the same trade.

        Raises:
            ValueError: for what cannot have an id.
        """
        if execution_id.isdecimal():
            number = int(execution_id)
            if not 0 < number < LARGEST:
                raise ValueError(f"no id: {execution_id}")
            return number, ms * NS_PER_MS
        if step is None:
            raise ValueError(f"no seq: {execution_id}")
        step_ns = ms * NS_PER_MS + step % STEPS * PLACES
        places = self._places.get((product, step_ns))
        if places is None:
            places = self._places[product, step_ns] = {}
            if len(self._places) > STEPS_KEPT:
                del self._places[next(iter(self._places))]
        place = places.get(execution_id, len(places))
        if place >= PLACES:
            raise ValueError(f"no place in its step: {execution_id}")
        places[execution_id] = place
        return step_ns + place, step_ns


def asked_from(first: int, last: int) -> int:
    """Of the ids from ``first`` to ``last`` that are asked for, the first that REST may answer: the one before is held,
    and whoever has only some of a step may have given one trade the place of another. What is asked of a single step
    lies between places that are known."""
    next_step = -(-first // PLACES) * PLACES
    return next_step if next_step <= last else first
