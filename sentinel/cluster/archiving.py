"""A worker of the archive: takes a partition of the stream that is due, archives what it has, and moves its place on.

Any number of workers do so side by side, on any machines, and none of them keeps anything but a pass under way: each
takes whatever is due next, so that the work is even and a worker that joins or dies has nothing to hand over.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from loguru import logger
from msgspec import Struct

from sentinel.archive.schedule import HOUR_NS, end_of_archive_ns
from sentinel.archive.shared import Unreadable
from sentinel.cluster.partition import Partition
from sentinel.cluster.places import AGAIN_NS, Again, LeaseLost, Place, Places, Reach, WorkerLease
from sentinel.cluster.spool import Spool, Spooler, Window
from sentinel.cluster.stream import TROUBLES
from sentinel.errors import SentinelError
from sentinel.timing.backoff import Backoff


class Written(Struct, frozen=True):
    """What came of a spool: files that are new in the archive, hours whose certificates are due later, and what is
    wrong with the chain of a certificate that could not be issued."""

    files: int
    uncertified: list[str]
    damage: str | None = None


class Stopped(Exception):
    """We were told to end."""


class Write(Protocol):
    """Takes a spool to the archive, on a thread of its own, and certifies hours that are over by ``before_ns``, those
    ``due`` from earlier passes, too. ``may_write`` raises once it may not any more."""

    def __call__(self, spool: Spool, due: list[str], before_ns: int, may_write: Callable[[], object]) -> Written: ...


class Statistics(Struct):
    """What a worker has done."""

    passes: int = 0
    files: int = 0
    last_error: str | None = None


class ArchiveWorker:
    """``scratch`` is a folder of its own. With ``is_whole`` the hour under way is written, too, as far as it is there.

    ``now_ns`` is the wall clock, ``draw`` gives floats in [0, 1) for jitter.
    """

    def __init__(
        self,
        partitions: list[Partition],
        places: Places,
        lease: WorkerLease,
        write: Write,
        scratch: Path,
        *,
        is_whole: bool,
        now_ns: Callable[[], int],
        draw: Callable[[], float],
    ) -> None:
        self._partitions = partitions
        self._places = places
        self._lease = lease
        self._write = write
        self._scratch = scratch
        self._is_whole = is_whole
        self._now_ns = now_ns
        self._draw = draw
        self._is_stopped = False
        self.statistics = Statistics()

    async def run(self, drain: asyncio.Event, interval_s: float) -> None:
        """Looks for what is due each ``interval_s``, in growing pauses while the archive's place is away."""
        backoff = Backoff(self._draw, 1.0, 600.0)
        while not drain.is_set():
            pause_s = interval_s
            try:
                await self.pass_over(drain)
                backoff.reset()
                self._is_well()
            except Stopped:
                return
            except (SentinelError, *TROUBLES) as error:
                self._in_trouble(str(error) or type(error).__name__)
                pause_s = min(interval_s, backoff.next_s())
            except LeaseLost:
                logger.warning("archive_lease_lost")
                pause_s = min(interval_s, 1.0)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await drain.wait()

    def _is_well(self) -> None:
        if self.statistics.last_error is not None:
            logger.info("archive_goes_on")
        self.statistics.last_error = None

    def _in_trouble(self, reason: str) -> None:
        if self.statistics.last_error is None:
            logger.bind(reason=reason).error("archive_waits")
        self.statistics.last_error = reason

    async def run_once(self, drain: asyncio.Event) -> None:
        """Archives all there is now; what another worker is at, once that is done or dead.

        Raises:
            SentinelError: if something cannot be archived.
        """
        left = list(self._partitions)
        while left and not drain.is_set():
            try:
                while left and await self._pass(left[0], drain, is_once=True):
                    del left[0]
            except Stopped:
                return
            except (LeaseLost, *TROUBLES) as error:
                logger.bind(reason=str(error) or type(error).__name__).warning("archive_waits")
            if left:
                left.append(left.pop(0))  # another worker may be at it for long
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await drain.wait()

    async def pass_over(self, drain: asyncio.Event) -> None:
        """Every partition once, if it is due and free; begins anywhere, so that workers do not follow each other."""
        first = int(self._draw() * len(self._partitions))
        damage: list[Unreadable] = []
        for partition in (*self._partitions[first:], *self._partitions[:first]):
            if drain.is_set():
                return
            try:
                await self._pass(partition, drain)
            except Unreadable as error:  # the others have files of their own
                damage.append(error)
        if damage:
            raise damage[0]

    async def _pass(self, partition: Partition, drain: asyncio.Event, *, is_once: bool = False) -> bool:
        """Whether there is nothing left to do: False if somebody else is at it."""
        now_ns = self._now_ns()
        window = Window(now_ns, end_of_archive_ns(now_ns), self._is_whole)
        place, revision = await self._places.read(partition.number)
        if not is_once and not _is_due(place, window, await partition.last_sequence()):
            return True
        self._lease.check()
        if await self._places.is_taken(place):
            return False
        claimed = await self._places.claim(partition.number, place, revision)
        if claimed is None:
            return False
        plan = _plan(place, window, is_dead=self._places.is_of_another(place), is_once=is_once)
        try:
            reached, written = await self._archived(partition, place, plan, window, drain)
        except asyncio.CancelledError:  # the thread may be at it still: we are as good as dead
            raise
        except BaseException:
            await self._places.leave(partition.number, place)
            raise
        done = Place(reached, "", plan.again, written.uncertified)
        is_moved = await self._places.move(partition.number, place, done, claimed)
        self._tell(partition, written, reached, is_moved=is_moved)
        return is_moved

    async def _archived(
        self, partition: Partition, place: Place, plan: Plan, window: Window, drain: asyncio.Event
    ) -> tuple[Reach, Written]:
        def may_write() -> None:
            if drain.is_set():
                raise Stopped
            self._lease.check()

        folder = self._scratch / f"partition={partition.number}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            begun, stream_last = await partition.checked(plan.begun)
            last = await partition.last_sequence()
            spool = await Spooler(folder, begun, window).fill(partition.messages(begun.cursor, last), stream_last)
            written = await asyncio.to_thread(self._write, spool, place.uncertified, plan.certified_ns, may_write)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return spool.reached, written

    def _tell(self, partition: Partition, written: Written, reached: Reach, *, is_moved: bool) -> None:
        self.statistics.passes += 1
        self.statistics.files += written.files
        facts = {"partition": partition.number, "files": written.files, "sequence": reached.cursor}
        if not is_moved:
            logger.bind(**facts).warning("archive_pass_in_vain")
        elif written.files:
            logger.bind(**facts).info("archived")
        if written.damage is not None:
            logger.bind(reason=written.damage).error("hours_not_certified")


class Plan(Struct, frozen=True):
    """Of a pass: where it begins, the end of the hours it may certify, and what is to be done again after it."""

    begun: Reach
    certified_ns: int
    again: Again | None


def _plan(place: Place, window: Window, *, is_dead: bool, is_once: bool) -> Plan:
    """``is_dead`` is who was at it, or seems so: what that has under way may still come."""
    again = place.again
    is_over = again is not None and window.now_ns >= again.at_ns
    begun = again.reach if again is not None and (is_over or is_once) else place.reach
    if is_over:
        again = None
    if is_dead:
        again = Again(window.now_ns + AGAIN_NS, begun if again is None else again.reach)
    return Plan(begun, 0 if again is not None else window.before_ns, again)


def _is_due(place: Place, window: Window, last: int) -> bool:
    if place.again is not None and window.now_ns >= place.again.at_ns:
        return True
    reach = place.reach
    # an hour, or what differs about its end, is nothing; more was the clock of whoever came last
    is_of_the_future = reach.before_ns > window.before_ns + HOUR_NS
    return (
        reach.before_ns < window.before_ns
        or is_of_the_future
        or (window.is_whole and (last > reach.seen or not reach.was_whole))
    )
