"""The file of faults."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sentinel.errors import UsageError
from sentinel.simulator import faults
from sentinel.simulator.coinbase.dialect import COINBASE


@pytest.mark.parametrize(
    "text",
    [
        "[[fault]]\nkind = 'explode'",
        "[[fault]]\nkind = 'drop'\nwhen = 3",
        "[[fault]",
        "[[fault]]\nkind = 'drop'\nfeed = 'elsewhere'",
        "[[fault]]\nkind='drop'\ncount='x'",
    ],
)
def test_a_wrong_fault_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"faults\.toml"):
        faults.load(path, COINBASE.facts.feeds, COINBASE.facts.faults, 1, time.time_ns)
