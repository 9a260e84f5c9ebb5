"""What a watch gives."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from sentinel.cluster.reading import LiveSample, LiveTrade

STARTING = "starting"
"""Why a book is not proved yet of which none has come so far."""


class LiveBook(Struct, frozen=True):
    """A proved book. ``bids`` and ``asks`` are (price, size), best first; ``changed_ns`` is when it last changed, and
    ``proved_ns`` up to when it is known to be right."""

    symbol: str
    changed_ns: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    exchange: str
    proved_ns: int = 0


class LiveChanges(Struct, frozen=True):
    """What one frame of the venue says of levels, as (price, size); size 0: the level is gone.

    If ``is_whole`` they are the whole book, best first, and whatever was before is void: so it is at the beginning, and
    after each loss. ``received_ns`` is when the frame came.
    """

    symbol: str
    received_ns: int
    is_whole: bool
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    exchange: str


class LiveState(Struct, frozen=True):
    """How a product is. While its book is not proved, ``reason`` says why, as the ``cause`` of ``gaps`` does, or that
    it is ``starting``; ``since_ns`` is since when it is, or is not. Changes later than the ``since_ns`` of a loss are
    void.

    ``proved_ns`` is up to when the book is known to be right. ``trades_missing`` are known to be missing, and asked
    for.
    """

    symbol: str
    is_proved: bool
    reason: str | None
    since_ns: int
    proved_ns: int
    trades_missing: int
    exchange: str


class LiveDropped(Struct, frozen=True):
    """The reader was too slow: ``count`` items that were due here, the oldest, are lost; ``total`` since the start."""

    count: int
    total: int


LiveEvent: TypeAlias = LiveTrade | LiveBook | LiveChanges | LiveSample | LiveState | LiveDropped
"""Whatever ``watch`` gives."""
