"""What a person may have meant by a name that is not known."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

NEAR = 0.8
SEPARATORS = re.compile(r"[-/_. ]+")
QUOTES = ("USDT", "USDC", "USD", "EUR", "GBP", "JPY", "BTC", "ETH")
"""Currencies that names without a separator may end with."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean BTC-USD?``, for the name of ``known`` that is nearest; nothing if none is near."""
    found = nearest(word, known)
    return f"; did you mean {found[0]}?" if found and found[0] != word else ""


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The names that differ in separators and case alone, or else the one that is most alike; none if none is near."""
    known = list(known)
    same = [name for name in known if _bare(name) == _bare(word)]
    return (
        same
        or difflib.get_close_matches(word.upper(), known, 1, NEAR)
        or difflib.get_close_matches(word, known, 1, NEAR)
    )


def respelled(word: str, pattern: re.Pattern[str]) -> str | None:
    """The word as a symbol that matches the pattern: ``BTC-USD`` for ``btc/usd`` and ``BTCUSD``; None if it cannot."""
    upper = word.strip().upper()
    parts = [part for part in SEPARATORS.split(upper) if part]
    quote = next((quote for quote in QUOTES if upper.endswith(quote) and len(upper) > len(quote)), None)
    if len(parts) == 1 and quote is not None:
        parts = [upper.removesuffix(quote), quote]
    candidates = [upper, *(separator.join(parts) for separator in ("-", "/", "_", ""))]
    return next((found for found in candidates if found != word and pattern.fullmatch(found)), None)


def _bare(name: str) -> str:
    return SEPARATORS.sub("", name.upper())
