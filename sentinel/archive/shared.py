"""An archive at one place that several machines write, each hour of a market by one of them at a time.

What is new lies in a data directory that is thrown away afterwards. It is united with what the place has, so that an
hour is never replaced by less: whatever is written twice, or in whichever parts, is there once.

Files come before the manifest of their day, certificates before the head of their chain. A writer that dies anywhere
leaves nothing that the next one, who begins where it began, does not put right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pyarrow as pa
from msgspec import Struct

from sentinel.archive import manifest
from sentinel.archive.damage import DamagedFile
from sentinel.archive.hour import read_earlier, united, write
from sentinel.archive.layout import Series
from sentinel.archive.sending import content_of, parts_of, send, send_content, sha256_of, speaking_of
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.disk.data_dir import ARCHIVE, CERTIFICATES, HEAD, HOURS, MANIFEST, MARKETS
from sentinel.disk.object_store import ObjectPath
from sentinel.errors import SentinelError

AT_ONCE = 4
"""Files under way at the same time: each may be an hour of a book in memory."""


class Unreadable(SentinelError):
    """A file that was damaged there, so that nothing can be united with it, or lines that are none."""


class SharedArchive:
    """One writing of it. ``may_write`` is asked before each file that is put there, and raises if we may not any more.

    Raises, in each method:
        StoreAway: if the place cannot be reached, or refuses.
        Unreadable: if what is there is damaged.
    """

    def __init__(self, target: ObjectPath, data_dir: Path, may_write: Callable[[], object]) -> None:
        self._target = target
        self._archive = data_dir / ARCHIVE
        self._certificates = data_dir / CERTIFICATES
        self._may_write = may_write
        self._changed: list[Path] = []
        self._papers: dict[Path, bytes] = {}
        """Certificates and heads as they are there."""

    def unite(self, older: Path) -> list[Path]:
        """Makes every file here what it is to be there. What is in the archive ``older`` gives way to what is there.

        Returns:
            The files that have something new, and those that were found to be as they are to be.
        """
        roots = (self._archive, older)
        names = {file.relative_to(root) for root in roots for file in root.glob(f"*/{MARKETS}/{HOURS}")}
        with speaking_of(self._target), ThreadPoolExecutor(AT_ONCE) as pool:
            for file, is_changed in pool.map(lambda name: self._unite(name, older / name), sorted(names)):
                if is_changed:
                    self._changed.append(file)
        return [self._archive / name for name in sorted(names)]

    def _unite(self, name: Path, older: Path) -> tuple[Path, bool]:
        file, there = self._archive / name, self._fetched(name)
        if there is None and not older.exists():
            return file, True
        parts = [path for path in (older, there, file) if path is not None and path.exists()]
        series = Series.of(file.parent.parent)
        try:
            tables = {path: read_earlier(series, path) for path in parts}
        except DamagedFile as error:
            raise Unreadable(f"{self._target / ARCHIVE / name} cannot be read: {error.reason}") from error
        rows = united(series, list(tables.values()))
        file.parent.mkdir(parents=True, exist_ok=True)
        if there is not None and _same(rows, united(series, [tables[there]])):
            there.replace(file)
            return file, False
        write(series, rows, file)
        if there is not None:
            there.unlink()
        return file, True

    def _fetched(self, name: Path) -> Path | None:
        """A copy of the file that is there."""
        content = content_of(self._target / ARCHIVE / name)
        if content is None:
            return None
        copy = (self._archive / name).with_suffix(".there")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        return copy

    def fetch_hours(self, hours: Collection[Path]) -> None:
        """Fetches what a certificate of these hours is about, ``exchange=…/symbol=…/date=…/hour=10``, and its chain."""
        files = [Path(name) / hour.with_suffix(".parquet") for hour in sorted(hours) for name in MEASUREMENTS]
        missing = [(self._target / ARCHIVE / file, self._archive / file) for file in files]
        days = {hour.parent for hour in hours}
        heads = {day.parent / HEAD for day in days}
        with speaking_of(self._target), ThreadPoolExecutor(AT_ONCE) as pool:
            papers = [
                day / name
                for day, sizes in pool.map(lambda day: (day, (self._target / CERTIFICATES / day).sizes()), sorted(days))
                for name in sizes
                if any(day == hour.parent and name.startswith(hour.name) for hour in hours)
            ]
            missing += [(self._target / CERTIFICATES / file, self._certificates / file) for file in (*heads, *papers)]
            for _ in pool.map(_fetch, *zip(*missing, strict=True)):
                pass
        for file in self._certificates.glob(f"{MARKETS}/**/*.json"):
            self._papers[file] = file.read_bytes()

    def send(self, files: Collection[Path]) -> int:
        """Puts there what ``unite`` gave, with the manifests of the days, and what was certified since.

        Returns:
            How many Parquet files were new there.
        """
        chains: dict[Path, list[Path]] = defaultdict(list)
        for file in self._certificates.glob(f"{MARKETS}/**/*.json"):
            if file.read_bytes() != self._papers.get(file):
                chains[file.parent if file.name == HEAD else file.parent.parent].append(file)
        steps: list[tuple[Callable[[Path], None], Collection[Path]]] = [
            (self._send_file, self._changed),
            (self._send_manifest, sorted({file.parent for file in files})),
        ]
        with speaking_of(self._target), ThreadPoolExecutor(AT_ONCE) as pool:
            for step, paths in steps:  # one after the other: what names a file comes after it
                for _ in pool.map(step, paths):
                    pass
            for _ in pool.map(self._send_chain, chains.values()):
                pass
        return len(self._changed)

    def _send_file(self, file: Path) -> None:
        sha256 = sha256_of(parts_of(file))
        self._may_write()
        send(file, self._target / ARCHIVE / str(file.relative_to(self._archive)), sha256)

    def _send_manifest(self, day: Path) -> None:
        there = self._target / ARCHIVE / str(day.relative_to(self._archive))
        entries = manifest.files_of(there) | {file.name: manifest.entry_of(file) for file in day.glob("*.parquet")}
        self._may_write()
        send_content(manifest.content_of(entries), there / MANIFEST)

    def _send_chain(self, papers: list[Path]) -> None:
        """New certificates of a market in their order, then the head: wherever this ends, the chain is one."""
        for file in sorted(papers, key=lambda file: (file.name == HEAD, _number(file))):
            content = file.read_bytes()
            self._may_write()
            send_content(content, self._target / CERTIFICATES / str(file.relative_to(self._certificates)))


class Link(Struct):
    """What matters here of a certificate."""

    number: int


def _number(paper: Path) -> int:
    return msgspec.json.decode(paper.read_bytes(), type=Link).number


def _fetch(there: ObjectPath, here: Path) -> None:
    if not here.exists() and (content := content_of(there)) is not None:
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_bytes(content)


def _same(rows: pa.Table, others: pa.Table) -> bool:
    """Whether they have the same points; a column of nulls says nothing."""
    one, other = _plain(rows), _plain(others)
    return bool(one.equals(other))


def _plain(rows: pa.Table) -> pa.Table:
    names = sorted(name for name in rows.column_names if rows[name].null_count < rows.num_rows)
    columns = [rows[name] for name in names]
    return pa.table(
        [column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column for column in columns],
        names,
    )
