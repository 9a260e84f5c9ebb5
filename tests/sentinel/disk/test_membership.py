"""What a member of a cluster must know to begin without servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.disk.data_dir import MEMBERSHIP
from sentinel.disk.membership import Membership, MembershipFile
from sentinel.errors import UsageError


def test_a_data_directory_has_one_name_for_good(tmp_path: Path) -> None:
    first = MembershipFile(tmp_path / "new").read()
    assert first.markets is None
    assert MembershipFile(tmp_path / "new").read() == first
    assert MembershipFile(tmp_path / "other").read().home != first.home


def test_the_share_is_read_as_it_was_kept(tmp_path: Path) -> None:
    kept = Membership("h1", ["coinbase:BTC-USD", "kraken:BTC/USD"], 2)
    MembershipFile(tmp_path).keep(kept)
    assert MembershipFile(tmp_path).read() == kept


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / MEMBERSHIP).write_text("{")
    with pytest.raises(UsageError, match=MEMBERSHIP):
        MembershipFile(tmp_path).read()


def test_a_disk_that_refuses_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    MembershipFile(tmp_path / "data").keep(Membership("h1"))
