"""What was once said by the local exchange goes on being said, byte for byte: golden frames, answers and truth."""

from __future__ import annotations

from pathlib import Path

from tests.sentinel.simulator.coinbase.session import golden, session


async def test_every_frame_answer_and_fact_is_as_it_was(tmp_path: Path) -> None:
    assert await session(tmp_path) == golden()
