"""Any fault file of the simulator gives faults that can be asked for, or one line that says what is wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sentinel.errors import UsageError
from sentinel.simulator.faults import KINDS, Fault, load
from tests.fuzz.mutation import damaged
from tests.fuzz.surfaces import Case, hold_line
from tests.fuzz.surfaces.settings import ODD_VALUES

FEEDS, VENUES = ("advanced", "exchange"), ("coinbase", "kraken")
S = 1_000_000_000


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    yield partial(_case, folder / "faults.toml")


def _case(path: Path, rng: random.Random) -> str:
    content = _made(rng)
    path.write_bytes(damaged(rng, content) if rng.random() < 0.4 else content)
    now_ns = 0
    try:
        faults = load(path, FEEDS, KINDS, 1, lambda: now_ns, venue="coinbase", venues=VENUES)
    except UsageError as error:
        hold_line(error)
        return "refused"
    faults.begin()
    for now_ns in (0, S, 5 * S, 86_400 * S):  # noqa: B007 (read by the lambda)
        faults.striking(KINDS, feed="advanced", connection=1, channel="l2_data", product="BTC-USD")
        faults.hides("BTC-USD")
        for kind in KINDS:
            faults.lasting(kind, feed="advanced", product="BTC-USD")
    return "faults"


def _made(rng: random.Random) -> bytes:
    text = ""
    for _ in range(rng.randrange(1, 4)):
        text += f'[[fault]]\nkind = "{rng.choice(sorted(KINDS))}"\n'
        for name in rng.sample(Fault.__struct_fields__, 3):
            usual = ["1", "0.5", '"advanced"', '"BTC-USD"', '"coinbase"', '"nan"', "3.0"]
            if name != "kind":
                text += f"{name} = {rng.choice(ODD_VALUES if rng.random() < 0.4 else usual)}\n"
    return text.encode()
