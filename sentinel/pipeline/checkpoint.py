"""What a restart must know, as it is stored with the last lines of a journal and at the start of a run on a tape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from feeds.market import Market
from sentinel.errors import SentinelError
from sentinel.pipeline.product import ProductState

VERSION = 2


class Stored(Struct):
    """The present form. Products no longer collected are among them, should they come back; of those that others
    collect, and nothing more is to be said of, only the ``elsewhere``."""

    version: int
    products: list[ProductState]
    elsewhere: list[Market] = []


class StoredV1(Struct):
    """That of version 0.1, which had no number: the state of each product by its symbol."""

    products: dict[str, ProductState] = {}


class Names(Struct):
    """Of the present form, what older ones do not have."""

    elsewhere: list[Market] = []


class Label(Struct):
    """What says which of them it is."""

    version: int = 1


def encode_checkpoint(products: Mapping[Market, ProductState], elsewhere: Iterable[Market] = ()) -> bytes:
    """The state of every market, to be read by ``decode_checkpoint``, and the names of those without one."""
    return msgspec.msgpack.encode(Stored(VERSION, list(products.values()), sorted(elsewhere)))


def decode_checkpoint(body: bytes | None) -> dict[Market, ProductState]:
    """What a checkpoint, of this version or of one before, says of each market; nothing if there is none.

    Raises:
        SentinelError: if it cannot be read.
    """
    if not body:
        return {}
    try:
        return {Market(state.exchange, state.symbol): state for state in _states(body)}
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise SentinelError(f"the state of the last run was left by another version of sentinel-ws: {error}") from error


def markets_of(body: bytes | None) -> set[Market]:
    """Every market that was ever collected by the time of a checkpoint.

    Raises:
        SentinelError: if it cannot be read.
    """
    found = set(decode_checkpoint(body))
    return found | set(msgspec.msgpack.decode(body, type=Names).elsewhere) if body else found


def _states(body: bytes) -> list[ProductState]:
    version = msgspec.msgpack.decode(body, type=Label).version
    if version == VERSION:
        return msgspec.msgpack.decode(body, type=Stored).products
    if version != 1:
        raise ValueError(f"its format is {version}")
    stored = msgspec.msgpack.decode(body, type=StoredV1).products
    for symbol, state in stored.items():
        state.symbol = symbol
    return list(stored.values())
