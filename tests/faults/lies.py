"""What a REST API that lies may answer: an honest answer, and a rule by which it is changed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from feeds.rest import Reply

Key = str | int
Record = Any
"""A trade as the venue has it: an object, or a row."""

HOUR_S = 3600
YEAR_S = 365 * 86_400


@dataclass(frozen=True)
class Names:
    """Where a venue's REST says what of a trade. ``product`` is None where it does not say which product it is of."""

    id: Key
    time: Key
    price: Key
    product: Key | None = None

    def later(self, record: Record, seconds: float) -> Record:
        """The same of another time."""
        time = record[self.time]
        if isinstance(time, str) and not time.isdecimal():
            moved = (datetime.fromisoformat(time) + timedelta(seconds=seconds)).replace(tzinfo=None)
            return self.other(record, time=f"{moved.isoformat(timespec='microseconds')}Z")
        per_s = 1 if isinstance(time, float) else 1000
        return self.other(record, time=type(time)(type(seconds)(time) + round(seconds * per_s)))

    def other(self, record: Record, **values: Any) -> Record:
        """With other values of what has these names."""
        copy = record.copy()
        for name, value in values.items():
            copy[getattr(self, name)] = value
        return copy


NAMES: Mapping[str, Names] = {
    "coinbase": Names("trade_id", "time", "price"),
    "kraken": Names(6, 2, 0),
    "binance": Names("id", "time", "price"),
    "okx": Names("tradeId", "ts", "px", "instId"),
    "bybit": Names("execId", "time", "price", "symbol"),
    "bybit_linear": Names("execId", "time", "price", "symbol"),
    "deribit": Names("trade_seq", "timestamp", "price", "instrument_name"),
    "coinbase_derivatives": Names("trade_seq", "timestamp", "price", "instrument_name"),
}


class Liar:
    """Changes answers by a rule of its own. ``first`` is the first honest answer it has seen, by kind of question."""

    def __init__(self, names: Names, rng: random.Random) -> None:
        self.names = names
        self.rng = rng
        self._first: dict[str, Reply] = {}

    def tell(self, lie: str, path: str, honest: Reply) -> Reply:
        first = self._first.setdefault(path.partition("?")[0], honest)
        if lie == "the same again and again":
            return first
        if lie in ANSWERS:
            return ANSWERS[lie](self, honest)
        try:
            body = json.loads(honest.body)
        except ValueError:
            return honest
        records = trades_of(body, self.names)
        if records is not None:
            records[:] = RECORDS[lie](self, records)
        return Reply(honest.status, json.dumps(body).encode())


def trades_of(body: Any, names: Names) -> list[Record] | None:
    """The list of trades in an answer, if it has one."""
    parts = [body]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            parts += part.values()
        elif isinstance(part, list):
            if all(_is_trade(record, names) for record in part):
                return part
            parts += part
    return None


def _is_trade(record: Record, names: Names) -> bool:
    if isinstance(names.id, int):
        return isinstance(record, list) and len(record) > names.id
    return isinstance(record, dict) and names.id in record and names.time in record


def _cut(liar: Liar, honest: Reply) -> Reply:
    return Reply(honest.status, honest.body[: liar.rng.randrange(len(honest.body) + 1)])


def _flip(liar: Liar, honest: Reply) -> Reply:
    """Not in numbers: nobody could tell."""
    body = bytearray(honest.body or b"x")
    for _ in range(liar.rng.randrange(1, 20)):
        place, flipped = liar.rng.randrange(len(body)), 1 << liar.rng.randrange(8)
        if not chr(body[place]).isdigit() and not chr(body[place] ^ flipped).isdigit():
            body[place] ^= flipped
    return Reply(200, bytes(body))


def _one_of(*replies: Reply) -> Callable[[Liar, Reply], Reply]:
    return lambda liar, _: liar.rng.choice(replies)


ANSWERS: Mapping[str, Callable[[Liar, Reply], Reply]] = {
    "cut short": _cut,
    "flipped bits": _flip,
    "a page for people": _one_of(Reply(200, b"<!doctype html><title>Sign in to the Wi-Fi</title>"), Reply(200)),
    "an error with status 200": _one_of(
        Reply(200, b'{"message":"NotFound"}'),
        Reply(200, b'{"error":["EGeneral:Internal error"]}'),
        Reply(200, b'{"code":"50011","msg":"Too Many Requests","data":[]}'),
        Reply(200, b'{"retCode":10006,"retMsg":"Too many visits!","result":{}}'),
        Reply(200, b'{"jsonrpc":"2.0","error":{"code":10028,"message":"too_many_requests"}}'),
    ),
    "other shapes": _one_of(
        Reply(200, b"[]"),
        Reply(200, b"{}"),
        Reply(200, b"null"),
        Reply(200, b"0"),
        Reply(200, b'""'),
        Reply(200, b"[" * 5000 + b"]" * 5000),
        Reply(200, b'{"error":[],"result":{"a":{"b":[[[]]]}},"code":"0","data":{},"retCode":0}'),
        Reply(200, b"[" + b"{}," * 50_000 + b"{}]"),
        Reply(200, b"\xff\xfe[\x00]\x00"),
    ),
    "a refusal": _one_of(*(Reply(status) for status in (400, 403, 404, 418, 429, 451, 500, 503))),
}

Change = Callable[[Liar, list[Record]], list[Record]]


def _each(change: Callable[[Liar, Record], Record]) -> Change:
    """One of them, some or all."""

    def change_some(liar: Liar, records: list[Record]) -> list[Record]:
        share = liar.rng.choice((0.1, 0.5, 1.0))
        chosen = [liar.rng.random() < share for _ in records]
        return [change(liar, one) if is_it else one for one, is_it in zip(records, chosen, strict=True)]

    return change_some


def _later(*seconds: float) -> Change:
    return _each(lambda liar, one: liar.names.later(one, liar.rng.choice(seconds)))


def _of_another(liar: Liar, records: list[Record]) -> list[Record]:
    """Of another product: where the record does not say so, the trades are at least not of the same time."""
    names, off_s = liar.names, liar.rng.choice((-30 * 86_400, -HOUR_S, HOUR_S))
    others = [names.other(names.later(one, off_s), price=_text(one[names.price], 77.5)) for one in records]
    return others if names.product is None else [names.other(one, product="OTHER-USD") for one in others]


def _text(like: Any, value: float) -> Any:
    return str(value) if isinstance(like, str) else value


def _twice(liar: Liar, records: list[Record]) -> list[Record]:
    """Some ids once more, with other values, somewhere."""
    told = list(records)
    for one in records:
        if liar.rng.random() < 0.3:
            other = liar.names.other(one, price=_text(one[liar.names.price], 77.5))
            told.insert(liar.rng.randrange(len(told) + 1), other)
    return told


def _beyond(liar: Liar, records: list[Record]) -> list[Record]:
    """With ids that nobody asked for."""
    names, rng = liar.names, liar.rng
    off = rng.choice((-(10**6), -5000, 5000, 10**6, 10**12))
    added = [names.other(one, id=_moved(one[names.id], off)) for one in records]
    return [*records, *added] if rng.random() < 0.5 else added


def _moved(value: Any, off: int) -> Any:
    if isinstance(value, str) and not value.isdecimal():
        return value
    return type(value)(max(1, int(value) + off))


ODD = (None, "", "x", -1, 0, 2**63, 2**70, 1e300, "NaN", [], {}, True, " 5", "٣")


def _odd(liar: Liar, one: Record) -> Record:
    name = liar.rng.choice(("id", "time", "price"))
    return liar.names.other(one, **{name: liar.rng.choice(ODD)})


def _in_another_unit(liar: Liar, one: Record) -> Record:
    time, factor = one[liar.names.time], liar.rng.choice((1000, 10**6, 10**9))
    if isinstance(time, str) and not time.isdecimal():
        return liar.names.other(one, time=str(factor * 10**9))
    return liar.names.other(
        one, time=type(time)(float(time) * factor if isinstance(time, float) else int(time) * factor)
    )


def _shuffled(liar: Liar, records: list[Record]) -> list[Record]:
    return liar.rng.sample(records, len(records))


RECORDS: Mapping[str, Change] = {
    "nothing": lambda liar, records: [],
    "half of it": lambda liar, records: [one for one in records if liar.rng.random() < 0.5],
    "out of order": _shuffled,
    "another product": _of_another,
    "ids twice": _twice,
    "ids beyond": _beyond,
    "an hour off": _later(-HOUR_S, HOUR_S),
    "years ahead": _later(YEAR_S, 10 * YEAR_S, 200 * YEAR_S),
    "years behind": _later(-YEAR_S, -10 * YEAR_S, -50 * YEAR_S),
    "another unit of time": _each(_in_another_unit),
    "odd values": _each(_odd),
    "far too many": lambda liar, records: records * (20_000 // max(1, len(records))),
}

LIES = ("the same again and again", *ANSWERS, *RECORDS)
