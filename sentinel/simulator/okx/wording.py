"""OKX word for word: its frames, acknowledgements and refusals (reference protocols, 7; reference venues, 3.4)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from sentinel.simulator.market import Fill, Product

CONNECTION_ID = "a4d3ae55"
TAKERS = {"sell": "buy", "buy": "sell"}
"""By the side that rested."""

NO_SUCH = "Wrong URL or channel:{channel},instId:{product} doesn't exist. Please use the correct URL, channel and parameters referring to API document."  # noqa: E501
CLOSING = (
    '{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. Please '
    f'reconnect.","connId":"{CONNECTION_ID}"}}'
)
A_SIZE = re.compile(r'("sz":|\["[0-9.]+",)"[0-9.]+"')

Rows = Mapping[str, Mapping[int, int]]
"""By side, price in ticks -> size in units; 0 deletes."""


def book_frame(product: Product, rows: Rows, ids: tuple[int, int], now_ns: int, *, is_snapshot: bool) -> str:
    """``ids`` are the one before and its own."""
    previous, last = ids
    asks, bids = _levels(product, sorted(rows["ask"].items())), _levels(product, sorted(rows["bid"].items())[::-1])
    action = "snapshot" if is_snapshot else "update"
    return (
        f'{{"arg":{{"channel":"books","instId":"{product.name}"}},"action":"{action}","data":[{{"asks":[{asks}],'
        f'"bids":[{bids}],"ts":"{now_ns // 1_000_000}","checksum":0,"prevSeqId":{previous},"seqId":{last}}}]}}'
    )


def _levels(product: Product, rows: Iterable[tuple[int, int]]) -> str:
    """A deletion says 0 orders; how many there are otherwise is not known of the synthetic market."""
    return ",".join(
        f'["{product.price_text(price)}","{product.size_text(size)}","0","{1 if size else 0}"]' for price, size in rows
    )


def trade_row(product: Product, fill: Fill) -> dict[str, str]:
    return {
        "instId": product.name,
        "tradeId": str(fill.trade_id),
        "px": product.price_text(fill.price),
        "sz": product.size_text(fill.size),
        "side": TAKERS[fill.maker],
        "ts": str(fill.time_us // 1000),
    }


def data(arg: Mapping[str, str], *rows: Mapping[str, object]) -> str:
    """A frame of any channel but books."""
    return _compact({"arg": arg, "data": rows})


def answered(event: str, arg: Mapping[str, str]) -> str:
    return _compact({"event": event, "arg": arg, "connId": CONNECTION_ID})


def refused(code: str, message: str) -> str:
    return _compact({"event": "error", "code": code, "msg": message, "connId": CONNECTION_ID})


def instrument(product: str, kind: str, state: str) -> dict[str, str]:
    """Much shortened. Contracts have no currencies of their own but those of their family."""
    base, quote = product.split("-")[:2]
    currencies = (base, quote, "") if kind == "SPOT" else ("", "", f"{base}-{quote}")
    row = dict(zip(("baseCcy", "quoteCcy", "instFamily"), currencies, strict=True))
    sizes = {"tickSz": "0.00000001", "lotSz": "0.00000001", "minSz": "0.00000001"}
    return {"instType": kind, "instId": product, "state": state, "settleCcy": "", **row, **sizes}


def kind_of(product: str) -> str:
    """``instType`` of a symbol."""
    last = product.split("-")[2:]
    return "SPOT" if not last else "SWAP" if last == ["SWAP"] else "FUTURES"


def misspelt(frame: str) -> str | None:
    found = A_SIZE.search(frame)
    return frame[: found.end() - 1].rpartition('"')[0] + '"nan"' + frame[found.end() :] if found else None


def _compact(message: object) -> str:
    return json.dumps(message, separators=(",", ":"))
