"""The frames every bench runs on: the real Advanced Trade recording, repeated and re-stamped, and synthetic ones.

The recording has 773 update frames with 4,859 level changes of BTC-USD and ETH-USD, after two snapshots of 46,000 and
23,334 levels. Repeating them keeps the shape of the traffic and lets a run last long enough to be measured. Between two
passes the levels that were touched go back to what the snapshots say, in frames of as many changes as the others have:
without them the old book and the new prices would cross.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterable
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

import zstandard

from feeds.coinbase_advanced.protocol import CoinbaseAdvancedFeed
from sentinel.simulator import market
from sentinel.simulator.coinbase import wording

CAPTURES = Path(os.environ.get("SENTINEL_CAPTURES", Path(__file__).parents[2] / "shared" / "captures"))
RECORDING = "coinbase-advanced-cryptofeed-2026-08-09/raw.jsonl.zst"
FRAMES_PER_S = 10_000
CHANGES_PER_FRAME = 6
START_NS = 1_786_309_548_000_000_000
NUMBER = re.compile(rb'"sequence_num":\d+')


class Corpus(NamedTuple):
    """Frames in order: a snapshot for each product, then updates.

    ``lanes`` are the products of each connection, ``snapshot_lanes`` and ``update_lanes`` say which one a frame came
    on. ``received_ns`` is when each update is taken to have arrived: 10,000 a second. ``changes`` are those in the
    updates.
    """

    lanes: list[tuple[str, ...]]
    snapshots: list[bytes]
    snapshot_lanes: list[int]
    updates: list[bytes]
    update_lanes: list[int]
    received_ns: list[int]
    changes: int

    @property
    def products(self) -> tuple[str, ...]:
        return tuple(chain.from_iterable(self.lanes))


Framed = tuple[str, bytes]
"""A product and a frame of it."""


def _corpus(products: Iterable[str], snapshots: list[Framed], updates: list[Framed], changes: int) -> Corpus:
    """Deals the products out to connections, and numbers the frames as if these sent nothing else."""
    listed = list(products)
    most = CoinbaseAdvancedFeed.facts.book_products_per_connection
    lanes = [tuple(listed[first : first + most]) for first in range(0, len(listed), most)]
    lane_of = {product: number for number, lane in enumerate(lanes) for product in lane}
    counters = [count() for _ in lanes]

    def number(framed: list[Framed]) -> tuple[list[bytes], list[int]]:
        on = [lane_of[product] for product, _ in framed]
        numbered = (
            NUMBER.sub(b'"sequence_num":%d' % next(counters[lane]), frame, count=1)
            for (_, frame), lane in zip(framed, on, strict=True)
        )
        return list(numbered), on

    stamps = [START_NS + index * 10**9 // FRAMES_PER_S for index in range(1, len(updates) + 1)]
    return Corpus(lanes, *number(snapshots), *number(updates), stamps, changes)


@cache
def recorded(repeats: int = 20) -> Corpus:
    """The recording's updates, ``repeats`` times over.

    Raises:
        FileNotFoundError: without the recordings.
    """
    content = zstandard.ZstdDecompressor().stream_reader((CAPTURES / RECORDING).read_bytes()).read()
    frames = [frame for frame in content.split(b"\n") if b'"l2_data"' in frame]
    snapshots = [frame for frame in frames if b'"type":"snapshot"' in frame[:400]]
    updates = [frame for frame in frames if frame not in snapshots]
    changes = sum(frame.count(b'"price_level"') for frame in updates)
    products = [json.loads(frame)["events"][0]["product_id"] for frame in snapshots]
    back = _restoring(snapshots, updates)
    changes = changes * repeats + sum(frame.count(b'"price_level"') for frame in back) * (repeats - 1)
    repeated = [*([*updates, *back] * (repeats - 1)), *updates]
    first, *_ = products  # two products share one connection, so that any of them says which
    return _corpus(products, [(first, frame) for frame in snapshots], [(first, frame) for frame in repeated], changes)


def _restoring(snapshots: list[bytes], updates: list[bytes]) -> list[bytes]:
    """Frames that undo the updates. Deletes come first, so that the book never crosses on the way."""
    frames = []
    for snapshot in snapshots:
        (event,) = json.loads(snapshot)["events"]
        held = {(level["side"], float(level["price_level"])): level for level in event["updates"]}
        touched: dict[tuple[str, float], dict[str, str]] = {}
        for update in updates:
            for other in json.loads(update)["events"]:
                if other["product_id"] == event["product_id"]:
                    touched |= {(level["side"], float(level["price_level"])): level for level in other["updates"]}
        gone = [level | {"new_quantity": "0"} for key, level in touched.items() if key not in held]
        back = gone + [held[key] for key in touched if key in held]
        for first in range(0, len(back), CHANGES_PER_FRAME):
            part = {
                "type": "update",
                "product_id": event["product_id"],
                "updates": back[first : first + CHANGES_PER_FRAME],
            }
            message = {"channel": "l2_data", "timestamp": "2026-08-09T21:06:12Z", "sequence_num": 0, "events": [part]}
            frames.append(json.dumps(message, separators=(",", ":")).encode())
    return frames


@cache
def synthetic(products: int, frames: int = 20_000, levels: int = 2000) -> Corpus:
    """Seeded frames of the measured shape, spread over ``products``."""
    made = market.products(products, levels, 1)
    books = list(made.values())
    rng = random.Random("corpus")
    snapshots = [(book.name, _frame(book, "snapshot", book.levels())) for book in books]
    updates, changes = [], 0
    for _ in range(frames):
        book = rng.choice(books)
        changed = book.change()
        changes += len(changed)
        updates.append((book.name, _frame(book, "update", changed)))
    return _corpus(made, snapshots, updates, changes)


def _frame(product: market.Product, kind: str, changes: list[market.Change]) -> bytes:
    head = wording.advanced_head("l2_data", START_NS)
    return f"{head}0{wording.advanced_book(product, kind, changes, START_NS)}".encode()
