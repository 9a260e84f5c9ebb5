"""Any answers of REST give sound records of what was asked for or a ``NoAnswer``, after so many questions at most."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from book.events import Trade, Unusable
from feeds.catalogue import VENUES
from feeds.errors import NoAnswer
from feeds.rest import Get, Listed, Reply, RestBook, Talk, TradePage
from tests.feeds.test_conformance import LARGEST
from tests.fuzz.mutation import made, odd_text
from tests.fuzz.surfaces import Case

MOST_QUESTIONS = 300
FIRST, LAST = 1_000, 1_009
LAST_NS = 2**63 - 1000
"""A point adds up to 999 to the time of a trade."""

TIMES = {"iso": "2026-08-09T21:05:48.26Z", "ms": 1_786_310_748_260, "s": 1_786_310_748.2601}


def _deribit_trade(number: int) -> dict[str, Any]:
    return {
        "trade_seq": number,
        "trade_id": str(number + 7),
        "timestamp": TIMES["ms"],
        "price": 100.5,
        "amount": 10.0,
        "instrument_name": "BTC-PERPETUAL",
        "direction": "sell",
        "tick_direction": 0,
        "mark_price": 1.0,
        "index_price": 1.0,
    }


def _bodies(exchange: str) -> list[Any]:
    """Good answers: trades, book and products, each as the venue writes it."""
    ids = range(LAST, FIRST - 1, -1)
    match exchange:
        case "coinbase":
            rows = [{"time": TIMES["iso"], "trade_id": n, "price": "100.5", "size": "0.25", "side": "buy"} for n in ids]
            book = {"sequence": 13, "bids": [["99.0", "1.0", 2]], "asks": [["101.0", "1.0", 1]], "time": TIMES["iso"]}
            listed = {"id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD", "status": "online"}
            return [rows, book, [listed], listed]
        case "kraken":
            rows = [["100.5", "0.25", TIMES["s"] + n, "b", "m", "", n] for n in reversed(ids)]
            level = ["99.0", "2.05900000", 1616663113]
            pair = {"altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "status": "online"}
            return [
                {"error": [], "result": result}
                for result in (
                    {"XXBTZUSD": rows, "last": "1786310748260000000"},
                    {"XXBTZUSD": {"bids": [level], "asks": [["101.0", *level[1:]]]}},
                    {"XXBTZUSD": pair},
                )
            ]
        case "binance":
            rows = [{"id": n, "price": "100.5", "qty": "1", "time": TIMES["ms"], "isBuyerMaker": True} for n in ids]
            listed = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}
            return [rows, {"lastUpdateId": 9, "bids": [["99.0", "1"]], "asks": [["101.0", "1"]]}, {"symbols": [listed]}]
        case "okx":
            row = {"instId": "BTC-USDT", "px": "100.5", "sz": "0.25", "side": "sell", "ts": str(TIMES["ms"])}
            book = {
                "asks": [["101", "1", "0", "1"]],
                "bids": [["99", "1", "0", "1"]],
                "ts": "1786310748260",
                "seqId": 7,
            }
            listed = {"instId": "BTC-USDT", "instType": "SPOT", "baseCcy": "BTC", "quoteCcy": "USDT", "state": "live"}
            answers: list[Any] = [[row | {"tradeId": str(n)} for n in ids], [book], [listed]]
            return [{"code": "0", "msg": "", "data": data} for data in answers]
        case "deribit" | "coinbase_derivatives":
            book = {
                "timestamp": TIMES["ms"],
                "change_id": 7,
                "state": "open",
                "bids": [[99.0, 1.0]],
                "asks": [[101.0, 1.0]],
            }
            listed = {
                "instrument_name": "BTC-PERPETUAL",
                "kind": "future",
                "settlement_period": "perpetual",
                "base_currency": "BTC",
                "quote_currency": "USD",
                "is_active": True,
                "state": "open",
            }
            trades = {"trades": [_deribit_trade(n) for n in ids], "has_more": False}
            return [{"jsonrpc": "2.0", "result": result} for result in (trades, book, [listed])]
        case _:
            trade = {"symbol": "BTCUSDT", "price": "100.5", "size": "0.25", "side": "Sell", "time": str(TIMES["ms"])}
            rows = [trade | {"execId": str(n), "isBlockTrade": False, "seq": str(n)} for n in ids]
            book = {"s": "BTCUSDT", "b": [["99.0", "1"]], "a": [["101.0", "1"]], "ts": TIMES["ms"], "u": 7, "seq": 1}
            listed = {"symbol": "BTCUSDT", "status": "Trading", "baseCoin": "BTC", "quoteCoin": "USDT"}
            results: list[Any] = [{"list": rows}, book, {"list": [listed], "nextPageCursor": ""}]
            return [{"retCode": 0, "retMsg": "OK", "result": result} for result in results]


CORPUS = {exchange: [json.dumps(body).encode() for body in _bodies(exchange)] for exchange in VENUES}


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    yield _case


def _case(rng: random.Random) -> str:
    exchange = rng.choice(sorted(VENUES))
    venue, rest = VENUES[exchange], VENUES[exchange].rest()
    what = rng.choice(["trades", "trades", "book", "products", "unknown"])
    match what:
        case "trades":
            for _ in range(rng.randrange(1, 4)):  # a client may remember where it has been
                page = _carry(rng, exchange, rest.trades(venue.example, FIRST, LAST))
                if page is not None:
                    _hold_page(page)
        case "book":
            book = _carry(rng, exchange, rest.book(venue.example))
            if book is not None:
                _hold_book(book)
        case "products":
            for listed in _carry(rng, exchange, rest.products()) or ():
                assert isinstance(listed, Listed)
                assert listed.state in ("trading", "halted", "delisted")
        case _:
            symbols = [venue.example, odd_text(rng)]
            found = _carry(rng, exchange, rest.unknown([each for each in symbols if each]))
            assert found is None or set(found) <= set(symbols)
    return f"{exchange} {what}"


def _carry(rng: random.Random, exchange: str, talk: Talk[Any]) -> Any:
    """The result of a conversation with somebody who says anything; None for ``NoAnswer``."""
    try:
        get = next(talk)
        for _ in range(MOST_QUESTIONS):
            assert isinstance(get, Get)
            assert get.path.startswith("/")
            status = 200 if rng.random() < 0.95 else rng.choice([204, 301, 400, 401, 403, 404, 429, 451, 500, 503])
            body = made(rng, rng.choice(CORPUS[exchange]))[: get.most_bytes] if status == 200 else b""
            get = talk.send(Reply(status, body))
    except StopIteration as end:
        return end.value
    except NoAnswer as error:
        return _hold_refusal(error)
    raise AssertionError(f"it asks for ever, at last {get.path}")


def _hold_refusal(error: NoAnswer) -> None:
    assert error.wait_s is None or error.wait_s >= 0


def _hold_page(page: TradePage) -> None:
    assert FIRST <= page.first <= page.last <= LAST
    assert page.first == FIRST or page.last == LAST
    ids = [record.trade_id for record in page.records if record.trade_id is not None]
    assert len(ids) == len(set(ids))
    assert ids == sorted(ids, reverse=True)
    for record in page.records:
        assert isinstance(record, Trade | Unusable)
        if isinstance(record, Trade):
            assert page.first <= record.trade_id <= page.last
            assert 0 < record.price <= LARGEST
            assert 0 < record.size <= LARGEST
            assert 0 < record.venue_ns <= LAST_NS


def _hold_book(book: RestBook) -> None:
    assert book.bids
    assert book.asks
    for price, size in (*book.bids.items(), *book.asks.items()):
        assert 0 < price <= LARGEST
        assert 0 < size <= LARGEST
    assert book.venue_ns is None or 0 < book.venue_ns <= LAST_NS
    assert book.last is None or book.last >= 0
