"""The book of the past: one busy product, 20 million changes a day over 46,000 levels, as the archive has them.

python -m bench.bench_l2 --json          a whole day, with memory; the suite takes one hour of it
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import sentinel.data
from bench.conftest import Clock
from feeds.market import Market
from sentinel.archive.l2 import L2, Rows, write
from sentinel.archive.layout import Series
from sentinel.archive.schedule import HOUR_NS
from sentinel.disk.data_dir import ARCHIVE
from sentinel.replay.followed import BOOK_EVERY_NS

START_NS = 1_795_392_000_000_000_000
MINUTE_NS = 60_000_000_000
HOURS = 24
CHANGES_AN_HOUR = 20_000_000 // HOURS
CHANGES_A_FRAME = 6
LEVELS = 23_000
MID = 6_500_000
"""In cents."""

MARKET = Market("coinbase", "BTC-USD")
INSTANTS = 20


def an_hour(seed: int = 1) -> pa.Table:
    """Changes as near to the touch as those of a real market, with a whole book every five minutes."""
    rng = random.Random(seed)
    sides: list[dict[float, float]] = [{}, {}]
    for number in range(LEVELS):
        for side, sign in enumerate((-1, 1)):
            sides[side][(MID + sign * (number + 1)) / 100] = round(rng.lognormvariate(-2, 2), 8)
    rows, frames = Rows(), CHANGES_AN_HOUR // CHANGES_A_FRAME
    due_ns = START_NS
    for number in range(frames):
        now_ns = START_NS + number * HOUR_NS // frames
        if now_ns >= due_ns:
            rows.add_book(due_ns, due_ns, number, dict(sorted(sides[0].items())), dict(sorted(sides[1].items())))
            due_ns += BOOK_EVERY_NS
        changes: list[dict[float, float]] = [{}, {}]
        for _ in range(CHANGES_A_FRAME):
            side = rng.randrange(2)
            away = 1 + min(int(rng.expovariate(1 / 300)), LEVELS - 1)
            price = (MID + (away if side else -away)) / 100
            changes[side][price] = 0.0 if rng.random() < 0.3 else round(rng.lognormvariate(-2, 2), 8)
        for held, changed in zip(sides, changes, strict=True):
            held.update(changed)
        rows.add_changes(now_ns, now_ns - 20_000_000, number, *changes)
    return rows.table()


def store(data_dir: Path, hours: int) -> int:
    """So many hours of it, alike but for their times; gives the bytes."""
    table, size = an_hour(), 0
    for hour in range(hours):
        moved = table
        for place, name in enumerate(("time", "venue_time")):
            times = pc.add(table[name].cast(pa.int64()), hour * HOUR_NS)
            moved = moved.set_column(place, table.schema.field(name), times.cast(table.schema.field(name).type))
        path = Series(L2, MARKET).file(data_dir / ARCHIVE, START_NS + hour * HOUR_NS)
        write(path, moved)
        size += path.stat().st_size
    return size


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    data_dir = tmp_path_factory.mktemp("l2")
    store(data_dir, 1)
    return data_dir


def test_one_instant(clock: Clock, stored: Path) -> None:
    at_ns = START_NS + 59 * MINUTE_NS
    book = clock.time(1, "books", lambda: sentinel.data.order_book(MARKET.symbol, at_ns, data_dir=stored))
    assert book.bids.num_rows > LEVELS // 2


def test_a_minute_of_changes(clock: Clock, stored: Path) -> None:
    asked = MARKET.symbol, START_NS + 33 * MINUTE_NS, START_NS + 34 * MINUTE_NS
    count = sentinel.data.changes(*asked, data_dir=stored).table.num_rows
    clock.time(count, "changes", lambda: sentinel.data.changes(*asked, data_dir=stored))
    assert count == pytest.approx(CHANGES_AN_HOUR / 60, rel=0.05)


def test_books_of_an_hour(clock: Clock, stored: Path) -> None:
    asked = MARKET.symbol, START_NS, START_NS + HOUR_NS
    found = clock.time(3600, "books", lambda: sentinel.data.books(*asked, data_dir=stored))
    assert found.is_whole
    assert found.table.num_rows == 3600 * 2 * 50


def test_bins_of_ten_minutes(clock: Clock, stored: Path) -> None:
    asked = MARKET.symbol, START_NS, START_NS + 10 * MINUTE_NS
    found = clock.time(6000, "samples", lambda: sentinel.data.bins(*asked, data_dir=stored))
    assert found.table.num_rows == 6000 * 14


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began_s = time.perf_counter()
    found = work()
    return time.perf_counter() - began_s, found


def main() -> None:
    """One day, in a process that has nothing else in memory; prints a JSON object."""
    rng = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="bench-l2-") as folder:
        data_dir = Path(folder)
        size = store(data_dir, HOURS)
        day = MARKET.symbol, START_NS, START_NS + HOURS * HOUR_NS
        resource_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        instants = [rng.randrange(day[1], day[2]) for _ in range(INSTANTS)]
        costs = [
            _timed(lambda at_ns=at_ns: sentinel.data.order_book(MARKET.symbol, at_ns, data_dir=data_dir))[0]  # type: ignore[misc]
            for at_ns in instants
        ]
        minutes = [
            _timed(
                lambda at_ns=at_ns: sentinel.data.changes(  # type: ignore[misc]
                    MARKET.symbol, at_ns, at_ns + MINUTE_NS, data_dir=data_dir
                )
            )[0]
            for at_ns in instants
        ]
        books_s, books = _timed(lambda: sentinel.data.books(*day, data_dir=data_dir))
        assert books.is_whole
        found = {
            "changes": CHANGES_AN_HOUR * HOURS,
            "bytes": size,
            "instant_most_s": max(costs),
            "minute_most_s": max(minutes),
            "day_of_books_s": books_s,
            "rss_max_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "rss_before_mb": resource_before / 1024,
        }
    print(json.dumps(found) if "--json" in sys.argv else json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
