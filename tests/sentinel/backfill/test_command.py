"""What is refused before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sentinel.backfill.command import backfill
from sentinel.errors import UsageError


@pytest.mark.parametrize("market", ["bybit:BTCUSDT", "bybit_linear:BTCUSDT"])
def test_trades_whose_ids_skip_as_a_rule_cannot_be_looked_for(market: str, tmp_path: Path) -> None:
    arguments = ["trades", market, "--since", "1h ago", "--data-dir", str(tmp_path)]
    done = CliRunner().invoke(backfill, arguments)
    assert isinstance(done.exception, UsageError)
    assert "cannot be found by their ids" in str(done.exception)
