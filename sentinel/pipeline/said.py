"""What the runs of a product have said of its time, each by its own wall clock, of which some were wrong.

A run that was ahead has told of a future. The next one, whose clock is right, tells of that time anew when it comes to
it; where it is put forward over it, or nobody runs, what was said of it stands.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from sentinel.contract.gaps import Gap
from sentinel.pipeline.accounts import MINUTE_NS, Account

GAPS_MOST = 32
"""So many gaps are kept where no venue tells the time; the shortest are forgotten first."""

MINUTES_MOST = 4
"""And the accounts of so many minutes; the oldest are forgotten first."""

Stretch = tuple[int, int]
"""From, and up to but not with, in nanoseconds."""


class Said(Struct):
    """Nothing is due before ``began_ns``, when the first run began. All from ``since_ns`` to where this run is has been
    said, and so have the ``stretches`` of later time, in order, by runs that were ahead of this one.

    ``gaps`` are closed ones that a run may have told of a future, its clock being ahead, and ``minutes`` the accounts
    of minutes that it may have been through before they came. Up to ``come_ns`` all has: a venue has told of it.
    """

    began_ns: int = 0
    since_ns: int = 0
    stretches: list[Stretch] = []
    gaps: list[Gap] = []
    minutes: dict[int, Account] = {}
    come_ns: int = 0

    def begin(self, first_ns: int) -> None:
        """The first run has its first instant."""
        self.began_ns = self.since_ns = first_ns

    def close(self, gap: Gap) -> None:
        """A gap has been told, with its end."""
        self.gaps.append(gap)
        if len(self.gaps) > GAPS_MOST:
            self.gaps.remove(min(self.gaps, key=lambda told: (told.end_ns or 0) - told.start_ns))

    def leave(self, minute_ns: int, account: Account) -> None:
        """A minute has been accounted for."""
        self.minutes[minute_ns] = account
        if len(self.minutes) > MINUTES_MOST:
            del self.minutes[min(self.minutes)]

    def settle(self, venue_ns: int) -> None:
        """A venue has told of this time, so it has come, whatever our clock was: all until then is told for good."""
        self.come_ns = max(self.come_ns, venue_ns)
        if self.gaps or self.minutes:
            self.gaps = [gap for gap in self.gaps if (gap.end_ns or 0) > venue_ns]
            self.minutes = {at_ns: kept for at_ns, kept in self.minutes.items() if at_ns + MINUTE_NS > venue_ns}

    def unsaid_between_runs(self, start_ns: int, end_ns: int) -> list[Stretch]:
        """What is due of the time in which nobody ran, and no run that was ahead has spoken of. Between two runs of
        before anybody had begun, whose clocks were behind, it is all of it."""
        return _without((start_ns if end_ns <= self.began_ns else max(start_ns, self.began_ns), end_ns), self.stretches)

    def unsaid_in_step(self, start_ns: int, end_ns: int) -> list[Stretch]:
        """The same of time that the clock is put forward over: nothing of before anybody had begun is due."""
        return _without((max(start_ns, self.began_ns), end_ns), self.stretches)

    def take_minutes(self, now_ns: int) -> dict[int, Account]:
        """The accounts of minutes that have not come by ``now_ns``: they are not over, after all."""
        minutes, self.minutes = self.minutes, {}
        return {at_ns: account for at_ns, account in minutes.items() if at_ns + MINUTE_NS > now_ns}

    def take_back(self, next_ns: int, first_ns: int, open_gaps: Iterable[Gap], now_ns: int) -> list[Stretch]:
        """The last run came to ``next_ns``, but this one begins at ``first_ns``. Gives when there were gaps of a time
        to come, in order: they are withdrawn."""
        gaps = ((gap.start_ns, next_ns if gap.end_ns is None else gap.end_ns) for gap in [*self.gaps, *open_gaps])
        withdrawn = sorted(gap for gap in gaps if gap[1] > now_ns)
        later = [stretch for stretch in self.stretches if stretch[1] > next_ns]
        self.stretches = sorted([*later, *_without((max(first_ns, self.since_ns), next_ns), withdrawn)])
        self.since_ns = min(self.since_ns, first_ns)
        if self.began_ns > self.come_ns:  # that was ahead, and not this clock behind
            self.began_ns = min(self.began_ns, first_ns)
        return withdrawn


def _without(stretch: Stretch, others: Iterable[Stretch]) -> list[Stretch]:
    """What of it is in none of the others, which come in the order of their starts."""
    start_ns, end_ns = stretch
    left: list[Stretch] = []
    for other_ns, until_ns in others:
        if start_ns < min(other_ns, end_ns):
            left.append((start_ns, min(other_ns, end_ns)))
        start_ns = max(start_ns, until_ns)
    return left if start_ns >= end_ns else [*left, (start_ns, end_ns)]
