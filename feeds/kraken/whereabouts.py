"""When was the trade of an id? A guess from what has been seen, for a venue that gives trades by time only.

A request costs a second, so few must do. Between two trades seen it takes turns: to interpolate, which a steady market
needs once; to go on at the pace just below, which leads through a burst; to halve the time, which always ends. Before
the oldest one it goes back at the pace of all that is known, ever further. The trades wanted next are mostly those
after a page just had.
"""

from __future__ import annotations

from bisect import bisect_left

PAGE_TRADES = 1000

AIM = PAGE_TRADES // 4
"""How many trades before the wanted one a page should begin: guesses err to both sides, and a page goes upwards."""

NEAR = PAGE_TRADES // 2
"""A trade seen so little before the wanted one is where to begin."""

MARGIN_NS = 1_000_000
"""REST rounds the times of its trades."""

LONG_AGO_NS = 24 * 3600 * 1_000_000_000
"""How far back to look where nothing is known of the pace."""

MOST_SEEN = 2000
"""Remembered of each product: some 200 kB. Of more every other one is forgotten."""


class Whereabouts:
    """Ids of one product's trades with their times, both rising."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, int]] = []

    def learn(self, trade_id: int, time_ns: int) -> None:
        """That a trade was then, or before."""
        if len(self._seen) >= MOST_SEEN:
            del self._seen[1:-1:2]
        place = bisect_left(self._seen, (trade_id, 0))
        if place < len(self._seen) and self._seen[place][0] == trade_id:
            self._seen[place] = (trade_id, min(time_ns, self._seen[place][1]))
        else:
            self._seen.insert(place, (trade_id, time_ns))

    def since_ns(self, wanted: int, look: int) -> int | None:
        """Where a page is to begin that has the wanted id in it; None for the newest page, 0 for the very first.

        ``look`` counts the guesses of one search, from 0.
        """
        place = bisect_left(self._seen, (wanted, 0))
        if place == len(self._seen):
            near = self._seen[-1] if self._seen else None
            return self._from(near) if near is not None and wanted - near[0] <= NEAR else None
        later = self._seen[place]
        if place == 0:
            if wanted <= AIM:
                return 0
            pace_ns = _pace_ns(later, self._seen[-1]) if len(self._seen) > 1 else LONG_AGO_NS
            back_ns = (later[0] - wanted + AIM) * pace_ns << (look // 2)
            return max(later[1] - back_ns, 0)
        earlier = self._seen[place - 1]
        if wanted - earlier[0] <= NEAR:
            return self._from(earlier)
        aim = wanted - AIM - earlier[0]
        match look % 3:
            case 0:
                guess_ns = earlier[1] + round((later[1] - earlier[1]) * (aim / (later[0] - earlier[0])))
            case 1 if place > 1:
                guess_ns = earlier[1] + aim * _pace_ns(self._seen[place - 2], earlier)
            case _:
                guess_ns = (earlier[1] + later[1]) // 2
        return min(max(guess_ns, self._from(earlier)), later[1])

    def _from(self, seen: tuple[int, int]) -> int:
        return seen[1] - MARGIN_NS


def _pace_ns(earlier: tuple[int, int], later: tuple[int, int]) -> int:
    """Nanoseconds from one trade to the next."""
    return max((later[1] - earlier[1]) // (later[0] - earlier[0]), 1)
