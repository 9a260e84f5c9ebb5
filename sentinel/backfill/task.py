"""One range of trades to be fetched, as a file in the data directory: whoever holds the journal carries it out.

The file is the order, the progress and the answer. Whole minutes are stored, so a task that is taken up again repeats
at most the minutes that were stored and not yet noted here, and the same trade is the same point.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct

from feeds.market import Market
from sentinel.disk.data_dir import BACKFILL
from sentinel.disk.files import make_folder, replacing
from sentinel.errors import UNREADABLE
from sentinel.timing.instants import format_ns

State = Literal["waiting", "running", "done", "failed"]


class Task(Struct, kw_only=True):
    """Trades of a market with ``since_ns <= time < until_ns``; ``before_id`` is the first one that is there already.

    ``first_id`` and ``last_id`` are known once the venue has been searched; None and state ``done``: it has none.
    ``next_id`` and ``next_minute_ns`` are where to go on. ``stored`` trades are in the journal, ``missing`` are ids
    that the venue did not have. ``reason`` is why it failed, or waits.
    """

    exchange: str
    symbol: str
    since_ns: int
    until_ns: int
    before_id: int
    state: State = "waiting"
    first_id: int | None = None
    last_id: int | None = None
    next_id: int = 0
    next_minute_ns: int = 0
    stored: int = 0
    missing: int = 0
    reason: str | None = None

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol)

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        if self.first_id is None or self.last_id is None:
            return 1.0 if self.state == "done" else 0.0
        return (self.next_id - self.first_id) / max(1, self.last_id + 1 - self.first_id)

    def __str__(self) -> str:
        return f"{self.market.short} {format_ns(self.since_ns)} to {format_ns(self.until_ns)}"


decode_task = msgspec.json.Decoder(Task).decode


def task_path(folder: Path, task: Task) -> Path:
    """Its file, named by what is asked for: asking again takes it up again."""
    name = quote(str(task.market), safe="")
    return folder / BACKFILL / f"{name}-{task.since_ns}-{task.until_ns}.json"


def read(path: Path) -> Task | None:
    """The task in a file; None if it is not there, or no task."""
    try:
        return decode_task(path.read_bytes())
    except (FileNotFoundError, *UNREADABLE):
        return None


def write(path: Path, task: Task) -> None:
    """Puts it on the disk for good."""
    make_folder(path.parent)
    with replacing(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(task)) + b"\n")


def unfinished(folder: Path) -> Iterator[tuple[Path, Task]]:
    """Those that somebody has still to carry out, the oldest order first."""
    files = sorted((folder / BACKFILL).glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in files:
        task = read(path)
        if task is not None and task.state in ("waiting", "running"):
            yield path, task
