"""Kraken's public REST. Whatever is wrong with a request is told with status 200."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from sentinel.simulator.dialect import Body, Page

PAGE_TRADES = 1000
BOOK_LEVELS, MOST_LEVELS = 100, 500
OLD_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
CLASSES = {"XBT": "XXBT", "ETH": "XETH", "XRP": "XXRP", "XDG": "XXDG", "USD": "ZUSD", "EUR": "ZEUR", "GBP": "ZGBP"}
"""Old currencies have a letter before their name where results are concerned."""

SIDES = {"sell": "b", "buy": "s"}
"""The taker's, by the side that rested."""

WRONG = {429: "EAPI:Rate limit exceeded", 404: "EGeneral:Unknown method", 400: "EGeneral:Invalid arguments"}


class Sold(NamedTuple):
    """A trade; ``maker`` is the side that rested, "buy" or "sell"."""

    trade_id: int
    price: str
    size: str
    maker: str
    time_ns: int


class Shown(Protocol):
    """A market, as far as REST needs to know of it."""

    def names(self) -> Iterable[str]: ...
    def precision(self, name: str) -> tuple[int, int]:
        """Decimal places of price and size."""

    def status(self, name: str) -> str:
        """What can be done with it."""

    def sold(self, name: str) -> list[Sold]:
        """Every trade that REST has by now, oldest first."""

    def book(self, name: str) -> list[tuple[str, str, str]]:
        """``bid`` or ``ask``, price, size: best first."""


def page(shown: Shown, path: list[str], query: Mapping[str, str], now_ns: Callable[[], int]) -> Page:
    """The answer to a request.

    Raises:
        ValueError: for a number that is none.
    """
    match path:
        case ["0", "public", "AssetPairs"]:
            return _result({aliases(name)[0]: _pair(shown, name) for name in shown.names()})
        case ["0", "public", "Assets"]:
            return _result(_assets(shown.names()))
        case ["0", "public", "SystemStatus"]:
            return _result({"status": "online", "timestamp": "2026-09-07T01:57:58Z"})
        case ["0", "public", "Trades" | "Depth" as what]:
            asked = query.get("pair", "")
            name = next((each for each in shown.names() if asked in (each, *aliases(each))), None)
            if name is None:
                return Page(200, {"error": ["EQuery:Unknown asset pair"]})
            if what == "Trades":
                return _result(_trades(aliases(name)[0], shown.sold(name), query))
            return _result({aliases(name)[0]: _book(shown.book(name), query, now_ns() // 1_000_000_000)})
        case _:
            return Page(404, refusal(404))


def refusal(status: int) -> Body:
    return {"error": [WRONG.get(status, "EService:Unavailable")]}


def _result(result: Mapping[str, object]) -> Page:
    return Page(200, {"error": [], "result": result})


def _trades(key: str, sold: list[Sold], query: Mapping[str, str]) -> dict[str, object]:
    """Those after ``since``, or the newest."""
    most, since = min(PAGE_TRADES, int(query.get("count", PAGE_TRADES))), query.get("since")
    shown = sold[-most:] if since is None else [each for each in sold if each.time_ns > int(since)][:most]
    rows = [
        [each.price, each.size, each.time_ns // 1000 / 1_000_000, SIDES[each.maker], "l", "", each.trade_id]
        for each in shown
    ]
    return {key: rows, "last": str(shown[-1].time_ns) if shown else since or "0"}


def _book(levels: list[tuple[str, str, str]], query: Mapping[str, str], now_s: int) -> dict[str, object]:
    most = min(MOST_LEVELS, int(query.get("count", BOOK_LEVELS)))
    bids, asks = (
        [[price, size, now_s] for side, price, size in levels if side == wanted][:most] for wanted in ("bid", "ask")
    )
    return {"asks": asks, "bids": bids}


def aliases(name: str) -> tuple[str, str, str]:
    """``XXBTZUSD``, ``XBTUSD``, ``XBT/USD`` for ``BTC/USD``."""
    old = [OLD_NAMES.get(part, part) for part in name.split("/")]
    classes = [CLASSES[part] for part in old if part in CLASSES]
    alternative = "".join(old)
    return "".join(classes) if len(classes) == len(old) else alternative, alternative, "/".join(old)


def _assets(names: Iterable[str]) -> dict[str, object]:
    known = sorted({OLD_NAMES.get(part, part) for name in names for part in name.split("/")})
    return {
        CLASSES.get(name, name): {
            "aclass": "currency",
            "altname": name,
            "decimals": 10,
            "display_decimals": 5,
            "status": "enabled",
        }
        for name in known
    }


def _pair(shown: Shown, name: str) -> dict[str, object]:
    price_places, size_places = shown.precision(name)
    _, alternative, wsname = aliases(name)
    base, quote = (CLASSES.get(part, part) for part in wsname.split("/"))
    return {
        "altname": alternative,
        "wsname": wsname,
        "aclass_base": "currency",
        "base": base,
        "aclass_quote": "currency",
        "quote": quote,
        "pair_decimals": price_places,
        "lot_decimals": size_places,
        "lot_multiplier": 1,
        "ordermin": f"{10**-size_places:.{size_places}f}",
        "costmin": "0.5",
        "tick_size": f"{10**-price_places:.{price_places}f}",
        "status": shown.status(name),
    }
