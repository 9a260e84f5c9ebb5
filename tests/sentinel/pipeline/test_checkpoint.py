"""What a restart must know: written in one form, read in every form there ever was."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from book.trade_ledger import Range
from feeds.market import Market
from sentinel.contract.gaps import Gap
from sentinel.errors import SentinelError
from sentinel.pipeline import Repair
from sentinel.pipeline.checkpoint import decode_checkpoint, encode_checkpoint
from tests.sentinel.pipeline.venue import START, SYMBOL, S, exchange_lane, match, opened, pipeline

HERE, THERE = Market("coinbase", SYMBOL), Market("elsewhere", SYMBOL)


def version_0_1(**trades: Any) -> bytes:
    """The checkpoint of a product as version 0.1 wrote it: by its symbol, without any that was added since."""
    (state,) = msgspec.msgpack.decode(opened(exchange_lane()).checkpoint())["products"]
    del state["symbol"]
    old = {"held": [Range(1, 1), Range(4, 4)], "first": 1, "newest_ns": START, "holes": [], "gaps": []} | trades
    return msgspec.msgpack.encode({"products": {SYMBOL: state | {"trades": old}}})


def test_what_is_written_is_read_each_market_as_it_was() -> None:
    pipe = opened(exchange_lane())
    pipe.receive(0, match(5), START + S)
    state = decode_checkpoint(pipe.checkpoint())[HERE]
    other = msgspec.structs.replace(state, exchange="elsewhere", collector="another")
    body = encode_checkpoint({HERE: state, THERE: other})
    assert decode_checkpoint(body) == {HERE: state, THERE: other}
    assert state.trades.held == [Range(5, 5)]
    assert (state.symbol, state.exchange, state.collector) == (SYMBOL, "coinbase", "tester")


@pytest.mark.parametrize("body", [None, b""])
def test_without_one_there_is_nothing_to_know(body: bytes | None) -> None:
    assert decode_checkpoint(body) == {}


def test_version_0_1_is_read_once_and_upgraded() -> None:
    (old,) = decode_checkpoint(version_0_1()).items()
    assert old[0] == HERE
    assert old[1].trades.held == [Range(1, 1), Range(4, 4)]
    upgraded = pipeline(exchange_lane(), checkpoint=version_0_1()).checkpoint()
    (product,) = msgspec.msgpack.decode(upgraded)["products"]
    assert msgspec.msgpack.decode(upgraded)["version"] == 2
    assert (product["exchange"], product["symbol"]) == HERE


def test_what_was_missing_in_version_0_1_is_asked_for() -> None:
    gap = msgspec.to_builtins(Gap("trades", "trades", START, START + 1, 2, 3, 2))
    gap.pop("given_up", None)
    pipe = pipeline(exchange_lane(), checkpoint=version_0_1(gaps=[gap]))
    pipe.tick(START + S)
    assert [command for command in pipe.commands if isinstance(command, Repair)] == [Repair(SYMBOL, 2, 3)]


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        b"nonsense",
        b"\x91" * 100_000,
        msgspec.msgpack.encode({"version": 3}),
        msgspec.msgpack.encode({"version": 2, "products": [{"symbol": SYMBOL}]}),
        msgspec.msgpack.encode({"products": 1}),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(body: bytes) -> None:
    with pytest.raises(SentinelError, match=r"^the state of the last run was left by another version[^\n]*$"):
        decode_checkpoint(body)
