"""``sentinel-ws deliver archive``: one archive for what the collectors of a cluster publish."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import click
from loguru import logger

from sentinel.command.options import Duration, config_option
from sentinel.config import Config
from sentinel.disk.data_dir import ARCHIVING
from sentinel.disk.lock import Held, hold
from sentinel.disk.object_store import ObjectPath, check_url
from sentinel.monitor import logs
from sentinel.run.deliver import cluster_option, configured, worker_name
from sentinel.run.stopping import stopping
from sentinel.timing.endings import ended
from sentinel.timing.loops import new_event_loop

ENDING_S = 10.0
"""How long a pass may take to come to the end of a file, and the servers to hear of it."""


@click.command()
@cluster_option
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where the current pass is kept, and the archive if there is no archive.url.  [default: data]",
)
@click.option("--once", is_flag=True, help="Archive everything available now, including the current hour, and stop.")
@click.option("--duration", type=Duration(), help="Stop after this long, such as 30s or 48h.")
@config_option
def archive(once: bool, duration: float | None, **given: Any) -> None:
    """Write one archive of all that the collectors of a cluster publish, to archive.url or --data-dir.

    Any number of workers can do so at the same time, all with the same place; each may be killed at any moment. An
    hour is written when it is over, and again if some of it arrives later; with archive.is_hourly = false it is also
    written as it goes.
    """
    config = configured(given)
    target = place_of(config)
    with logs.opened(sys.stderr, config.log_level), asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_deliver(config, target, is_once=once, duration_s=duration))


def place_of(config: Config) -> ObjectPath:
    """Where the archive is."""
    url = config.archive.url or config.data_dir.absolute().as_uri()
    check_url(url)
    return ObjectPath.of(url)


async def _deliver(config: Config, target: ObjectPath, *, is_once: bool, duration_s: float | None) -> None:
    async with stopping(duration_s) as stop:
        begun = asyncio.Event()
        work = asyncio.ensure_future(_work(config, target, stop, begun, is_once=is_once))
        told = asyncio.ensure_future(stop.wait())
        await asyncio.wait([work, told], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if begun.is_set():
            await asyncio.wait([work], timeout=ENDING_S)
        await ended(work)  # whatever it waits for: what it was at is done anew by another
        with suppress(asyncio.CancelledError):
            await work


async def _work(
    config: Config, target: ObjectPath, stop: asyncio.Event, begun: asyncio.Event, *, is_once: bool
) -> None:
    from sentinel.cluster.archiving import ArchiveWorker  # with NATS' client, and Arrow
    from sentinel.cluster.buckets import answered, bucket
    from sentinel.cluster.one_archive import settle
    from sentinel.cluster.partition import Partition
    from sentinel.cluster.places import Places, WorkerLease
    from sentinel.cluster.session import opened
    from sentinel.cluster.stream import prepared
    from sentinel.run.archive_pass import write_spool

    async with opened(config.cluster, worker_name("archive")) as session:
        partitions, names = await prepared(session), session.names
        places = await answered(lambda: bucket(session, names.archive))
        workers = await answered(lambda: bucket(session, names.archivers, config.cluster.lease_s))
        lease = WorkerLease(workers, config.cluster.lease_s)
        await answered(lease.renew)
        async with _held(lease):
            await answered(lambda: settle(places, workers, lease.name, target))
            with _scratch(config.data_dir, lease.name) as scratch:
                worker = ArchiveWorker(
                    [Partition(session, number) for number in range(partitions)],
                    Places(places, workers, lease.name),
                    lease,
                    partial(write_spool, target),
                    scratch,
                    is_whole=is_once or not config.archive.is_hourly,
                    now_ns=time.time_ns,
                    draw=random.random,
                )
                begun.set()
                logger.bind(worker=lease.name, place=str(target)).info("archive_worker_started")
                if is_once:
                    await worker.run_once(stop)
                else:
                    await worker.run(stop, config.archive.interval_s)


@asynccontextmanager
async def _held(lease: Any) -> AsyncIterator[None]:
    renewing = asyncio.create_task(lease.run())
    try:
        yield
    finally:
        await ended(renewing)
        if not renewing.cancelled():
            renewing.result()
        await lease.end()


@contextmanager
def _scratch(data_dir: Path, worker: str) -> Iterator[Path]:
    """A folder of this worker's own; those of workers that were killed are cleared away."""
    root = data_dir / ARCHIVING
    mine = root / worker
    with hold(mine / ".lock"):
        for other in root.iterdir():
            with suppress(Held), hold(other / ".lock"):
                shutil.rmtree(other, ignore_errors=True)
        try:
            yield mine
        finally:
            shutil.rmtree(mine, ignore_errors=True)
