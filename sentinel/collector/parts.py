"""The boundary between the parts of a collector: what fails is told and started again, and nothing else notices.

This is the one place that catches everything. What a part expects to happen it handles itself; what reaches this
boundary is a fault of the program, of a library or of the machine, and losing the data of all others would not mend it.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Generic, Literal, ParamSpec

from loguru import logger
from msgspec import Struct

from sentinel.timing.backoff import Backoff

P = ParamSpec("P")

FIRST_PAUSE_S = 0.5
MOST_PAUSE_S = 30.0
STEADY_S = 10.0
"""A part that has run so long again is sound again."""

State = Literal["running", "failed", "ended"]


class PartStatus(Struct, frozen=True):
    """``failed`` until it has run for ``STEADY_S`` again; ``failures`` and ``last_error`` since the start."""

    name: str
    state: State
    failures: int
    last_error: str | None


class Part:
    """One part's past."""

    def __init__(self) -> None:
        self.failures = 0
        self.last_error: str | None = None
        self.began_s: float | None = None
        self.has_ended = False

    def state(self, now_s: float) -> State:
        if self.has_ended:
            return "ended"
        if self.failures and (self.began_s is None or now_s - self.began_s < STEADY_S):
            return "failed"
        return "running"


class Parts:
    """Keeps parts going. Once ``ending`` is set nothing is started again, but what waits for its turn gets it at once.

    ``draw`` gives floats in [0, 1) for jitter.
    """

    def __init__(
        self, ending: asyncio.Event, draw: Callable[[], float], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._ending = ending
        self._draw = draw
        self._now_s = now_s
        self._parts: dict[str, Part] = {}

    def status(self) -> list[PartStatus]:
        """How each part is, in the order of their first start."""
        now_s = self._now_s()
        return [
            PartStatus(name, part.state(now_s), part.failures, part.last_error) for name, part in self._parts.items()
        ]

    async def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> Exception | None:
        """Does the work until it returns, again after each failure. Gives the failure it ended with, if it did."""
        part = self._parts.setdefault(name, Part())
        backoff = Backoff(self._draw, FIRST_PAUSE_S, MOST_PAUSE_S)
        while True:
            is_last = self._ending.is_set()
            failure = await self._run(part, work)
            if failure is None:
                part.has_ended = True
                return None
            if part.began_s is not None and self._now_s() - part.began_s >= STEADY_S:
                backoff.reset()
            part.began_s = None
            part.failures += 1
            part.last_error = described(failure)
            wait_s = backoff.next_s()
            facts = {"part": name, "reason": part.last_error, "where": _where(failure)}
            logger.bind(**facts, wait_s=None if is_last else round(wait_s, 3)).error("part_failed")
            if is_last:
                part.has_ended = True
                return failure
            await _first(self._ending, wait_s)

    async def _run(self, part: Part, work: Callable[[], Awaitable[None]]) -> Exception | None:
        part.began_s = self._now_s()
        try:
            await work()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return RuntimeError("cancelled, although nothing asked for it")  # a library's own future, say
        except Exception as error:  # noqa: BLE001  # see above; the end of the process is none
            return error
        return None


class Named(Generic[P]):
    """Work, with the name its part has in status, log and alerts."""

    def __init__(self, part: str, work: Callable[P, Awaitable[None]]) -> None:
        self.part = part
        self._work = work

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[None]:
        return self._work(*args, **kwargs)


def name_of(work: Callable[..., object]) -> str:
    """What a part is called; without a name like its function."""
    return str(getattr(work, "part", None) or getattr(work, "__qualname__", type(work).__name__))


def described(error: BaseException) -> str:
    """The first cause of a failure, in one line."""
    error = _leaf(error)
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _where(error: BaseException) -> str | None:
    """The innermost line of ours or theirs, for whoever has to mend it."""
    frames = traceback.extract_tb(_leaf(error).__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else None


async def _first(ending: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await ending.wait()
    except TimeoutError:
        return
