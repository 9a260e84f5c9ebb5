"""What a certificate says, and how it is written so that no byte of it can change unnoticed.

``certificates/exchange=coinbase/symbol=BTC-USD/date=2026-11-23/hour=10.json``

The certificates of a product are a chain: each carries the SHA-256 of the one before it and of its own content, and
``head.json`` names the last one. An hour whose files change later (a repair that took days) gets another certificate,
``hour=10.2.json``, at the end of the chain; the first one stays as it was.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import UNSET, Struct, UnsetType

from feeds.market import Market
from sentinel.archive.layout import Series
from sentinel.contract.gaps import Gap
from sentinel.disk import sealed as sealing
from sentinel.disk.data_dir import HEAD, MARKETS, market_of, market_path
from sentinel.disk.files import make_folder, replacing
from sentinel.disk.object_store import AnyFolder, Folder
from sentinel.disk.sealed import is_whole
from sentinel.errors import UNREADABLE, SentinelError

NOBODY = "0" * 64
"""What the first of a chain names as the one before it."""


class Damaged(SentinelError):
    """A certificate or a head that is not as it was written."""


def folder_of(root: AnyFolder, market: Market) -> AnyFolder:
    """The folder of a market's chain, below ``root``."""
    return root / market_path(*market)


def parquet_file(market: Market, measurement: str, hour_ns: int) -> str:
    """The path of a Parquet file below the archive's root."""
    return str(Series(measurement, market).file(Path(), hour_ns))


def spelled(market: Market) -> str:
    """A market as heads and problems have always named it."""
    return f"{market.exchange} {market.symbol}"


class FileSeal(Struct, frozen=True):
    """A Parquet file."""

    rows: int
    sha256: str


class TapeSeal(Struct, frozen=True):
    """The first ``bytes`` of a tape file: it may have grown since."""

    bytes: int
    sha256: str


class Trades(Struct, frozen=True):
    """``missing`` are the ids between first and last that are not there, as first and last of each range."""

    count: int
    first_id: int
    last_id: int
    repaired: int
    missing: list[tuple[int, int]]


class Frames(Struct, frozen=True):
    """The numbers of the frames that one connection brought in this hour, as the tape has them."""

    lane: int
    first_sequence: int
    last_sequence: int
    count: int


class Edge(Struct, frozen=True):
    """The sampled book at the first or last instant of the hour that has one: the SHA-256 of its rows."""

    time: str
    sha256: str


class Evidence(Struct, frozen=True, kw_only=True):
    """What the files of an hour say, in short. ``accounts`` are the hour's sums, for each collector.

    ``holes`` are the gaps that begin in this hour, and the time of it that no collector accounts for: version 0.1 did
    not name that. ``clock_step_ms`` is the largest step of the wall clock, whichever way. ``connections`` and ``tapes``
    are empty without a tape. ``trade_proof`` is ``none`` where ids need not be dense: then those that are not there
    are not named as missing.

    Of an hour that several collectors share, ``parts`` is the time that each of them accounts for, from and until, and
    ``holes`` on the book is what none of them has, wherever it begins.
    """

    files: dict[str, FileSeal] = {}
    trades: Trades | None = None
    accounts: dict[str, dict[str, int]] = {}
    integrity: list[str] = []
    clock_step_ms: int = 0
    holes: list[Gap] = []
    book_edges: list[Edge] = []
    connections: list[Frames] = []
    tapes: dict[str, TapeSeal] = {}
    trade_proof: str | UnsetType = UNSET
    parts: dict[str, list[tuple[str, str]]] | UnsetType = UNSET


class Certificate(Struct, frozen=True, kw_only=True):
    """One link. ``number`` counts a product's certificates, ``revision`` those of one hour, both from 1."""

    exchange: str
    symbol: str
    hour: str
    number: int
    revision: int
    previous_sha256: str
    software: str
    evidence: Evidence
    sha256: str = ""

    @property
    def market(self) -> Market:
        return Market(self.exchange, self.symbol)


class Head(Struct, frozen=True):
    """The end of a chain: what is to be kept elsewhere by whoever must not believe this machine."""

    number: int
    sha256: str

    def content(self) -> bytes:
        return msgspec.json.encode(self) + b"\n"


def certificate_file(root: AnyFolder, market: Market, hour_ns: int, revision: int) -> AnyFolder:
    """Where a certificate is, below ``root``."""
    parquet = Path(parquet_file(market, "any", hour_ns))
    name = parquet.stem if revision == 1 else f"{parquet.stem}.{revision}"
    return folder_of(root, market) / parquet.parent.name / f"{name}.json"


def read(file: Folder) -> Certificate:
    """A certificate.

    Raises:
        Damaged: if a byte of it is not as it was written, or it is in another's place.
    """
    try:
        content = file.read_bytes()
        found = msgspec.json.decode(content, type=Certificate)
    except (OSError, *UNREADABLE) as error:
        raise Damaged(f"{file} is not a certificate: {error}") from error
    if not is_whole(found, content):
        raise Damaged(f"{file} has been changed")
    if found.market != market_of(file.parent.parent) or file != _place(file, found):
        raise Damaged(f"{file} is the certificate of {spelled(found.market)} {found.hour}, revision {found.revision}")
    return found


def _place(file: Folder, found: Certificate) -> Folder:
    """Where the certificate in ``file`` says it belongs."""
    date, _, hour = found.hour.partition("T")
    name = f"hour={hour[:2]}" if found.revision == 1 else f"hour={hour[:2]}.{found.revision}"
    return file.parent.parent / f"date={date}" / f"{name}.json"


def read_head(folder: Folder) -> Head | None:
    """The end of the chain in a market's folder; None if there is no chain.

    Raises:
        Damaged: if a byte of it is not as it was written.
    """
    file = folder / HEAD
    if not file.exists():
        return None
    try:
        content = file.read_bytes()
        head = msgspec.json.decode(content, type=Head)
    except (OSError, *UNREADABLE) as error:
        raise Damaged(f"{file} is not the head of a chain: {error}") from error
    if content != head.content():
        raise Damaged(f"{file} has been changed")
    return head


def write(root: Path, hour_ns: int, certificate: Certificate) -> Path:
    """Puts a sealed certificate on disk; the head comes after it."""
    file = certificate_file(root, certificate.market, hour_ns, certificate.revision)
    make_folder(file.parent)
    with replacing(file) as temporary:
        temporary.write_bytes(sealing.content(certificate))
    return file


def write_head(root: Path, certificate: Certificate) -> Head:
    """Makes a certificate the end of its chain."""
    head = Head(certificate.number, certificate.sha256)
    with replacing(folder_of(root, certificate.market) / HEAD) as temporary:
        temporary.write_bytes(head.content())
    return head


def markets(root: Folder) -> list[Market]:
    """Every market that has a folder."""
    return sorted(market_of(folder) for folder in root.glob(MARKETS))
