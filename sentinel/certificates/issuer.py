"""Issuing certificates: for hours that have none, and again for hours whose files are not those of their last one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from feeds.market import Market
from sentinel.archive import uncertified
from sentinel.archive.schedule import HOUR_NS
from sentinel.certificates import certificate as papers
from sentinel.certificates.certificate import NOBODY, Certificate, Damaged, Head
from sentinel.certificates.evidence import evidence_of
from sentinel.certificates.tapes import TapeRecord
from sentinel.disk.data_dir import (
    ARCHIVE,
    CERTIFICATES,
    HOURS,
    MARKETS,
    TAPES,
    hour_of,
    hour_path,
    market_of,
    market_path,
)
from sentinel.disk.files import clear
from sentinel.disk.sealed import sealed
from sentinel.timing.instants import format_ns
from sentinel.version import software


class MarketHour(NamedTuple):
    """What a certificate is of."""

    hour_ns: int
    market: Market


class Folders(NamedTuple):
    """Where things are in the data directory of one collector."""

    archive: Path
    tapes: Path
    certificates: Path

    @classmethod
    def of(cls, data_dir: Path) -> Folders:
        return cls(data_dir / ARCHIVE, data_dir / TAPES, data_dir / CERTIFICATES)


def hours_of(files: Iterable[Path]) -> set[MarketHour]:
    """The hours that Parquet files of the archive belong to."""
    return {MarketHour(hour_of(file), market_of(file.parent.parent)) for file in files}


def all_hours(folders: Folders) -> set[MarketHour]:
    """Every hour the archive has anything of."""
    return hours_of(folders.archive.glob(f"*/{MARKETS}/{HOURS}"))


def issue_noted(folders: Folders, end_ns: int) -> list[Path]:
    """Issues what is due of the hours that were written and end by ``end_ns``. As ``issue`` otherwise."""
    noted = hours_of(uncertified.noted(folders.archive))
    return issue(folders, [hour for hour in noted if hour.hour_ns + HOUR_NS <= end_ns])


def issue(folders: Folders, hours: Collection[MarketHour]) -> list[Path]:
    """Issues what is due of ``hours``, a market's oldest first; those certified as they are get nothing new.

    Killed at any time, it may be called again with any hours: they are noted as due until the end.

    Returns:
        The files written.

    Raises:
        Damaged: if a chain cannot be continued because its end is not as it was written; the others are, before.
    """
    notes = [market_path(*hour.market) / hour_path(hour.hour_ns) for hour in hours]
    begun = _by_market(hours_of(uncertified.noted(folders.archive)))
    uncertified.note(folders.archive, notes)
    tape = TapeRecord(folders.tapes, {hour.hour_ns for hour in hours}) if folders.tapes.is_dir() else None
    written: list[Path] = []
    damage: list[Damaged] = []
    for market, of_market in _by_market(hours).items():
        try:
            chain = Chain(folders.certificates, market)
            for hour in begun.get(market, ()):  # of one of them the head may not be written
                chain.last_of(hour.hour_ns)
            for hour in of_market:
                last = chain.last_of(hour.hour_ns)
                evidence = evidence_of(folders.archive, market, hour.hour_ns, tape)
                if last is None or last.evidence.files != evidence.files:
                    revision = 1 if last is None else last.revision + 1
                    written.append(chain.add(hour.hour_ns, revision, evidence))
        except Damaged as error:  # the other markets have chains of their own
            damage.append(error)
    uncertified.drop(folders.archive, notes)
    if damage:
        raise damage[0]
    return written


def _by_market(hours: Iterable[MarketHour]) -> dict[Market, list[MarketHour]]:
    found: dict[Market, list[MarketHour]] = {}
    for hour in sorted(hours):
        found.setdefault(hour.market, []).append(hour)
    return found


class Chain:
    """The certificates of one market, to be continued."""

    def __init__(self, root: Path, market: Market) -> None:
        self._root = root
        self._market = market
        clear(papers.folder_of(root, market))
        self._head = papers.read_head(papers.folder_of(root, market)) or Head(0, NOBODY)

    def last_of(self, hour_ns: int) -> Certificate | None:
        """The last certificate of an hour."""
        first = papers.certificate_file(self._root, self._market, hour_ns, 1)
        clear(first.parent)
        revisions = [papers.read(file) for file in first.parent.glob(f"{first.stem}*.json")]
        last = max(revisions, key=lambda found: found.revision, default=None)
        if last is not None and last.number == self._head.number + 1:  # a crash came between it and the head
            self._head = papers.write_head(self._root, last)
        return last

    def add(self, hour_ns: int, revision: int, evidence: papers.Evidence) -> Path:
        """Writes the next one."""
        bare = Certificate(
            exchange=self._market.exchange,
            symbol=self._market.symbol,
            hour=format_ns(hour_ns),
            number=self._head.number + 1,
            revision=revision,
            previous_sha256=self._head.sha256,
            software=software(),
            evidence=evidence,
        )
        link = sealed(bare)
        file = papers.write(self._root, hour_ns, link)
        self._head = papers.write_head(self._root, link)
        return file
