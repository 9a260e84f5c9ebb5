"""The exchange's REST answers, as far as repair and other people's clients need them (reference protocols, 3.1).

``GET /products``, ``/products/{id}``, ``/products/{id}/trades`` (``limit``, ``after``, ``before``; newest first, with
``CB-BEFORE`` and ``CB-AFTER``), ``/products/{id}/book`` (``level`` 1 or 2), ``/products/{id}/ticker``, ``/time``.
10 requests a second, bursts of 15, then 429.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Response

from sentinel.simulator.faults import Fault, Faults
from sentinel.simulator.wording import instant

REQUESTS_PER_S = 10.0
BURST = 15.0
MOST_TRADES = 1000
SLOW_S = 3.0
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 503: "Service Unavailable"}

Body = dict[str, object] | list[dict[str, object]]


class Market(Protocol):
    """What REST shows."""

    def names(self) -> Iterable[str]: ...
    def rest_products(self) -> list[dict[str, object]]: ...
    def rest_trades(self, name: str, after: int | None, before: int | None, limit: int) -> list[dict[str, object]]: ...
    def rest_book(self, name: str, level: int) -> dict[str, object]: ...
    def rest_ticker(self, name: str) -> dict[str, object]: ...


class Rest:
    """Answers one GET at a time. ``requests`` counts them by path, for tests."""

    def __init__(self, market: Market, faults: Faults, now_ns: Callable[[], int]) -> None:
        self.requests: dict[str, int] = {}
        self._market = market
        self._faults = faults
        self._now_ns = now_ns
        self._tokens = BURST
        self._filled_ns = now_ns()

    async def answer(self, target: str) -> Response:
        """The answer to ``GET target``."""
        url = urlsplit(target)
        self.requests[url.path] = self.requests.get(url.path, 0) + 1
        fault = self._faults.lasting("rest")
        if fault is not None:
            if fault.mode == "slow":
                await asyncio.sleep(SLOW_S)
            else:
                return _broken(fault)
        if not self._has_token():
            return _response(429, {"message": "Public rate limit exceeded"})
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        try:
            return self._page([part for part in url.path.split("/") if part], query)
        except ValueError:
            return _response(400, {"message": "Bad Request"})

    def _has_token(self) -> bool:
        now_ns = self._now_ns()
        self._tokens = min(BURST, self._tokens + (now_ns - self._filled_ns) / 1e9 * REQUESTS_PER_S)
        self._filled_ns = now_ns
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _page(self, path: list[str], query: dict[str, str]) -> Response:
        market = self._market
        match path:
            case ["time"]:
                us = self._now_ns() // 1000
                return _response(200, {"iso": instant(us), "epoch": us / 1e6})
            case ["products"]:
                return _response(200, market.rest_products())
            case ["products", name, *rest] if name in market.names():
                return self._product(name, rest, query)
            case _:
                return _response(404, {"message": "NotFound"})

    def _product(self, name: str, rest: list[str], query: dict[str, str]) -> Response:
        market = self._market
        match rest:
            case []:
                return _response(200, next(product for product in market.rest_products() if product["id"] == name))
            case ["book"]:
                return _response(200, market.rest_book(name, int(query.get("level", "1"))))
            case ["ticker"]:
                return _response(200, market.rest_ticker(name))
            case ["trades"]:
                after, before = (int(query[key]) if key in query else None for key in ("after", "before"))
                limit = max(1, min(MOST_TRADES, int(query.get("limit", MOST_TRADES))))
                trades = market.rest_trades(name, after, before, limit)
                cursors = {}
                if trades:
                    cursors = {"CB-BEFORE": str(trades[0]["trade_id"]), "CB-AFTER": str(trades[-1]["trade_id"])}
                return _response(200, trades, cursors)
            case _:
                return _response(404, {"message": "NotFound"})


def _response(status: int, body: Body | bytes, more: dict[str, str] | None = None) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    headers = Headers(
        {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(content)), "Connection": "close"}
    )
    headers.update(more or {})
    return Response(status, REASONS[status], headers, content)


def _broken(fault: Fault) -> Response:
    match fault.mode:
        case "429":
            seconds = f"{fault.retry_after_s:g}"
            return _response(429, {"message": "Public rate limit exceeded"}, {"Retry-After": seconds})
        case "empty":
            return _response(200, [])
        case "garbage":
            return _response(200, b'[{"trade_id": "x", "price": <html>')
        case _:
            return _response(503, {"message": "Service Unavailable"})
