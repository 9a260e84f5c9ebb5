"""Any bytes that a venue sends give sound events or a ``FeedError``, whatever came before them on the connection."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from feeds.catalogue import FEEDS
from feeds.errors import FeedError
from feeds.protocol import Feed, Subscription
from tests.feeds.dialects import DIALECTS, PRODUCTS
from tests.feeds.test_conformance import assert_sound
from tests.fuzz import corpus
from tests.fuzz.mutation import made
from tests.fuzz.surfaces import Case

FRAMES = 12


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    yield _case


def _case(rng: random.Random) -> str:
    """One connection: odd frames among good ones, since a feed may have a memory."""
    name = rng.choice(sorted(FEEDS))
    make = cast(Callable[..., Feed], FEEDS[name])
    feed = make(Subscription(DIALECTS[name].channels, PRODUCTS))
    feed.open()
    for _ in range(rng.randrange(1, FRAMES)):
        frame = made(rng, corpus.some(rng, name))
        try:
            meaning = feed.receive(frame)
        except FeedError:
            continue
        assert_sound(meaning)
        assert all(isinstance(message, bytes) for message in feed.outbox())
    return name
