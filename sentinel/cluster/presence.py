"""What members tell each other of themselves: the value of a lease. Pure."""

from __future__ import annotations

import string
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from feeds.market import Market
from feeds.numbers import AnyTradeId

PLAIN = frozenset(string.ascii_letters + string.digits + "-_")


class Presence(Struct, frozen=True):
    """One member, as it is while its lease lasts.

    ``holds`` are the markets that it collects, and whether it vouches for them: its book is proved, and it means to go
    on. ``home`` is its data directory's, ``started_ns`` this run's. One that ``is_leaving`` gets no market any more.
    ``asks`` is the same for all that were asked for the same products, each of them by so many ``replicas``, 0 where
    that was not told yet. ``status`` is a summary for people.
    """

    collector: str
    address: str
    started_ns: int
    home: str
    holds: dict[str, bool] = {}
    is_leaving: bool = False
    asks: str = ""
    replicas: int = 0
    http: str | None = None
    version: str = ""
    status: dict[str, Any] = {}

    def vouched(self) -> set[Market]:
        return {Market.parse(market) for market, is_vouched in self.holds.items() if is_vouched}


def encode(presence: Presence) -> bytes:
    return msgspec.json.encode(presence)


def decode(value: bytes) -> Presence:
    """
    Raises:
        ValueError, RecursionError: for what is none.
    """
    return msgspec.json.decode(value, type=Presence)


Tail = tuple[AnyTradeId, Annotated[int, Meta(ge=0, le=2**63 - 1)]]
"""Of a market, the last trade id up to which all trades are where the other members find them, and its time in ns."""


def decode_tails(value: bytes) -> dict[Market, Tail]:
    """What a member knows of its markets.

    Raises:
        ValueError, RecursionError: for what is none.
    """
    found = msgspec.json.decode(value, type=dict[str, Tail])
    return {Market.parse(market): tail for market, tail in found.items()}


def key_of(collector: str) -> str:
    """Its key in a bucket, which takes fewer characters than a collector's name has."""
    return "".join(letter if letter in PLAIN else f"={ord(letter):02X}" for letter in collector)
