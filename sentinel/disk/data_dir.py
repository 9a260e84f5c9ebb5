"""What lies in a data directory and what it is called: the only place that spells a file's name.

::

    collector.txt       whose accounts these are
    products.json       what the venues say of the markets that were ever collected here
    membership.json     a cluster's member: its share of last time
    journal.sqlite3     the last lines, with the state they lead to (and -wal, -shm, .lock beside it)
    journal.mark        how far it had got: what tells that it, or its -wal, is missing
    dead_letters.lp     lines that InfluxDB will never take
    acknowledged/       <kind>~<about>.json: alerts that an operator knows of
    tapes/              tape-<created_ns>.swtape, pruned.txt, l2.swstate: how far the archive has them
    archive/            <measurement>/<market>/date=2026-11-23/hour=10.parquet, _manifest.json a day, pruned.txt,
                        uncertified.txt, .lock
    certificates/       <market>/date=2026-11-23/hour=10.json, a head.json for each market
    backfill/           <market>-<since_ns>-<until_ns>.json: trades of before, asked for or fetched
    uploaded.json       which folders the object store has as they are, if there is one
    archiving/          what workers of a cluster's archive are at, each in a folder of its own
    cluster.json        that the archive is a cluster's, and which
    datasets/           <name>/<number>/manifest.json, croissant.json, and an archive/ of what was frozen; .lock
    shard=00/ …         the same again, for each of several processes

with ``exchange=coinbase/symbol=BTC-USD`` for ``<market>``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from feeds.market import Market
from sentinel.disk.object_store import Folder

COLLECTOR_NAME = "collector.txt"
PRODUCTS = "products.json"
MEMBERSHIP = "membership.json"
JOURNAL = "journal.sqlite3"
DEAD_LETTERS = "dead_letters.lp"
ACKNOWLEDGED = "acknowledged"
TAPES = "tapes"
ARCHIVE = "archive"
CERTIFICATES = "certificates"
BACKFILL = "backfill"
DATASETS = "datasets"
UPLOADED = "uploaded.json"
CLUSTER = "cluster.json"
ARCHIVING = "archiving"
UPLOAD_LOCK = ".upload.lock"
SHARD = "shard="

PRUNED = "pruned.txt"
"""Beside tapes and in the archive: the names of the files that retention removed, one a line."""

UNCERTIFIED = "uncertified.txt"
"""In the archive: the hours that were written and are to be certified, one a line."""

TAPE_PREFIX = "tape-"
TAPE_SUFFIX = ".swtape"
L2_STATE = "l2.swstate"

MANIFEST = "_manifest.json"
"""The leading underscore keeps readers of data sets from taking it for data."""

ARCHIVE_LOCK = ".lock"
HEAD = "head.json"

MARKETS = "exchange=*/symbol=*"
DAYS = "date=*"
HOUR = "hour=*.parquet"
HOURS = f"{DAYS}/{HOUR}"
FIRST_HOUR = "hour=00.parquet"


def journal_in(folder: Folder) -> Path | None:
    """The journal of a data folder, if there is one: in an object store there is none."""
    path = folder / JOURNAL
    return path if isinstance(path, Path) and path.exists() else None


def market_path(exchange: str, symbol: str) -> Path:
    """The folder of a market. ``market_of`` is its inverse.

    Exchange and symbol are percent-encoded, as DuckDB, polars, Spark and pyarrow expect of partitions: whatever a
    market is called, its folder is one below its archive.
    """
    return Path(f"exchange={quote(exchange, safe='')}", f"symbol={quote(symbol, safe='')}")


def market_of(folder: Folder) -> Market:
    """The market whose folder this is."""
    return Market(unquote(folder.parent.name.partition("=")[2]), unquote(folder.name.partition("=")[2]))


def hour_path(hour_ns: int) -> Path:
    """Where a market's hour is in its folder, without the suffix of what it is: ``date=2026-11-23/hour=10``."""
    hour = datetime.fromtimestamp(hour_ns // 1_000_000_000, UTC)
    return Path(f"date={hour:%Y-%m-%d}", f"hour={hour:%H}")


def hour_of(file: Folder) -> int:
    """The hour, in ns, that a file of the archive is of; the inverse of ``hour_path``."""
    date = file.parent.name.removeprefix("date=")
    hour = int(file.stem.removeprefix("hour="))
    return int(datetime.fromisoformat(f"{date}T{hour:02d}:00:00+00:00").timestamp()) * 1_000_000_000
