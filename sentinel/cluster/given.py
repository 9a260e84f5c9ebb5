"""Which points a reader was given already, though several replicas publish each, in bounded memory. Pure.

Trade ids and grid instants follow each other, so those of some minutes of a market are a few intervals. Where the bound
is reached, what is oldest by its own time is forgotten, and nothing of before is given any more: such a point cannot
be told from one that was given.
"""

from __future__ import annotations

import enum

from sortedcontainers import SortedDict

from book.trade_ledger import Entry, TradeLedger
from feeds.market import Market

SPAN_NS = 600_000_000_000
"""Ids are kept apart by ten minutes of the points' own time: a venue may begin to number anew."""

MOST_INTERVALS = 200_000
"""Some 60 MB; of 100 dense markets two weeks, of 1,000 markets a day and a half."""


class Turn(enum.Enum):
    """What a point is to a reader."""

    NEW = "new"
    AGAIN = "again"
    """It was given."""
    LATE = "late"
    """It is older than what is remembered."""


class Given:
    """Of every market that is read."""

    def __init__(self, most_intervals: int = MOST_INTERVALS) -> None:
        self._most = most_intervals
        self._spans: SortedDict[int, dict[Market, TradeLedger]] = SortedDict()
        self._intervals = 0
        """No fewer than there are: two that have grown together count as two."""
        self._by_span: dict[int, int] = {}
        self._first_span = -(2**63)

    def enter(self, market: Market, time_ns: int, number: int) -> Turn:
        """``number`` is the trade's id, or the instant's number; at least 1."""
        span = time_ns // SPAN_NS
        if span < self._first_span:
            return Turn.LATE
        markets = self._spans.setdefault(span, {})
        ledger = markets.get(market)
        if ledger is None:
            ledger = markets[market] = TradeLedger(first=1)
        follows = ledger.last is not None and number == ledger.last + 1
        if ledger.add(number) is Entry.DUPLICATE:
            return Turn.AGAIN
        if not follows:
            self._intervals += 1
            self._by_span[span] = self._by_span.get(span, 0) + 1
        if self._intervals > self._most:
            self._forget()
        return Turn.NEW

    def _forget(self) -> None:
        """The oldest span, unless it is the only one: a bound of a few minutes would give points twice."""
        if len(self._spans) == 1:
            return
        span, _ = self._spans.popitem(0)
        self._intervals -= self._by_span.pop(span, 0)
        self._first_span = span + 1
