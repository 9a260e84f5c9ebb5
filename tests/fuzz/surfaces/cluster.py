"""Whatever lies on the servers of a cluster is what a member said, or is passed over, or is an error of ours."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import zstandard

from feeds.market import Market
from sentinel.cluster import places, presence, stream
from sentinel.cluster.names import COLLECTOR, TIMES
from sentinel.errors import UNREADABLE
from tests.fuzz.mutation import damaged, made, odd_text
from tests.fuzz.surfaces import Case

WORD = presence.encode(
    presence.Presence(
        "one", "127.0.0.1", 1, "home", {"coinbase:BTC-USD": True, "kraken:BTC/USD": False}, status={"gaps": 1}
    )
)
TAILS = json.dumps({"coinbase:BTC-USD": [7, 1_790_000_000_000_000_000], "kraken:BTC/USD": [1, 2]}).encode()
PLACE = json.dumps({"reach": {"cursor": 7, "batches": {"one/a": 3}}, "worker": "x", "uncertified": ["2026"]}).encode()
PACKED = zstandard.ZstdCompressor().compress(b"trades,symbol=BTC-USD price=1 1\n" * 9)


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    yield _case


def _case(rng: random.Random) -> str:
    match rng.randrange(4):
        case 0:
            return _presence(made(rng, WORD))
        case 1:
            return _tails(made(rng, TAILS))
        case 2:
            try:
                places.decode(made(rng, PLACE))
            except places.ClusterError:
                return "places, refused"
            return "places"
        case _:
            return _message(rng)


def _presence(value: bytes) -> str:
    try:
        word = presence.decode(value)
    except UNREADABLE:
        return "presences, passed over"
    assert all(isinstance(market, Market) for market in word.vouched())
    assert presence.key_of(word.collector).isascii()
    return "presences"


def _tails(value: bytes) -> str:
    try:
        found = presence.decode_tails(value)
    except UNREADABLE:
        return "tails, passed over"
    for trade_id, time_ns in found.values():
        assert 0 <= trade_id < 2**62
        assert 0 <= time_ns < 2**63
    return "tails"


def _message(rng: random.Random) -> str:
    headers = {
        TIMES: odd_text(rng, "1..2", "1790000000000000000..1790000000000000001"),
        COLLECTOR: odd_text(rng, "one"),
    }
    said = SimpleNamespace(
        subject=f"sentinel.lines.{odd_text(rng, 'trades').replace('.', '')}.{odd_text(rng, '3').replace('.', '')}",
        headers=rng.choice([None, {}, headers, headers]),
        data=damaged(rng, PACKED) if rng.random() < 0.7 else PACKED,
        metadata=SimpleNamespace(sequence=SimpleNamespace(stream=1), timestamp=datetime(2026, 11, 26, tzinfo=UTC)),
    )
    found = stream.decoded(cast(Any, said), zstandard.ZstdDecompressor())
    if found is None:
        return "messages, passed over"
    assert -(2**63) <= found.first_ns < 2**63
    assert len(found.body) <= stream.MOST_DECOMPRESSED_BYTES
    return "messages"
