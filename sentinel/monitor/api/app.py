"""The HTTP side of a running collector.

Reading the status takes microseconds and never waits, so no request can hold up a sample. ``/healthz`` and ``/readyz``
are for probes and need no token; everything else does, where a token is set.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Annotated, Any, Protocol

import msgspec
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from feeds.market import Market
from sentinel.errors import SentinelError
from sentinel.gap_report.report import Report
from sentinel.monitor.alerts import Alert
from sentinel.monitor.api.metrics import Metrics
from sentinel.monitor.status import Status, expected

STREAM_EVERY_S = 1.0
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


class Sight(Protocol):
    """What the API shows, read at the moment it is asked for."""

    def status(self) -> Status: ...
    def alerts(self) -> list[Alert]: ...

    def depth(self, market: Market, levels: int) -> Any:
        """A product's best levels; None if it is not collected."""

    def report(self, since_s: float) -> Report:
        """The gap report of the last so many seconds."""


def make_app(sight: Sight, version: str, token: str | None) -> FastAPI:
    """The application; with a ``token`` everything but the probes asks for it."""

    def guard(request: Request) -> None:
        if token is None:
            return
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        given = given or request.query_params.get("token", "")  # for the page: a browser's event source sends no header
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})

    app = FastAPI(title="sentinel-ws", version=version, docs_url=None, redoc_url=None)
    app.include_router(_probes(sight))
    app.include_router(_facts(sight), dependencies=[Depends(guard)])
    app.include_router(_page(sight), dependencies=[Depends(guard)], include_in_schema=False)
    return app


def _probes(sight: Sight) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz", summary="Whether the process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get(
        "/readyz",
        summary="Whether every book is proved that the venue lists; 503 with reasons if not",
        responses=_shown(503, READY),
    )
    async def readyz() -> Response:
        status = sight.status()
        failures = _failures(expected(status))
        unlisted = [f"{each.market.short} is not listed by the venue" for each in status.products if not each.is_listed]
        halted = [
            f"{each.market.short} is {each.state}" for each in status.products if each.is_listed and each.may_be_silent
        ]
        return _json({"ready": not failures, "reasons": failures + unlisted + halted}, 503 if failures else 200)

    return router


def _facts(sight: Sight) -> APIRouter:
    router = APIRouter(responses=_shown(401, {"detail": "a bearer token is needed"}))
    metrics = Metrics(sight.status, sight.alerts)

    @router.get("/sentinel/status", responses=_shown(200, {"software": "sentinel-ws 0.1.0", "products": []}))
    async def status() -> Response:
        return _json(sight.status())

    @router.get("/sentinel/alerts", responses=_shown(200, {"alerts": []}))
    async def alerts() -> Response:
        return _json({"alerts": sight.alerts()})

    @router.get("/sentinel/gaps", responses=_shown(200, {"window": {}, "products": [], "verdict": "complete"}))
    async def gaps(since_s: Annotated[float, Query(gt=0, le=31 * 86_400)] = 86_400) -> Response:
        try:
            return _json(await asyncio.to_thread(sight.report, since_s))
        except SentinelError as error:
            raise HTTPException(503, str(error)) from error

    @router.get("/sentinel/book/{product:path}", responses=_shown(404, {"detail": "no such product"}))
    async def book(
        product: Annotated[str, Path(max_length=64, examples=["BTC-USD"])],
        levels: Annotated[int, Query(ge=1, le=5000)] = 50,
    ) -> Response:
        found = sight.depth(Market.parse(product), levels)
        if found is None:
            raise HTTPException(404, "no such product")
        return _json(found)

    @router.get("/metrics", summary="For Prometheus", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _page(sight: Sight) -> APIRouter:
    router = APIRouter()

    @router.get("/sentinel/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(_events(sight), media_type="text/event-stream")

    @router.get("/")
    async def page() -> Response:
        content = files(__package__).joinpath("page.html").read_bytes()
        return Response(content, media_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})

    return router


READY = {"ready": False, "reasons": ["the book of BTC-USD is not proved"]}


def _shown(status: int, value: object) -> dict[int | str, dict[str, Any]]:
    return {status: {"content": {"application/json": {"example": value}}, "description": "see the example"}}


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _failures(status: Status) -> list[str]:
    """Why the collector is not ready, in words."""
    found = [
        f"the book of {product.market.short} is not proved" for product in status.products if not product.is_proved
    ]
    found += [f"{line.venue} on lane {line.lane} is not live" for line in status.connections if not line.is_live]
    return found + [f"{sink.name} is barred" for sink in status.sinks if sink.state == "barred"]


async def _events(sight: Sight) -> AsyncIterator[bytes]:
    while True:
        yield b"data: " + msgspec.json.encode({"status": sight.status(), "alerts": sight.alerts()}) + b"\n\n"
        await asyncio.sleep(STREAM_EVERY_S)
