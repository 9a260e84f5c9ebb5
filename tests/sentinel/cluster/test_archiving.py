"""Workers of a cluster's archive: whatever happens to them, each point is there once, as its collector had it last."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from loguru import logger
from nats.js.kv import KeyValue

from sentinel.archive.shared import Unreadable
from sentinel.certificates.issuer import Folders
from sentinel.certificates.verify import read_chains, verify
from sentinel.cluster.archiving import ArchiveWorker, Stopped
from sentinel.cluster.buckets import bucket
from sentinel.cluster.names import COLLECTOR, MESSAGE_ID, TIMES
from sentinel.cluster.one_archive import settle
from sentinel.cluster.partition import Partition
from sentinel.cluster.places import AGAIN_NS, LeaseLost, Places, WorkerLease
from sentinel.cluster.session import Session, opened
from sentinel.cluster.stream import prepared
from sentinel.config import Cluster
from sentinel.disk.object_store import ObjectPath
from sentinel.errors import UsageError
from sentinel.run.archive_pass import write_spool
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS
from tests.sentinel.cluster.published import PARTITIONS, archived, batches, expected, publish
from tests.servers.nats import nats_servers
from tests.servers.waiting import LONGEST_S

LEASE_S = 60.0
LONG_S = 3600.0
"""A key does not end by itself, however long a test takes."""

AFTER_NS = MIDNIGHT_NS + 3 * HOUR_NS + 120_000_000_000


@pytest.fixture
async def session(tmp_path: Path, patience: None) -> AsyncIterator[Session]:
    with nats_servers(tmp_path / "nats") as servers:
        settings = Cluster(servers=tuple(servers.urls), lease_s=LEASE_S, partitions=PARTITIONS)
        async with opened(settings, "test") as session:
            await prepared(session)
            yield session


class Rig:
    """A worker whose clocks are the test's."""

    def __init__(self, session: Session, buckets: tuple[KeyValue, KeyValue], target: Path, scratch: Path) -> None:
        places, self.workers = buckets
        self.now_ns = AFTER_NS
        self.elapsed_ns = 0
        self.lease = WorkerLease(self.workers, LEASE_S, lambda: self.elapsed_ns)
        self.places = Places(places, self.workers, self.lease.name)
        self.partitions = [Partition(session, number) for number in range(PARTITIONS)]
        self.target, self.scratch = ObjectPath.of(target.as_uri()), scratch / self.lease.name
        self.drain = asyncio.Event()

    async def pass_over(self, *, is_whole: bool = False) -> None:
        write = partial(write_spool, self.target)
        await ArchiveWorker(
            self.partitions,
            self.places,
            self.lease,
            write,
            self.scratch,
            is_whole=is_whole,
            now_ns=lambda: self.now_ns,
            draw=lambda: 0.0,
        ).pass_over(self.drain)

    async def seem_dead(self) -> None:
        """As the servers see it; our own clock says so, too."""
        await self.lease.end()
        self.elapsed_ns += round(LEASE_S * 1e9)


@pytest.fixture
async def rigs(session: Session, tmp_path: Path) -> list[Rig]:
    names = session.names
    buckets = await bucket(session, names.archive), await bucket(session, names.archivers, LONG_S)
    found = [Rig(session, buckets, tmp_path / "store", tmp_path / "scratch") for _ in range(2)]
    for rig in found:
        await rig.lease.renew()
    return found


def faults(store: Path) -> list[str]:
    """Whatever ``verify`` would say."""
    folders = Folders.of(store)
    chains = read_chains(folders.certificates)
    checks = [chains.check, *verify(folders, chains.latest, chains.latest)]
    return [problem for check in checks for problem in check.problems]


async def test_two_replicas_make_one_archive_that_verifies_and_names_both(
    session: Session, rigs: list[Rig], tmp_path: Path
) -> None:
    sent = batches(1, hours=3)
    for message in sent:
        await publish(session, message)
    await rigs[0].pass_over()
    store = tmp_path / "store"
    assert archived(store) == expected(sent)
    assert faults(store) == []
    papers = sorted((store / "certificates").rglob("hour=*.json"))
    accounts = [msgspec.json.decode(paper.read_bytes())["evidence"]["accounts"] for paper in papers]
    assert len(papers) == 4 * 4  # with the minute before the first
    assert all(set(collectors) == {"one", "two"} for collectors in accounts)
    assert not list(rigs[0].scratch.glob("*/*"))


async def test_hour_by_hour_gives_what_one_pass_gives_and_reads_nothing_twice(
    session: Session, rigs: list[Rig], tmp_path: Path
) -> None:
    sent = batches(2, hours=3)
    for number, message in enumerate(sent):
        await publish(session, message)
        if number % 97 == 0:
            rig = rigs[number % 2]
            minute = (message.batch - 1) // 3
            rig.now_ns = MIDNIGHT_NS + minute * 60_000_000_000 + 30_000_000_000
            await rig.pass_over()
    await rigs[0].pass_over()
    rigs[1].now_ns = AFTER_NS
    await rigs[1].pass_over()
    assert archived(tmp_path / "store") == expected(sent)
    assert faults(tmp_path / "store") == []
    before = sorted((file, file.stat().st_mtime_ns) for file in (tmp_path / "store").rglob("*.parquet"))
    rigs[0].now_ns = AFTER_NS + HOUR_NS
    await rigs[0].pass_over()
    assert sorted((file, file.stat().st_mtime_ns) for file in (tmp_path / "store").rglob("*.parquet")) == before


async def test_a_worker_whose_clock_was_a_year_ahead_holds_nothing_up(
    session: Session, rigs: list[Rig], tmp_path: Path
) -> None:
    """It had archived what was to come in a year, it said: until then nobody would have done anything."""
    sent = batches(2, hours=3)
    for message in sent[: len(sent) // 2]:
        await publish(session, message)
    rigs[0].now_ns = AFTER_NS + 365 * 24 * HOUR_NS
    await rigs[0].pass_over()
    for message in sent[len(sent) // 2 :]:
        await publish(session, message)
    for now_ns in (MIDNIGHT_NS + 2 * HOUR_NS + 120_000_000_000, AFTER_NS):
        rigs[1].now_ns = now_ns
        await rigs[1].pass_over()
    assert archived(tmp_path / "store") == expected(sent)
    assert faults(tmp_path / "store") == []


async def test_the_hour_under_way_is_written_as_it_goes_and_certified_when_it_is_over(
    session: Session, rigs: list[Rig], tmp_path: Path
) -> None:
    sent = batches(3, hours=2)
    middle = len(sent) * 3 // 4
    for message in sent[:middle]:
        await publish(session, message)
    rig = rigs[0]
    rig.now_ns = MIDNIGHT_NS + 90 * 60_000_000_000
    await rig.pass_over(is_whole=True)
    assert archived(tmp_path / "store") == expected(sent[:middle])
    for message in sent[middle:]:
        await publish(session, message)
    rig.now_ns = MIDNIGHT_NS + 2 * HOUR_NS
    await rig.pass_over(is_whole=True)
    assert archived(tmp_path / "store") == expected(sent)
    assert not list((tmp_path / "store" / "certificates").rglob("hour=01.json"))
    rig.now_ns = MIDNIGHT_NS + 2 * HOUR_NS + 70_000_000_000
    await rig.pass_over(is_whole=True)
    assert len(list((tmp_path / "store" / "certificates").rglob("hour=01*.json"))) == 4
    assert faults(tmp_path / "store") == []


class Gate:
    """Holds the putting of the first file of a pattern up, after everything was asked for the last time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        put = ObjectPath.put
        lock = threading.Lock()

        def held(path: ObjectPath, content: Iterator[bytes]) -> None:
            whole = list(content)
            with lock:
                is_here = fnmatch(str(path.path), f"*/{pattern}") and not self.reached.is_set()
                if is_here:
                    self.reached.set()
            if is_here:
                assert self.open.wait(LONGEST_S)
            put(path, iter(whole))

        monkeypatch.setattr(ObjectPath, "put", held)


FILES = ("top/*/hour=01.parquet", "book/*/hour=01.parquet", "top/*/_manifest.json", "hour=01.json", "head.json")
"""Files that are not the same once the late lines are there."""


@pytest.mark.parametrize("at", FILES)
@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_frozen_worker_that_puts_an_older_file_in_place_of_a_newer_one_undoes_nothing(
    session: Session, rigs: list[Rig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, is_killed: bool
) -> None:
    sent = batches(4, hours=2, collectors=("one",))
    first = [message for message in sent if message.batch < 270]
    late = [message for message in sent if message not in first]
    for message in first:
        await publish(session, message)
    gate = Gate(monkeypatch, at)
    frozen, other = rigs
    with pytest.MonkeyPatch.context() as killing:
        if is_killed:  # nothing is heard of it any more, but what it had sent still comes
            killing.setattr(frozen.places, "leave", _nothing)
        work = asyncio.create_task(frozen.pass_over())
        assert await asyncio.to_thread(gate.reached.wait, LONGEST_S)
        await frozen.seem_dead()
        for message in late:
            await publish(session, message)
        await other.pass_over()
        gate.open.set()
        with suppress(LeaseLost):  # unless that was its last file
            await work
    other.now_ns += AGAIN_NS
    await other.pass_over()
    assert archived(tmp_path / "store") == expected(sent)
    assert faults(tmp_path / "store") == []


async def _nothing(*_: Any) -> bool:
    return False


async def test_whoever_is_told_to_end_leaves_its_pass_to_others_at_once(
    session: Session, rigs: list[Rig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = batches(5, hours=1)
    for message in sent:
        await publish(session, message)
    gate = Gate(monkeypatch, "trades/*.parquet")
    work = asyncio.create_task(rigs[0].pass_over())
    assert await asyncio.to_thread(gate.reached.wait, LONGEST_S)
    rigs[0].drain.set()
    gate.open.set()
    with pytest.raises(Stopped):
        await work
    assert [(await rigs[1].places.read(number))[0].worker for number in range(PARTITIONS)] == [""] * PARTITIONS
    await rigs[1].pass_over()
    assert archived(tmp_path / "store") == expected(sent)


async def test_what_the_servers_dropped_unread_is_told_of_those_partitions_that_may_miss_it(
    session: Session, rigs: list[Rig]
) -> None:
    told: list[tuple[str, int]] = []
    handler = logger.add(
        lambda message: told.append((message.record["message"], message.record["extra"]["partition"])), level="ERROR"
    )
    rig = rigs[0]
    sent = batches(7, hours=3)
    busy = sent[0].partition
    for message in sent[: len(sent) // 2]:
        await publish(session, message)
    await rig.pass_over()
    numbers = [await publish(session, message) for message in sent[len(sent) // 2 :] if message.partition == busy]
    rig.now_ns += HOUR_NS
    await rig.pass_over()
    await session.jetstream.purge_stream(session.names.lines, seq=numbers[-1] + 1)
    rig.now_ns += HOUR_NS
    await rig.pass_over()
    assert told == []
    _, last = [await publish(session, message) for message in batches(8, hours=1, collectors=["three"])[:2]]
    await session.jetstream.purge_stream(session.names.lines, seq=last)
    rig.now_ns += HOUR_NS
    await rig.pass_over()
    logger.remove(handler)
    assert told == [("archive_lost_messages", number) for number in range(PARTITIONS)]


async def test_a_stream_that_was_made_anew_is_archived_from_its_beginning(
    session: Session, rigs: list[Rig], tmp_path: Path
) -> None:
    """Though by now it has more messages than the lost one had."""
    lost, anew = batches(10, hours=1), batches(11, hours=2, collectors=["three"])
    assert len(anew) > len(lost) // 2
    for message in lost[: len(lost) // 2]:
        await publish(session, message)
    await rigs[0].pass_over()
    await session.jetstream.delete_stream(session.names.lines)
    await prepared(session)
    for message in anew:
        await publish(session, message)
    rigs[0].now_ns += HOUR_NS
    await rigs[0].pass_over()
    assert archived(tmp_path / "store") == expected([*lost[: len(lost) // 2], *anew])


async def test_a_line_that_is_none_holds_up_its_own_partition_and_says_so(
    session: Session, rigs: list[Rig], tmp_path: Path
) -> None:
    sent = batches(9, hours=1)
    for message in sent:
        await publish(session, message)
    spoilt = next(message for message in sent if message.stream == "trades")
    good = [message for message in sent if message.partition != spoilt.partition]
    body = zstandard.compress(b"trades,exchange=coinbase %d" % MIDNIGHT_NS)
    headers = {MESSAGE_ID: "bad/j/1/0/0", COLLECTOR: "bad", TIMES: f"{MIDNIGHT_NS}..{MIDNIGHT_NS}"}
    await session.jetstream.publish(session.names.subject("trades", spoilt.partition), body, headers=headers)
    with pytest.raises(Unreadable, match="lines of the stream cannot be archived"):
        await rigs[0].pass_over()
    assert archived(tmp_path / "store") == expected(good)


async def test_workers_of_one_cluster_cannot_make_two_archives(
    session: Session, rigs: list[Rig], tmp_path: Path
) -> None:
    one, two = rigs
    kept = await bucket(session, session.names.archive)
    await settle(kept, one.workers, one.lease.name, one.target)
    await settle(kept, two.workers, two.lease.name, two.target)
    await publish(session, batches(6, hours=1)[0])
    await one.pass_over()
    with pytest.raises(UsageError, match="holds nothing of the cluster's archive"):
        await settle(kept, two.workers, two.lease.name, ObjectPath.of((tmp_path / "elsewhere").as_uri()))
    collectors = tmp_path / "collectors"
    (collectors / "archive").mkdir(parents=True)
    await session.jetstream.delete_key_value(session.names.archive)
    anew = await bucket(session, session.names.archive)
    with pytest.raises(UsageError, match="holds the archive of a collector"):
        await settle(anew, two.workers, two.lease.name, ObjectPath.of(collectors.as_uri()))
    await settle(anew, two.workers, two.lease.name, two.target)  # the servers' data are lost: the archive is not
