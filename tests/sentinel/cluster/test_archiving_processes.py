"""Real workers of a cluster's archive, killed and frozen at seeded moments while two replicas publish."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from sentinel.archive import manifest
from sentinel.certificates.verify import read_chains
from sentinel.cluster.archiving import ArchiveWorker
from sentinel.cluster.buckets import answered, bucket
from sentinel.cluster.partition import Partition
from sentinel.cluster.places import AGAIN_NS, Places, WorkerLease
from sentinel.cluster.session import Session, opened
from sentinel.cluster.stream import prepared
from sentinel.config import Cluster
from sentinel.disk.data_dir import DAYS, MARKETS
from sentinel.disk.object_store import ObjectPath
from sentinel.run.archive_pass import write_spool
from tests.sentinel.cluster.published import PARTITIONS, Sent, archived, batches, copied, expected, publish
from tests.servers.nats import NatsServers, nats_servers
from tests.servers.object_store import CREDENTIALS, object_store
from tests.servers.waiting import freeze, until

LEASE_S = 2.0


class Worker:
    """One process, with a folder of its own."""

    def __init__(self, folder: Path, servers: NatsServers, url: str) -> None:
        self._command = [sys.executable, "-m", "sentinel", "deliver", "archive", "--data-dir", str(folder)]
        self._environment = {
            **os.environ,
            **CREDENTIALS,
            "SENTINEL_CLUSTER_SERVERS": ",".join(servers.urls),
            "SENTINEL_CLUSTER_LEASE_S": str(LEASE_S),
            "SENTINEL_CLUSTER_PARTITIONS": str(PARTITIONS),
            "SENTINEL_CLUSTER_STREAM_REPLICAS": str(len(servers.urls)),
            "SENTINEL_ARCHIVE_URL": url,
            "SENTINEL_ARCHIVE_IS_HOURLY": "false",
            "SENTINEL_ARCHIVE_INTERVAL_S": "1",
        }
        self._folder, self._log = folder, folder / "stderr.txt"
        self._begun = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.is_frozen = False

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        self._folder.mkdir(exist_ok=True)
        with self._log.open("ab") as said:
            self._begun = said.tell()
            self._process = subprocess.Popen([*self._command, *arguments], env=self._environment, stderr=said)
        return self._process

    @property
    def is_up(self) -> bool:
        """Whether it has said so since it was started last."""
        return b'"archive_worker_started"' in self._log.read_bytes()[self._begun :]

    def has_said(self) -> bool:
        """Whether it has said anything."""
        return bool(self._log.read_bytes())

    def end(self, number: signal.Signals) -> int:
        """The status."""
        assert self._process is not None
        self.thaw()
        self._process.send_signal(number)
        return self._process.wait(timeout=120)

    def freeze(self) -> None:
        assert self._process is not None
        freeze(self._process.pid)
        self.is_frozen = True

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self.is_frozen = False

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGKILL)


@contextmanager
def place(tmp_path: Path, kind: str) -> Iterator[str]:
    if kind == "file":
        yield (tmp_path / "store").as_uri()
        return
    with object_store() as store:
        yield store.url()


@pytest.mark.parametrize(("kind", "seed", "count"), [("file", 1, 1), ("file", 2, 3), ("s3", 3, 1)])
async def test_killed_and_frozen_workers_leave_each_point_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, seed: int, count: int
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    sent = batches(seed, hours=2)
    rng = random.Random(seed)
    with nats_servers(tmp_path / "nats", count) as servers, place(tmp_path, kind) as url:
        store = ObjectPath.of(url)
        workers = [Worker(tmp_path / f"worker-{number}", servers, url) for number in range(2)]
        settings = Cluster(servers=tuple(servers.urls), lease_s=LEASE_S, partitions=PARTITIONS, stream_replicas=count)
        async with opened(settings, "test") as session:
            await prepared(session)
            try:
                for worker in workers:
                    worker.start()
                await _strike(session, sent, workers, servers, rng, lambda: _files(store))
                for worker in workers:
                    worker.thaw()
                await until(lambda: all(worker.is_up for worker in workers))
                assert all(worker.end(signal.SIGTERM) == 0 for worker in workers)
                assert await asyncio.to_thread(workers[0].start("--once").wait, 240) == 0
            finally:
                for worker in workers:
                    worker.close()
            await _a_quarter_of_an_hour_later(session, store, tmp_path / "later")
        copy = await asyncio.to_thread(copied, store, tmp_path / "copy")
        assert archived(copy) == expected(sent)
        days = list(copy.glob(f"archive/*/{MARKETS}/{DAYS}"))
        assert [problem for day in days for problem in manifest.problems(day)] == []
        assert read_chains(copy / "certificates").check.problems == []
        assert not list(tmp_path.glob("worker-*/archiving/*"))


async def _a_quarter_of_an_hour_later(session: Session, store: ObjectPath, scratch: Path) -> None:
    """A pass at the time at which what killed workers left under way is done again: not before that are their hours
    certified, so until then a head may not name the last certificate."""
    workers = await bucket(session, session.names.archivers, LEASE_S)
    lease = WorkerLease(workers, 60.0)
    await lease.renew()
    worker = ArchiveWorker(
        [Partition(session, number) for number in range(PARTITIONS)],
        Places(await bucket(session, session.names.archive), workers, lease.name),
        lease,
        partial(write_spool, store),
        scratch,
        is_whole=True,
        now_ns=lambda: time.time_ns() + AGAIN_NS,
        draw=lambda: 0.0,
    )
    await worker.run_once(asyncio.Event())


def _files(store: ObjectPath) -> set[tuple[str, int]]:
    return {(str(file), file.stat().st_size) for file in store.rglob("*.parquet")}


async def _strike(
    session: Session,
    sent: list[Sent],
    workers: list[Worker],
    servers: NatsServers,
    rng: random.Random,
    seen: Callable[[], object],
) -> None:
    """Publishes in parts; of each, as soon as the archive changes, one worker is killed, or frozen until the next. Of
    three servers one is killed each time, too, and started for the next."""
    parts = 5
    for number in range(parts):
        before = seen()
        for message in sent[len(sent) * number // parts : len(sent) * (number + 1) // parts]:
            await answered(lambda message=message: publish(session, message))  # type: ignore[misc]
        await until(lambda before=before: seen() != before)  # type: ignore[misc]
        for worker in workers:
            if worker.is_frozen:
                worker.thaw()
        victim = rng.choice(workers)
        if rng.random() < 0.5:
            victim.freeze()
        else:
            victim.end(signal.SIGKILL)
            victim.start()
        if len(servers.servers) > 1:
            server = rng.choice(servers.servers)
            server.kill()
            server.start()


async def test_a_worker_that_waits_for_servers_ends_when_it_is_told_to(tmp_path: Path) -> None:
    servers = NatsServers(tmp_path / "nats")  # none is started
    worker = Worker(tmp_path / "worker", servers, (tmp_path / "store").as_uri())
    worker.start()
    try:
        await until(worker.has_said)
        assert worker.end(signal.SIGTERM) == 0
    finally:
        worker.close()
