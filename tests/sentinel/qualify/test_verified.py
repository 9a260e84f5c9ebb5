"""What was certified is verified at the end, and what does not hold is told without a path of the machine."""

from __future__ import annotations

from pathlib import Path

from sentinel.qualify.verified import verify_all
from tests.sentinel.archive.market import SYMBOLS, commits, write
from tests.sentinel.certificates.test_certificates import archived, certificates, issued


async def test_certified_hours_are_verified(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    await write(data_dir, commits(2, 2))
    archived(data_dir)
    issued(data_dir)
    found = verify_all(data_dir, with_replay=True)
    assert found is not None
    assert found.holds
    assert found.certificates == len(certificates(data_dir)) * len(SYMBOLS)
    assert found.checks["chain of certificates"] == found.certificates
    assert all(len(head) == 64 for head in found.heads.values())
    assert len(found.heads) == len(SYMBOLS)
    certificates(data_dir)[0].unlink()
    broken = verify_all(data_dir, with_replay=False)
    assert broken is not None
    assert not broken.holds
    assert broken.problems
    assert not any(str(tmp_path) in problem for problem in broken.problems)
    next((data_dir / "archive").rglob("hour=*.parquet")).unlink()
    gone = verify_all(data_dir, with_replay=False)
    assert gone is not None
    assert len(gone.problems) > len(broken.problems)
    assert not any(str(tmp_path) in problem for problem in gone.problems)
