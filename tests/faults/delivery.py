"""Whether a store holds what the journal holds: every point of it, each as it was written last, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sentinel.line_protocol import decode
from tests.end_to_end.store import Store


def judge_delivery(data_dir: Path, points: dict[bytes, bytes]) -> Iterator[str]:
    """Everything that is wrong with the ``points`` of a store."""
    delivered: dict[str, dict[object, object]] = {}
    for line in points.values():
        point = decode(line)
        delivered.setdefault(point.measurement, {})[point.tags, point.time_ns] = point
    written = Store(data_dir).points
    for name in sorted(written.keys() | delivered.keys()):
        ours, theirs = written.get(name, {}), delivered.get(name, {})
        missing, made_up = ours.keys() - theirs.keys(), theirs.keys() - ours.keys()
        stale = [key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]]
        for word, keys in (("lacks", missing), ("made up", made_up), ("holds an old form of", stale)):
            if keys:
                yield f"the store {word} {len(keys)} of {len(ours)} {name}: {sorted(map(str, keys))[:2]}"
