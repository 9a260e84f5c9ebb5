"""Throws damaged frames, odd books and odd figures at the C extension and holds every answer against the pure code.

    python -m tests.fuzz.native --seconds 60 --seed 1 [--module FILE]

``--module`` is a build of ``speedups`` to load, such as one with sanitizers (``make fuzz-native``). Ends with the
number of cases, or with the first one that differs.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import msgspec
import zstandard

from book.events import Sizes, enter_levels
from book.levels import Levels
from feeds.coinbase_advanced.messages import Level2, LevelsSnapshot, decode_message
from tests.captures import CAPTURES
from tests.fuzz.mutation import damaged

RECORDING = "coinbase-advanced-cryptofeed-2026-08-09/raw.jsonl.zst"
EDGES = [(bps, 10_000) for bps in (1, 2, 5, 10, 25, 50, 100)]
DECIMALS = [
    "0", "0.0", "00", "1", "1.", ".5", "-1", "1e5", "0.00000001", "9007199254740993", "1000000000000001",
    "12345678901234567890", "1" * 25, "0." + "1" * 25, "nan", "inf", "1_0", "99999999.99999999", "4503599627370496.5",
]  # fmt: skip


def frames() -> list[bytes]:
    """The recording's, without the large ones; a made-up one where there is none."""
    path = CAPTURES / RECORDING
    if not path.exists():
        return [frame_of([("bid", "1.5", "2"), ("offer", "1.75", "0")])]
    content = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    return [frame for frame in content.split(b"\n") if b'"l2_data"' in frame and len(frame) < 4000]


def frame_of(levels: list[tuple[str, str, str]], kind: str = "update", sequence: str = "7") -> bytes:
    """A frame in the venue's own spelling."""
    updates = ",".join(
        f'{{"side":"{side}","event_time":"2026-08-09T21:05:48.26Z","price_level":"{price}","new_quantity":"{size}"}}'
        for side, price, size in levels
    )
    return (
        f'{{"channel":"l2_data","client_id":"","timestamp":"2026-08-09T21:05:48.5Z","sequence_num":{sequence},'
        f'"events":[{{"type":"{kind}","product_id":"BTC-USD","updates":[{updates}]}}]}}'
    ).encode()


def read_purely(frame: bytes) -> tuple[object, ...] | None:
    """What the typed decoder says of a frame, in the shape of ``parse_level2``; None for what is not of that kind."""
    try:
        message = decode_message(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(message, Level2) or len(message.events) != 1:
        return None
    (event,) = message.events
    is_snapshot = isinstance(event, LevelsSnapshot)
    bids: Sizes = {}
    asks: Sizes = {}
    levels = event.levels if isinstance(event, LevelsSnapshot) else event.changes
    return message.sequence, event.product, is_snapshot, bids, asks, enter_levels(levels, bids, asks)


def check_parser(native: ModuleType, frame: bytes) -> None:
    """What the parser takes, the typed decoder takes alike, to the last bit."""
    found = native.parse_level2(frame)
    if found is not None:
        assert repr(found) == repr(read_purely(frame)), frame


def odd_frame(rng: random.Random) -> bytes:
    levels = [
        (rng.choice(["bid", "offer", "ask"] if rng.random() < 0.1 else ["bid", "offer"]), decimal(rng), decimal(rng))
        for _ in range(rng.randrange(0, 6))
    ]
    return frame_of(levels, rng.choice(["update", "snapshot"]), rng.choice(["0", "7", "007", "-1", "1" * 18, "1" * 30]))


def decimal(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return rng.choice(DECIMALS)
    digits = str(rng.randrange(10 ** rng.randrange(1, 18)))
    at = rng.randrange(len(digits) + 1)
    return f"{digits[:at] or '0'}.{digits[at:]}" if at < len(digits) else digits


def check_levels(native: ModuleType, rng: random.Random) -> None:
    """Both twins through one life of a book: the same answers throughout."""
    twins = native.Levels(EDGES), Levels(EDGES)
    decimals, mid = rng.randrange(9), rng.randrange(1, 10**7)
    digits = 10 ** rng.choice([2, 5, 8, 12, 15, 17])

    def side(sign: int, count: int) -> dict[float, float]:
        return {
            float(f"{mid + sign * rng.randrange(1, mid // 40 + 3)}e-{decimals}"): float(
                f"{rng.randrange(digits)}e-{decimals}"
            )
            for _ in range(count)
        }

    bids, asks = ({price: size for price, size in side(sign, 40).items() if price > 0 and size} for sign in (-1, 1))
    prices = [*sorted(bids, reverse=True), *sorted(asks)]
    sizes = [(bids | asks)[price] for price in prices]
    loaded = [twin.load(len(bids), prices, sizes, 0.0, 1e300) for twin in twins]
    if not loaded[0]:  # more digits than it has: then it is the other's business
        return
    for _ in range(8):
        assert twins[0].touch() == twins[1].touch(), (bids, asks)
        figures = [twin.measure() for twin in twins]
        if figures[0] is False:
            return
        assert repr(figures[0]) == repr(figures[1]), (bids, asks)
        changed = [
            {price: size for price, size in side(sign, rng.randrange(9)).items() if price > 0} for sign in (-1, 1)
        ]
        for price in rng.sample(prices, min(3, len(prices))):
            changed[price in asks][price] = 0.0
        if rng.random() < 0.1:
            changed[0][next(iter(changed[0]), 1.0)] = rng.random()
        entered = [twin.enter(*changed) for twin in twins]
        if not entered[0]:
            return
        assert entered[1]


def check_lines(native: ModuleType, rng: random.Random) -> None:
    parts = b"".join(rng.choice([b"a", b",x=", b"\1", b"\2", b"\3\1", b"%", b"\n"]) for _ in range(rng.randrange(30)))
    count = parts.count(b"\1")
    figures = [rng.choice([b"null", b"1.5", b"-0.0", b"12345678.125", b"7"]) for _ in range(count)]
    first, *others = parts.split(b"\1")
    lines = first
    for figure, part in zip(figures, others, strict=True):
        cut = max(lines.rfind(b"\3"), 0)
        lines = (lines[:cut] + (b"\3" if b"\3" in lines[cut:] else b"") if figure == b"null" else lines + figure) + part
    expected = lines.replace(b"\3", b"").replace(b"\2", b"99")
    assert native.sample_lines(parts, b",".join(figures), b"99") == expected, (parts, figures)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("book.speedups", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks_lost(work: Callable[[], object]) -> int:
    """By how many allocated blocks a thousand calls more have grown the interpreter."""
    for _ in range(100):
        work()
    before = sys.getallocatedblocks()
    for _ in range(1000):
        work()
    return sys.getallocatedblocks() - before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--module", type=Path)
    options = parser.parse_args()
    if options.module is None:
        from book import speedups as native
    else:
        native = load(options.module)
    rng, corpus, cases = random.Random(options.seed), frames(), 0
    until_s = time.monotonic() + options.seconds
    while time.monotonic() < until_s:
        frame = rng.choice(corpus)
        for one in (frame, damaged(rng, frame), odd_frame(rng), frame[: rng.randrange(len(frame))]):
            check_parser(native, one)
        check_levels(native, rng)
        check_lines(native, rng)
        cases += 6
    sys.stdout.write(f"{cases:,} cases, no difference\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
