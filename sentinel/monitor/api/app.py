"""The HTTP side of a running collector.

Reading the status takes microseconds and never waits; whatever has to read the disk is done in turn, on a thread. So no
request can hold up a sample. ``/healthz`` and ``/readyz`` are for probes and need no token; everything else does, where
a token is set.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from enum import IntEnum
from typing import Annotated, Any, Protocol

import msgspec
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from feeds.market import Market
from sentinel.errors import SentinelError
from sentinel.gap_report.html import as_html
from sentinel.gap_report.report import Report
from sentinel.monitor.alerts import Alert
from sentinel.monitor.api.guard import Guard, LoginNeeded, asked
from sentinel.monitor.api.metrics import Metrics
from sentinel.monitor.api.page import Page, docs_page, live_page, login_page
from sentinel.monitor.api.schema import Alerts as AlertList
from sentinel.monitor.api.schema import Health, Readiness, Refusal, answers, described
from sentinel.monitor.history import History
from sentinel.monitor.monitor import Depth
from sentinel.monitor.status import Status, expected
from sentinel.monitor.turns import Answer, Turns

STREAM_EVERY_S = 1.0
LONGEST_S = 31 * 86_400
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
"""The gap report is a page of its own, without a script."""


class Minutes(IntEnum):
    """How far back a history can go."""

    FIVE = 5
    QUARTER = 15
    HALF = 30
    HOUR = 60


class Sight(Protocol):
    """What the API shows, read at the moment it is asked for."""

    def status(self) -> Status: ...
    def alerts(self) -> list[Alert]: ...

    def depth(self, market: Market, levels: int) -> Any:
        """A product's best levels; None if it is not collected."""

    def report(self, since_s: float, market: Market | None = None) -> Report:
        """The gap report of the last so many seconds, of one market if it is named. From any thread."""

    def history(self, market: Market, minutes: int, after_ns: int | None) -> History | None:
        """A market's last minutes; None if it is not collected. From one thread at a time."""


def make_app(sight: Sight, version: str, token: str | None) -> FastAPI:
    """The application; with a ``token`` everything but the probes asks for it."""
    guard, turns = Guard(token), Turns()
    app = FastAPI(title="sentinel-ws", version=version, docs_url=None, redoc_url=None, openapi_url=None)
    app.openapi = lambda: described(app)  # type: ignore[method-assign]
    app.include_router(_probes(sight))
    app.include_router(_facts(sight, turns), dependencies=[Depends(guard)])
    app.include_router(_pages(app, sight, turns), dependencies=[Depends(guard)], include_in_schema=False)
    app.add_api_route("/", guard.login, methods=["POST"], include_in_schema=False)

    @app.exception_handler(LoginNeeded)
    async def ask(request: Request, _: Exception) -> Response:
        return asked(login_page("This collector shows itself to those who have its token.", request.url.path))

    return app


def _probes(sight: Sight) -> APIRouter:
    router = APIRouter(tags=["probes"])

    @router.get("/healthz", summary="Whether the process is alive", responses=answers(Health, "It is."))
    async def healthz() -> Response:
        return _json(Health("ok"))

    @router.get(
        "/readyz",
        summary="Whether every book is proved that the venue lists; 503 with reasons if not",
        responses=answers(Readiness, "All is well.") | answers(Readiness, "See the reasons.", 503, READY),
    )
    async def readyz() -> Response:
        status = sight.status()
        failures = _failures(expected(status))
        unlisted = [f"{each.market.short} is not listed by the venue" for each in status.products if not each.is_listed]
        halted = [
            f"{each.market.short} is {each.state}" for each in status.products if each.is_listed and each.may_be_silent
        ]
        return _json(Readiness(not failures, failures + unlisted + halted), 503 if failures else 200)

    return router


def _facts(sight: Sight, turns: Turns) -> APIRouter:
    router = APIRouter(
        tags=["facts"],
        responses=answers(Refusal, "The token is missing or wrong.", 401, {"detail": "a bearer token is needed"})
        | answers(Refusal, "There is no token, and the Host or Origin is not of this machine.", 403),
    )
    metrics = Metrics(sight.status, sight.alerts)
    absent = answers(Refusal, "The product is not collected here.", 404, {"detail": "no such product"})
    unread = answers(Refusal, "The data cannot be read now, or too many ask at once.", 503)

    @router.get(
        "/sentinel/status",
        summary="Everything the collector knows of itself at this moment: products, connections, sinks, open gaps",
        responses=answers(Status, "The present moment."),
    )
    async def status() -> Response:
        return _json(sight.status())

    @router.get(
        "/sentinel/alerts",
        summary="The alerts that are raised now",
        responses=answers(AlertList, "None, or some.", example={"alerts": []}),
    )
    async def alerts() -> Response:
        return _json(AlertList(sight.alerts()))

    @router.get(
        "/sentinel/gaps",
        summary="What is complete of the last seconds, and every gap with its cause: the JSON of gap-report",
        responses=answers(Report, "The report.") | absent | unread,
    )
    async def gaps(
        since_s: SinceS = 86_400,
        market: Annotated[
            str | None, Query(max_length=80, description="One market only.", examples=["BTC-USD"])
        ] = None,
    ) -> Response:
        wanted = None if market is None else Market.parse(market)
        if wanted is not None and sight.depth(wanted, 1) is None:
            raise HTTPException(404, "no such product")
        return _json(await _read(turns, ("report", since_s, wanted), lambda: sight.report(since_s, wanted)))

    @router.get(
        "/sentinel/history/{market:path}",
        summary="A market's last minutes for charts: a sample and the sums of the trades for each column of time",
        responses=answers(History, "Columns, oldest first.") | absent | unread,
    )
    async def history(
        market: Annotated[
            str, Path(max_length=80, examples=["BTC-USD"], description="`SYMBOL`, or `exchange:SYMBOL`.")
        ],
        minutes: Annotated[Minutes, Query(description="How far back, in 300 columns.")] = Minutes.QUARTER,
        after_ns: Annotated[
            int | None,
            Query(ge=0, lt=2**63, description="Only what has changed since: the `end_ns` of an earlier answer."),
        ] = None,
    ) -> Response:
        wanted = Market.parse(market)
        found = await _read(
            turns, ("history", wanted, minutes, after_ns), lambda: sight.history(wanted, minutes, after_ns)
        )
        if found is None:
            raise HTTPException(404, "no such product")
        return _json(found)

    @router.get(
        "/sentinel/book/{product:path}",
        summary="A product's book now, the best levels first; empty while it is not proved",
        responses=answers(Depth, "The book.") | absent,
    )
    async def book(
        product: Annotated[
            str, Path(max_length=64, examples=["BTC-USD"], description="`SYMBOL`, or `exchange:SYMBOL`.")
        ],
        levels: Annotated[int, Query(ge=1, le=5000, description="Of each side.")] = 50,
    ) -> Response:
        found = sight.depth(Market.parse(product), levels)
        if found is None:
            raise HTTPException(404, "no such product")
        return _json(found)

    @router.get("/metrics", summary="Figures for Prometheus, in its text format", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _pages(app: FastAPI, sight: Sight, turns: Turns) -> APIRouter:
    router = APIRouter()

    @router.get("/sentinel/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(_events(sight), media_type="text/event-stream", headers=UNBUFFERED)

    @router.get("/")
    async def page() -> Response:
        return _html(live_page())

    @router.get("/docs")
    async def docs() -> Response:
        return _html(docs_page())

    @router.get("/openapi.json")
    async def schema() -> Response:
        return _json(app.openapi())

    @router.get("/sentinel/report")
    async def report(since_s: SinceS = 86_400) -> Response:
        content = await _read(turns, ("page", since_s), lambda: as_html(sight.report(since_s)).encode())
        return _html(Page(content, {"Content-Security-Policy": REPORT_POLICY}))

    return router


UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""For nginx, which would hold back what is not a full buffer."""

READY = {"ready": False, "reasons": ["the book of BTC-USD is not proved"]}

SinceS = Annotated[float, Query(gt=0, le=LONGEST_S, description="How many seconds back from now.")]


async def _read(turns: Turns, key: tuple[object, ...], work: Callable[[], Answer]) -> Answer:
    """What is read from the disk in its turn; a refusal is an answer, too."""
    try:
        return await turns.take(key, work)
    except SentinelError as error:
        raise HTTPException(503, str(error), {"Retry-After": "5"}) from error


def _html(page: Page) -> Response:
    return Response(page.content, media_type="text/html", headers=page.headers)


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
