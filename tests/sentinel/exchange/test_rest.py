"""The REST client against a real HTTP server that answers well and badly."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from loguru import logger

from book.events import Trade, Unusable
from feeds.catalogue import VENUES
from feeds.coinbase.rest import CoinbaseRest
from feeds.coinbase.venue import Coinbase
from feeds.rest import Get, RestFacts, Talk, TradePage
from feeds.venue import Venue
from sentinel.exchange.rest import RestClient, RestClients, RestHeld, RestTrouble
from sentinel.pipeline import BookAnswer
from sentinel.timing.instants import format_ns
from sentinel.timing.rate_limit import Pace
from tests.servers.waiting import LONGEST_S

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
        self.pace = self.paced(5, 5)

    def paced(self, per_s: float, burst: int) -> Pace:
        return Pace(per_s, burst, lambda: self.now_s, self._sleep)

    async def _sleep(self, wait_s: float) -> None:
        self.now_s += wait_s


class Weighing(Coinbase):
    """The same venue, should it weigh requests, tell what is used, and ban."""

    rest_facts = RestFacts(
        requests_per_s=100, burst=400, ban_s=120, longest_ban_s=259_200,
        used_header="X-Used", limit_per_minute=6000,
    )  # fmt: skip


@asynccontextmanager
async def venue(
    handler: Handler,
    pace: Pace | None = None,
    timeout_s: float = LONGEST_S,
    now_ns: Callable[[], int] | None = None,
    of: Venue = VENUES["coinbase"],
) -> AsyncIterator[RestClient]:
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with RestClient(of, f"http://{host}:{port}", pace or NoTime().pace, timeout_s, now_ns) as client:
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
        trades = (await client.trades("BTC-USD", 86327318, 86327327)).records
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
        with pytest.raises(RestTrouble, match=r"not a book|a book without a side"):
            await client.book("BTC-USD")


async def test_no_more_than_a_page_is_asked_for() -> None:
    limits = []

    async def handler(request: web.Request) -> web.Response:
        limits.append(request.query["limit"])
        return web.json_response([])

    async with venue(handler) as client:
        assert await client.trades("BTC-USD", 1, 5000) == TradePage(1, 5000, [])
    assert limits == ["1000"]


@pytest.mark.parametrize("body", [{"message": "hello"}, 7, [{**TRADE, "trade_id": 86327328}]])
async def test_a_wrong_answer_is_trouble(body: Any) -> None:
    async with venue(answering(body)) as client:
        with pytest.raises(RestTrouble):
            await client.trades("BTC-USD", 86327318, 86327327)


@pytest.mark.parametrize(
    "odd",
    [
        {"price": "nan"},
        {"price": "-1"},
        {"price": None},
        {"size": "0"},
        {"size": "inf"},
        {"side": "both"},
        {"side": ""},
        {"time": "yesterday"},
        {"time": "0001-01-01T00:00:00Z"},
        {"time": None},
        {"time": "2020-03-20T00:36:61Z"},
    ],
)
async def test_one_odd_trade_costs_itself_and_not_its_page(odd: dict[str, Any]) -> None:
    page = [{**TRADE, "trade_id": 9}, {**TRADE, "trade_id": 8, **odd}, {**TRADE, "trade_id": 7}]
    async with venue(answering(page)) as client:
        records = (await client.trades("BTC-USD", 1, 9)).records
    assert [record.trade_id for record in records] == [9, 8, 7]
    assert [type(record) for record in records] == [Trade, Unusable, Trade]
    bad = records[1]
    assert isinstance(bad, Unusable)
    assert (bad.product, bad.channel, bad.excerpt[:1]) == ("BTC-USD", "trades", b"{")
    assert bad.reason


@pytest.mark.parametrize("odd", [{"trade_id": 0}, {"trade_id": "x"}, {"trade_id": None}, {"trade_id": 10**30}])
async def test_a_trade_without_an_id_costs_itself_and_not_its_page(odd: dict[str, Any]) -> None:
    page = [{**TRADE, "trade_id": 9}, {**TRADE, **odd}, {**TRADE, "trade_id": 7}, 5, None]
    async with venue(answering(page)) as client:
        records = (await client.trades("BTC-USD", 1, 9)).records
    assert [record.trade_id for record in records] == [9, None, 7, None, None]


@pytest.mark.parametrize(
    ("time", "ns"),
    [
        ("2020-03-20T00:36:60Z", 1_584_664_620_000_000_000),
        ("2020-03-20T00:36:59.86+00:00", 1_584_664_619_860_000_000),
        ("2020-03-20T01:36:59.8600009999+01:00", 1_584_664_619_860_000_000),
    ],
)
async def test_every_spelling_of_a_time_is_a_time(time: str, ns: int) -> None:
    async with venue(answering([{**TRADE, "time": time}])) as client:
        (trade,) = (await client.trades("BTC-USD", 86327318, 86327327)).records
    assert isinstance(trade, Trade)
    assert trade.venue_ns == ns


async def test_a_page_is_put_in_order_each_id_once_and_nothing_that_was_not_asked_for() -> None:
    page = [{**TRADE, "trade_id": trade_id} for trade_id in (5, 10**12, 6, 6, 4)]
    async with venue(answering(page)) as client:
        assert [record.trade_id for record in (await client.trades("BTC-USD", 1, 6)).records] == [6, 5, 4]


async def test_a_book_leaves_out_what_our_own_books_leave_out() -> None:
    far: dict[str, Any] = {**BOOK, "bids": [*BOOK["bids"], ["0", "1", 1]], "asks": [*BOOK["asks"], ["1e16", "2", 1]]}  # type: ignore[misc]
    async with venue(answering(far)) as client:
        book = await client.book("BTC-USD")
    assert (book.bids, book.asks) == ({6247.58: 6.3578146, 6200.0: 1.0}, {6251.52: 2.0})


async def test_one_odd_product_does_not_hide_the_list() -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/products":
            return web.json_response([{"id": None}, {"id": "BTC-USD"}, 7])
        return web.json_response({"message": "NotFound"}, status=404)

    async with venue(handler) as client:
        assert await client.unknown(("BTC-USD", "BTC-USDC", "GONE-USD")) == ["GONE-USD"]


@pytest.mark.parametrize("listed", ["BTC-USD", "BTC-USDC"])
async def test_an_alias_is_asked_for_by_the_venues_own_name_and_then_by_the_one_wanted(listed: str) -> None:
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path.split("/")[2])
        found = f"/products/{listed}/" in request.path
        return web.json_response([TRADE], status=200) if found else web.json_response({}, status=404)

    async with venue(handler) as client:
        for _ in range(2):
            (trade,) = (await client.trades("BTC-USDC", 86327327, 86327327)).records
            assert trade.product == "BTC-USDC"
    own_first = ["BTC-USD", "BTC-USD"]
    assert asked == (own_first if listed == "BTC-USD" else ["BTC-USD", "BTC-USDC", "BTC-USDC"])


async def test_a_redirect_to_nowhere_is_trouble() -> None:
    for location in ("http://[::1", "http://a:99999999/", "ftp://x/", "http://" + "a" * 300 + "/"):

        async def handler(_: web.Request, location: str = location) -> web.Response:
            return web.Response(status=302, headers={"Location": location})

        async with venue(handler) as client:
            with pytest.raises(RestTrouble):
                await client.trades("BTC-USD", 1, 9)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_what_another_host_says_is_not_the_venues_answer(status: int) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == "/elsewhere":
            return web.json_response([TRADE])
        return web.Response(status=status, headers={"Location": f"//localhost:{request.url.port}/elsewhere"})

    async with venue(handler) as client:
        with pytest.raises(RestTrouble, match=f"status {status}"):
            await client.trades("BTC-USD", 86327327, 86327327)
    assert asked == ["/products/BTC-USD/trades"]


async def test_cookies_are_neither_kept_nor_sent() -> None:
    sent: list[int] = []

    async def handler(request: web.Request) -> web.Response:
        sent.append(len(request.cookies))
        response = web.json_response([TRADE])
        for number in range(20):
            response.set_cookie(f"c{len(sent)}-{number}", "x" * 100)
        return response

    async with venue(handler) as client:
        for _ in range(3):
            await client.trades("BTC-USD", 86327327, 86327327)
    assert sent == [0, 0, 0]


@pytest.mark.parametrize(
    "proxy", ["socks5h://u:secret@127.0.0.1:1", "http://u:secret@127.0.0.1:99999999", "localhost:3128"]
)
async def test_a_proxy_that_cannot_be_used_is_trouble_in_clear_words(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    async with RestClient(VENUES["coinbase"], "http://venue.example", NoTime().pace, 5) as client:
        with pytest.raises(RestTrouble, match=r"the proxy set for venue\.example cannot be used") as raised:
            await client.trades("BTC-USD", 1, 9)
    assert "secret" not in str(raised.value)


async def test_an_answer_that_is_not_json_is_trouble() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=b"\xff<html>")

    async with venue(handler) as client:
        with pytest.raises(RestTrouble, match="not a list of trades"):
            await client.trades("BTC-USD", 1, 9)
        with pytest.raises(RestTrouble, match="not a list of products"):
            await client.unknown(("BTC-USD",))
        with pytest.raises(RestTrouble, match=r"not a book|a book without a side"):
            await client.book("BTC-USD")


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_a_status_is_trouble(status: int) -> None:
    async with venue(answering({"message": "no"}, status)) as client:
        with pytest.raises(RestTrouble, match=f"status {status}"):
            await client.trades("BTC-USD", 1, 9)
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
            await client.trades("BTC-USD", 1, 9)


async def test_no_answer_in_time_is_trouble() -> None:
    asked_once = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await asked_once.wait()
        return web.json_response([])

    async with venue(handler, timeout_s=0.05) as client:
        with pytest.raises(RestTrouble, match="Timeout"):
            await client.trades("BTC-USD", 1, 9)
        asked_once.set()


async def test_nobody_there_is_trouble() -> None:
    async with RestClient(VENUES["coinbase"], "http://127.0.0.1:1", NoTime().pace, 5) as client:
        with pytest.raises(RestTrouble):
            await client.trades("BTC-USD", 1, 9)


@pytest.mark.parametrize(
    ("status", "header", "wait_s"),
    [
        (429, "30", 30),
        (429, "0", 0),
        (429, None, 1),
        (429, "soon", 1),
        (429, "nan", 0),
        (429, "99999", 300),
        (429, "-5", 0),
        (429, "Thu, 01 Jan 1970 00:01:10 GMT", 10),
        (429, "Thu, 01 Jan 2970 00:01:10 GMT", 300),
        (503, "30", 30),
        (403, "7", 7),
        (503, None, 0),
    ],
)
async def test_retry_after_holds_up_everybody(status: int, header: str | None, wait_s: float) -> None:
    time = NoTime()
    headers = {} if header is None else {"Retry-After": header}
    async with venue(answering({}, status, headers), time.pace, now_ns=lambda: 60_000_000_000) as client:
        with pytest.raises(RestTrouble):
            await client.trades("BTC-USD", 1, 9)
        before_s = time.now_s
        for _ in range(4 if status == 503 and header is None else 1):  # four of the five at once are left
            await time.pace.take()
        held_up = 0.2 if status == 429 or header is not None else 0  # and then 5 a second again
        assert time.now_s - before_s == pytest.approx(wait_s + held_up)


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


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}], ids=["as it is", "packed"])
async def test_an_endless_answer_is_refused_before_it_fills_the_memory(headers: dict[str, str]) -> None:
    pack = zlib.compressobj(wbits=31)
    plain = b" " * 2**20
    first, piece = (pack.compress(plain) + pack.flush(zlib.Z_FULL_FLUSH) if headers else plain for _ in range(2))

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(first)
        while True:
            await response.write(piece)
            await asyncio.sleep(0)

    async with venue(handler) as client:
        with pytest.raises(RestTrouble, match="more than"):
            await client.trades("BTC-USD", 1, 1)
        with pytest.raises(RestTrouble, match="more than"):
            await client.book("BTC-USD")
        with pytest.raises(RestTrouble, match="more than"):
            await client.unknown(("BTC-USD",))


async def test_a_body_that_trickles_ends_at_the_deadline() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    async with venue(handler, timeout_s=0.3) as client:
        with pytest.raises(RestTrouble, match="TimeoutError"):
            await client.trades("BTC-USD", 1, 1)


async def test_a_page_of_far_too_many_records_is_refused() -> None:
    async with venue(answering([{}] * 20_000)) as client:
        with pytest.raises(RestTrouble, match="20000 records"):
            await client.trades("BTC-USD", 1, 1)


async def test_the_body_of_a_refusal_is_not_read() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=503)
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    async with venue(handler, timeout_s=3600.0) as client:
        with pytest.raises(RestTrouble, match="status 503"):
            await asyncio.wait_for(client.trades("BTC-USD", 1, 1), LONGEST_S)


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [("EAPI:Rate limit exceeded", 5.0), ("EService:Throttled: 1688669597", 5.0), ("EQuery:Unknown asset pair", 0.0)],
)
async def test_a_limit_told_in_an_answer_holds_everybody_up(error: str, wait_s: float) -> None:
    time = NoTime()
    async with venue(answering({"error": [error]}), time.pace, of=VENUES["kraken"]) as client:
        with pytest.raises(RestTrouble, match=error):
            await client.trades("BTC/USD", 7, 9)
        before_s = time.now_s
        with pytest.raises(RestTrouble):
            await client.products()
    assert time.now_s - before_s == pytest.approx(wait_s, abs=0.3)


Said = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def said() -> Iterator[Said]:
    found: Said = []
    logger.remove()
    handler = logger.add(lambda message: found.append((message.record["message"], message.record["extra"])))
    yield found
    logger.remove(handler)


@pytest.mark.parametrize(
    ("status", "header", "wait_s"),
    [
        (418, "3600", 3600),
        (418, None, 120),
        (429, "86400", 86400),
        (429, None, 120),
        (403, None, 120),
        (403, "7", 7),
        (418, "9999999", 259_200),
        (503, None, 0),
        (404, None, 0),
    ],
)
async def test_a_ban_holds_up_everybody_and_is_told(status: int, header: str | None, wait_s: int, said: Said) -> None:
    time = NoTime()
    headers = {} if header is None else {"Retry-After": header}
    now_ns = 1_800_000_000_000_000_000
    async with venue(answering({}, status, headers), time.pace, now_ns=lambda: now_ns, of=Weighing()) as client:
        with pytest.raises(RestTrouble, match=f"status {status}"):
            await client.trades("BTC-USD", 1, 9)
        held = RestClients([client]).held()
        before_s = time.now_s
        await time.pace.take()
        assert time.now_s - before_s == pytest.approx(wait_s and wait_s + 0.2)
    told = [(event, facts["exchange"], facts["until"]) for event, facts in said if event == "rest_holds_still"]
    if wait_s:
        until_ns = now_ns + wait_s * 1_000_000_000
        assert held == [RestHeld("coinbase", until_ns, f"status {status}")]
        assert told == [("rest_holds_still", "coinbase", format_ns(until_ns))]
    else:
        assert held == told == []


@pytest.mark.parametrize(
    ("used", "wait_s"), [("10", 0), ("5399", 0), ("5400", 40), ("6000", 40), ("many", 0), ("-1", 0), (None, 0)]
)
async def test_a_minute_whose_allowance_is_used_up_is_waited_out(used: str | None, wait_s: int) -> None:
    time = NoTime()
    headers = {} if used is None else {"X-Used": used}
    async with venue(
        answering([TRADE], headers=headers), time.pace, now_ns=lambda: 80 * 10**9, of=Weighing()
    ) as client:
        await client.trades("BTC-USD", 86327327, 86327327)
        reasons = [held.reason for held in RestClients([client]).held()]
        assert reasons == ([f"{used} of 6000 are used up in this minute"] if wait_s else [])
        await time.pace.take()
    assert time.now_s == pytest.approx(wait_s and wait_s + 0.2)


async def test_a_request_takes_its_weight() -> None:
    class Heavy(CoinbaseRest):
        def products(self) -> Talk[Any]:
            for _ in range(3):
                yield Get("/products", weight=40)
            return []

    class Weighed(Weighing):
        def rest(self) -> CoinbaseRest:
            return Heavy()

    weights = NoTime()
    async with venue(answering([]), weights.paced(20, 40), of=Weighed()) as client:
        await client.products()
    assert weights.now_s == pytest.approx(4)
