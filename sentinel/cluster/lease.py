"""That a member is one: a key which the servers forget by themselves unless it is written again, by revision.

Whether a lease is held is not for our clock alone to say, nor for the servers': it is held as long as they have
confirmed a writing that was *sent* less than ``lease_s`` ago by a clock that does not stop with the process. Then the
servers have the key for at least as long as we think so: a process that was frozen, or cut off, has lost its lease
before it can look at anything else. And every writing names the revision that it follows, so that of two processes
with one name only one ever writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from sentinel.cluster.presence import Presence, decode, encode, key_of
from sentinel.cluster.stream import TROUBLES
from sentinel.errors import UNREADABLE
from sentinel.timing.instants import NS_PER_S


class Lease:
    """The one of ``collector``, in this run of its, in the bucket ``kv``. ``now_ns`` never stops and never steps.

    ``rival`` is who has the key instead of us, as far as we know: a process of the same name. A former run of our own
    ``home`` is none, since it must have ended: a data directory is used by one process at a time.
    """

    def __init__(
        self, kv: KeyValue, collector: str, home: str, started_ns: int, lease_s: float, now_ns: Callable[[], int]
    ) -> None:
        self.kv = kv
        self.rival: Presence | None = None
        self.rival_revision = 0
        self.trouble = ""
        self._key = key_of(collector)
        self._home, self._started_ns = home, started_ns
        self._lease_ns = round(lease_s * NS_PER_S)
        self._now_ns = now_ns
        self._until_ns = now_ns()
        self._revision = 0

    @property
    def is_held(self) -> bool:
        return self._now_ns() < self._until_ns

    async def tell(self, word: Presence, patience_s: float) -> bool:
        """Writes the key: whether the servers have confirmed it. Asks for a new lease if there is none.

        Where the servers are away, or somebody else has the key, ``trouble`` says so.
        """
        sent_ns = self._now_ns()
        try:
            async with asyncio.timeout(patience_s):
                revision = await self._write(encode(word))
        except TROUBLES as error:
            self.trouble = str(error) or type(error).__name__
            return False
        if revision is None:
            return False
        self._revision, self._until_ns = revision, sent_ns + self._lease_ns
        self.rival, self.trouble = None, ""
        return True

    async def end(self, patience_s: float) -> None:
        """Gives it up, if it is ours still."""
        self._until_ns = self._now_ns()
        try:
            async with asyncio.timeout(patience_s):
                await self.kv.delete(self._key, last=self._revision)
        except TROUBLES as error:  # then it ends by itself
            self.trouble = str(error) or type(error).__name__

    async def _write(self, value: bytes) -> int | None:
        """The new revision; None if the key is somebody else's, or was written or has ended while we asked."""
        for _ in range(2):
            try:
                if self._revision:
                    return await self.kv.update(self._key, value, last=self._revision)
                return await self.kv.create(self._key, value)
            except KeyWrongLastSequenceError:
                await self._find_out()
                if self.rival is not None:
                    break
        return None

    async def _find_out(self) -> None:
        """Who wrote last: we, in a writing whose confirmation was lost, a run before us, or somebody else."""
        self._revision, self.rival = 0, None
        try:
            entry = await self.kv.get(self._key)
        except KeyNotFoundError:
            self.trouble = "the lease has ended"
            return
        assert entry.revision is not None
        try:
            found = decode(entry.value or b"")
        except UNREADABLE:
            found = Presence(collector="?", address="?", started_ns=0, home="?")
        if found.home == self._home and found.started_ns <= self._started_ns:
            self._revision = entry.revision
        else:
            self.rival, self.rival_revision = found, entry.revision
            self.trouble = f"a collector of the same name is a member, at {found.address}"
