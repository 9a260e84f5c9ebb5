"""Some cases of every surface, the same ones each time; ``python -m tests.fuzz.everything`` tries others for as long as
it may, and what it finds stays tried in a test of the module that was wrong."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from loguru import logger

from tests.fuzz.everything import played
from tests.fuzz.mutation import bent, damaged, made
from tests.fuzz.surfaces import SURFACES, load

CASES = {"api": 40, "arguments": 60, "directories": 12, "metrics": 30, "pipelines": 40, "tapes": 100}
USUAL_CASES = 400


@pytest.mark.parametrize("name", SURFACES)
def test_the_promise_of_a_surface_holds(name: str, tmp_path: Path) -> None:
    invariant, opened = load(name)
    assert invariant.endswith(".")
    logger.disable("sentinel")
    counted = set()
    with opened(tmp_path) as case:
        for number in range(CASES.get(name, USUAL_CASES)):
            counted.add(played(case, name, f"test/{number}"))
    assert counted


def test_the_same_seed_makes_the_same_thing() -> None:
    content = b'{"channel":"l2_data","events":[{"type":"update","updates":[["1.5","2"]]}]}'
    for make in (damaged, bent, made):
        assert [make(random.Random(seed), content) for seed in range(50)] == [
            make(random.Random(seed), content) for seed in range(50)
        ]
        assert len({make(random.Random(seed), content) for seed in range(50)}) > 20
