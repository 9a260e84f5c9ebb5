"""Any bytes are a checkpoint that a pipeline begins with and goes on from, or an error of ours."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader
from sentinel.errors import SentinelError
from sentinel.pipeline.checkpoint import decode_checkpoint, markets_of
from tests.fuzz.golden import unpacked
from tests.fuzz.mutation import damaged
from tests.fuzz.surfaces import Case, hold_line
from tests.sentinel.pipeline.model.world import World

ODD = [None, True, -1, 0, 2**63, -(2**63), 1e300, "", "x", b"\xff", [], {}, [[]], {"a": 1}]
"""What is put in is a copy: it may be put into."""


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    """Of version 0.1, and of a world with troubles."""
    with JournalReader(unpacked(folder) / JOURNAL) as journal:
        old = journal.checkpoint()
    world = World("numbered", 1)
    world.wait(3_000)
    world.hide("BTC-USD", frozenset({"matches", "market_trades"}), 3)
    world.lose(0, 2)
    world.wait(2_000)
    assert old is not None
    yield partial(_case, [old, *(batch.checkpoint for batch in world.disk.batches)])


def _case(checkpoints: list[bytes], rng: random.Random) -> str:
    content = rng.choice(checkpoints)
    content = (
        damaged(rng, content, [b"\xc0", b"\xff", b"\x00", b"\x93", b"\xdf", b"\xa0"])
        if rng.random() < 0.5
        else _bent(rng, content)
    )
    try:
        decode_checkpoint(content)
        markets_of(content)
    except SentinelError as error:
        hold_line(error)
        return "refused"
    return "read"


def _bent(rng: random.Random, content: bytes) -> bytes:
    found: Any = msgspec.msgpack.decode(content)
    for _ in range(rng.randrange(1, 3)):
        holder: Any = found
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(holder[key], dict | list) and rng.random() < 0.8:
                holder = holder[key]
                continue
            holder[key] = copy.deepcopy(rng.choice(ODD))
            break
    return msgspec.msgpack.encode(found)
