"""Runs the collector as a child, follows what it writes, and keeps the evidence on disk.

The child is ``sentinel-ws collect`` as anybody would run it. One that dies is started again, as systemd would do it; it
ends with its stdin, so that none outlives a command that was killed. What is known is saved once a minute, the document
is written once an hour and at the end.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
import threading
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from sentinel.disk.data_dir import ARCHIVE, CERTIFICATES, JOURNAL, TAPES, journal_in
from sentinel.disk.files import replacing
from sentinel.disk.shards import data_folders
from sentinel.errors import SentinelError, UsageError
from sentinel.gap_report import local
from sentinel.gap_report.report import Window
from sentinel.monitor.observation import Observation
from sentinel.qualify import state as states
from sentinel.qualify.calculation import qualification
from sentinel.qualify.evidence import MemoryPoint, Qualification, State, as_json
from sentinel.qualify.lines import LineReader
from sentinel.qualify.page import as_html
from sentinel.qualify.state import Known, ProcessState, SessionState
from sentinel.qualify.tapes import TapeReader
from sentinel.qualify.verified import verify_all
from sentinel.run.stopping import end_at, first
from sentinel.timing.backoff import Backoff

DOCUMENT = "qualification.json"
PAGE = "qualification.html"
LOG = "collector.log"

LOOK_EVERY_S = 60.0
WRITE_EVERY_S = 3600.0
END_S = 20.0
"""A collector ends within 10 s; one that does not is killed."""

POINT_EVERY_NS = 60 * 10**9
CLOSE_NS = 600 * 10**9
"""So long after its start every observation of a process is kept."""

RETRY_S = 1.0
TOLERANCE_S = 1.0
LINE_BYTES = 4 * 1024 * 1024
SAID_BYTES = 4096


class Run:
    """One session. ``say`` is told in words what happens."""

    def __init__(
        self,
        known: Known,
        output: Path,
        data_dir: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        say: Callable[[str], object],
    ) -> None:
        self.known = known
        self.last: Observation | None = None
        self.child_pid: int | None = None
        self._output = output
        self._data_dir = data_dir
        self._arguments = arguments
        self._environment = environment
        self._say = say
        self._tapes = TapeReader(data_dir / TAPES, known.tapes)
        self._lines = LineReader(data_dir / JOURNAL, known.lines)
        self._session = SessionState(time.time_ns(), time.time_ns())
        self._saving = threading.Lock()
        self._is_child_seen = False
        self._damaged: set[str] = set()

    def catch_up(self) -> None:
        """Reads what an earlier session has left. One that was killed lasted as long as something came of it."""
        self._look()
        last = self.known.sessions[-1]
        last.end_ns = max(last.end_ns, self.known.tapes.last_ns)

    async def run(self, stop: asyncio.Event, left_s: float, *, with_replay: bool) -> Qualification:
        """Collects until ``stop`` is set, which is early if it is much less than ``left_s`` away.

        Raises:
            UsageError: if the collector refuses to begin.
        """
        self.known.sessions.append(self._session)
        began_s = time.monotonic()
        state: State = "cut short"
        looking = asyncio.create_task(self._look_on())
        collecting = asyncio.create_task(self._keep_collecting(stop))
        try:
            await asyncio.wait([collecting, asyncio.ensure_future(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
            if time.monotonic() - began_s >= left_s - TOLERANCE_S:
                state = "complete"
            await collecting
        finally:
            looking.cancel()
            await asyncio.wait([looking])
        self._session.end_ns = time.time_ns()
        self._session.ended = "its time was over" if state == "complete" else "it was told to stop"
        self._say("reading the last of the tapes and the journal")
        await asyncio.to_thread(self._look)
        found = await asyncio.to_thread(self._write, state)  # should nobody wait for what follows
        self._say("archiving the hours that are over, and checking archive and certificates")
        if self.known.settings.get("archive", False):
            await self._archive()
        self.known.verified = await asyncio.to_thread(verify_all, self._data_dir, with_replay=with_replay)
        return found if self.known.verified is None else await asyncio.to_thread(self._write, state)

    async def _archive(self) -> None:
        """The hours that ended since the collector's last pass; what it has to say goes to the log."""
        with (self._output / LOG).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sentinel", "archive", "--data-dir", str(self._data_dir)),
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        if await process.wait():
            self.known.notes.append("The hours that were over at the end could not all be archived.")

    async def _keep_collecting(self, stop: asyncio.Event) -> None:
        backoff = Backoff(random.random)
        while not stop.is_set():
            status = await self._collect_once(stop)
            if stop.is_set():
                return
            if not self._is_child_seen and self._is_predecessor_ending():
                self.known.processes.pop()
                await first(stop, RETRY_S)
                continue
            if not self._is_child_seen:
                if len(self.known.sessions) == 1:
                    states.forget(self._output)
                raise UsageError(self._last_words() or f"the collector ended at once, with status {status}")
            wait_s = backoff.next_s()
            self._say(f"the collector ended by itself with status {status}; it is started again in {wait_s:.1f} s")
            await first(stop, wait_s)

    def _is_predecessor_ending(self) -> bool:
        """Whether the collector of a session that was killed may still have the data directory."""
        return len(self.known.sessions) > 1 and time.time_ns() < self._session.start_ns + round(END_S * 1e9)

    async def _collect_once(self, stop: asyncio.Event) -> int:
        """One process from start to end."""
        state = ProcessState(time.time_ns(), time.time_ns())
        self.known.processes.append(state)
        self._save()
        with (self._output / LOG).open("ab") as log:
            # a process group of its own: Ctrl-C in a terminal goes to this command alone, which passes it on
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sentinel", "collect", *self._arguments),
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                env=self._environment,
                process_group=0,
                limit=LINE_BYTES,
            )
        self.child_pid = process.pid
        ending = asyncio.create_task(end_at(stop, process, END_S))
        try:
            await self._hear(process, state)
            state.status = await process.wait()
        finally:
            ending.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()
            state.end_ns = time.time_ns()
        return state.status or 0

    async def _hear(self, process: Process, state: ProcessState) -> None:
        assert process.stdout is not None
        number = len(self.known.processes) - 1
        async for line in process.stdout:
            if not line.endswith(b"\n"):  # it was killed in the middle of it
                break
            said = msgspec.json.decode(line, type=Observation)
            self._is_child_seen = True
            self.last = state.last = said
            state.end_ns = time.time_ns()
            series = self.known.series
            is_first = not series or series[-1].process != number
            if is_first or said.at_ns < state.start_ns + CLOSE_NS or said.at_ns >= series[-1].at_ns + POINT_EVERY_NS:
                series.append(
                    MemoryPoint(
                        said.at_ns, number, said.memory_bytes, said.descriptors, said.threads, round(said.cpu_s, 3)
                    )
                )

    def _last_words(self) -> str:
        """What a collector that did not begin has said."""
        with (self._output / LOG).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - SAID_BYTES))
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].removeprefix("sentinel-ws: ").removeprefix("Error: ") if lines else ""

    async def _look_on(self) -> None:
        """Saves what is known once a minute, and writes the document once an hour, until cancelled."""
        written_s = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._session.end_ns = time.time_ns()
            work: asyncio.Task[object] = asyncio.create_task(asyncio.to_thread(self._look))
            try:
                await asyncio.shield(work)
                if time.monotonic() - written_s >= WRITE_EVERY_S:
                    written_s = time.monotonic()
                    work = asyncio.create_task(asyncio.to_thread(self._write, "running"))
                    await asyncio.shield(work)
                    self._say(f"intermediate results are in {self._output / PAGE}")
            except asyncio.CancelledError:  # a thread cannot be stopped, and the next one must not meet it
                await asyncio.wait([work])
                raise
            except (SentinelError, OSError) as error:
                self._say(f"what is known could not be saved, and is tried again: {error}")

    def _look(self) -> None:
        """Brings what is known up to date, and saves it."""
        for name, read in (("tapes", self._tapes.read), ("journal", self._lines.read)):
            if name in self._damaged:
                continue
            try:
                read()
            except (SentinelError, sqlite3.Error) as error:
                self._damaged.add(name)
                self.known.notes.append(f"Damage ({type(error).__name__}): the {name} could be read no further.")
        self.known.disk_bytes = {kind: _bytes_below(self._data_dir, pattern) for kind, pattern in KINDS.items()} | {
            "tapes": max(self.known.tapes.bytes, _bytes_below(self._data_dir, f"{TAPES}/*"))
        }
        self._save()

    def _save(self) -> None:
        with self._saving:
            states.save(self.known, self._output)

    def _write(self, state: State) -> Qualification:
        """Writes document and page."""
        found = document(self.known, self._data_dir, state)
        write(found, self._output)
        self._save()
        return found


KINDS = {
    "journal": f"{JOURNAL}*",
    "archive": f"{ARCHIVE}/**/*",
    "certificates": f"{CERTIFICATES}/**/*",
}


def document(known: Known, data_dir: Path, state: State) -> Qualification:
    """The document of what is known, with the accounts that are stored by now."""
    begun_ns, end_ns = known.sessions[0].start_ns, known.sessions[-1].end_ns
    folders = [folder for folder in data_folders(data_dir) if journal_in(folder) or (folder / ARCHIVE).is_dir()]
    return qualification(known, local.read_all(folders, Window(begun_ns, end_ns)), state)


def write(found: Qualification, output: Path) -> None:
    """Puts document and page on disk, each whole or not at all."""
    for name, content in ((DOCUMENT, as_json(found)), (PAGE, as_html(found).encode())):
        with replacing(output / name) as part:
            part.write_bytes(content)


def _bytes_below(folder: Path, pattern: str) -> int:
    total = 0
    for path in folder.glob(pattern):
        try:
            if path.is_file():
                total += path.stat().st_size
        except FileNotFoundError:  # it was replaced while we looked
            continue
    return total
