"""A journal on a disk that loses blocks and flips bits: what is left is the truth, and what is lost is told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from sentinel import cli
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import Journal, damage
from tests.sentinel.archive.market import MIDNIGHT_NS, trade
from tests.sentinel.timed import timed

BLOCK_BYTES = 4096
FLIPS = 60
S = 1_000_000_000

Export = Callable[[bytes], tuple[int, set[str]]]


async def _write(path: Path) -> None:
    journal = Journal.open(path)
    try:
        for number in range(120):
            trades = [trade(30 * number + each, MIDNIGHT_NS + number * S + each) for each in range(30)]
            await journal.append(timed({"trades": trades}), b"")
    finally:
        journal.close()


@pytest.fixture
def journal(tmp_path: Path) -> bytes:
    asyncio.run(_write(tmp_path / JOURNAL))
    return (tmp_path / JOURNAL).read_bytes()


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Export:
    """The exit status of an export from a journal with this content, and the lines that it gave."""
    folder = tmp_path / "damaged"
    folder.mkdir()

    def run(content: bytes) -> tuple[int, set[str]]:
        (folder / JOURNAL).write_bytes(content)
        options = ["--data-dir", str(folder), "--measurement", "trades", "--symbol", "BTC-USD", "--format", "lp"]
        monkeypatch.setattr("sys.argv", ["sentinel-ws", "export", *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        status = ended.value.code or 0
        assert isinstance(status, int)
        assert (status == 0) == (said.err == "") or status == 0
        return status, set(said.out.splitlines())

    return run


def test_cut_at_any_block_it_is_refused(journal: bytes, export: Export, tmp_path: Path) -> None:
    status, whole = export(journal)
    assert (status, len(whole)) == (0, 3600)
    assert not any(damage(tmp_path / "damaged" / JOURNAL))
    assert len(journal) > 10 * BLOCK_BYTES
    for end in range(0, len(journal), BLOCK_BYTES):
        status, given = export(journal[:end])
        assert status in (1, 2), end
        assert given <= whole


def test_with_any_bit_flipped_no_line_is_made_up_and_what_is_hidden_is_found(
    journal: bytes, export: Export, tmp_path: Path
) -> None:
    _, whole = export(journal)
    rng = random.Random(1)
    for _ in range(FLIPS):
        at = rng.randrange(len(journal))
        flipped = bytearray(journal)
        flipped[at] ^= 1 << rng.randrange(8)
        status, given = export(bytes(flipped))
        assert given <= whole, at
        assert status in (1, 2) or given == whole or any(damage(tmp_path / "damaged" / JOURNAL)), at
