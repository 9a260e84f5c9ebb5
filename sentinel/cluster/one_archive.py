"""That all workers write one archive: a mark at its place and one with the servers say the same.

Who is first makes both; after that a worker whose place has no such mark, or another one, would make a second archive
of half of the data.
"""

from __future__ import annotations

import asyncio
import secrets

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError, NoKeysError
from nats.js.kv import KeyValue

from sentinel.archive.sending import content_of, send_content, speaking_of
from sentinel.disk.data_dir import ARCHIVE, CERTIFICATES, CLUSTER, COLLECTOR_NAME
from sentinel.disk.object_store import ObjectPath
from sentinel.errors import UNREADABLE, UsageError

KEY = "archive"
LOOK_S = 0.5


class Mark(Struct, frozen=True):
    """Which archive it is, and who began it."""

    id: str
    worker: str = ""


async def settle(places: KeyValue, workers: KeyValue, worker: str, target: ObjectPath) -> None:
    """Makes sure that ``target`` is the place of the cluster's archive; it becomes it if there is none yet.

    Raises:
        UsageError: if the archive is elsewhere, or the place has another one.
        StoreAway: if the place cannot be reached.
        nats.errors.Error, TimeoutError: while the servers are away.
    """
    while True:
        mark, revision = await _mark(places)
        here = await asyncio.to_thread(_mark_at, target)
        if mark is not None and here == mark.id:
            return
        if mark is not None and here is not None:
            raise UsageError(f"{target} holds the archive of another cluster")
        if mark is None:
            if here is None:
                await asyncio.to_thread(_check_free, target)
            mark = Mark(here or secrets.token_hex(8), worker)
        elif await _is_begun(places):
            raise UsageError(f"{target} holds nothing of the cluster's archive: give every worker the same place")
        elif mark.worker != worker and await _is_alive(workers, mark.worker):
            await asyncio.sleep(LOOK_S)  # it is about to leave its mark, here or elsewhere
            continue
        else:
            await asyncio.to_thread(_check_free, target)
            mark = replace(mark, worker=worker)
        try:
            await places.update(KEY, msgspec.json.encode(mark), last=revision)
        except KeyWrongLastSequenceError:
            continue
        await asyncio.to_thread(_leave_mark, target, mark.id)


async def _mark(places: KeyValue) -> tuple[Mark | None, int]:
    try:
        entry = await places.get(KEY)
    except KeyNotFoundError:
        return None, 0
    assert entry.value is not None
    return _decoded(entry.value), entry.revision or 0


def _decoded(content: bytes) -> Mark:
    try:
        return msgspec.json.decode(content, type=Mark)
    except UNREADABLE as error:
        raise UsageError(f"the mark of an archive cannot be read: {error}") from error


async def _is_begun(places: KeyValue) -> bool:
    try:
        return any(key != KEY for key in await places.keys())
    except NoKeysError:
        return False


async def _is_alive(workers: KeyValue, worker: str) -> bool:
    try:
        await workers.get(worker)
    except KeyNotFoundError:
        return False
    return True


def _mark_at(target: ObjectPath) -> str | None:
    with speaking_of(target):
        content = content_of(target / CLUSTER)
    return None if content is None else _decoded(content).id


def _check_free(target: ObjectPath) -> None:
    with speaking_of(target):
        for name in (COLLECTOR_NAME, ARCHIVE, CERTIFICATES):
            if (target / name).exists():
                raise UsageError(f"{target} holds the archive of a collector: give the cluster's archive its own place")


def _leave_mark(target: ObjectPath, archive_id: str) -> None:
    with speaking_of(target):
        send_content(msgspec.json.encode(Mark(archive_id)) + b"\n", target / CLUSTER)
