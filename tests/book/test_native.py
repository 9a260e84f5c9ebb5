"""The C extension beside the pure code: the same answers, and nothing left behind."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from types import ModuleType

import pytest

from tests.fuzz import native as fuzz

SEEDS = range(300)


@pytest.fixture(scope="module")
def speedups() -> ModuleType:
    """The extension; where it was not built the test is skipped, but in CI it fails."""
    try:
        from book import speedups
    except ImportError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("book/speedups.c was not built: no compiler")
    return speedups


@pytest.mark.parametrize("start", SEEDS[::50])
def test_what_the_parser_takes_the_typed_decoder_takes_alike(speedups: ModuleType, start: int) -> None:
    rng, corpus = random.Random(start), fuzz.frames()
    for _ in range(500):
        frame = rng.choice(corpus)
        for one in (frame, fuzz.damaged(rng, frame), fuzz.odd_frame(rng)):
            fuzz.check_parser(speedups, one)


def test_frames_of_the_venue_are_taken(speedups: ModuleType) -> None:
    assert all(speedups.parse_level2(frame) is not None for frame in fuzz.frames())


@pytest.mark.parametrize(
    "frame",
    [
        fuzz.frame_of([("bid", "0", "1")]),
        fuzz.frame_of([("bid", "1000000000000001", "1")]),
        fuzz.frame_of([("bid", "9007199254740993", "1")]),
        fuzz.frame_of([("bid", "1", "-1")]),
        fuzz.frame_of([("bid", "nan", "1")]),
        fuzz.frame_of([("bid", "1", "1e5")]),
        fuzz.frame_of([("bid", "01", "1")]),
        fuzz.frame_of([("ask", "1", "1")]),
        fuzz.frame_of([("bid", "1", "1")], sequence="007"),
        fuzz.frame_of([("bid", "1", "1")]) + b" ",
        fuzz.frame_of([("bid", "1", "1")])[:-1],
        b"",
    ],
)
def test_what_is_unusual_is_left_to_the_typed_decoder(speedups: ModuleType, frame: bytes) -> None:
    assert speedups.parse_level2(frame) is None


def test_levels_and_lines_agree(speedups: ModuleType) -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        fuzz.check_levels(speedups, rng)
        fuzz.check_lines(speedups, rng)


def test_nothing_is_left_behind(speedups: ModuleType) -> None:
    """Whatever is taken or declined: a thousand calls leave no object more than before."""
    corpus = fuzz.frames()[:20]
    torn = [fuzz.damaged(random.Random(seed), frame) for seed, frame in enumerate(corpus)]

    def parse() -> None:
        for frame in (*corpus, *torn):
            speedups.parse_level2(frame)

    levels = speedups.Levels(fuzz.EDGES)

    def measure() -> None:
        levels.load(1, [10.0, 10.5], [1.0, 2.0], 1.0, 100.0)
        levels.enter({10.0: 3.0}, {10.25: 0.5})
        levels.touch()
        levels.measure()
        speedups.Levels(fuzz.EDGES).measure()

    def lines() -> None:
        speedups.sample_lines(b"a=\1\3,b=\1 \2", b"1.5,null", b"7")

    assert all(fuzz.blocks_lost(work) < 50 for work in (parse, measure, lines))


@pytest.mark.parametrize(("value", "is_native"), [("", True), ("0", True), ("1", False)])
def test_the_pure_path_can_be_forced(speedups: ModuleType, value: str, is_native: bool) -> None:
    code = "from book import native; print(native.is_native)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"SENTINEL_PURE": value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(is_native)
