"""The one door into the pipeline: every input passes here, is written to the tape if there is one, and what the
pipeline asks for in return is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from book.events import Meaning
from feeds.market import Market
from sentinel.disk.tape import Kind
from sentinel.disk.taped import record_of
from sentinel.pipeline import BookAnswer, Cause, Command, FetchedBook, LanePlan, Output, Pipeline, RepairAnswer
from sentinel.pipeline.inputs import Closed, Input, KnownTrade, Opened, Replan, Resume, Start, Step, Stop, Suspend, Tick
from sentinel.timing.clock import STEP_LEAST_NS, Clock
from sentinel.timing.histogram import Durations

TIMED_EVERY = 17
"""One frame in so many is timed: reading the clock for each would cost more than counting what it says. Prime, so that
it does not fall in step with a venue's rhythm."""


ANCHOR_EVERY_NS = 1_000_000_000
"""How often the clock is held against the wall: a step is known after a second, not at the next reconnect."""


class Tape(Protocol):
    """What is needed of a ``TapeWriter``."""

    def write(self, kind: Kind, lane: int, received_ns: int, payload: bytes) -> None: ...
    def amend(self, facts: dict[str, Any]) -> None: ...
    def cut(self) -> None: ...
    def store(self) -> None: ...
    @property
    def held_bytes(self) -> int: ...


class Intake:
    """Stamps each input with the clock and hands it to the pipeline, in one order for pipeline and tape alike.

    ``carry_out`` is called for each command, in order, right after the input that caused it; it must not block.
    ``handling`` is how long frames took from the socket into the book, ``opened_counts`` how often a socket was opened
    for each plan.
    """

    def __init__(
        self, pipeline: Pipeline, clock: Clock, carry_out: Callable[[Command], None], tape: Tape | None = None
    ) -> None:
        self.pipeline = pipeline
        self.clock = clock
        self.handling = Durations()
        self.opened_counts = [0] * len(pipeline.lanes)
        self._last_ns = 0
        self._anchor_ns = 0
        self._behind_ns = 0
        self._untimed = TIMED_EVERY
        self._carry_out = carry_out
        self._tape = tape

    def start(self, checkpoint: bytes | None) -> None:
        """The collector is up, with the state of the last one."""
        self._feed(Start(checkpoint or b""))

    def opened(self, lane: int) -> None:
        """A socket is open."""
        self.opened_counts[self.pipeline.slots[lane].plan.lane] += 1
        self._anchor()
        self._feed(Opened(lane))

    def closed(self, lane: int, cause: Cause) -> None:
        """A socket has ended, or could not be opened."""
        self._feed(Closed(lane, cause))

    def read(self, lane: int, frame: bytes) -> Meaning | None:
        """Half of the work of a large frame, ahead of ``receive``, which takes the result."""
        return self.pipeline.read(lane, frame)

    def receive(self, lane: int, frame: bytes, came_ns: int, meaning: Meaning | None = None) -> None:
        """A frame came out of its socket at ``came_ns``; but time never goes back from one input to the next."""
        received_ns = self._last_ns = max(came_ns, self._last_ns)
        if self._tape is not None:
            self._tape.write(Kind.FRAME, lane, received_ns, frame)
        self.pipeline.receive(lane, frame, received_ns, meaning)
        if self.pipeline.commands:
            self._serve()
        self._untimed -= 1
        if not self._untimed:
            self._untimed = TIMED_EVERY
            self.handling.add(self.clock.now_ns() - received_ns)

    def is_live(self, lane: int) -> bool:
        """Whether market data has come on the lane's present connection."""
        return self.pipeline.slots[lane].is_live

    def tick(self) -> None:
        """Time has passed."""
        now_ns = self._now_ns()
        if now_ns >= self._anchor_ns:
            self._anchor()
            self._anchor_ns = self._now_ns() + ANCHOR_EVERY_NS
        self._feed(Tick())

    def repaired(self, answer: RepairAnswer) -> None:
        """REST has answered."""
        self._feed(answer)

    def compared(self, answer: BookAnswer) -> None:
        """REST has said what a book is."""
        self._feed(answer)

    def fetched(self, answer: FetchedBook) -> None:
        """REST has given the snapshot of a book."""
        self._feed(answer)

    def replan(
        self, plans: Sequence[LanePlan], known: Sequence[KnownTrade] = (), handed: Sequence[Market] = ()
    ) -> None:
        """The connections from here on; see ``Replan``."""
        self.opened_counts += [0] * (len(plans) - len(self.opened_counts))
        if self._tape is not None:
            self._tape.amend({"lanes": msgspec.to_builtins(plans)})
        self._feed(Replan(tuple(plans), tuple(known), tuple(handed)))

    def suspend(self) -> None:
        """Nothing can be written for now."""
        self._feed(Suspend())

    def resume(self) -> None:
        """Writing is possible again."""
        self._feed(Resume())

    def stop(self) -> None:
        """Nothing more will come."""
        self._feed(Stop())

    def stop_taping(self) -> None:
        """The tape cannot be written: what comes from here on is not on it."""
        self._tape = None

    def take(self) -> Output:
        """The lines since the last take."""
        return self.pipeline.take()

    def checkpoint(self) -> bytes:
        """The state that belongs with the lines taken so far."""
        return self.pipeline.checkpoint()

    def tails(self) -> dict[Market, tuple[int, int]]:
        """As of the last checkpoint: of each market the last trade id, and its time, up to which none is missing."""
        return self.pipeline.tails

    def _now_ns(self) -> int:
        self._last_ns = self.clock.now_ns()
        return self._last_ns

    def _anchor(self) -> None:
        """Holds the clock against the wall. A step is an input like any other; being behind is told once."""
        self.clock.anchor()
        step_ns = self.clock.step_ns
        if step_ns > 0 or abs(step_ns - self._behind_ns) >= STEP_LEAST_NS:
            self._behind_ns = min(0, step_ns)
            self._feed(Step(step_ns))

    def _feed(self, given: Input) -> None:
        """Every input but a frame, which ``receive`` takes a shorter way."""
        now_ns = self._now_ns()
        if self._tape is not None:
            self._tape.write(*record_of(given, now_ns))
        self.pipeline.feed(given, now_ns)
        self._serve()

    def _serve(self) -> None:
        commands = self.pipeline.commands
        while commands:
            taken = commands.copy()
            commands.clear()
            for command in taken:
                self._carry_out(command)
