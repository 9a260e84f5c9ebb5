"""Holding what is there against what was certified: the chain, the files, their content, the manifests, the tapes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET, Struct
from msgspec.structs import replace

from feeds.market import Market
from sentinel.archive import manifest
from sentinel.archive.archiver import pruned
from sentinel.certificates import certificate as papers
from sentinel.certificates.certificate import NOBODY, Certificate, Damaged, Head, spelled
from sentinel.certificates.evidence import evidence_of
from sentinel.certificates.hashing import sha256_of
from sentinel.certificates.issuer import Folders
from sentinel.contract.gaps import NOT_COLLECTED
from sentinel.disk.data_dir import (
    ARCHIVE,
    CERTIFICATES,
    HEAD,
    MANIFEST,
    MARKETS,
    TAPE_SUFFIX,
    TAPES,
    hour_of,
    market_of,
)
from sentinel.disk.files import PARTS
from sentinel.disk.journal import damage
from sentinel.disk.object_store import Folder, below, found
from sentinel.disk.tape import pruned as pruned_tapes
from sentinel.timing.instants import parse_instant_ns

NAME = re.compile(r"hour=([01]\d|2[0-3])(\.[1-9]\d*)?\.json")
PARQUET = re.compile(r"hour=([01]\d|2[0-3])\.parquet")


class Check(Struct):
    """One kind of thing that was held against another. ``claim`` is what holds if there are no problems, ``note`` says
    what could not be compared."""

    name: str
    claim: str
    compared: int = 0
    problems: list[str] = []
    note: str = ""


def check_journal(journal: Path) -> Check:
    """Each batch of the journal as it was written: it has what the archive has not yet, and what it was made of."""
    found = list(damage(journal))
    return Check(
        "batches of the journal",
        "batches of the journal can be read",
        len(found),
        [problem for problem in found if problem is not None],
    )


class Chains(Struct):
    """What the chains of a data directory say: the last certificate of each hour, and the end of each chain."""

    latest: list[Certificate]
    heads: dict[str, Head]
    check: Check


def hour_ns(certificate: Certificate) -> int:
    """The start of the hour a certificate is of."""
    return parse_instant_ns(certificate.hour, 0)


def read_chains(root: Folder) -> Chains:
    """Reads every certificate there is, and checks that each chain is whole."""
    check = Check("chain of certificates", claim="each chain of certificates is whole")
    latest: list[Certificate] = []
    heads: dict[str, Head] = {}
    for market in papers.markets(root):
        links = list(_links(root, market, check))
        check.compared += len(links)
        links.sort(key=lambda link: link.number)
        _follow(links, market, check)
        try:
            head = papers.read_head(papers.folder_of(root, market))
        except Damaged as error:
            check.problems.append(str(error))
            head = None
        else:
            end = Head(links[-1].number, links[-1].sha256) if links else None
            if head != end:
                check.problems.append(f"{spelled(market)}: {HEAD} does not name the last certificate")
        if head is not None:
            heads[spelled(market)] = head
        by_hour = {}
        for link in sorted(links, key=lambda link: link.revision):
            by_hour[link.hour] = link
        latest += sorted(by_hour.values(), key=lambda link: link.hour)
    return Chains(latest, heads, check)


def _links(root: Folder, market: Market, check: Check) -> Iterator[Certificate]:
    for file in found(papers.folder_of(root, market), "date=*/*"):
        if fnmatch(file.name, PARTS):  # being written, or left by a killed writer
            continue
        if NAME.fullmatch(file.name) is None:
            check.problems.append(f"{file} is not a certificate")
            continue
        try:
            yield papers.read(file)
        except Damaged as error:
            check.problems.append(str(error))


def _follow(links: Sequence[Certificate], market: Market, check: Check) -> None:
    expected, previous = 1, NOBODY
    for link in links:
        if link.number != expected:
            check.problems.append(f"{spelled(market)}: certificate {expected} is missing, before that of {link.hour}")
        elif link.previous_sha256 != previous:
            check.problems.append(
                f"{spelled(market)}: the certificate of {link.hour} does not follow the one before it"
            )
        expected, previous = link.number + 1, link.sha256


def check_files(archive: Folder, latest: Sequence[Certificate]) -> tuple[Check, list[Certificate]]:
    """Each Parquet file as it was certified; and the certificates of which that can be said."""
    check = Check("Parquet files", claim="Parquet files are as certified")
    intact = []
    gone = pruned(archive)
    gone_count = 0
    for link in latest:
        kept = {path: seal for path, seal in link.evidence.files.items() if not _is_gone(archive, path, gone)}
        gone_count += len(link.evidence.files) - len(kept)
        found = [_file_problem(archive / path, seal.sha256) for path, seal in kept.items()]
        check.compared += len(found)
        check.problems += [problem for problem in found if problem]
        if len(kept) == len(link.evidence.files) and not any(found):
            intact.append(link)
    if gone_count:
        check.note = f"{gone_count} files were pruned"
    return check, intact


def _is_gone(archive: Folder, path: str, gone: Collection[str]) -> bool:
    return str(Path(path).parent) in gone and not (archive / path).exists()


def _file_problem(file: Folder, sha256: str, most_bytes: int | None = None) -> str:
    if not file.exists():
        return f"{file} is missing"
    return "" if sha256_of(file, most_bytes) == sha256 else f"{file} has been changed"


def check_for_strangers(archive: Folder, latest: Sequence[Certificate]) -> Check:
    """No file in the archive that nobody certified. ``latest`` must be of all hours."""
    check = Check("files without a certificate", claim="no file is without a certificate")
    named = {path for link in latest for path in link.evidence.files}
    newest: dict[Market, int] = {}
    for link in latest:
        newest[link.market] = max(newest.get(link.market, 0), hour_ns(link))
    waiting = 0
    for file in found(archive, f"*/{MARKETS}/date=*/*"):
        if fnmatch(file.name, PARTS):
            continue
        check.compared += 1
        if file.name == MANIFEST or below(file, archive) in named:
            continue
        is_hour = PARQUET.fullmatch(file.name) is not None
        if is_hour and hour_of(file) > newest.get(market_of(file.parent.parent), 0):
            waiting += 1
        else:
            check.problems.append(f"{file} is not in any certificate")
    if waiting:
        check.note = f"{waiting} files of later hours are not yet certified"
    return check


def check_contents(archive: Folder, intact: Sequence[Certificate]) -> Check:
    """The counts, ids, accounts, gaps and edges of each hour, read from its files once more."""
    check = Check("what the files say", claim="the files say what was certified")
    unproved = sorted({spelled(link.market) for link in intact if link.evidence.trade_proof == "none"})
    if unproved:
        check.note = f"nothing proves that no trade is missing from {', '.join(unproved)}"
    for link in intact:
        check.compared += 1
        said = link.evidence
        found = evidence_of(archive, link.market, hour_ns(link), is_merged=said.parts is not UNSET)
        found = replace(found, connections=said.connections, tapes=said.tapes)
        if all(hole.cause != NOT_COLLECTED for hole in said.holes):  # issued before such time was named
            found = replace(found, holes=[hole for hole in found.holes if hole.cause != NOT_COLLECTED])
        names = [name for name in said.__struct_fields__ if getattr(said, name) != getattr(found, name)]
        if names:
            check.problems.append(f"{spelled(link.market)} {link.hour}: {', '.join(names)} are not as certified")
    return check


def check_manifests(archive: Folder, latest: Sequence[Certificate]) -> Check:
    """The manifest of each day that has a certified file."""
    check = Check("manifests of the archive", claim="manifests agree with the files")
    days = {(archive / path).parent for link in latest for path in link.evidence.files}
    for day in sorted(day for day in days if day.exists()):
        check.compared += 1
        check.problems += manifest.problems(day)
    return check


def check_tapes(tapes: Folder, latest: Sequence[Certificate]) -> Check:
    """The tape files, as far as they had got when they were certified."""
    check = Check("tapes", claim="tapes are as certified")
    if not isinstance(tapes, Path):
        check.note = "tapes stay where they were recorded"
        return check
    longest: dict[str, int] = {}
    gone = {name for name in pruned_tapes(tapes) if not (tapes / name).exists()}
    seals = {(name, seal) for link in latest for name, seal in link.evidence.tapes.items() if name not in gone}
    for name, seal in sorted(seals, key=lambda sealed: (sealed[0], sealed[1].bytes)):
        check.compared += 1
        longest[name] = seal.bytes
        problem = _file_problem(tapes / name, seal.sha256, seal.bytes)
        if problem:
            check.problems.append(problem)
    check.problems = list(dict.fromkeys(check.problems))
    beyond = sum(max(0, file.stat().st_size - longest.get(file.name, 0)) for file in tapes.glob(f"*{TAPE_SUFFIX}"))
    notes = [f"{len(gone)} files were pruned"] if gone else []
    if beyond:
        notes.append(f"{beyond:,} bytes were recorded later and are not yet certified")
    check.note = "; ".join(notes)
    return check


def within(latest: Sequence[Certificate], since_ns: int, until_ns: int) -> list[Certificate]:
    """The certificates of hours that begin in ``since_ns <= t < until_ns``."""
    return [link for link in latest if since_ns <= hour_ns(link) < until_ns]


class Stored(NamedTuple):
    """Where things are in a data folder that is only read, be it in an object store."""

    archive: Folder
    tapes: Folder
    certificates: Folder

    @classmethod
    def of(cls, data_dir: Folder) -> Stored:
        return cls(data_dir / ARCHIVE, data_dir / TAPES, data_dir / CERTIFICATES)


def verify(folders: Folders | Stored, every: Sequence[Certificate], latest: Sequence[Certificate]) -> list[Check]:
    """Every check that needs nothing but the data folder, except the chain's own.

    ``every`` is of all hours, ``latest`` of those to be looked into.
    """
    archive = folders.archive
    files, intact = check_files(archive, latest)
    return [
        files,
        check_for_strangers(archive, every),
        check_contents(archive, intact),
        check_manifests(archive, latest),
        check_tapes(folders.tapes, latest),
    ]
