"""``python -m tests.faults.dies collect …``: the real command, killed by its own hand at a step that is named.

``DEATH`` is the step: its kind, how many of the kind are taken before it, and whether it is over by then, such as
``commit 3 after``. Where Python cannot stand, inside SQLite, the statements of a transaction are steps.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from sentinel.backfill.worker import Backfiller
from sentinel.cli import main
from sentinel.collector.intake import Intake
from sentinel.disk.journal import Journal
from sentinel.disk.tape import TapeWriter
from sentinel.exchange import listing
from sentinel.exchange.connection import Connection
from sentinel.exchange.listing import Listing
from sentinel.exchange.repair import Repairer
from sentinel.influx.sender import Sender
from sentinel.influx.sink import InfluxSink

STEPS: dict[str, tuple[type, str]] = {
    "connect": (Connection, "_converse"),
    "frame": (Intake, "receive"),
    "checkpoint": (Intake, "checkpoint"),
    "commit": (Journal, "_append"),
    "tape": (TapeWriter, "_append"),
    "tape file ends": (TapeWriter, "_abandon"),
    "REST asked": (Repairer, "_ask"),
    "repair taken": (Intake, "repaired"),
    "sent to the store": (Sender, "_write"),
    "acknowledged": (InfluxSink, "_advance"),
}
"""What is taken at each: a method."""

BACKFILLING: dict[str, tuple[type, str]] = {
    "backfill searched": (Backfiller, "_search"),
    "backfill stored": (Backfiller, "_advance"),
    "backfill noted": (Backfiller, "_note"),
}
"""Of ``backfill``."""

CHANGING: dict[str, tuple[type, str]] = {
    "products listed": (Listing, "_enter"),
    "products change": (Intake, "replan"),
}
"""Of a collector whose products are a pattern. ``LOOK_EVERY_S`` is how often it looks for them."""

STATEMENT = "statement"
SIDES = ("before", "after")


class Death:
    """Counts steps of one kind, on whatever thread they are taken, and is the end of the process at one of them."""

    def __init__(self, text: str, steps: Mapping[str, tuple[type, str]] = STEPS | BACKFILLING | CHANGING) -> None:
        kind, count, self._side = text.rsplit(" ", 2)
        self._left = int(count)
        self._lock = threading.Lock()
        if kind == STATEMENT:
            self._watch_statements()
        else:
            owner, name = steps[kind]
            setattr(owner, name, self._watched(getattr(owner, name)))

    @property
    def is_armed(self) -> bool:
        """Whether steps count by now."""
        return True

    def _passed(self, side: str) -> None:
        if side != self._side or not self.is_armed:
            return
        with self._lock:
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def _watched(self, step: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(step)
        def taken(*arguments: Any, **options: Any) -> Any:
            self._passed("before")
            given = step(*arguments, **options)
            self._passed("after")
            return given

        @wraps(step)
        async def awaited(*arguments: Any, **options: Any) -> Any:
            self._passed("before")
            given = await step(*arguments, **options)
            self._passed("after")
            return given

        return awaited if asyncio.iscoroutinefunction(step) else taken

    def _watch_statements(self) -> None:
        """Those that change something."""
        death = self

        class Watched(sqlite3.Connection):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                self.set_trace_callback(lambda text: text.startswith("SELECT") or death._passed("before"))

        connect = sqlite3.connect
        sqlite3.connect = lambda *arguments, **options: connect(*arguments, factory=Watched, **options)  # type: ignore[assignment]


if __name__ == "__main__":
    listing.LOOK_EVERY_S = float(os.environ.pop("LOOK_EVERY_S", listing.LOOK_EVERY_S))
    if death := os.environ.pop("DEATH", ""):
        Death(death)
    sys.exit(main())
