"""What tests of a cluster share."""

from __future__ import annotations

import pytest

from sentinel.cluster import session
from tests.servers.waiting import LONGEST_S


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are waited for, however long they stand still: for tests in which none of them dies."""
    monkeypatch.setattr(session, "ANSWER_S", LONGEST_S)
