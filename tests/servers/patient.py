"""Collectors that take no pause for silence.

A venue of tests is a process like others: on a busy machine it may say nothing for seconds, and is right to be left for
it. Where a test is of something else, its collector waits. ``python -m tests.servers.patient`` is ``sentinel-ws`` that
does, and waits for a venue's list of products even if it knows them from before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from feeds.catalogue import FEEDS
from sentinel import cli
from sentinel.exchange import listing
from tests.servers.waiting import HOUR_S, LONGEST_S

KNOWN = {feed: feed.facts for feed in FEEDS.values()}

_opened = 0


@contextmanager
def patience() -> Iterator[None]:
    """In this process, as long as anybody has it, in whichever order they end."""
    global _opened
    _opened += 1
    for feed, facts in KNOWN.items():
        feed.facts = replace(facts, quiet_s=HOUR_S, subscribe_deadline_s=HOUR_S)
    try:
        yield
    finally:
        _opened -= 1
        if not _opened:
            for feed, facts in KNOWN.items():
                feed.facts = facts


if __name__ == "__main__":
    listing.KNOWN_CHECK_S = LONGEST_S
    with patience():
        cli.main()
