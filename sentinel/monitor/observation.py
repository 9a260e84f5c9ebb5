"""What a collector tells of itself that stands in none of its lines: how late it was, and what it took of the machine.

One JSON line at a time on stdout, for ``sentinel-ws qualify``, whose child the collector is.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from sentinel.collector.service import Service
from sentinel.monitor.outlet import Outlet
from sentinel.monitor.terminal import Figures, figures
from sentinel.timing.histogram import BUCKETS, Durations

OBSERVE_EVERY_S = 10.0
STATUS = Path("/proc/self/status")
DESCRIPTORS = Path("/proc/self/fd")
MAC = "darwin"


class LaneCounts(Struct, frozen=True):
    """Where the frames of one connection slot went since the start of the process."""

    feed: str
    received: int
    applied: int
    control: int
    duplicate: int
    undecodable: int
    unasked: int
    lost: int
    residue: int
    skipped: dict[str, int] = {}
    """What was passed over, by kind."""


class Observation(Struct, frozen=True):
    """Of one process, since its start. ``lateness``, ``handling`` and ``loop_lag`` are counts by bucket of
    ``timing.histogram``, ``descriptors`` None where nobody can count them."""

    at_ns: int
    uptime_s: float
    cpu_s: float
    memory_bytes: int
    threads: int
    descriptors: int | None
    lateness: list[int]
    handling: list[int]
    loop_lag: list[int]
    lanes: list[LaneCounts]
    part_failures: dict[str, int]
    clock_step_ms: int
    figures: Figures


async def tell(service: Service) -> None:
    """An observation as a JSON line on stdout, again and again until cancelled, and then the last one."""
    began_s = time.monotonic()
    with Outlet(sys.stdout) as outlet:
        try:
            while not outlet.is_broken:
                outlet.put(msgspec.json.encode(observe(service, began_s)) + b"\n")
                await asyncio.sleep(OBSERVE_EVERY_S)
        finally:
            outlet.put(msgspec.json.encode(observe(service, began_s)) + b"\n")


def observe(service: Service, began_s: float) -> Observation:
    """The present moment of a process that began at ``began_s`` of the monotonic clock. It never waits."""
    memory_bytes, threads = _memory_and_threads()
    return Observation(
        at_ns=service.intake.clock.now_ns(),
        uptime_s=time.monotonic() - began_s,
        cpu_s=time.process_time(),
        memory_bytes=memory_bytes,
        threads=threads,
        descriptors=sum(1 for _ in DESCRIPTORS.iterdir()) if DESCRIPTORS.is_dir() else None,
        lateness=_added(product.books.lateness for product in service.pipeline.products.values()),
        handling=_added([service.intake.handling]),
        loop_lag=_added([service.loop_lag]),
        lanes=[
            LaneCounts(
                lane.plan.venue,
                lane.counts.received,
                lane.counts.applied,
                lane.counts.control,
                lane.counts.duplicate,
                lane.counts.undecodable,
                lane.counts.unasked,
                lane.counts.lost,
                lane.counts.residue,
                dict(lane.skipped.counts),
            )
            for lane in service.pipeline.lanes
        ],
        part_failures={part.name: part.failures for part in service.part_statuses() if part.failures},
        clock_step_ms=service.pipeline.clock_step_ms,
        figures=figures(service),
    )


def _added(each: Iterable[Durations]) -> list[int]:
    total = np.zeros(BUCKETS, np.int64)
    for durations in each:
        total += np.frombuffer(durations.counts, np.int64)
    counts: list[int] = total.tolist()
    return counts


def _memory_and_threads() -> tuple[int, int]:
    """Resident bytes, or where nobody says so the most there ever were, or 0; and threads."""
    if STATUS.exists():
        facts = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
        return int(facts["VmRSS"].split()[0]) * 1024, int(facts["Threads"])
    try:
        import resource  # not on Windows
    except ImportError:
        return 0, threading.active_count()
    unit = 1 if sys.platform == MAC else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, threading.active_count()
