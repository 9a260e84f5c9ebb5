"""An archive made of what a real InfluxDB holds is the one the journal gives."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from click.testing import CliRunner, Result

from sentinel.cli import cli
from sentinel.run.archive import archive
from tests.sentinel.archive.market import DAY_NS, HOUR_NS, MIDNIGHT_NS, commits, stored, write
from tests.sentinel.influx.test_sink_real import delivering
from tests.sentinel.timed import timed
from tests.servers.influx import ADMIN, InfluxServer

UNTIL = str(MIDNIGHT_NS + DAY_NS)


def run(data_dir: Path, *arguments: str, **settings: str) -> Result:
    environment = {f"SENTINEL_INFLUX_{name.upper()}": value for name, value in settings.items()}
    return CliRunner().invoke(archive, ["--data-dir", str(data_dir), "--until", UNTIL, *arguments], env=environment)


Columns = dict[str, list[Any]]


def content(data_dir: Path) -> dict[str, Columns]:
    files = sorted((data_dir / "archive").rglob("hour=*.parquet"))
    return {str(file.relative_to(data_dir)): columns(file) for file in files}


def columns(file: Path) -> Columns:
    table = pq.read_table(file, partitioning=None)
    return table.set_column(0, "time", table["time"].cast("int64")).to_pydict()  # type: ignore[no-any-return]


async def test_the_archive_of_a_server_is_that_of_the_journal(influxd: InfluxServer, tmp_path: Path) -> None:
    name = f"f{time.time_ns()}"
    influxd.make(name)
    made = commits(11, 3)
    for commit in made:  # a collector never writes a trade twice; where it did, InfluxDB would join the fields of both
        commit["trades"] = [line for line in commit["trades"] if b"repaired" not in line or b"5i " in line]
    async with delivering(tmp_path / "sent", influxd.url, bucket_trades=name, bucket_book=name) as (journal, _):
        for commit in made:
            await journal.append(timed(commit))
    await write(tmp_path / "local", made)
    await asyncio.to_thread(_compare, influxd, tmp_path, name, len(stored(made)["trades"]))


def _compare(influxd: InfluxServer, folder: Path, name: str, trades: int) -> None:
    local, remote = folder / "local", folder / "remote"
    assert run(local).exit_code == 0
    remote.mkdir()
    settings = {"token": ADMIN, "bucket_trades": name, "bucket_book": name}
    since = ("--since", str(MIDNIGHT_NS), "--influx-url", influxd.url)
    done = run(remote, *since, **settings)
    assert done.exit_code == 0, done.output
    assert content(remote) == content(local)
    assert sum(len(table["time"]) for path, table in content(remote).items() if "/trades/" in path) == trades
    assert not list(remote.glob(".backfill-*")), "nothing is left behind"
    # a lost hour comes back, whatever else is there stays, and again is the same
    whole = content(remote)
    shutil.rmtree(remote / "archive" / "top")
    lost = run(remote, "--since", str(MIDNIGHT_NS + HOUR_NS), "--influx-url", influxd.url, **settings)
    assert lost.exit_code == 0, lost.output
    assert run(remote, *since, **settings).exit_code == 0
    assert content(remote) == whole


def test_how_far_back_is_for_the_user_to_say(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["archive", "--data-dir", str(tmp_path), "--influx-url", "http://127.0.0.1:1"])
    assert "--influx-url needs --since" in str(done.exception)
