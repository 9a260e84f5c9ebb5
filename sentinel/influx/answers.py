"""What an answer to a write means for the lines in it. Pure.

Sources: reference influxdb, sections 1, 4 and 5 (1.6.7 measured; 2.x from its source), InfluxData's documents for 3.x.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from msgspec import Struct

from sentinel.retry_after import retry_after_s

LONGEST_WORDS = 500

ABOUT_LINES = (
    "partial write",
    "unable to parse",
    "field type conflict",
    "beyond retention policy",
    "points beyond",
    "line protocol",
)
"""How the versions begin to speak of the lines in a request, as opposed to the request itself."""

NO_SUCH_BUCKET = ("retention policy not found", "database not found")
"""1.x answers an unknown retention policy with 500."""


class Accepted(Struct, frozen=True):
    """Every line is stored."""


class Later(Struct, frozen=True):
    """Nothing is wrong with the lines; ask again, not before ``after_s`` seconds."""

    words: str
    after_s: float = 0.0


class TooLarge(Struct, frozen=True):
    """The body is beyond the server's limit."""

    words: str


class Refused(Struct, frozen=True):
    """Some lines are refused for good; whether the others are stored differs between versions.

    ``is_about_lines`` is false if the words do not say so: then it may be the request that is at fault.
    ``dropped`` is how many the server says it dropped, if it does.
    """

    words: str
    is_about_lines: bool
    dropped: int | None = None


class Barred(Struct, frozen=True):
    """A person has to put something right: a token, a right, a bucket, the address."""

    words: str
    is_bucket_missing: bool = False


Outcome = Accepted | Later | TooLarge | Refused | Barred


def outcome_of(status: int, headers: Mapping[str, str], body: bytes, now_s: float) -> Outcome:
    """The meaning of an answer; ``now_s`` (UTC seconds since 1970) is what a Retry-After date is counted from."""
    words = words_of(status, headers, body)
    if status == 204 or (status == 201 and not body.strip()):
        return Accepted()
    if status == 413:
        return TooLarge(words)
    # 3.x Cloud may say 201 and name in the body the lines it did not take
    if status in (201, 400, 422):
        is_about_lines = status != 400 or any(phrase in words for phrase in ABOUT_LINES)
        return Refused(words, is_about_lines, _dropped(words))
    is_bucket_missing = status == 404 or any(phrase in words for phrase in NO_SUCH_BUCKET)
    if not is_bucket_missing and (status in (408, 429) or status >= 500):
        return Later(words, retry_after_s(headers.get("Retry-After"), now_s) or 0.0)
    return Barred(words, is_bucket_missing)


def words_of(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """What the server says, as one line: ``400: partial write: field type conflict: … dropped=1``."""
    text = _said(body) or headers.get("X-Influxdb-Error") or body.decode(errors="replace")
    if 300 <= status < 400:
        text = f"redirected to {headers.get('Location')}"
    return f"{status}: {' '.join(text.split())}"[:LONGEST_WORDS]


def _said(body: bytes) -> str | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    if not isinstance(answer, dict):
        return None
    text = answer.get("message") or answer.get("error")
    # 3.x: {"error": "partial write of line protocol occurred", "data": [{"error_message": "...", "line_number": 2}]}
    data = answer.get("data")
    faults = data if isinstance(data, list) else []
    said = [str(fault["error_message"]) for fault in faults if isinstance(fault, dict) and "error_message" in fault]
    return ": ".join([str(text), *said]) if text else None


def _dropped(words: str) -> int | None:
    count = words.rpartition("dropped=")[2] if "dropped=" in words else ""
    return int(count) if count.isdecimal() else None
