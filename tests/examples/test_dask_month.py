"""The example that computes a month with Dask, two processes and a bucket, against the same in exact arithmetic."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from sentinel.archive.archiver import all_hours, write_hours
from sentinel.contract.line_protocol import decode
from sentinel.disk.journal import JournalReader
from sentinel.disk.object_store import ObjectPath
from tests import ROOT
from tests.sentinel.archive.market import HOUR_NS, MIDNIGHT_NS, Commit, line, write
from tests.servers.object_store import BUCKET, CREDENTIALS, ObjectStore, object_store

DAY_NS = 24 * HOUR_NS
NOVEMBER_NS = MIDNIGHT_NS - 22 * DAY_NS
DAYS = (-1, *range(0, 30, 3), 29, 30)
MARKET = {"exchange": "kraken", "symbol": "BTC/USD"}
OTHER = {"exchange": "kraken", "symbol": "ETH/USD"}


def commits() -> list[Commit]:
    """The first and the last hour of days from October's last to December's first, and another market."""
    rng = random.Random(16)
    made: list[Commit] = []
    for day in DAYS:
        for hour in (0, 23):
            time_ns = NOVEMBER_NS + day * DAY_NS + hour * HOUR_NS
            commit: Commit = {"trades": [], "book": []}
            for market in (MARKET, OTHER) if day == 0 else (MARKET,):
                for number in range(5):
                    fields = {"price": rng.uniform(60_000, 70_000), "size": rng.expovariate(10), "trade_id": number}
                    # the last instant of the hour is of this day, too
                    at_ns = time_ns + (HOUR_NS - 1 if number == 4 else number)
                    side = rng.choice(["buy", "sell"])
                    commit["trades"].append(line("trades", {**market, "side": side}, fields, at_ns))
                for side in ("bid", "ask"):
                    for bps in ("1", "7.5"):
                        depth = {"levels": 3, "volume": rng.random(), "notional": rng.uniform(0, 1e6)}
                        commit["book"].append(line("book", {**market, "side": side, "bps": bps}, depth, time_ns))
            made.append(commit)
    return made


def truth(made: list[Commit]) -> dict[str, Any]:
    size, paid, count = Fraction(), Fraction(), 0
    depth: dict[tuple[str, float], list[dict[str, Any]]] = defaultdict(list)
    for text in (text for commit in made for lines in commit.values() for text in lines):
        point = decode(text)
        tags, fields = dict(point.tags), dict(point.fields)
        is_inside = NOVEMBER_NS <= point.time_ns < NOVEMBER_NS + 30 * DAY_NS
        if not is_inside or tags["symbol"] != MARKET["symbol"]:
            continue
        if point.measurement == "trades":
            count += 1
            size += Fraction(fields["size"])
            paid += Fraction(fields["price"]) * Fraction(fields["size"])
        else:
            depth[tags["side"], float(tags["bps"])].append(fields)
    return {
        "trades": count,
        "volume": float(size),
        "vwap": float(paid / size),
        "depth": {
            key: [float(sum(Fraction(row[name]) for row in rows) / len(rows)) for name in ("volume", "notional")]
            for key, rows in depth.items()
        },
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Commit]]:
    """A data directory with two months and a bit of archive, and what it was made of."""
    data_dir, lines = tmp_path_factory.mktemp("month") / "data", commits()
    until_ns = NOVEMBER_NS + 32 * DAY_NS
    data_dir.mkdir()
    asyncio.run(write(data_dir, lines))
    with JournalReader(data_dir / "journal.sqlite3") as reader:
        write_hours(reader, data_dir / "archive", all_hours(reader, None, until_ns), until_ns)
    return data_dir, lines


def computed(*arguments: str) -> dict[str, Any]:
    script = ROOT / "examples" / "dask_month.py"
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env={**os.environ, **CREDENTIALS},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def assert_exact(found: dict[str, Any], made: list[Commit]) -> None:
    expected = truth(made)
    depth = {(row["side"], row["bps"]): [row["volume"], row["notional"]] for row in found["depth"]}
    assert found["trades"] == expected["trades"] == (len(DAYS) - 2) * 2 * 5
    assert found["volume"] == pytest.approx(expected["volume"], rel=1e-13)
    assert found["vwap"] == pytest.approx(expected["vwap"], rel=1e-13)
    assert depth.keys() == expected["depth"].keys()
    for key, values in expected["depth"].items():
        assert depth[key] == pytest.approx(values, rel=1e-13), key


def url_of(store: ObjectStore) -> str:
    return f"s3://{BUCKET}/prefix?endpoint_override=127.0.0.1:{store.port}&scheme=http&region=us-east-1"


def test_a_month_from_a_bucket_is_what_it_was_made_of(
    made: tuple[Path, list[Commit]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir, lines = made
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with object_store() as store:
        bucket = ObjectPath.of(store.url())
        fs.copy_files(str(data_dir), str(bucket.path), destination_filesystem=bucket.files)
        assert_exact(computed(url_of(store), "kraken:BTC/USD", "2026-11"), lines)


def test_a_month_that_nobody_collected_is_one_line(made: tuple[Path, list[Commit]]) -> None:
    script = ROOT / "examples" / "dask_month.py"
    asked = [sys.executable, script, made[0].as_uri(), "kraken:BTC/USD", "2026-09"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("nothing of trades of kraken:BTC/USD in 2026-09")
