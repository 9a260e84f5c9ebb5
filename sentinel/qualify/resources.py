"""What a run took of the machine. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sentinel.qualify.evidence import MemoryPoint, Resources
from sentinel.qualify.state import Known

MB = 1e6
S_PER_DAY = 86_400
NS_PER_H = 3.6e12
SLOPE_LEAST_NS = 3_600_000_000_000
"""Of a shorter run a slope says nothing: memory is still filling."""

SETTLING = 0.25
"""The part of a process's time in which its memory may still be filling."""

MOST_POINTS = 1500
"""In the document: enough for any picture."""


def resources(known: Known) -> Resources:
    """Of the whole run. Memory is of the longest process."""
    longest = longest_process(known.series)
    lasts = [process.last for process in known.processes if process.last is not None]
    uptime_s = sum(last.uptime_s for last in lasts)
    days = known.collected_s / S_PER_DAY
    memory = [point.memory_bytes / MB for point in longest]
    return Resources(
        memory_start_mb=memory[0] if memory else None,
        memory_end_mb=memory[-1] if memory else None,
        memory_most_mb=max(memory, default=None),
        memory_slope_mb_per_h=slope_mb_per_h(longest),
        cpu_share=sum(last.cpu_s for last in lasts) / uptime_s if uptime_s else None,
        descriptors_start=longest[0].descriptors if longest else None,
        descriptors_end=longest[-1].descriptors if longest else None,
        threads_end=longest[-1].threads if longest else None,
        disk_bytes=known.disk_bytes,
        disk_bytes_per_day={kind: round(count / days) for kind, count in known.disk_bytes.items()} if days else {},
        series=thinned(known.series),
    )


def longest_process(series: Sequence[MemoryPoint]) -> list[MemoryPoint]:
    """The points of the process that ran longest."""
    by_process: dict[int, list[MemoryPoint]] = {}
    for point in series:
        by_process.setdefault(point.process, []).append(point)
    return max(by_process.values(), key=lambda points: points[-1].at_ns - points[0].at_ns, default=[])


def slope_mb_per_h(points: Sequence[MemoryPoint]) -> float | None:
    """How fast memory rises once it has settled, by least squares; None of less than an hour or three moments."""
    if not points or points[-1].at_ns - points[0].at_ns < SLOPE_LEAST_NS:
        return None
    settled_ns = points[0].at_ns + (points[-1].at_ns - points[0].at_ns) * SETTLING
    settled = [(point.at_ns - points[0].at_ns, point.memory_bytes) for point in points if point.at_ns >= settled_ns]
    if len(settled) < 3:
        return None
    mean_at = sum(at for at, _ in settled) / len(settled)
    mean_bytes = sum(count for _, count in settled) / len(settled)
    spread = sum((at - mean_at) ** 2 for at, _ in settled)
    if not spread:
        return None
    rise = sum((at - mean_at) * (count - mean_bytes) for at, count in settled) / spread
    return rise * NS_PER_H / MB


def thinned(series: Sequence[MemoryPoint]) -> list[MemoryPoint]:
    """Every so many, and always the last."""
    every = -(-len(series) // MOST_POINTS) or 1
    kept = list(series[::every])
    if series and kept[-1] is not series[-1]:
        kept.append(series[-1])
    return kept
