"""REST: what is the same for every venue. Its rate limit, its faults, and the way to the dialect's pages."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Response

from sentinel.simulator.connection import Stage
from sentinel.simulator.dialect import Dialect, Page
from sentinel.simulator.faults import Fault

SLOW_S = 3.0


class Rest:
    """Answers one GET at a time. ``requests`` counts them by path, for tests."""

    def __init__(self, dialect: Dialect, stage: Stage) -> None:
        self.requests: dict[str, int] = {}
        self._dialect = dialect
        self._stage = stage
        self._tokens = stage.facts.rest_burst
        self._filled_ns = stage.now_ns()

    async def answer(self, target: str, headers: Headers | None = None) -> Response:
        """The answer to ``GET target``. A venue's own headers, ``X-…``, are told to the dialect among the parameters,
        by their names in small letters."""
        url = urlsplit(target)
        self.requests[url.path] = self.requests.get(url.path, 0) + 1
        fault = self._stage.faults.lasting("rest")
        if fault is not None:
            if fault.mode == "slow":
                await asyncio.sleep(SLOW_S)
            else:
                return self._broken(fault)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if not self._has_tokens(self._stage.facts.weigh(url.path, query)):
            return self._refusal(HTTPStatus.TOO_MANY_REQUESTS)
        said = Headers() if headers is None else headers
        query |= {name.lower(): value for name, value in said.raw_items() if name.lower().startswith("x-")}
        try:
            page = self._dialect.page([part for part in url.path.split("/") if part], query)
        except ValueError:
            return self._refusal(HTTPStatus.BAD_REQUEST)
        return _response(page)

    def _has_tokens(self, weight: int) -> bool:
        facts, now_ns = self._stage.facts, self._stage.now_ns()
        self._tokens = min(facts.rest_burst, self._tokens + (now_ns - self._filled_ns) / 1e9 * facts.rest_per_s)
        self._filled_ns = now_ns
        if self._tokens < weight:
            return False
        self._tokens -= weight
        return True

    def _broken(self, fault: Fault) -> Response:
        match fault.mode:
            case "429" | "418":
                return self._refusal(HTTPStatus(int(fault.mode)), {"Retry-After": f"{fault.retry_after_s:g}"})
            case "empty":
                return _response(Page(HTTPStatus.OK, []))
            case "garbage":
                return _response(Page(HTTPStatus.OK, []), b'[{"trade_id": "x", "price": <html>')
            case _:
                return self._refusal(HTTPStatus.SERVICE_UNAVAILABLE)

    def _refusal(self, status: HTTPStatus, headers: dict[str, str] | None = None) -> Response:
        return _response(Page(status, self._dialect.refusal(status), headers or {}))


def _response(page: Page, raw: bytes | None = None) -> Response:
    content = json.dumps(page.body, separators=(",", ":")).encode() if raw is None else raw
    headers = Headers(
        {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(content)), "Connection": "close"}
    )
    headers.update(page.headers)
    return Response(page.status, HTTPStatus(page.status).phrase, headers, content)
