"""REST that lies: a sample of ``python -m tests.faults.liar``. Each kind of lie at one venue, and all at each venue."""

from __future__ import annotations

import pytest
from loguru import logger

from tests.faults.liar import play
from tests.faults.lies import LIES, NAMES

VENUES = sorted(NAMES)
OF_ONE = [(VENUES[number % len(VENUES)], lie) for number, lie in enumerate(LIES)]


@pytest.mark.parametrize(("exchange", "lie"), [*OF_ONE, *((exchange, None) for exchange in VENUES), *(
    ("kraken", lie) for lie in ("an hour off", "ids twice")
)])  # fmt: skip
async def test_a_lie_is_not_stored_and_what_is_missing_is_named_until_it_is_there(
    exchange: str, lie: str | None
) -> None:
    logger.remove()
    assert max((await play(exchange, 0, lie)).values()) < 1000
