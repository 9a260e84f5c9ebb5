"""Any bytes are one point or a ``LineProtocolError``, and a point comes back as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sentinel.contract.line_protocol import LineProtocolError, Point, decode, encode, measurement_of
from tests.fuzz.mutation import damaged, odd_text
from tests.fuzz.surfaces import Case

LINES = [
    b"trades,exchange=coinbase,side=sell,symbol=BTC-USD price=100.5,recv_ns=1790000001000000i,size=0.25,trade_id=7i 17",
    b"book,bps=10,exchange=kraken,side=bid,symbol=BTC/USD levels=3i,notional=1e3,volume=0.5,vwap=2 1790000000000000000",
    b'gaps,cause=sequence,channel=book,exchange=okx,symbol=A start_ns=1i,words="a \\"b\\" \\\\ c",open=true -5',
    rb"wea\,ther,loc\=ation=us\,\ mid\=west temp\=rature=82,b=F,c=t 1",
]
ODD = [
    b"\\",
    b",",
    b"=",
    b" ",
    b'"',
    b"i",
    b"-",
    b"+",
    b"e",
    b".",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xd9\xa3",
    b"9" * 20,
    b"T",
]
NUMBERS = [0, 1, -1, 2**63 - 1, -(2**63), 2**63, 0.1, 1e300, -0.0, 5e-324, float("inf"), float("nan"), True, False]


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    yield _case


def _case(rng: random.Random) -> str:
    if rng.random() < 0.6:
        line = damaged(rng, rng.choice(LINES), ODD)
        try:
            point = decode(line)
        except LineProtocolError:
            return "refused"
        try:
            encode(point)
        except LineProtocolError:
            return "no point of ours"
        _hold(Point(point.measurement, tuple(sorted(dict(point.tags).items())), point.fields, point.time_ns))
        return "foreign"
    point = Point(
        odd_text(rng, "trades"),
        tuple(sorted({odd_text(rng, "symbol"): odd_text(rng, "BTC-USD") for _ in range(rng.randrange(3))}.items())),
        tuple((odd_text(rng, "size"), _value(rng)) for _ in range(rng.randrange(4))),
        rng.choice([0, 1, -1, 2**63 - 2, -(2**63) + 1, 2**63, 1_790_000_000_000_000_000]),
    )
    try:
        _hold(point)
    except LineProtocolError:
        return "no point"
    return "own"


def _value(rng: random.Random) -> float | int | bool | str:
    return odd_text(rng) if rng.random() < 0.4 else rng.choice(NUMBERS)


def _hold(point: Point) -> None:
    line = encode(point)
    assert b"\n" not in line.split(b'"')[0]
    found = decode(line)
    assert found == point, (found, point)
    assert repr(found.fields) == repr(point.fields), (found, point)
    measurement_of(line)
