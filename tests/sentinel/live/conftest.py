"""What tests of the live API share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.patient import patience


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    """The exchange's thread may stand still."""
    with patience():
        yield


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
