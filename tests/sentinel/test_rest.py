"""The REST client against a real HTTP server that answers well and badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from book.events import Trade
from sentinel.pace import Pace
from sentinel.pipeline import BookAnswer
from sentinel.rest import RestClient, RestTrouble

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

TRADE = {
    "time": "2020-03-20T00:36:59.86Z",
    "trade_id": 86327327,
    "price": "6225.32000000",
    "size": "0.06469797",
    "side": "sell",
}


class NoTime:
    """A pace whose time stands still but for its own waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pace = Pace(5, 5, lambda: self.now_s, self._sleep)

    async def _sleep(self, wait_s: float) -> None:
        self.now_s += wait_s


@asynccontextmanager
async def venue(handler: Handler, pace: Pace | None = None, timeout_s: float = 5.0) -> AsyncIterator[RestClient]:
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with RestClient(f"http://{host}:{port}", pace or NoTime().pace, timeout_s) as client:
            yield client
    finally:
        await runner.cleanup()


def answering(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(body, status=status, headers=headers)

    return handler


async def test_trades() -> None:
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append((request.path_qs, request.headers["User-Agent"]))
        return web.json_response([TRADE, {**TRADE, "trade_id": 86327320, "side": "buy", "size": "1.50"}])

    async with venue(handler) as client:
        trades = await client.trades("BTC-USD", 86327328, 10)
    assert asked == [("/products/BTC-USD/trades?after=86327328&limit=10", "sentinel-ws")]
    venue_ns = 1_584_664_619_860_000_000
    assert trades == [
        Trade("BTC-USD", 86327327, 6225.32, 0.06469797, "buy", venue_ns, is_live=False),
        Trade("BTC-USD", 86327320, 6225.32, 1.5, "sell", venue_ns, is_live=False),
    ]


BOOK = {
    "sequence": 13051505638,
    "bids": [["6247.58", "6.3578146", 2], ["6247.00", "0", 0], ["6200", "1", 1]],
    "asks": [["6251.52", "2", 1]],
    "auction_mode": False,
    "auction": None,
    "time": "2023-03-02T21:04:05.123456Z",
}


async def test_a_book() -> None:
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.json_response(BOOK)

    async with venue(handler) as client:
        book = await client.book("BTC-USD")
    assert asked == ["/products/BTC-USD/book?level=2"]
    assert book == BookAnswer("BTC-USD", 1_677_791_045_123_456_000, {6247.58: 6.3578146, 6200.0: 1.0}, {6251.52: 2.0})


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"message": "hello"},
        {**BOOK, "bids": []},
        {**BOOK, "asks": [["6251.52", "0", 0]]},
        {**BOOK, "asks": [["6251.52", "nan", 1]]},
        {**BOOK, "asks": [["-1", "1", 1]]},
        {**BOOK, "asks": [["6251.52"]]},
        {**BOOK, "auction_mode": True},
        {**BOOK, "time": "0001-01-01T00:00:00Z"},
        {key: value for key, value in BOOK.items() if key != "time"},
    ],
)
async def test_a_book_that_nothing_can_be_compared_with_is_trouble(body: Any) -> None:
    async with venue(answering(body)) as client:
        with pytest.raises(RestTrouble, match="not a book"):
            await client.book("BTC-USD")


async def test_no_more_than_a_page_is_asked_for() -> None:
    limits = []

    async def handler(request: web.Request) -> web.Response:
        limits.append(request.query["limit"])
        return web.json_response([])

    async with venue(handler) as client:
        assert await client.trades("BTC-USD", 10, 5000) == []
    assert limits == ["1000"]


@pytest.mark.parametrize(
    "body",
    [
        {"message": "hello"},
        [{**TRADE, "price": "nan"}],
        [{**TRADE, "price": "-1"}],
        [{**TRADE, "size": "0"}],
        [{**TRADE, "size": "inf"}],
        [{**TRADE, "side": "both"}],
        [{**TRADE, "trade_id": 0}],
        [{**TRADE, "time": "yesterday"}],
        [{**TRADE, "time": "0001-01-01T00:00:00Z"}],
        [{key: value for key, value in TRADE.items() if key != "price"}],
        [{**TRADE, "trade_id": 86327328}],
        [{**TRADE, "trade_id": 5}, {**TRADE, "trade_id": 6}],
        [{**TRADE, "trade_id": 5}, {**TRADE, "trade_id": 5}],
    ],
)
async def test_a_wrong_answer_is_trouble(body: Any) -> None:
    async with venue(answering(body)) as client:
        with pytest.raises(RestTrouble):
            await client.trades("BTC-USD", 86327328, 10)


async def test_an_answer_that_is_not_json_is_trouble() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=b"\xff<html>")

    async with venue(handler) as client:
        with pytest.raises(RestTrouble, match="not a list of trades"):
            await client.trades("BTC-USD", 10, 10)
        with pytest.raises(RestTrouble, match="not a list of products"):
            await client.unknown(("BTC-USD",))
        with pytest.raises(RestTrouble, match="not a book"):
            await client.book("BTC-USD")


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_a_status_is_trouble(status: int) -> None:
    async with venue(answering({"message": "no"}, status)) as client:
        with pytest.raises(RestTrouble, match=f"status {status}"):
            await client.trades("BTC-USD", 10, 10)
        with pytest.raises(RestTrouble, match=f"status {status}"):
            await client.book("BTC-USD")


async def test_an_answer_that_breaks_off_is_trouble() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"[")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with venue(handler) as client:
        with pytest.raises(RestTrouble):
            await client.trades("BTC-USD", 10, 10)


async def test_no_answer_in_time_is_trouble() -> None:
    asked_once = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await asked_once.wait()
        return web.json_response([])

    async with venue(handler, timeout_s=0.05) as client:
        with pytest.raises(RestTrouble, match="Timeout"):
            await client.trades("BTC-USD", 10, 10)
        asked_once.set()


async def test_nobody_there_is_trouble() -> None:
    async with RestClient("http://127.0.0.1:1", NoTime().pace, 5) as client:
        with pytest.raises(RestTrouble):
            await client.trades("BTC-USD", 10, 10)


@pytest.mark.parametrize(
    ("header", "wait_s"), [("30", 30), ("0", 0), (None, 1), ("soon", 1), ("nan", 0), ("99999", 300), ("-5", 0)]
)
async def test_retry_after_holds_up_everybody(header: str | None, wait_s: float) -> None:
    time = NoTime()
    headers = {} if header is None else {"Retry-After": header}
    async with venue(answering({}, 429, headers), time.pace) as client:
        with pytest.raises(RestTrouble):
            await client.trades("BTC-USD", 10, 10)
        before_s = time.now_s
        await time.pace.take()
        assert time.now_s - before_s == pytest.approx(wait_s + 0.2)  # and then 5 a second again


async def test_only_a_404_or_its_end_refuses_a_product() -> None:
    async def handler(request: web.Request) -> web.Response:
        match request.path:
            case "/products":
                return web.json_response(
                    [{"id": "BTC-USD", "status": "online"}, {"id": "OLD-USD", "status": "delisted"}]
                )
            case "/products/NEW-USD":
                return web.json_response({"id": "NEW-USD"})
            case "/products/SICK-USD":
                return web.json_response({"message": "oops"}, status=500)
            case _:
                return web.json_response({"message": "NotFound"}, status=404)

    async with venue(handler) as client:
        products = ("BTC-USD", "NEW-USD", "SICK-USD", "GONE-USD", "OLD-USD")
        assert await client.unknown(products) == ["GONE-USD", "OLD-USD"]
