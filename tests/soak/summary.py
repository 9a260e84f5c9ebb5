"""What a long run came to: slopes, figures and pictures, from what was recorded."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from msgspec import structs

from tests.soak.run import LIVES, RESTARTS
from tests.soak.slopes import LIMITS, MB, Limit, Slope, judge

S = 1_000_000_000
Row = dict[str, Any]

DISK = {"journal_bytes": Limit(1000 * MB, 1800.0), "wal_bytes": Limit(200 * MB, 1800.0)}
DISK["tapes_bytes"] = DISK["journal_bytes"]
"""Of the collector whose retention is of minutes, over all its lives. What an archive keeps back goes hour by hour."""

LATENESS = {"lateness_p50_ms": Limit(2000.0, 3600.0)}
"""Only where it is watched for an hour or more: within minutes it is the machine's."""

PANELS: tuple[tuple[str, str, str, dict[str, str], float], ...] = (
    (
        "memory",
        LIVES,
        "MB",
        {"rss_bytes": "resident", "malloc_used": "C library: in use", "malloc_free": "kept free"},
        MB,
    ),
    ("counts", LIVES, "", {"descriptors": "descriptors", "threads": "threads", "tasks": "tasks"}, 1),
    ("lateness", LIVES, "ms", {"lateness_p50_ms": "median", "lateness_p99_ms": "99th percentile"}, 1),
    ("disk", LIVES, "MB", {"journal_bytes": "journal", "tapes_bytes": "tapes", "archive_bytes": "archive"}, MB),
    ("store", LIVES, "s", {"influx_behind_s": "oldest line not yet in InfluxDB"}, 1),
    ("restarts-memory", RESTARTS, "MB", {"rss_bytes": "resident"}, MB),
    ("restarts-disk", RESTARTS, "MB", {"journal_bytes": "journal", "tapes_bytes": "tapes", "wal_bytes": "WAL"}, MB),
)
PAGES = {
    "soak-memory.png": ("memory", "counts"),
    "soak-lateness.png": ("lateness", "store"),
    "soak-disk.png": ("disk", "restarts-disk", "restarts-memory"),
}


class Record:
    """The readings of a run, by collector."""

    def __init__(self, folder: Path) -> None:
        self.rows: dict[str, list[Row]] = defaultdict(list)
        for line in (folder / "readings.jsonl").read_text().splitlines():
            row = json.loads(line)
            self.rows[row["collector"]].append(row)
        self.began_ns = min(rows[0]["t_ns"] for rows in self.rows.values())
        done = folder / "run.json"
        self.run: Row = json.loads(done.read_text()) if done.exists() else {}

    def series(self, collector: str, name: str, life: int | None = None) -> list[tuple[float, float]]:
        """Seconds and values, from the beginning of the run, or of a life."""
        rows = [row for row in self.rows[collector] if name in row and life in (None, row["life"])]
        began_ns = self.began_ns if life is None or not rows else rows[0]["t_ns"]
        end_ns = self.run.get("quiet_ns", 2**63)
        return [((row["t_ns"] - began_ns) / S, row[name]) for row in rows if row["t_ns"] <= end_ns]

    def cores(self, collector: str) -> float:
        """Processor time a second, of all its lives."""
        spent_s = taken_s = 0.0
        for before, after in pairwise(row for row in self.rows[collector] if "cpu_s" in row):
            if before.get("life") == after.get("life") and after["cpu_s"] >= before["cpu_s"]:
                spent_s += after["cpu_s"] - before["cpu_s"]
                taken_s += (after["t_ns"] - before["t_ns"]) / S
        return spent_s / taken_s if taken_s else 0.0


def slopes(record: Record) -> list[Slope]:
    """Of everything that may not grow."""
    found = [
        judge(f"{LIVES} {name}", record.series(LIVES, name, 1), limit) for name, limit in (LIMITS | LATENESS).items()
    ]
    found += [judge(f"{RESTARTS} {name}", record.series(RESTARTS, name), limit) for name, limit in DISK.items()]
    return found


def draw(record: Record, into: Path) -> list[Path]:
    """The pictures."""
    panels = {panel[0]: panel for panel in PANELS}
    written = []
    for name, wanted in PAGES.items():
        figure = Figure(figsize=(8, 2.4 * len(wanted)), layout="constrained")
        for axes, key in zip(figure.subplots(len(wanted), 1, sharex=True, squeeze=False)[:, 0], wanted, strict=True):
            _, collector, unit, lines, scale = panels[key]
            for field, label in lines.items():
                series = record.series(collector, field)
                axes.plot(
                    [at_s / 60 for at_s, _ in series], [value / scale for _, value in series], label=label, lw=0.8
                )
            axes.set_ylim(bottom=0)
            axes.set_ylabel(unit)
            axes.set_title(f"{key.rpartition('-')[2]}: {_words(record, collector)}", fontsize=9, loc="left")
            axes.legend(fontsize=8, loc="upper left", ncols=3)
            axes.grid(visible=True, lw=0.3)
        axes.set_xlabel("minutes")
        figure.savefig(into / name, dpi=80)
        written.append(into / name)
    return written


def _words(record: Record, collector: str) -> str:
    markets = sum(map(len, record.run.get("products", {}).get(collector, {}).values()))
    lives = max(row["life"] for row in record.rows[collector])
    return f"{markets} markets, " + ("never restarted" if lives == 1 else f"{lives} lives")


def as_json(record: Record, found: Sequence[Slope], problems: Sequence[str], counts: dict[str, dict[str, int]]) -> Row:
    """Everything, for programs."""
    newest: Row = {}
    for row in record.rows[LIVES]:
        newest |= row
    return {
        "run": {name: value for name, value in record.run.items() if name != "products"},
        "cores": {collector: round(record.cores(collector), 3) for collector in record.rows},
        "most_rss_mb": {
            collector: round(max(row.get("rss_bytes", 0) for row in rows) / MB)
            for collector, rows in record.rows.items()
        },
        "lines_stored": newest.get("lines_stored"),
        "slopes": [structs.asdict(slope) | {"verdict": slope.verdict} for slope in found],
        "counts": counts,
        "problems": list(problems),
    }


def as_markdown(told: Row, found: Sequence[Slope]) -> str:
    """The same for people."""
    lines = [
        "| what | first block | last block | slope an hour | 99.5 % bounds | watched | |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for slope in found:
        scale = MB if "bytes" in slope.name or "malloc" in slope.name else 1
        unit = " MB" if scale == MB else ""
        figures = (slope.first, slope.last, slope.an_hour, slope.lowest_an_hour, slope.highest_an_hour)
        first, last, an_hour, lowest, highest = (f"{value / scale:,.2f}" for value in figures)
        bounds, watched = f"{lowest} … {highest}", f"{slope.seconds / 60:.0f} min"
        lines.append(f"| {slope.name}{unit} | {first} | {last} | {an_hour} | {bounds} | {watched} | {slope.verdict} |")
    sums: dict[str, int] = defaultdict(int)
    for counts in told["counts"].values():
        for name, count in counts.items():
            sums[name] += count
    lines += ["", ", ".join(f"{count:,} {name}" for name, count in sums.items())]
    lines += [f"{collector}: {cores} cores" for collector, cores in told["cores"].items()]
    lines += [f"WRONG: {problem}" for problem in told["problems"]]
    return "\n".join(lines) + "\n"
