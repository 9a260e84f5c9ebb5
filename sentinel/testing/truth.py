"""What really happened on a simulated market, as objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

from sentinel.simulator.truth import Truth


class TrueTrade(Struct, frozen=True):
    """A trade as it was made. ``side`` is the taker's. ``is_history``: before the market opened; ``is_hidden``: a fault
    kept it off the feeds."""

    product: str
    trade_id: int
    price: Decimal
    size: Decimal
    side: Literal["buy", "sell"]
    time_ns: int
    is_history: bool
    is_hidden: bool


class TrueTop(Struct, frozen=True):
    """The best levels after a book frame that was sent at ``sent_ns`` or right after."""

    product: str
    sent_ns: int
    bid: Decimal
    bid_size: Decimal
    ask: Decimal
    ask_size: Decimal


class TrueFault(Struct, frozen=True):
    """A fault that has struck. ``facts`` is all that the file of ``sentinel-ws simulate --truth`` says of it."""

    kind: str
    start_ns: int
    end_ns: int | None
    product: str | None
    facts: Mapping[str, Any]


class Recorded(Truth):
    """The truth in memory instead of in a file."""

    def __init__(self) -> None:
        super().__init__(None)
        self.with_tops = True
        self._said: list[tuple[str, dict[str, Any]]] = []

    def write(self, kind: str, **facts: object) -> None:
        self._said.append((kind, facts))

    def trades(self) -> list[TrueTrade]:
        """In the order in which they were made."""
        return [
            TrueTrade(
                product=said["product"],
                trade_id=said["trade_id"],
                price=Decimal(said["price"]),
                size=Decimal(said["size"]),
                side="buy" if said["maker_side"] == "sell" else "sell",
                time_ns=said["t_ns"],
                is_history=said.get("history", False),
                is_hidden=said.get("hidden", False),
            )
            for said in self._of("trade")
        ]

    def tops(self) -> list[TrueTop]:
        """In the order in which they were sent."""
        names = ("bid", "bid_size", "ask", "ask_size")
        return [
            TrueTop(said["product"], said["sent_ns"], *(Decimal(said[name]) for name in names))
            for said in self._of("top")
        ]

    def faults(self) -> list[TrueFault]:
        """In the order in which they struck."""
        return [
            TrueFault(said["fault"], said["start_ns"], said.get("end_ns"), said.get("product"), said)
            for said in self._of("fault")
        ]

    def connections(self) -> int:
        """How many were opened so far."""
        return sum(said["event"] == "opened" for said in self._of("connection"))

    def _of(self, kind: str) -> Iterator[dict[str, Any]]:
        return (facts for each, facts in self._said.copy() if each == kind)
