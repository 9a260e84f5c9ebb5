"""``python -m tests.faults.stepped collect …``: the real command on a host whose wall clock can be put wrong.

``SCENARIO_CLOCK`` names a file that says by how many ns at the moment. In a file beside it the collector's clock tells
what it goes by: a line of the right time and of how far it is ahead of it, at its start, after each step, at its end.
``SCENARIO_PRUNE_S`` may say how often it looks for what is old enough to be removed.
"""

from __future__ import annotations

import atexit
import mmap
import os
import time
from pathlib import Path

from sentinel.cli import main
from sentinel.run import collect, retention
from sentinel.timing.clock import Clock
from tests.faults.warp import Warp
from tests.throwaway.install import install

BYTES = 8


class WallOffset:
    """How wrong the wall clock is: set by one process, read by another at any time."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(BYTES))
        self._told = path.with_suffix(".told")
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), BYTES)

    def get_ns(self) -> int:
        return int.from_bytes(self._shared[:BYTES], "little", signed=True)

    def set_ns(self, offset_ns: int) -> None:
        self._shared[:BYTES] = offset_ns.to_bytes(BYTES, "little", signed=True)

    def wall_ns(self) -> int:
        return time.time_ns() + self.get_ns()

    def tell(self, ahead_ns: int) -> None:
        with self._told.open("a") as file:
            file.write(f"{time.time_ns()} {ahead_ns}\n")

    def warp(self) -> Warp:
        """What was told by all runs, the last of which has ended."""
        lines = [line.split() for line in self._told.read_text().splitlines()]
        told = [(int(at_ns), int(ahead_ns)) for at_ns, ahead_ns in lines]
        return Warp(told[:-1], ended_ns=told[-1][0])


def stepping(offset: WallOffset) -> type[Clock]:
    """The clock of a collector on this host."""

    class Stepping(Clock):
        def __init__(self) -> None:
            super().__init__(offset.wall_ns)
            self.tell()
            atexit.register(self.tell)

        def tell(self) -> None:
            offset.tell(self.now_ns() - time.time_ns())

        def anchor(self) -> int:
            moved_ns = self.moved_ns
            step_ms = super().anchor()
            if self.moved_ns != moved_ns:
                self.tell()
            return step_ms

    return Stepping


if __name__ == "__main__":
    install()
    retention.PRUNE_EVERY_S = float(os.environ.get("SCENARIO_PRUNE_S", retention.PRUNE_EVERY_S))
    collect.Clock = stepping(WallOffset(Path(os.environ["SCENARIO_CLOCK"])))  # type: ignore[misc]
    main()
