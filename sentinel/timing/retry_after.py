"""The Retry-After header of HTTP, in either of its forms."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

LONGEST_S = 300.0


def retry_after_s(header: str | None, now_s: float) -> float | None:
    """Seconds from ``now_s`` (UTC, since 1970), at most ``LONGEST_S``; None if there are none that can be read."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now_s
        except (ValueError, OverflowError, OSError):
            return None
    return min(max(0.0, seconds), LONGEST_S)
