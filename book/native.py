"""Whether the hottest loops run as C (``speedups.c``) or as Python: decided once, when this is imported.

The extension is optional: it is built where there is a compiler, and ``SENTINEL_PURE=1`` leaves it aside. Both give the
same bytes; nothing but the speed tells them apart.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, Protocol, cast

PURE = "SENTINEL_PURE"

Figures = tuple[float | int | None, ...]
"""Ask, its size, bid, its size, microprice, mid, spread in bps; then, for each bin (those of bids first), how many
levels, notional, volume and vwap, which is None where there is no level."""

Parsed = tuple[int, str, bool, dict[float, float], dict[float, float], int]
"""Sequence, product, whether it is a snapshot, bids and asks (price -> size), how many levels the frame names."""


class NativeLevels(Protocol):
    """Twin of ``book.levels.Levels``, whose ``measure`` is False, and ``load`` too, where 128 bits are not enough."""

    def load(self, bid_count: int, prices: list[float], sizes: list[float], low: float, high: float, /) -> bool: ...
    def enter(self, bids: dict[float, float], asks: dict[float, float], /) -> bool: ...
    def touch(self) -> tuple[float, float] | None: ...
    def measure(self) -> Figures | Literal[False] | None: ...


class Speedups(Protocol):
    """What the extension offers; its docstrings say the rest."""

    def parse_level2(self, frame: bytes, /) -> Parsed | None: ...
    def sample_lines(self, parts: bytes, figures: bytes, time: bytes, /) -> bytes: ...
    def Levels(self, edges: Sequence[tuple[int, int]]) -> NativeLevels: ...  # noqa: N802  # a class


is_native = os.environ.get(PURE, "") in ("", "0") and find_spec(f"{__package__}.speedups") is not None

FLAVOUR = "native" if is_native else "pure Python"
"""For people."""

speedups = cast(Speedups, import_module(f"{__package__}.speedups")) if is_native else None
