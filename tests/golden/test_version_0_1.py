"""What version 0.1 left behind opens as it was left: journal, archive, certificates, tapes, checkpoint and settings.

``version_0_1.tar.zst`` was made with version 0.1 itself: ``simulate`` with hidden trades, a lost frame and a broken
connection; ``collect BTC-USD ETH-USD --record`` for 8 s, SIGKILL, and for 6 s more; then ``archive`` and ``certify``.
``expected/`` is what its own ``export`` and ``gap-report`` said of that, ``truth.jsonl`` what the exchange published.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import sentinel.data
from tests import ROOT
from tests.golden.make import unpack_version_0_1

PRODUCTS = ("BTC-USD", "ETH-USD")
MEASUREMENTS = ("trades", "top", "book", "flow", "gaps", "coverage")
NS_PER_S = 1_000_000_000
HOUR_NS = 3600 * NS_PER_S


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("version_0_1")
    unpack_version_0_1(folder)
    return folder


def command(*arguments: str | Path, status: int = 0) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "sentinel", *map(str, arguments)],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == status, done.stderr.decode()
    return done.stdout


def published(folder: Path, product: str) -> set[int]:
    records = map(json.loads, (folder / "truth.jsonl").read_text().splitlines())
    return {record["trade_id"] for record in records if record.get("product") == product and "trade_id" in record}


@pytest.mark.parametrize("measurement", MEASUREMENTS)
def test_every_point_is_read_as_it_was(measurement: str, unpacked: Path) -> None:
    exported = command("export", "--data-dir", unpacked / "data", "--measurement", measurement, "--format", "jsonl")
    assert exported == (unpacked / "expected" / f"{measurement}.jsonl").read_bytes()


@pytest.mark.parametrize("is_archived", [False, True])
def test_the_reader_has_the_same_trades(is_archived: bool, unpacked: Path, tmp_path: Path) -> None:
    data = unpacked / "data"
    if is_archived:
        (tmp_path / "archive").symlink_to(data / "archive")
        data = tmp_path
    rows = list(map(json.loads, (unpacked / "expected" / "trades.jsonl").read_text().splitlines()))
    since_ns, until_ns = rows[0]["time_ns"] - NS_PER_S, rows[-1]["time_ns"] + NS_PER_S
    for product in PRODUCTS:
        table = sentinel.data.load("trades", product, since_ns, end=until_ns, data_dir=data).table
        expected = [row["trade_id"] for row in rows if row["symbol"] == product]
        assert table["trade_id"].to_pylist() == expected
        assert set(expected) <= published(unpacked, product)


def test_the_report_says_what_it_said(unpacked: Path) -> None:
    expected = json.loads((unpacked / "expected" / "gap_report.json").read_text())
    window = [_iso(expected["window"][name]) for name in ("start_ns", "end_ns")]
    asked = ["--since", window[0], "--until", window[1], "--format", "json", "--collected-only"]
    found = json.loads(command("gap-report", "--data-dir", unpacked / "data", *asked))
    for product, before in zip(found["products"], expected["products"], strict=True):
        for name in ("exchange", "symbol", "integrity", "trades", "trade_coverage"):
            assert product[name] == before[name]
        assert product["samples"].items() >= before["samples"].items()
        gaps = [gap for gap in product["gaps"] if gap["cause"] != "not_collected"]  # which 0.1 did not say
        for gap, old in zip(gaps, before["gaps"], strict=True):
            assert gap.items() >= old.items()


def test_everything_certified_holds_and_the_tapes_give_the_archive_again(unpacked: Path) -> None:
    found: dict[str, Any] = json.loads(command("verify", "--data-dir", unpacked / "data", "--format", "json"))
    assert {check["name"]: check["compared"] for check in found["checks"]}["archive made again from the tapes"] == 1523


def test_its_settings_are_read(unpacked: Path) -> None:
    said = command("check-config", "--config", unpacked / "sentinel.toml").decode()
    assert said.startswith("good: 2 products")


def _iso(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).isoformat()
