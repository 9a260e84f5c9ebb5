"""Whether a store holds what the journal holds: every point of it, each as it was written last, and no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader
from tests.servers.fake_influx import FakeInflux
from tests.servers.waiting import until


async def until_delivered(data_dir: Path, influx: FakeInflux) -> None:
    """Waits until a store has what the journal has now."""
    with JournalReader(data_dir / JOURNAL) as reader:
        lines = [line for batch in reader.batches() for line in batch.lines()]
    wanted = FakeInflux()
    wanted.keep(lines)
    await until(lambda: wanted.points.keys() <= influx.points.keys())


def judge_delivery(data_dir: Path, theirs: Mapping[bytes, bytes]) -> Iterator[str]:
    """Everything that is wrong with the points of a store."""
    written = FakeInflux()
    with JournalReader(data_dir / JOURNAL) as reader:
        for batch in reader.batches():
            written.keep(list(batch.lines()))
    ours = written.points
    stale = [key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]]
    wrong = (
        ("lacks", ours.keys() - theirs.keys()),
        ("made up", theirs.keys() - ours.keys()),
        ("has not the last", stale),
    )
    for word, keys in wrong:
        if keys:
            by_measurement = Counter(key.partition(b",")[0].decode() for key in keys)
            yield f"the store {word} of {dict(by_measurement)}, such as {min(keys)!r}"
