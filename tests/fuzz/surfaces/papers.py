"""A paper that is not as it was written is refused in one line, or counts as none; no other error comes of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from sentinel.archive import manifest
from sentinel.backfill import task
from sentinel.certificates import certificate
from sentinel.dataset import manifest as dataset
from sentinel.disk.data_dir import ACKNOWLEDGED, DATASETS, MEMBERSHIP, PRODUCTS
from sentinel.disk.membership import MembershipFile
from sentinel.disk.product_list import read_listings
from sentinel.errors import SentinelError
from sentinel.monitor.acknowledged import AcknowledgedFolder, Acknowledgement
from tests.fuzz.golden import unpacked
from tests.fuzz.mutation import made
from tests.fuzz.surfaces import Case, hold_line

PRODUCT = {
    "exchange": "coinbase",
    "symbol": "BTC-USD",
    "base": "BTC",
    "quote": "USD",
    "kind": "spot",
    "state": "trading",
}


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    data = unpacked(folder)
    market = "exchange=coinbase/symbol=BTC-USD"
    day = data / "archive" / "trades" / market / "date=2026-11-26"
    hour = data / "certificates" / market / "date=2026-11-26" / "hour=08.json"
    head = data / "certificates" / market / "head.json"
    frozen = data / DATASETS / "set" / "1" / dataset.MANIFEST
    waiting = data / "backfill" / "task.json"
    acknowledged = data / ACKNOWLEDGED / "kind~about.json"
    order = task.Task(exchange="coinbase", symbol="BTC-USD", since_ns=1, until_ns=2, before_id=7)
    for path, content in (
        (data / PRODUCTS, {"products": [PRODUCT]}),
        (data / MEMBERSHIP, {"home": "abc", "markets": ["coinbase:BTC-USD"], "sharing": 1}),
        (acknowledged, Acknowledgement("kind", "about", 1)),
        (frozen, {}),
        (waiting, order),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(content))
    readers: dict[str, tuple[Path, Callable[[], Any]]] = {
        "archive manifest": (day / "_manifest.json", partial(manifest.read, day)),
        "certificate": (hour, partial(certificate.read, hour)),
        "head": (head, partial(certificate.read_head, head.parent)),
        "data set": (frozen, partial(dataset.read, data, dataset.Place("set", 1))),
        "product list": (data / PRODUCTS, partial(read_listings, data)),
        "membership": (data / MEMBERSHIP, MembershipFile(data).read),
        "acknowledgement": (acknowledged, AcknowledgedFolder(data).read),
        "backfill task": (waiting, partial(task.read, waiting)),
    }
    yield partial(_case, {name: (path, path.read_bytes(), read) for name, (path, read) in readers.items()})


def _case(papers: dict[str, tuple[Path, bytes, Callable[[], Any]]], rng: random.Random) -> str:
    name = rng.choice(sorted(papers))
    path, content, read = papers[name]
    path.write_bytes(made(rng, content))
    try:
        read()
    except SentinelError as error:
        hold_line(error)
        return f"{name}, refused"
    finally:
        path.write_bytes(content)
    return name
