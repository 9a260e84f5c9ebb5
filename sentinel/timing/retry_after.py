"""The Retry-After header of HTTP, in either of its forms."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

LONGEST_S = 300.0

BANS = {403, 418, 429}
"""Statuses by which a server says: not you, not now."""


def hold_s(status: int, header: str | None, now_s: float, ban_s: float | None, longest_s: float) -> float | None:
    """How long a refusal asks us to hold still, by its Retry-After, at most ``longest_s``; a ban that does not say it
    asks for ``ban_s``. None if it does not ask for it."""
    wait_s = retry_after_s(header, now_s, longest_s)
    return ban_s if wait_s is None and status in BANS else wait_s


def retry_after_s(header: str | None, now_s: float, longest_s: float = LONGEST_S) -> float | None:
    """Seconds from ``now_s`` (UTC, since 1970), at most ``longest_s``; None if there are none that can be read."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now_s
        except (ValueError, OverflowError, OSError):
            return None
    return min(max(0.0, seconds), longest_s)
