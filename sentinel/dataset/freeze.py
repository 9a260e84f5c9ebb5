"""Freezing: files of the archive linked into a folder of their own, which appears whole or not at all.

The archive replaces files and never changes one, so a link keeps what was frozen, whatever is repaired or pruned later.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from feeds.market import Market
from sentinel.archive.damage import DamagedFile, opened, table_of
from sentinel.archive.layout import Series
from sentinel.archive.schedule import HOUR_NS, end_of_archive_ns
from sentinel.archive.source import Source
from sentinel.certificates import certificate as papers
from sentinel.certificates.certificate import Head, spelled
from sentinel.certificates.hashing import sha256_of
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.coverage.holes import Hole, merge
from sentinel.dataset import manifest as manifests
from sentinel.dataset.croissant import CROISSANT, croissant
from sentinel.dataset.manifest import NAME, FrozenFile, Manifest, OfMarket, identity_of
from sentinel.disk.data_dir import ARCHIVE, CERTIFICATES, DATASETS, HOURS, MARKETS, hour_of
from sentinel.disk.files import make_folder, sync_file, sync_folder
from sentinel.disk.lock import Held, hold
from sentinel.disk.shards import data_folders
from sentinel.errors import SentinelError, UsageError
from sentinel.pipeline.accounts import MINUTE_NS
from sentinel.timing.instants import format_ns
from sentinel.version import software

FREEZABLE = (*MEASUREMENTS, "l2")
ACCOUNTS = ("gaps", "coverage")
"""They are always frozen: without them nobody could say what is missing."""

SAMPLES = ("samples_due", "samples_written", "samples_withheld")

Missing = tuple[list[Hole], list[Hole]]
"""Of samples, and of trades."""


class Choice(Struct, frozen=True, kw_only=True):
    """What to freeze: everything, where nothing is said. Times are widened to whole hours."""

    name: str
    markets: Collection[Market] = ()
    measurements: Collection[str] = ()
    start_ns: int | None = None
    end_ns: int | None = None
    licence: str = ""
    description: str = ""


class Frozen(Struct, frozen=True):
    """An hour of the archive that is to be frozen. ``folder`` is that of the collector it is of."""

    folder: Path
    series: Series
    hour_ns: int

    @property
    def source(self) -> Path:
        return self.series.file(self.folder / ARCHIVE, self.hour_ns)

    @property
    def path(self) -> str:
        return str(self.series.file(Path(ARCHIVE), self.hour_ns))


def freeze(
    data_dir: Path, choice: Choice, now_ns: int, missing: Callable[[Path, Market, int, int], Missing]
) -> Manifest:
    """Freezes what is chosen as the next number of its name. ``missing`` tells it of a market, between two times, from
    what was frozen alone: a repair that the archive has not got yet is in no file here.

    Raises:
        UsageError: for a name that cannot be, if there is nothing to freeze, or somebody else is freezing.
        SentinelError: if a certificate is damaged.
    """
    if NAME.fullmatch(choice.name) is None:
        raise UsageError(f"{choice.name!r} is not a name for a data set: letters, digits, dots, dashes and underscores")
    chosen = _chosen(data_dir, choice, now_ns)
    root = data_dir / DATASETS
    with _alone(root):
        shelf = root / choice.name
        number = 1 + max((place.number for place in manifests.places(data_dir) if place.name == choice.name), default=0)
        part = shelf / f".{number}.part"
        make_folder(shelf)
        start_ns, end_ns = _window(choice, chosen, now_ns)
        files, columns = _link(part, [*_reaching(chosen, start_ns), *chosen])
        markets = {
            str(market): _of_market(part, files, market, (start_ns, end_ns), missing(part, market, start_ns, end_ns))
            for market in sorted({hour.series.market for hour in chosen})
        }
        bare = Manifest(
            name=choice.name,
            number=number,
            identity=identity_of(start_ns, end_ns, files, markets),
            description=choice.description or _described(choice.name, markets, start_ns, end_ns),
            licence=choice.licence,
            start_ns=start_ns,
            end_ns=end_ns,
            frozen=format_ns(now_ns // 10**9 * 10**9),
            versions={"software": software(), "pyarrow": metadata.version("pyarrow")},
            measurements=[name for name in FREEZABLE if name in columns],
            columns=columns,
            rows=sum(file.rows for file in files.values()),
            bytes=sum(file.bytes for file in files.values()),
            markets=markets,
            heads=_heads(chosen),
            files=files,
        )
        found = manifests.write(part, bare)
        (part / CROISSANT).write_bytes(croissant(found))
        _sync(part)
        part.rename(shelf / str(number))
        sync_folder(shelf)
    return found


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Holds all data sets for this process, and clears away what a killed one left half done."""
    try:
        lock = hold(root / ".lock")
    except Held:
        raise UsageError(f"another process is freezing in {root}") from None
    with lock:
        for part in root.glob("*/.*.part"):
            shutil.rmtree(part)
        yield


def _chosen(data_dir: Path, choice: Choice, now_ns: int) -> list[Frozen]:
    """The hours that are over, and chosen."""
    wanted = {*choice.measurements, *ACCOUNTS} if choice.measurements else set(FREEZABLE)
    first_ns = -(2**63) if choice.start_ns is None else choice.start_ns // HOUR_NS * HOUR_NS
    end_ns = end_of_archive_ns(now_ns)
    if choice.end_ns is not None:
        end_ns = min(end_ns, -(-choice.end_ns // HOUR_NS) * HOUR_NS)
    found: dict[str, Frozen] = {}
    for folder in data_folders(data_dir):
        for name in sorted(wanted):
            for file in (folder / ARCHIVE / name).glob(f"{MARKETS}/{HOURS}"):
                hour = Frozen(folder, Series.of(file.parent.parent), hour_of(file))
                is_asked = not choice.markets or hour.series.market in choice.markets
                if is_asked and first_ns <= hour.hour_ns < end_ns:
                    if hour.path in found:
                        raise SentinelError(f"{file} and {found[hour.path].source} are for the same hour")
                    found[hour.path] = hour
    if not found:
        raise UsageError(f"nothing to freeze: no such archived hour in {data_dir}")
    absent = sorted(set(choice.markets) - {hour.series.market for hour in found.values()})
    if absent:
        raise UsageError(f"no archived hour of {', '.join(map(str, absent))} in this interval in {data_dir}")
    return [found[path] for path in sorted(found)]


def _reaching(chosen: Collection[Frozen], start_ns: int) -> list[Frozen]:
    """Earlier hours with a gap that lasts into the data set: a gap is stored where it begins."""
    found = []
    for folder, market in sorted({(hour.folder, hour.series.market) for hour in chosen}):
        series = Series("gaps", market)
        for file in sorted(series.folder(folder / ARCHIVE).glob(HOURS)):
            if hour_of(file) < start_ns:
                ends = table_of(file, ["end_ns"])["end_ns"].to_pylist()
                if any(end_ns is None or end_ns > start_ns for end_ns in ends):
                    found.append(Frozen(folder, series, hour_of(file)))
    return found


def _window(choice: Choice, chosen: Collection[Frozen], now_ns: int) -> tuple[int, int]:
    starts = [hour.hour_ns for hour in chosen]
    start_ns, end_ns = min(starts), max(starts) + HOUR_NS
    if choice.start_ns is not None:
        start_ns = choice.start_ns // HOUR_NS * HOUR_NS
    if choice.end_ns is not None:
        end_ns = min(-(-choice.end_ns // HOUR_NS) * HOUR_NS, end_of_archive_ns(now_ns))
    return start_ns, end_ns


def _link(part: Path, chosen: Collection[Frozen]) -> tuple[dict[str, FrozenFile], dict[str, dict[str, str]]]:
    """Links each file, and reads from the link what it is; and the columns that all files of a measurement have."""
    files: dict[str, FrozenFile] = {}
    columns: dict[str, dict[str, str]] = {}
    seals = _seals(chosen)
    for hour in chosen:
        file = part / hour.path
        file.parent.mkdir(parents=True, exist_ok=True)
        _link_or_copy(hour.source, file)
        with _opened(file, hour.source) as parquet:
            own = {field.name: str(_plain(field.type)) for field in parquet.schema_arrow}
            rows = parquet.metadata.num_rows
        known = columns.setdefault(hour.series.measurement, own)
        columns[hour.series.measurement] = {name: kind for name, kind in known.items() if own.get(name) == kind}
        sha256 = sha256_of(file)
        certificate = seals.get((hour.path, sha256))
        files[hour.path] = FrozenFile(rows, file.stat().st_size, sha256, certificate)
    return files, columns


def _opened(file: Path, source: Path) -> pq.ParquetFile:
    """The link, which another name at the source does not change; damage is that of the source."""
    try:
        return opened(file)
    except DamagedFile as error:
        raise DamagedFile(source, error.reason) from error


def _link_or_copy(source: Path, file: Path) -> None:
    try:
        file.hardlink_to(source)
    except FileNotFoundError:
        raise SentinelError(f"{source} has been pruned in the meantime; freeze again") from None
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, file)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _seals(chosen: Collection[Frozen]) -> dict[tuple[str, str], str]:
    """The certificate that names a file, below ``archive``, and its content."""
    found: dict[tuple[str, str], str] = {}
    for folder, market, hour_ns in sorted({(hour.folder, hour.series.market, hour.hour_ns) for hour in chosen}):
        first = papers.certificate_file(folder / CERTIFICATES, market, hour_ns, 1)
        links = [papers.read(file) for file in first.parent.glob(f"{first.stem}*.json")]
        for link in sorted(links, key=lambda link: link.revision):
            found |= {(f"{ARCHIVE}/{path}", seal.sha256): link.sha256 for path, seal in link.evidence.files.items()}
    return found


def _heads(chosen: Collection[Frozen]) -> dict[str, Head]:
    """The ends of the markets' chains of certificates as of now."""
    found = {}
    for folder, market in sorted({(hour.folder, hour.series.market) for hour in chosen}):
        head = papers.read_head(papers.folder_of(folder / CERTIFICATES, market))
        if head is not None:
            found[spelled(market)] = head
    return found


def _of_market(
    part: Path, files: dict[str, FrozenFile], market: Market, window: tuple[int, int], missing: Missing
) -> OfMarket:
    coverage = Source(part).rows(Series("coverage", market), *window)
    sums = {name: pc.sum(coverage[name]).as_py() or 0 for name in SAMPLES}
    integrity = coverage["integrity"].to_pylist()
    minutes = coverage["time"].cast(pa.int64()).to_pylist()
    proved = {minute_ns for minute_ns, proof in zip(minutes, integrity, strict=True) if proof not in (None, "none")}
    bare = ((minute_ns, minute_ns + MINUTE_NS) for minute_ns in minutes if minute_ns not in proved)
    trades = str(Series("trades", market).folder(Path(ARCHIVE)))
    return OfMarket(
        **sums,
        trades=sum(file.rows for path, file in files.items() if path.startswith(f"{trades}/")),
        integrity=sorted({proof for proof in integrity if proof is not None}),
        missing_samples=missing[0],
        missing_trades=missing[1],
        unproved=merge(bare),
    )


def _described(name: str, markets: Collection[str], start_ns: int, end_ns: int) -> str:
    return f"{name}: {', '.join(markets)}, {format_ns(start_ns)} to {format_ns(end_ns)}"


def _sync(folder: Path) -> None:
    """On disk for good, before it gets its name."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            sync_file(path)
    sync_folder(folder)
