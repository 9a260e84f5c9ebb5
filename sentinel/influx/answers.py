"""What an answer to a write means for the lines in it. Pure.

Sources: reference influxdb, sections 1, 4 and 5 (1.6.7 measured; 2.x from its source), InfluxData's documents for 3.x.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from sentinel.timing.retry_after import retry_after_s

LONGEST_WORDS = 500

ABOUT_LINES = (
    "partial write",
    "unable to parse",
    "field type conflict",
    "beyond retention policy",
    "outside retention policy",
    "points beyond",
    "outside range",
    "line protocol",
)
"""How the versions begin to speak of the lines in a 400, as opposed to the request itself."""

NAMES_LINES = re.compile(r"dropped=\d+|unable to parse '|field type conflict|(beyond|outside) retention policy")
"""What is said of lines and of nothing else, and so is believed with any status: 2.0 answers 500 to a partial write.

"partial write" alone is not: clusters say it when a copy of all lines is missing on one of the servers.
"""

NO_SUCH_BUCKET = ("retention policy not found", "database not found", "bucket not found")
"""1.x answers an unknown retention policy with 500."""

OUT_OF_TIME = re.compile(r"time(d )?-?out|deadline exceeded", re.IGNORECASE)
"""The server, or a proxy before it, gave up on the request; the lines may be stored all the same."""

GATEWAY = (408, 502, 503, 504)
"""What a proxy says whose limits on time or bytes cut a request short: the words differ with each of them, and the next
request may be answered if it is smaller."""

QUEUE_FULL = "queue full"
"""A server that says so takes no more small requests than large ones: with smaller ones, 40,000 lines to one that
throttles take 15 s for 1.3."""

NOT_ABOUT_LINES = (401, 403, 404, 413, 429)


class Accepted(Struct, frozen=True):
    """Every line is stored."""


class Later(Struct, frozen=True):
    """Nothing is wrong with the lines; ask again, not before ``after_s`` seconds."""

    words: str
    after_s: float = 0.0


class Unanswered(Struct, frozen=True):
    """Nothing in time, or the connection broke: whether the lines are stored is not known. Fewer may be answered."""

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


Outcome = Accepted | Later | Unanswered | TooLarge | Refused | Barred


def outcome_of(status: int, headers: Mapping[str, str], body: bytes, now_s: float) -> Outcome:
    """The meaning of an answer; ``now_s`` (UTC seconds since 1970) is what a Retry-After date is counted from."""
    if status == 204 or (status == 201 and not body.strip()):
        return Accepted()
    said = _said(status, headers, body)
    words, after_s = _shortened(status, said), retry_after_s(headers.get("Retry-After"), now_s) or 0.0
    if status == 413:
        return TooLarge(words)
    if _names_lines(status, said, body):
        return Refused(words, is_about_lines=True, dropped=_dropped(said))
    if status in (400, 422):
        return Refused(words, status == 422 or any(phrase in said for phrase in ABOUT_LINES))
    if status == 404 or is_bucket_missing(said):
        return Barred(words, is_bucket_missing=True)
    if status == 429 or (status >= 500 and QUEUE_FULL in said):
        return Later(words, after_s)
    if status in GATEWAY or (status >= 500 and OUT_OF_TIME.search(said)):
        return Unanswered(words, after_s)
    if status >= 500:
        return Later(words, after_s)
    return Barred(words)


def is_bucket_missing(said: str) -> bool:
    """Whether the words of an error say that there is no such database, policy or bucket."""
    return any(phrase in said for phrase in NO_SUCH_BUCKET)


def _names_lines(status: int, said: str, body: bytes) -> bool:
    if status in NOT_ABOUT_LINES or 300 <= status < 400:
        return False
    # 3.x Cloud may say 201 and name in the body the lines it did not take
    return status == 201 or NAMES_LINES.search(said) is not None or bool(_faults(_decoded(body)))


def words_of(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """What the server says, as one line: ``400: partial write: field type conflict: … dropped=1``."""
    return _shortened(status, _said(status, headers, body))


def _shortened(status: int, said: str) -> str:
    return f"{status}: {said}"[:LONGEST_WORDS]


def _said(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """All of it, on one line."""
    if 300 <= status < 400:
        return f"redirected to {headers.get('Location')}"
    answer = _decoded(body)
    text = answer.get("message") or answer.get("error")
    if text:
        return " ".join(": ".join([str(text), *_faults(answer)]).split())
    return " ".join((headers.get("X-Influxdb-Error") or body.decode(errors="replace")).split())


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _faults(answer: Mapping[str, Any]) -> list[str]:
    """3.x: {"error": "partial write of line protocol occurred", "data": [{"error_message": "...", "line_number": 2}]}

    ``data`` is the one fault itself where nothing of the request was taken.
    """
    data = answer.get("data")
    faults = data if isinstance(data, list) else [data]
    return [str(fault["error_message"]) for fault in faults if isinstance(fault, dict) and "error_message" in fault]


def _dropped(said: str) -> int | None:
    count = re.search(r".*dropped=(\d+)", said)
    return int(count[1]) if count else None
