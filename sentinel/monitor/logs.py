"""What happened, for people and for machines: a stable event name and its facts.

On a terminal one coloured line per event; anywhere else one JSON object per line on stderr, with ISO 8601 UTC times.
Write events as ``logger.bind(lane=3).warning("connection_lost")``. Nobody waits for the reader of the log.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING

from loguru import logger
from rich.console import Console
from rich.text import Text

from sentinel.command.foreign import visible
from sentinel.monitor.outlet import Outlet
from sentinel.timing.instants import NS_PER_S, format_ns

if TYPE_CHECKING:
    from loguru import Message, Record

BURST = 10
WINDOW_S = 10.0
"""Of one event at most ``BURST`` are written per window: a sick venue must not fill the disk with its log."""

TRACKED_EVENTS = 1000

FIRST_MOMENT_NS = 10**17
"""What is less is a span of time: as a moment it would be of before 1973."""

COLOURS = {"DEBUG": "dim", "INFO": "green", "WARNING": "yellow", "ERROR": "bold red"}


class Quench:
    """Lets through ``BURST`` of each event per window; the next one let through says how many were ``suppressed``."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._seen: dict[str, tuple[float, int]] = {}

    def __call__(self, record: Record) -> bool:
        event, now_s = record["message"], self._now_s()
        since_s, count = self._seen.get(event, (now_s, 0))
        if now_s - since_s >= WINDOW_S:
            if count > BURST:
                record["extra"]["suppressed"] = count - BURST
            since_s, count = now_s, 0
        if event in self._seen or len(self._seen) < TRACKED_EVENTS:
            self._seen[event] = (since_s, count + 1)
        return count < BURST


class Libraries(logging.Handler):
    """What libraries log becomes an event; Python's own way out would wait for the reader of stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        failure = record.exc_info[1] if record.exc_info else None
        reason = None if failure is None else f"{type(failure).__name__}: {failure}"
        logger.bind(library=record.name, words=record.getMessage(), reason=reason).warning("library_warns")


@contextmanager
def opened(stream: IO[str] | None, level: str) -> Iterator[Console]:
    """Sends every event to ``stream`` while this lasts, without ever waiting for its reader. Gives the console that
    whatever else is to be shown there goes to."""
    libraries = Libraries(logging.WARNING)
    try:
        with Outlet(stream, dropped) as outlet:
            console = Console(file=outlet)  # type: ignore[arg-type]  # as much of a file as rich asks for
            configure(console, level)
            logging.getLogger().addHandler(libraries)
            yield console
    finally:
        logging.getLogger().removeHandler(libraries)
        logger.remove()


def dropped(writes: int, stream: str = "stderr") -> None:
    """Says that the reader of a stream was too slow for so many writes."""
    logger.bind(stream=stream, writes=writes).warning("output_dropped")


dropped_from_stdout = partial(dropped, stream="stdout")


def configure(console: Console, level: str) -> None:
    """Sends every event to ``console``: for people if it is a terminal, else as JSON."""
    logger.remove()
    write = _for_people(console) if console.is_terminal else _for_machines(console.file)
    logger.add(write, level=level, filter=Quench(), format="{message}", backtrace=False, diagnose=False)


def _for_machines(stream: IO[str]) -> Callable[[Message], None]:
    def write(message: Message) -> None:
        record = message.record
        line = {
            "time": _iso(record),
            "level": record["level"].name,
            "event": record["message"],
            **record["extra"],
            **_failure(record),
        }
        stream.write(json.dumps(line, default=str) + "\n")
        stream.flush()

    return write


def _for_people(console: Console) -> Callable[[Message], None]:
    def write(message: Message) -> None:
        record = message.record
        level = record["level"].name
        facts = {**record["extra"], **_failure(record)}
        console.print(
            Text.assemble(
                (_iso(record)[11:23], "dim"),
                (f" {level:<7} ", COLOURS.get(level, "")),
                (record["message"], "bold"),
                "".join(f" {_fact(key, value)}" for key, value in facts.items() if value is not None),
            ),
            soft_wrap=True,
        )

    return write


def _fact(key: str, value: object) -> str:
    """Times and spans as people read them."""
    if isinstance(value, int) and key.endswith("_ns"):
        is_span = abs(value) < FIRST_MOMENT_NS
        key, value = key.removesuffix("_ns"), f"{value / NS_PER_S:.3f} s" if is_span else format_ns(value)
    return f"{key}={visible(str(value))}"


def _iso(record: Record) -> str:
    instant = record["time"].astimezone(tz=None)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(instant.timestamp())) + f".{instant.microsecond:06d}Z"


def _failure(record: Record) -> dict[str, str]:
    failure = record["exception"]
    return {} if failure is None else {"error": f"{type(failure.value).__name__}: {failure.value}"}
