"""The real command in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from book.native import PURE
from feeds.catalogue import DEFAULT_EXCHANGE
from sentinel.config.names import venue_environment
from sentinel.simulator.exchange import Urls
from tests import ROOT
from tests.servers import frozen, stood, waiting
from tests.servers.waiting import LONGEST_S

LAST_WORDS = 4_000


class Collector:
    """One run of ``sentinel-ws collect``. ``errors`` is what it wrote to stderr, complete after it ended;
    ``is_forgiven`` says whether it may end by itself now."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._is_to_end = False
        self.is_forgiven: Callable[[], bool] = lambda: False

    @property
    def errors(self) -> str:
        return self._log.read_text()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    @property
    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        return self.errors[-LAST_WORDS:]

    def sudden_end(self) -> str:
        """That it has ended, and with which words, if nobody has asked it to, waits for that or forgives it."""
        if self._is_to_end or not self.has_ended or self.is_forgiven():
            return ""
        return f"a collector has ended by itself with {self._process.returncode}:\n{self.last_words}"

    def freeze(self) -> None:
        """Stops it in the middle of what it does; its children go on."""
        frozen.freeze(self.pid)

    def thaw(self) -> None:
        frozen.thaw(self.pid)

    async def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self._process.terminate()
        return await self.ended()

    async def kill(self) -> None:
        self._is_to_end = True
        self._process.kill()
        await self._process.wait()

    async def ended(self) -> int:
        self._is_to_end = True
        async with asyncio.timeout(LONGEST_S):
            return await self._process.wait()


def addresses(urls: Urls, exchange: str = DEFAULT_EXCHANGE) -> dict[str, str]:
    """Where the local exchange is, as a collector's environment says it."""
    return venue_environment(exchange, urls)


def unset_environment() -> dict[str, str]:
    """This process's environment without any setting; whether the C extension runs is kept. Output is buffered, as in
    most shells and unlike most images of Python: what is left in a buffer at the end must not be a fault."""
    return {
        name: value
        for name, value in os.environ.items()
        if name == PURE or not name.startswith(("SENTINEL_", "PYTHONUNBUFFERED"))
    }


def environment(urls: Urls, data_dir: Path, exchange: str = DEFAULT_EXCHANGE, **more: str) -> dict[str, str]:
    """This environment with no setting in it but where the exchange and the data are; ``more`` wins."""
    places = addresses(urls, exchange) | {"SENTINEL_DATA_DIR": str(data_dir), "PYTHONPATH": str(ROOT)}
    return unset_environment() | places | more


@asynccontextmanager
async def collecting(
    urls: Urls, data_dir: Path, *arguments: str, module: str = "sentinel", exchange: str = DEFAULT_EXCHANGE, **more: str
) -> AsyncIterator[Collector]:
    """Starts the command; whatever happens, it is gone afterwards, and a failure shows what it said last. When it stood
    still is written down beside ``data_dir``.

    ``more`` are further environment variables.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "stderr.txt"
    with log.open("a") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", stood.NAME, module, "collect", *arguments),
            env=environment(urls, data_dir, exchange, STOOD=str(data_dir.with_name(stood.FILE)), **more),
            stderr=stderr, cwd=data_dir,
        )  # fmt: skip
    collector = Collector(process, log)
    waiting.witnesses.append(collector.sudden_end)
    try:
        yield collector
    except BaseException as error:
        error.add_note(f"the collector's last words:\n{collector.last_words}")
        raise
    finally:
        waiting.witnesses.remove(collector.sudden_end)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
