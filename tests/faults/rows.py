"""What campaigns come to: a row for each fault, which ``reliability.py`` makes tables of."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from msgspec import Struct

from sentinel.timing.instants import parse_instant_ns

NOT_MEASURED = "not measured"


class Row(Struct, frozen=True):
    """So many ``runs`` with a fault; of ``lost`` of them something was gone without being named, or was wrong.

    ``detect_s`` is from its beginning to the first word of the log that names it, ``heal_s`` to when all was well; of
    the runs in which there was such a moment, None where nobody looked for it.
    """

    fault: str
    runs: int
    lost: int
    detect_s: list[float] | None = None
    heal_s: list[float] | None = None
    cost_s: list[float] | None = None
    """Of a death: from the last sample that is there to the moment of it."""
    per_s: list[float] | None = None
    """Of a flood: how many messages were taken each second."""


def merged(rows: Iterable[Row]) -> Row:
    """Those of one fault, as one."""
    first, *others = rows
    for row in others:
        joined = {
            name: [*(getattr(first, name) or ()), *(getattr(row, name) or ())]
            for name in ("detect_s", "heal_s", "cost_s", "per_s")
            if getattr(first, name) is not None or getattr(row, name) is not None
        }
        first = msgspec.structs.replace(first, runs=first.runs + row.runs, lost=first.lost + row.lost, **joined)
    return first


def write(path: Path | None, rows: Iterable[Row]) -> None:
    """For a campaign that was told where to."""
    if path is not None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(list(rows))) + b"\n")


def read(path: Path) -> list[Row]:
    return msgspec.json.decode(path.read_bytes(), type=list[Row])


def spread(times_s: list[float] | None, none: str, runs: int | None = None) -> str:
    """Median and worst, in words; ``none`` where there is none. Of how many they are, if those are not all ``runs``."""
    if times_s is None:
        return NOT_MEASURED
    if not times_s:
        return none
    of_some = "" if runs in (None, len(times_s)) else f" ({len(times_s)} of them)"
    return f"{median(times_s):.1f} s, at most {max(times_s):.1f} s{of_some}"


def named_s(
    log: Iterable[dict[str, Any]], start_ns: int, events: Collection[str], cause: str | None, end_ns: int = 2**63
) -> float | None:
    """From a moment to the first of these events in a log, of gaps those with a cause; None if there is none."""
    for entry in log:
        at_ns = parse_instant_ns(entry["time"], 0)
        if start_ns <= at_ns <= end_ns and entry["event"] in events and cause in (None, entry.get("cause")):
            return (at_ns - start_ns) / 1e9
    return None
