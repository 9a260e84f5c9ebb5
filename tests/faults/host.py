"""The machine a collector runs on: its disk, its clock, its store, and whoever kills and restarts it.

What happens is real: the kernel refuses writes (a limit of the file size), a process gets a signal, a port is closed.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from feeds.catalogue import DEFAULT_EXCHANGE
from sentinel.simulator.exchange import Urls
from tests.faults.draw import Trouble
from tests.faults.stepped import WallOffset
from tests.servers.collector import Collector, collecting
from tests.servers.fake_influx import FakeInflux, Play, answers, keeps_and_is_slow, keeps_and_resets, resets

FULL_AT_BYTES = 64 * 1024
"""No file grows beyond it while the disk refuses: the journal is larger by then, the log is not."""

REFUSED = "disk I/O error", "File too large"
"""The last words of a collector that ended because its disk refused."""

SHORT_MEMORY_BYTES = 20_000
TIMEOUT_S = 1.5
RESTART_S = 0.3
SIGKILL, SIGTERM = "SIGKILL", "SIGTERM"


PLAYS: dict[str, Play] = {
    "slow": keeps_and_is_slow,
    "500": answers(500, "internal error"),
    "503": answers(503, "busy", Retry_After="1"),
    "resets": resets,
    "keeps and resets": keeps_and_resets,
}


class Host:
    """``facts`` is what was done, as faults of a truth file; ``offset`` is how wrong the wall clock is."""

    def __init__(
        self,
        urls: Urls,
        folder: Path,
        troubles: list[Trouble],
        arguments: list[str],
        exchange: str = DEFAULT_EXCHANGE,
        **more: str,
    ) -> None:
        """``more`` are further environment variables of the collector."""
        self.facts: list[dict[str, object]] = []
        self.problems: list[str] = []
        self.influx = FakeInflux()
        self._urls = urls
        self._data = folder / "data"
        self._arguments = arguments
        self._exchange = exchange
        self._clock_file = folder / "clock"
        self.offset = WallOffset(self._clock_file)
        is_short = any(trouble.how.endswith("short") for trouble in troubles)
        self._more = more | ({"SENTINEL_JOURNAL_MEMORY_BYTES": str(SHORT_MEMORY_BYTES)} if is_short else {})
        self._is_full = False
        self._has_met_full = False
        self._is_meant_to_run = True
        self._stack = AsyncExitStack()
        self._runs = AsyncExitStack()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Host]:
        async with self.influx.serve(), self._runs:
            await self._start()
            watching = asyncio.create_task(self._watch())
            try:
                yield self
            finally:
                watching.cancel()

    async def stop(self) -> int:
        """SIGTERM at the end of it all; the exit status."""
        self._is_meant_to_run = False
        return await self.collector.stop()

    async def carry_out(self, trouble: Trouble) -> None:
        """Begins now, and returns when it is over."""
        began_ns = time.time_ns()
        match trouble.source:
            case "disk":
                self.fill(is_full=True)
                await asyncio.sleep(trouble.duration_s)
                self.fill(is_full=False)
            case "store" if trouble.how == "down":
                await self.influx.down()
                await asyncio.sleep(trouble.duration_s)
                await self.influx.up()
            case "store":
                self.influx.plays.extend([PLAYS[trouble.how]] * 10_000)
                await asyncio.sleep(trouble.duration_s)
                self.influx.plays.clear()
            case "clock":
                self.offset.set_ns(round(trouble.step_s * 1e9))
            case "restart":
                await self._restart(trouble)
        self.facts.append({"fault": trouble.name, "start_ns": began_ns, "end_ns": time.time_ns()})

    async def _start(self) -> None:
        collector = collecting(
            self._urls,
            self._data,
            *self._arguments,
            module="tests.faults.stepped",
            exchange=self._exchange,
            SCENARIO_CLOCK=str(self._clock_file),
            SENTINEL_INFLUX_URL=self.influx.url,
            SENTINEL_INFLUX_TIMEOUT_S=str(TIMEOUT_S),
            **self._more,
        )
        self.collector: Collector = await self._runs.enter_async_context(collector)
        self.collector.is_forgiven = self._is_excused
        self._has_met_full = False
        if self._is_full:
            self.fill(is_full=True)

    async def _restart(self, trouble: Trouble) -> None:
        async with self.down(trouble.how):
            await asyncio.sleep(RESTART_S)

    @asynccontextmanager
    async def down(self, how: str = SIGTERM) -> AsyncIterator[None]:
        """No collector runs, until another one is started."""
        self._is_meant_to_run = False
        if how == SIGKILL:
            await self.collector.kill()
        else:
            was_full = self._is_full
            status = await self.collector.stop()
            if status and not (was_full or self._is_full):
                self.problems.append(f"exit status {status} after SIGTERM")
        yield
        await self._start()
        self._is_meant_to_run = True

    async def _watch(self) -> None:
        """Starts a collector that ended by itself again, as systemd would. Only a disk that refuses excuses that."""
        while True:
            await asyncio.sleep(RESTART_S)
            if self._is_meant_to_run and self.collector.has_ended:
                if self._is_excused():
                    await self.collector.ended()  # it stays forgiven
                else:
                    self.problems.append("the collector ended by itself")
                await self._start()

    def _is_excused(self) -> bool:
        """By a disk that refuses, or did when the collector ended: it may be well again before anybody looks."""
        return self._is_full or (self._has_met_full and self.collector.last_words.rstrip().endswith(REFUSED))

    def fill(self, *, is_full: bool) -> None:
        """Whether the disk refuses from now on."""
        self._is_full = is_full
        self._has_met_full |= is_full
        limit = FULL_AT_BYTES if is_full else resource.RLIM_INFINITY
        with suppress(ProcessLookupError):  # it was killed: the next one begins with the limit
            if not self.collector.has_ended:
                resource.prlimit(self.collector.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
