"""Some of the troubles of a network; ``python -m tests.faults.bad_network`` makes them all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults.bad_network import run
from tests.faults.mischief import TROUBLES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="another system shares ports in other ways")

PLAYED = ["reset in the middle of each frame", "handshake answered by 429 Too Many Requests and Retry-After: 7"]


@pytest.mark.parametrize("name", PLAYED)
async def test_what_is_lost_is_named_and_all_is_well_again(name: str, tmp_path: Path) -> None:
    (trouble,) = (each for each in TROUBLES if each.name == name)
    assert (await run(trouble, tmp_path)).problems == []
