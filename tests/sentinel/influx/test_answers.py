"""What an answer says of the lines counts, whatever status it comes with; other words are no fault of the lines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sentinel.influx.answers import Accepted, Barred, Later, Outcome, Refused, TooLarge, Unanswered, outcome_of

CONFLICT = 'field type conflict: input field "v" on measurement "m" is type integer, already exists as type float'


def said(status: int, body: Any = b"", **headers: str) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return outcome_of(status, headers, raw, now_s=0.0)


UNEXPECTED = "unexpected error writing points to database: partial write: "
FAILURE = "failure writing points to database: partial write: "
TOO_OLD = "dropped 3 points outside retention policy of duration 1h0m0s - oldest point m at 1970-01-01T00:00:00Z"
TOO_MANY = 'partial write: max-values-per-tag limit exceeded (100000/100000): measurement="m" dropped=2'
OF_V3 = {"error_message": "invalid column type", "line_number": 2, "original_line": "m"}


@pytest.mark.parametrize("status", [200, 201, 202, 400, 409, 422, 500, 503])
@pytest.mark.parametrize(
    ("body", "dropped"),
    [
        # 2.0: influxdata/influxdb issue 19779
        ({"code": "internal error", "message": f"{UNEXPECTED}{CONFLICT} dropped=32"}, 32),
        ({"message": f"{FAILURE}{CONFLICT} dropped=1"}, 1),
        ({"message": f"{FAILURE}{TOO_OLD} dropped=3"}, 3),
        ({"error": "partial write: points beyond retention policy dropped=7"}, 7),
        ({"error": TOO_MANY}, 2),
        ({"error": "unable to parse 'bad line here': invalid field format"}, None),
        ({"error": f"write failed: {CONFLICT}"}, None),
        ({"error": "partial write of line protocol occurred", "data": [OF_V3]}, None),
        ({"error": "parsing failed for write_lp endpoint", "data": OF_V3}, None),
        ({"message": "partial write: " + "'long' " * 200 + " dropped=5"}, 5),
    ],
)
def test_lines_are_refused_by_what_is_said(status: int, body: dict[str, Any], dropped: int | None) -> None:
    outcome = said(status, body)
    assert isinstance(outcome, Refused)
    assert (outcome.is_about_lines, outcome.dropped) == (True, dropped)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (204, b"", Accepted),
        (413, b"<html>", TooLarge),
        (500, {"error": "retention policy not found: norp"}, Barred),
        (404, {"error": 'database not found: "nodb"'}, Barred),
        (401, {"error": "unable to parse authentication credentials"}, Barred),
        (403, {"error": "forbidden"}, Barred),
        (200, b"hello", Barred),
        (302, b"", Barred),
        (429, {"message": "write rate exceeded"}, Later),
        (500, {"error": "engine: cache-max-memory-size exceeded: (1073741824/1073741824)"}, Later),
        (500, {"error": "partial write"}, Later),  # a cluster, of its servers
        (500, {"message": "unexpected error writing points to database: engine is closed"}, Later),
        (500, {"error": "timeout"}, Unanswered),
        (500, {"message": "unexpected error writing points to database: context deadline exceeded"}, Unanswered),
        (503, b"request throttled, exceeds timeout\n", Unanswered),
        (504, b"<html>504 Gateway Time-out</html>", Unanswered),
        (408, b"", Unanswered),
        # whoever stands in front of the store, of a request that took too long or was too much: fewer lines may do
        (502, b"<html><h1>502 Bad Gateway</h1></html>", Unanswered),
        (503, b"<html><body><h1>503 Service Unavailable</h1>", Unanswered),
        (503, b"request throttled, queue full\n", Later),
        (503, b"upstream connect error or disconnect/reset before headers", Unanswered),
    ],
)
def test_what_is_not_said_of_lines_is_no_fault_of_theirs(status: int, body: Any, kind: type[Outcome]) -> None:
    assert isinstance(said(status, body), kind)


def test_a_400_that_does_not_name_the_lines_is_told_from_one_that_does() -> None:
    about_request, about_lines = said(400, {"message": "org is required"}), said(400, {"message": "line protocol …"})
    assert isinstance(about_request, Refused)
    assert not about_request.is_about_lines
    assert isinstance(about_lines, Refused)
    assert about_lines.is_about_lines


def test_it_is_told_when_to_ask_again() -> None:
    assert said(429, b"", **{"Retry-After": "7"}) == Later("429: ", 7.0)
    assert said(503, b"", **{"Retry-After": "7"}) == Unanswered("503: ", 7.0)
    assert said(504, b"", **{"Retry-After": "7"}) == Unanswered("504: ", 7.0)
