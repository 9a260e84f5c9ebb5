"""What is read of a running collector every few seconds: from the kernel, from the disk and from what it tells."""

from __future__ import annotations

import json
import os
from pathlib import Path
from stat import S_ISREG
from typing import Any

from sentinel.disk.data_dir import ARCHIVE, CERTIFICATES, JOURNAL, TAPES

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
KINDS = {"journal": JOURNAL, "wal": f"{JOURNAL}-wal", "tapes": TAPES, "archive": ARCHIVE, "certificates": CERTIFICATES}


def of_process(pid: int) -> dict[str, float]:
    """Processor seconds, resident bytes, threads and descriptors (proc(5), fields 14, 15, 20 and 24 of ``stat``)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return {
        "cpu_s": (int(fields[11]) + int(fields[12])) / TICKS_PER_S,
        "threads": int(fields[17]),
        "rss_bytes": int(fields[21]) * PAGE_BYTES,
        "descriptors": sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
    }


def of_disk(data_dir: Path) -> dict[str, int]:
    """Bytes of each kind of file."""
    return {f"{kind}_bytes": _bytes(data_dir / name) for kind, name in KINDS.items()}


def _bytes(path: Path) -> int:
    found = 0
    for file in [path, *path.rglob("*")]:
        try:
            told = file.stat()
        except FileNotFoundError:  # retention is quicker, or it is not there yet
            continue
        found += told.st_size if S_ISREG(told.st_mode) else 0
    return found


def of_status(status: dict[str, Any]) -> dict[str, Any]:
    """What a collector says of itself."""
    told = {name: status[name] for name in ("uptime_s", "lines_stored", "stored_age_s", "trades_to_repair")}
    for name in ("lateness", "handling", "loop_lag"):
        told |= {f"{name}_{key}": value for key, value in status[name].items()}
    for sink in status["sinks"]:
        told |= {f"{sink['name']}_{key}": sink[key] for key in ("backlog_lines", "behind_s", "errors")}
    return told | {"gaps_open": len(status["gaps"]), "proved": sum(each["is_proved"] for each in status["products"])}


def of_itself(seen: Path) -> dict[str, Any]:
    """The last line of what ``seen.py`` wrote."""
    if not seen.exists():
        return {}
    with seen.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1000))
        lines = file.read().split(b"\n")
    found: dict[str, Any] = json.loads(lines[-2]) if len(lines) > 1 else {}
    found.pop("t_ns", None)
    return found
