"""US futures of Coinbase: their names, and the list of them, which only the REST of Advanced Trade has."""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw, Struct

from book.events import ProductState
from feeds.errors import NoAnswer
from feeds.rest import Get, Listed, Reply, Talk
from feeds.salvage import REFUSALS, each

FUTURE = r"[A-Z0-9]+-[0-9]{1,2}[A-Z]{3}[0-9]{2}-CDE"
HOST = "advanced"
LISTED = "/api/v3/brokerage/market/products?product_type=FUTURE"
PATTERN = re.compile(FUTURE)


class Contract(Struct, frozen=True):
    """``{"venue":"cde","contract_code":"BIT","contract_root_unit":"BTC","contract_size":"0.01","funding_rate":"",...}``"""

    contract_root_unit: str = ""
    funding_rate: str | None = None


class Session(Struct, frozen=True):
    """``{"is_session_open":true,"open_time":"...","close_time":"...","session_state":"...","maintenance":...}``"""

    is_session_open: bool = True


class WireFuture(Struct, frozen=True):
    """``{"product_id":"BIT-28NOV25-CDE","product_type":"FUTURE","quote_currency_id":"USD","status":"",
    "trading_disabled":false,"is_disabled":false,"future_product_details":{...},"fcm_trading_session_details":{...}}``

    A perpetual is a future that expires in a far year, and has a rate of funding.
    """

    product_id: str
    quote_currency_id: str = ""
    trading_disabled: bool = False
    is_disabled: bool = False
    future_product_details: Contract | None = None
    fcm_trading_session_details: Session | None = None


class Answer(Struct, frozen=True):
    """``{"products":[...],"num_products":42}``"""

    products: Raw


decode_answer = msgspec.json.Decoder(Answer).decode
decode_future = msgspec.json.Decoder(WireFuture).decode


def is_future(symbol: str) -> bool:
    return PATTERN.fullmatch(symbol) is not None


def futures() -> Talk[list[Listed]]:
    """Those that have not expired."""
    reply: Reply = yield Get(LISTED, host=HOST)
    if reply.status != 200:
        raise NoAnswer(f"status {reply.status} for {LISTED}")
    try:
        products = decode_answer(reply.body).products
    except REFUSALS as error:
        raise NoAnswer(f"not a list of futures: {error}") from error
    found, odd = each(products, decode_future, "products")
    if odd and not found:
        raise NoAnswer(f"not a list of futures: {odd[0].reason}")
    return [_listed(future) for future in found if is_future(future.product_id)]


def _listed(future: WireFuture) -> Listed:
    contract = future.future_product_details or Contract()
    return Listed(
        symbol=future.product_id,
        base=contract.contract_root_unit or future.product_id.partition("-")[0],
        quote=future.quote_currency_id or "USD",
        kind="perpetual" if contract.funding_rate else "future",
        state=_state(future),
    )


def _state(future: WireFuture) -> ProductState:
    session = future.fcm_trading_session_details or Session()
    is_open = session.is_session_open and not future.trading_disabled and not future.is_disabled
    return "trading" if is_open else "halted"
