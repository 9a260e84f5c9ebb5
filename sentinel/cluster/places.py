"""How far the archive is with each partition, and who is at it: kept by the servers, changed by revision only.

A worker claims a partition for one pass, and moves its place on when the archive has what it read. A worker that has
not been heard of for a while is taken for dead and its claim for void; so nothing may depend on its being dead:

* What it still writes may undo what was written since. Then its own change of the place is refused, and it sets the
  place back to where its pass began: everything from there is written again.
* If it died in the middle, what is written from there on is written again ``AGAIN_NS`` later, and not certified before:
  of a chain of certificates there is one writer at a time.

Writing the same again makes no difference to the archive, and nothing in it is replaced by less.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import secrets
import time
from collections.abc import Callable

import msgspec
from loguru import logger
from msgspec import Struct
from msgspec.structs import replace
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from sentinel.cluster.session import ClusterError
from sentinel.cluster.stream import TROUBLES
from sentinel.errors import UNREADABLE
from sentinel.timing.clock import elapsed_reader
from sentinel.version import software

AGAIN_NS = 900_000_000_000
"""S3 takes no request that was signed so long ago: then what a dead worker had under way cannot come any more."""

PAUSE_S = 0.5


class Reach(Struct, frozen=True):
    """How far the archive is. All up to the message ``cursor`` is in it, for good.

    The last pass looked at messages up to ``seen``, and wrote the hours before ``before_ns``; all hours if it
    ``was_whole``. ``batches`` are the newest of each journal up to the cursor. The numbers are those of the stream that
    was made at ``made_ns``, 0 where that was not noted yet.
    """

    cursor: int = 0
    seen: int = 0
    before_ns: int = 0
    was_whole: bool = False
    batches: dict[str, int] = {}
    made_ns: int = 0


class Again(Struct, frozen=True):
    """Somebody died in a pass: from where, and at what time, it is to be done again."""

    at_ns: int
    reach: Reach


class Place(Struct, frozen=True):
    """Of one partition: how far it is, who is at it, and hours in the archive whose certificates are due."""

    reach: Reach = Reach()
    worker: str = ""
    again: Again | None = None
    uncertified: list[str] = []


def decode(value: bytes) -> Place:
    """
    Raises:
        ClusterError: for what is none.
    """
    try:
        return msgspec.json.decode(value, type=Place)
    except UNREADABLE as error:
        raise ClusterError(f"a place of the archive was left by another version of sentinel-ws: {error}") from error


class LeaseLost(Exception):
    """We have not been heard of for so long that others may have our work."""


class Worker(Struct, frozen=True):
    """What a worker of the archive tells of itself."""

    host: str
    pid: int
    started_ns: int
    software: str


class WorkerLease:
    """That this worker is alive, as the servers see it: a key that ends by itself, written again and again.

    ``is_held`` by our own clock, from when the last writing that was confirmed was sent: a process that was frozen
    finds out before it does anything.
    """

    def __init__(self, bucket: KeyValue, lease_s: float, elapsed_ns: Callable[[], int] | None = None) -> None:
        self._bucket = bucket
        self._lease_s = lease_s
        self._elapsed_ns = elapsed_ns or elapsed_reader()
        self._sent_ns = self._elapsed_ns() - round(lease_s * 1e9)
        self._started_ns = time.time_ns()
        self.name = _name()

    async def renew(self) -> None:
        """Writes the key, once."""
        content = msgspec.json.encode(Worker(platform.node(), os.getpid(), self._started_ns, software()))
        sent_ns = self._elapsed_ns()
        await self._bucket.put(self.name, content)
        self._sent_ns = sent_ns

    @property
    def is_held(self) -> bool:
        return self._elapsed_ns() - self._sent_ns < self._lease_s * 1e9

    def check(self) -> None:
        """
        Raises:
            LeaseLost: if it is not held.
        """
        if not self.is_held:
            raise LeaseLost

    async def run(self) -> None:
        """Renews it for ever."""
        while True:
            try:
                async with asyncio.timeout(self._lease_s / 3):
                    await self.renew()
            except TROUBLES:
                await asyncio.sleep(PAUSE_S)  # the session says that the servers are away
            else:
                await asyncio.sleep(self._lease_s / 3)

    async def end(self) -> None:
        """Lets go of it, so that nobody has to wait for its end."""
        try:
            await self._bucket.delete(self.name)
        except TROUBLES as error:
            logger.bind(reason=str(error)).debug("archive_lease_not_ended")


def _name() -> str:
    """No other process ever has it."""
    return f"{re.sub('[^a-zA-Z0-9_-]', '-', platform.node()) or 'host'}-{os.getpid()}-{secrets.token_hex(4)}"


class Places:
    """Those of a cluster, for one worker.

    Raises, in each method but ``leave``:
        nats.errors.Error, TimeoutError: while the servers are away.
    """

    def __init__(self, places: KeyValue, workers: KeyValue, name: str) -> None:
        self._places = places
        self._workers = workers
        self._name = name

    async def read(self, partition: int) -> tuple[Place, int]:
        """A place, and its revision; the very beginning if nobody was ever there."""
        try:
            entry = await self._places.get(_key(partition))
        except KeyNotFoundError:
            return Place(), 0
        assert entry.value is not None
        assert entry.revision is not None
        return decode(entry.value), entry.revision

    def is_of_another(self, place: Place) -> bool:
        """Whether somebody else has it, dead or alive."""
        return place.worker not in ("", self._name)

    async def is_taken(self, place: Place) -> bool:
        """Whether somebody else who is alive is at it."""
        if not self.is_of_another(place):
            return False
        try:
            await self._workers.get(place.worker)
        except KeyNotFoundError:
            return False
        return True

    async def claim(self, partition: int, place: Place, revision: int) -> int | None:
        """The revision of our claim; None if somebody was faster."""
        return await self._change(partition, replace(place, worker=self._name), revision)

    async def _change(self, partition: int, place: Place, revision: int) -> int | None:
        try:
            return await self._places.update(_key(partition), msgspec.json.encode(place), last=revision)
        except KeyWrongLastSequenceError:
            return None

    async def move(self, partition: int, begun: Place, done: Place, revision: int) -> bool:
        """Ends our pass: the place is where it got to. Whether it is: another worker may have taken us for dead, and
        then it is where our pass began. Tries until the servers answer."""
        done = replace(done, worker="")
        try:
            if await self._change(partition, done, revision) is not None:
                return True
        except TROUBLES:
            await asyncio.sleep(PAUSE_S)
        return await self.leave(partition, begun, done)

    async def leave(self, partition: int, begun: Place, done: Place | None = None) -> bool:
        """Ends our pass without a word on how far it got: the place is at most where it began. Tries until the servers
        answer. ``done`` is what we wrote, perhaps, without having heard that it was taken."""
        while True:
            try:
                place, revision = await self.read(partition)
                if done is not None and place == done:
                    return True
                left = _left(place, begun, self._name)
                if left == place or await self._change(partition, left, revision) is not None:
                    return False
            except TROUBLES:
                await asyncio.sleep(PAUSE_S)


def _left(place: Place, begun: Place, name: str) -> Place:
    """A place after a pass that may have undone something: not ahead of where that began. Whoever is at it stays so."""
    return replace(
        place,
        reach=min(place.reach, begun.reach, key=_length),
        again=place.again or begun.again,
        uncertified=sorted({*place.uncertified, *begun.uncertified}),
        worker="" if place.worker == name else place.worker,
    )


def _length(reach: Reach) -> tuple[int, int, int]:
    return reach.cursor, reach.seen, reach.before_ns


def _key(partition: int) -> str:
    return f"partition.{partition}"
