"""Faults on request, from a small TOML file:

    [[fault]]
    kind = "drop"          # what happens, see KINDS
    venue = "coinbase"     # whose exchange it happens to, where several are simulated; else to each of them
    feed = "advanced"      # which frames it may strike; every selector left out matches all
    channel = "l2_data"
    product = "BTC-USD"
    connection = 1         # the n-th connection of the feed, from 1
    at_s = 5.0             # not before (seconds since the first client came)
    every_s = 10.0         # again each so many seconds
    count = 3              # how many frames a strike takes (default 1)
    duration_s = 2.0       # how long a lasting fault lasts
    probability = 0.01     # instead of at_s and count: each matching frame from at_s on, for duration_s or for ever

Frame faults: ``drop`` (the frame is numbered and not sent), ``duplicate``, ``reorder`` (sent after the next one; if it
bears numbers of its product, after the next one that does), ``corrupt`` (``how`` = "truncate", "garbage" or "nan",
which is JSON still and keeps its number), ``delay`` (``delay_s``: the connection waits), ``jump`` (the counter skips
``skip`` numbers), ``orphan_delete`` (deletes of levels nobody had), ``oversize_snapshot`` (``levels`` more, far away).

Connection faults: ``close`` (``code``), ``announce_close`` (the venue's notice that it is about to close, which it does
``delay_s`` later), ``abort`` (TCP reset), ``stall`` (open and silent for ``duration_s``), ``refuse_product``,
``refuse_connections``. Market faults: ``hide`` (trades kept off ``feed``, or off both; REST has them unless
``from_rest``), ``cross`` (a crossed book for ``duration_s``), ``halt`` (nothing happens on a product for
``duration_s``), ``delist`` (the same, and the venue does not have it any more), ``rest`` (``mode`` = "down", "slow",
"429", "418", "empty" or "garbage" for ``duration_s``; ``retry_after_s``).

Feeds and channels bear the names of the venue's dialect, here Coinbase's; what cannot happen there is refused.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from sentinel.errors import UNREADABLE, UsageError
from sentinel.timing.instants import NS_PER_S

Kind = Literal[
    "drop",
    "duplicate",
    "reorder",
    "corrupt",
    "delay",
    "jump",
    "orphan_delete",
    "oversize_snapshot",
    "close",
    "announce_close",
    "abort",
    "stall",
    "refuse_product",
    "refuse_connections",
    "hide",
    "cross",
    "halt",
    "delist",
    "rest",
]
KINDS: frozenset[Kind] = frozenset(get_args(Kind))


FromOne = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]


class Fault(Struct, forbid_unknown_fields=True, kw_only=True):
    """One entry of the file. ``struck`` and ``next_s`` are its state."""

    kind: Kind
    venue: str | None = None
    feed: str | None = None
    channel: str | None = None
    product: str | None = None
    connection: FromOne | None = None
    at_s: NotNegative = 0.0
    every_s: Positive | None = None
    count: FromOne = 1
    skip: FromOne = 1
    duration_s: Positive | None = None
    probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    how: Literal["truncate", "garbage", "nan"] = "truncate"
    delay_s: NotNegative = 0.5
    code: int = 1001
    levels: FromOne = 50_000
    mode: Literal["down", "slow", "429", "418", "empty", "garbage"] = "down"
    retry_after_s: NotNegative = 1.0
    from_rest: bool = False


class _File(Struct, forbid_unknown_fields=True):
    fault: list[Fault] = []


class Armed:
    """A fault and how much of it is still to come."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.count
        self.next_s = fault.at_s

    def is_on(self, elapsed_s: float) -> bool:
        """For lasting faults: whether it lasts at this moment."""
        fault = self.fault
        since_s = elapsed_s - fault.at_s
        if since_s < 0:
            return False
        if fault.every_s is not None:
            since_s %= fault.every_s
        return fault.duration_s is None or since_s < fault.duration_s

    def strikes(self, elapsed_s: float, rng: random.Random) -> bool:
        """For faults that take frames one by one: whether this one is taken."""
        fault = self.fault
        if fault.probability is not None:
            return self.is_on(elapsed_s) and rng.random() < fault.probability
        if elapsed_s < self.next_s:
            return False
        if self.left == 0:
            if fault.every_s is None:
                return False
            self.next_s += fault.every_s
            self.left = fault.count
            return self.strikes(elapsed_s, rng)
        self.left -= 1
        return True


class Faults:
    """All faults of a run."""

    def __init__(self, faults: list[Fault], seed: int, now_ns: Callable[[], int]) -> None:
        self._armed = [Armed(fault) for fault in faults]
        self._rng = random.Random(f"{seed}/faults")
        self._now_ns = now_ns
        self._began_ns: int | None = None

    def __bool__(self) -> bool:
        return bool(self._armed)

    def begin(self) -> None:
        """A client came; the first one starts the clock."""
        if self._began_ns is None:
            self._began_ns = self._now_ns()

    def arm(self, faults: list[Fault]) -> None:
        """These instead of those of before, by a clock that starts now."""
        self._armed = [Armed(fault) for fault in faults]
        self._began_ns = self._now_ns()

    def elapsed_s(self, at_ns: int | None = None) -> float:
        """Seconds from the first client's coming to ``at_ns``, or to now; 0 before."""
        if self._began_ns is None:
            return 0.0
        return ((self._now_ns() if at_ns is None else at_ns) - self._began_ns) / NS_PER_S

    def striking(
        self,
        kinds: Collection[Kind],
        *,
        feed: str,
        connection: int,
        channel: str,
        product: str | None,
    ) -> Fault | None:
        """The first fault of these kinds that takes this frame, if any."""
        elapsed_s = self.elapsed_s()
        for armed in self._armed:
            fault = armed.fault
            if (
                fault.kind in kinds
                and fault.feed in (None, feed)
                and fault.connection in (None, connection)
                and fault.channel in (None, channel)
                and fault.product in (None, product)
                and armed.strikes(elapsed_s, self._rng)
            ):
                return fault
        return None

    def lasting(
        self, kind: Kind, *, feed: str | None = None, product: str | None = None, at_ns: int | None = None
    ) -> Fault | None:
        """The fault of this kind that lasts at ``at_ns``, or now, if any."""
        elapsed_s = self.elapsed_s(at_ns)
        for armed in self._armed:
            fault = armed.fault
            is_meant = fault.kind == kind and fault.feed in (None, feed) and fault.product in (None, product)
            if is_meant and armed.is_on(elapsed_s):
                return fault
        return None

    def hides(self, product: str) -> Fault | None:
        """The ``hide`` fault that takes this trade, if any."""
        elapsed_s = self.elapsed_s()
        for armed in self._armed:
            fault = armed.fault
            if fault.kind == "hide" and fault.product in (None, product) and armed.strikes(elapsed_s, self._rng):
                return fault
        return None


def load(
    path: Path | None,
    feeds: Collection[str],
    kinds: Collection[Kind],
    seed: int,
    now_ns: Callable[[], int],
    *,
    venue: str = "",
    venues: Collection[str] = (),
) -> Faults:
    """The faults of a file, for an exchange with these feeds to which these kinds can happen; none without a file.

    Those that name another of the ``venues`` than this ``venue`` are left out.

    Raises:
        UsageError: if it cannot be read or says something that is not a fault.
    """
    if path is None:
        return Faults([], seed, now_ns)
    try:
        listed = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except (OSError, *UNREADABLE) as error:
        raise UsageError(f"fault file {path}: {error}") from error
    for fault in listed.fault:
        if fault.venue is not None and fault.venue not in venues:
            raise UsageError(f"fault file {path}: there is no venue {fault.venue!r}, only {', '.join(venues)}")
    own = [fault for fault in listed.fault if fault.venue in (None, venue)]
    for fault in own:
        if fault.kind not in kinds:
            raise UsageError(f"fault file {path}: {fault.kind!r} cannot happen here, only {', '.join(sorted(kinds))}")
        if fault.feed is not None and fault.feed not in feeds:
            raise UsageError(f"fault file {path}: there is no feed {fault.feed!r}, only {', '.join(feeds)}")
    return Faults(own, seed, now_ns)
