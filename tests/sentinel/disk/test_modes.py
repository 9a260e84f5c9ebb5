"""Who may read what a collector writes: its umask says so, for every file and folder, and nothing says it instead.

Nothing in a data directory is secret, so nothing in it is kept from those whom the umask lets in; and nobody else gets
in. What deployments set is held against what SECURITY.md claims. Secrets are files of the operator's, which the scripts
make in a folder that is the owner's alone.
"""

from __future__ import annotations

import asyncio
import configparser
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from sentinel.cli import cli
from sentinel.disk import data_dir as names
from sentinel.disk.membership import MembershipFile
from tests import ROOT
from tests.end_to_end.store import Store
from tests.sentinel.archive.market import HOUR_NS, commits, trade, write
from tests.servers.collector import addresses, collecting
from tests.servers.exchange import trading
from tests.servers.fake_influx import FakeInflux
from tests.servers.waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")

UNIT_UMASK, FOLDER_MODE = "0027", "0750"
HOUR = f"{names.MARKETS}/{names.DAYS}/hour=*"
WRITTEN = [
    *(names.COLLECTOR_NAME, names.PRODUCTS, names.MEMBERSHIP, names.JOURNAL, "journal.lock", names.DEAD_LETTERS),
    *(f"{names.ACKNOWLEDGED}/*.json", f"{names.TAPES}/*{names.TAPE_SUFFIX}", f"{names.BACKFILL}/*.json"),
    *(f"{names.ARCHIVE}/{kind}/{HOUR}.parquet" for kind in ("trades", "top", "book", "gaps", "coverage", "l2")),
    *(f"{names.ARCHIVE}/*/{names.MARKETS}/{names.DAYS}/{names.MANIFEST}", f"{names.ARCHIVE}/{names.ARCHIVE_LOCK}"),
    *(f"{names.CERTIFICATES}/{HOUR}.json", f"{names.CERTIFICATES}/{names.MARKETS}/{names.HEAD}"),
    *(f"{names.DATASETS}/kept/1/manifest.json", f"{names.DATASETS}/kept/1/{names.ARCHIVE}/trades/{HOUR}.parquet"),
]
"""Some of each must be there, or nothing is shown of it."""


@contextmanager
def masked(umask: int) -> Iterator[None]:
    """For this process, and those that it starts."""
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Of the folder, and of all in it; looked at again if a temporary file or folder went away meanwhile."""
    while True:
        try:
            return {
                str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
                for path in (folder, *folder.rglob("*"))
            }
        except FileNotFoundError:
            continue


def command(data: Path, *words: str, **environment: str) -> None:
    done = CliRunner().invoke(cli, [*words, "--data-dir", str(data)], env=environment)
    assert done.exit_code == 0, (words, done.output, done.exception)


async def collected(data: Path, elsewhere: Path) -> set[str]:
    """Has a collector, and each command that writes there, write into ``data``; gives what was there meanwhile."""
    hour_ns = time.time_ns() // HOUR_NS * HOUR_NS - 2 * HOUR_NS
    poison = trade(4711, hour_ns)
    old = [*commits(1, 1, hour_ns), {"trades": [poison]}]
    influx = FakeInflux()
    influx.poison = {poison}
    MembershipFile(data).read()
    await write(data, old)
    async with trading(["BTC-USD"], elsewhere / "truth.jsonl", rate=50, trade_rate=15) as exchange, influx.serve():
        settings = {"SENTINEL_INFLUX_URL": influx.url, "SENTINEL_INFLUX_INTERVAL_S": "0.2"}
        products = ("BTC-*", "--data-dir", str(data))
        async with collecting(exchange.urls, elsewhere / "logs", *products, **settings) as collector:
            await until(lambda: (data / names.DEAD_LETTERS).exists() and bool(Store(data).of("top", "BTC-USD")))
            meanwhile = set(modes(data))
            assert await collector.stop() == 0
        backfill = ("backfill", "trades", "BTC-USD", "--since", "5h ago")
        await asyncio.to_thread(command, data, *backfill, **addresses(exchange.urls))
    command(data, "alerts", "acknowledge", "gap_open", "BTC-USD")
    command(data, "archive", "--until", "now")
    command(data, "certify")
    command(data, "dataset", "freeze", "kept")
    return meanwhile


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077], ids=oct)
async def test_every_file_and_folder_has_the_mode_of_the_umask(umask: int, tmp_path: Path) -> None:
    data = tmp_path / "made" / "data"
    with masked(umask):
        meanwhile = await collected(data, tmp_path)
    assert {f"{names.JOURNAL}-wal", f"{names.JOURNAL}-shm"} <= meanwhile
    assert [pattern for pattern in WRITTEN if not any(data.glob(pattern))] == []
    wrong = {
        name: oct(mode)
        for name, mode in modes(data.parent).items()
        if mode != (0o777 if (data.parent / name).is_dir() else 0o666) & ~umask
    }
    assert wrong == {}


def test_systemd_lets_in_whom_the_document_says() -> None:
    for name in ("sentinel-ws.service", "sentinel-ws-report.service"):
        unit = configparser.ConfigParser(interpolation=None, strict=False)
        unit.read(ROOT / "deploy" / "systemd" / name)
        service = unit["Service"]
        assert service["UMask"] == UNIT_UMASK, name
        assert service["StateDirectoryMode"] == FOLDER_MODE, name


def test_the_image_lets_in_whom_the_document_says() -> None:
    (made,) = re.findall(r"install --directory (.*)", (ROOT / "Dockerfile").read_text())
    assert made.split() == ["--owner=sentinel", "--group=sentinel", f"--mode={FOLDER_MODE}", "/data", "/archive"]


def test_the_document_says_so() -> None:
    words = " ".join((ROOT / "SECURITY.md").read_text().split())
    assert (
        f"have the modes of the process's umask, since nothing in them is secret: {UNIT_UMASK} under systemd" in words
    )
    assert f"and {FOLDER_MODE} for the folder there and in the image" in words


@pytest.mark.parametrize("umask", [0o002, 0o027, 0o077], ids=oct)
def test_only_their_owner_gets_to_the_secrets_that_are_made(umask: int, tmp_path: Path) -> None:
    with masked(umask):
        (tmp_path / "secrets").mkdir()
        for name in ("make-secrets.sh", "cluster/make-secrets.sh"):
            script = tmp_path / name
            script.parent.mkdir(exist_ok=True)
            script.write_bytes((ROOT / "deploy" / name).read_bytes())
            script.chmod(0o755)
        subprocess.run([tmp_path / "cluster" / "make-secrets.sh"], check=True)
    found = modes(tmp_path / "secrets")
    assert found.pop(".") == 0o700
    assert len(found) >= 6
    assert set(found.values()) == {0o644}, "each container reads its own as a user of its own"
