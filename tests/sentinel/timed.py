"""Lines of line protocol as a journal takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sentinel.contract.lines import Lines


def timed(batches: Mapping[str, Iterable[bytes]]) -> dict[str, list[Lines]]:
    """Each item with its time."""
    return {
        stream: [Lines(int(item[item.rfind(b" ") + 1 :]), item) for item in items] for stream, items in batches.items()
    }
