"""Every cause has words, and docs/data.md has every one of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from sentinel.archive.l2_reader import NOT_ARCHIVED
from sentinel.contract.causes import CAUSES, words
from sentinel.contract.gaps import NOT_COLLECTED, Cause
from sentinel.dataset.verify import UNVERIFIED
from sentinel.gap_report.text import CSV

PAGE = Path(__file__).parents[3] / "docs" / "data.md"


def test_every_cause_has_words() -> None:
    assert set(CAUSES) == {*get_args(Cause), NOT_COLLECTED, NOT_ARCHIVED, UNVERIFIED}
    assert len({each.short for each in CAUSES.values()}) == len(CAUSES)
    assert words("made up elsewhere") == "made up elsewhere"


def test_the_documented_table_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|`]+) \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)
    assert {cause: (short, meaning) for cause, short, meaning in rows if cause in CAUSES} == CAUSES


def test_the_documented_columns_of_csv_are_those_of_the_code() -> None:
    for kind, (columns, _) in CSV.items():
        assert f"| `{kind}` | {', '.join(f'`{name}`' for name in columns)} |" in PAGE.read_text()
