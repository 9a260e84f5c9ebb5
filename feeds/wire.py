"""What is believed of a venue's wire, and whether the frames that really came bear it out.

The decoders take what is known for granted, and salvage the rest. Much of what is known was read in documentation or in
other people's code, and never seen by us. A ``Wire`` holds each such statement against frames, one by one; it knows
nothing of what the decoders make of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct

Confidence = Literal["high", "medium", "low", "unconfirmed"]
MOST_EXAMPLE_CHARS = 200


class Fact(Struct, frozen=True):
    """One statement. ``tolerance`` is the share of frames that may contradict it without disproving it: what is lost on
    the way contradicts every statement on consecutive numbers. ``is_possible_only``: it says what may happen, so that
    nothing can contradict it."""

    name: str
    says: str
    confidence: Confidence
    tolerance: float = 0.0
    is_possible_only: bool = False


class Tally(Struct):
    """How often a fact was borne out, and contradicted; ``example`` is the beginning of the first frame against it."""

    confirmed: int = 0
    contradicted: int = 0
    example: str = ""


class Wire:
    """Holds the ``facts`` of one venue against its frames. ``connection`` is any number that tells connections apart.

    ``tallies`` may be those of an earlier run, to go on with.
    """

    facts: ClassVar[tuple[Fact, ...]] = ()

    def __init__(self, tallies: Mapping[str, Tally] | None = None) -> None:
        known = tallies or {}
        self.tallies = {fact.name: known.get(fact.name) or Tally() for fact in self.facts}
        self._frame = b""

    def opened(self, connection: int, feed: str, products: Collection[str]) -> None:
        """A new connection for these products. Frames of one that was never opened are of one that was under way."""

    def frame(self, connection: int, feed: str, frame: bytes) -> None:
        """Takes one frame. What is not JSON says nothing."""
        self._frame = frame
        try:
            message = msgspec.json.decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if isinstance(message, dict):
            try:
                self.message(connection, feed, message)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError):
                return  # another shape than is known: the decoder counts those, and here they say nothing

    def message(self, connection: int, feed: str, message: dict[str, Any]) -> None:
        """What ``frame`` decoded."""
        raise NotImplementedError

    def holds(self, name: str, condition: bool) -> None:  # it is what the method is about
        """One more case of a fact."""
        tally = self.tallies[name]
        if condition:
            tally.confirmed += 1
        else:
            tally.contradicted += 1
            tally.example = tally.example or self._frame[:MOST_EXAMPLE_CHARS].decode("utf-8", "backslashreplace")

    def seen(self, name: str) -> None:
        """What may happen has happened."""
        self.tallies[name].confirmed += 1


class Steps:
    """Numbers that should go up by one, by whatever they are of. ``step`` is None for the first one."""

    def __init__(self) -> None:
        self._last: dict[Any, int] = {}

    def step(self, of: Any, number: int) -> int | None:
        last, self._last[of] = self._last.get(of), number
        return None if last is None else number - last

    def forget(self, is_of: Any) -> None:
        """Those whose key begins with this are at their beginning again."""
        self._last = {of: number for of, number in self._last.items() if of[0] != is_of}
