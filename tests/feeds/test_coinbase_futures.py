"""US futures: on the feed of Advanced Trade alone, listed by its REST alone, and repaired by nobody."""

from __future__ import annotations

import json

import pytest

from feeds.catalogue import VENUES
from feeds.coinbase.rest import CoinbaseRest
from feeds.coinbase.venue import CoinbaseSettings
from feeds.errors import NoAnswer
from feeds.rest import Get, Listed, Reply, TradePage
from tests.captures import ADVANCED, lines_of

COINBASE = VENUES["coinbase"]
BIT, PERPETUAL = "BIT-28NOV25-CDE", "BIP-20DEC30-CDE"
SPOT = json.dumps([{"id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD", "status": "online"}]).encode()


def future(name: str, *, is_open: bool = True, **other: object) -> dict[str, object]:
    details = {"contract_root_unit": "BTC", "contract_size": "0.01", "funding_rate": "0.0001" * (name == PERPETUAL)}
    session = {"is_session_open": is_open, "maintenance": None}
    facts = {"future_product_details": details, "fcm_trading_session_details": session, "status": ""}
    return {"product_id": name, "quote_currency_id": "USD", **facts, **other}


def futures(*listed: dict[str, object]) -> bytes:
    return json.dumps({"products": listed, "num_products": len(listed)}).encode()


@pytest.mark.parametrize("symbol", [BIT, PERPETUAL, "BIT-4APR26-CDE", "BTC-USD"])
def test_its_name_is_a_symbol_of_coinbase(symbol: str) -> None:
    assert COINBASE.symbol.fullmatch(symbol)


@pytest.mark.parametrize("symbol", ["BTC-USD-CDE", "BIT-28NOV25-ABC", "BIT-28NOV25-CDE-X", "bit-28nov25-cde"])
def test_what_is_no_name_of_one(symbol: str) -> None:
    assert not COINBASE.symbol.fullmatch(symbol)


def test_exchange_does_not_carry_it() -> None:
    assert COINBASE.serves("coinbase_advanced", BIT)
    assert not COINBASE.serves("coinbase_exchange", BIT)
    assert COINBASE.serves("coinbase_exchange", "BTC-USD")


def test_it_is_listed_by_the_rest_of_advanced_trade() -> None:
    talk = CoinbaseRest().products()
    assert next(talk).host == ""
    asked = talk.send(Reply(200, SPOT))
    assert asked == Get("/api/v3/brokerage/market/products?product_type=FUTURE", host="advanced")
    assert COINBASE.rest_hosts(CoinbaseSettings()) == {"advanced": "https://api.coinbase.com"}
    listed = futures(
        future(BIT),
        future(PERPETUAL, is_open=False),
        future("ODD"),
        {"x": 1},
        future("BIT-1JAN26-CDE", trading_disabled=True),
    )
    with pytest.raises(StopIteration) as end:
        talk.send(Reply(200, listed))
    assert end.value.value == [
        Listed(symbol="BTC-USD", base="BTC", quote="USD"),
        Listed(symbol=BIT, base="BTC", quote="USD", kind="future"),
        Listed(symbol=PERPETUAL, base="BTC", quote="USD", kind="perpetual", state="halted"),
        Listed(symbol="BIT-1JAN26-CDE", base="BTC", quote="USD", kind="future", state="halted"),
    ]


@pytest.mark.parametrize("reply", [Reply(403), Reply(200, b"[]"), Reply(200, futures({"x": 1}))])
def test_no_list_is_not_an_empty_one(reply: Reply) -> None:
    talk = CoinbaseRest().products()
    next(talk)
    talk.send(Reply(200, SPOT))
    with pytest.raises(NoAnswer):
        talk.send(reply)


def test_one_that_is_not_listed_has_expired_and_spot_is_asked_of_exchange_alone() -> None:
    talk = CoinbaseRest().unknown([BIT, "BTC-USD", PERPETUAL])
    assert next(talk).host == "advanced"
    assert talk.send(Reply(200, futures(future(PERPETUAL)))).path == "/products"
    with pytest.raises(StopIteration) as end:
        talk.send(Reply(200, SPOT))
    assert end.value.value == [BIT]
    alone = CoinbaseRest().unknown([BIT])
    next(alone)
    with pytest.raises(StopIteration) as end:
        alone.send(Reply(200, futures()))
    assert end.value.value == [BIT]
    assert next(CoinbaseRest().unknown(["BTC-USD"])).path == "/products"


def test_its_trades_are_in_no_rest_and_nobody_is_asked() -> None:
    with pytest.raises(StopIteration) as end:
        next(CoinbaseRest().trades(BIT, 7, 9))
    assert end.value.value == TradePage(7, 9, ())


def test_the_recorded_list_without_a_product_type_has_none() -> None:
    body = json.loads(lines_of(f"{ADVANCED}/http.jsonl.zst")[1])["data"].encode()
    talk = CoinbaseRest().products()
    next(talk)
    talk.send(Reply(200, SPOT))
    with pytest.raises(StopIteration) as end:
        talk.send(Reply(200, body))
    assert [listed.symbol for listed in end.value.value] == ["BTC-USD"]
    assert len(json.loads(body)["products"]) == 920
