"""Posting JSON to an address that somebody gave us, with patience but not for ever.

Such an address may be a secret of its own, as Slack's are, so what went wrong is told without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import aiohttp

from sentinel.command.foreign import hushed

ATTEMPTS = 5
TIMEOUT_S = 10.0
JSON = {"Content-Type": "application/json"}


async def post(url: str, body: bytes, pause: Callable[[float], Awaitable[object]]) -> str | None:
    """None once it was accepted, else why it never was. ``pause`` waits for so many seconds."""
    timeout = aiohttp.ClientTimeout(TIMEOUT_S)
    reason = ""
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for attempt in range(ATTEMPTS):
            if attempt:
                await pause(0.5 * 2**attempt)
            try:
                async with session.post(url, data=body, headers=JSON) as response:
                    if response.status < 300 and response.method == "POST":
                        return None
                    reason = f"status {response.status}"
                    if response.method != "POST":  # most redirects are followed by a GET, which brings nothing
                        reason = f"redirected to {response.url.host}"
            except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a redirect to no address
                reason = _told(error, url)
    return reason


def _told(error: Exception, url: str) -> str:
    parts, name = urlsplit(url), type(error).__name__
    words = hushed(str(error), parts.path.strip("/"), parts.query, parts.password or "", parts.username or "")
    return f"{name}: {words}" if words else name
