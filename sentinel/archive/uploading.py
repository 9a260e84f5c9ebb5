"""The object store's place in a collector: a worker process looks again and again for what is not stored yet."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from loguru import logger

from sentinel.archive.schedule import UNLIMITED
from sentinel.config import Archive
from sentinel.disk.delivery import UploadStatistics
from sentinel.errors import UsageError
from sentinel.timing.backoff import Backoff

OBJECT_STORE = "object store"
"""The name of the part."""

FIRST_PAUSE_S = 5.0
MOST_PAUSE_S = 600.0


class Uploading:
    """Runs the worker, again after ``interval_s``, or in growing pauses while the store is away.

    Nothing is lost when it is stopped: what is not in the store is here. ``draw`` gives floats in [0, 1) for jitter.
    """

    def __init__(self, data_dir: Path, url: str, settings: Archive, draw: Callable[[], float]) -> None:
        self._data_dir = data_dir
        self._settings = settings
        self._draw = draw
        self.statistics = UploadStatistics(url)

    async def run(self, drain: asyncio.Event) -> None:
        """Until ``drain`` is set."""
        backoff = Backoff(self._draw, FIRST_PAUSE_S, MOST_PAUSE_S)
        while not drain.is_set():
            pause_s = self._settings.interval_s
            if await self._pass(drain):
                backoff.reset()
            else:
                pause_s = backoff.next_s()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await drain.wait()

    async def _pass(self, drain: asyncio.Event) -> bool:
        """One run of the worker; whether the store took what there was."""
        limits = (self._settings.max_age_s, self._settings.max_bytes)
        facts = [self._data_dir, self.statistics.url, *(UNLIMITED if x is None else x for x in limits)]
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "sentinel.run.upload_worker", *map(str, facts)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal is for the collector
        )
        stopping = asyncio.create_task(_kill_at(drain, worker))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(worker.stdout))
                said = tasks.create_task(_all(worker.stderr))
            status = await worker.wait()
        finally:
            stopping.cancel()
            if worker.returncode is None:
                with suppress(ProcessLookupError):
                    worker.kill()
                await worker.wait()
        return drain.is_set() or self._tell(status, said.result())

    def _tell(self, status: int, lines: list[str]) -> bool:
        if status:
            reason = lines[-1] if lines else f"the worker ended with {status}"
            is_first = self.statistics.state == "delivering"
            self.statistics.state = "barred" if status == UsageError.exit_code else "waiting"
            self.statistics.last_error = reason
            if is_first:
                logger.bind(reason=reason).error("object_store_away")
            return False
        if self.statistics.state != "delivering":
            logger.info("object_store_back")
        self.statistics.state = "delivering"
        for line in lines:
            logger.bind(reason=line).error("not_uploaded")
        return True

    async def _follow(self, told: asyncio.StreamReader | None) -> None:
        """The worker's progress, a JSON object a line."""
        assert told is not None
        stats = self.statistics
        files, size = stats.files_stored, stats.bytes_stored
        async for line in told:
            progress = msgspec.json.decode(line)
            stats.folders_waiting = progress["folders_waiting"]
            stats.files_stored = files + progress["files_stored"]
            stats.bytes_stored = size + progress["bytes_stored"]


async def _all(said: asyncio.StreamReader | None) -> list[str]:
    assert said is not None
    return (await said.read()).decode(errors="replace").strip().splitlines()


async def _kill_at(drain: asyncio.Event, worker: asyncio.subprocess.Process) -> None:
    """Whatever it was sending is sent again, so a worker may be ended at any moment."""
    await drain.wait()
    with suppress(ProcessLookupError):
        worker.kill()
