"""What was certified by now, held against what is there: the same as ``sentinel-ws verify``."""

from __future__ import annotations

from pathlib import Path

from sentinel.certificates.issuer import Folders
from sentinel.certificates.rederive import check_tapes_against_archive
from sentinel.certificates.verify import Stored, read_chains, verify
from sentinel.disk.data_dir import CERTIFICATES
from sentinel.disk.shards import data_folders
from sentinel.qualify.evidence import Verified

MOST_PROBLEMS = 50


def verify_all(data_dir: Path, *, with_replay: bool) -> Verified | None:
    """Every certified hour; ``with_replay`` derives what tapes are there once more. None if there is none."""
    certificates = 0
    checks: dict[str, int] = {}
    problems: list[str] = []
    heads: dict[str, str] = {}
    for folder in data_folders(data_dir):
        chains = read_chains(folder / CERTIFICATES)
        if not chains.latest and not chains.check.problems:
            continue
        certificates += len(chains.latest)
        found = [chains.check, *verify(Stored.of(folder), chains.latest, chains.latest)]
        if with_replay:
            found.append(check_tapes_against_archive(Folders.of(folder), chains.latest, lambda *_: None))
        for check in found:
            checks[check.name] = checks.get(check.name, 0) + check.compared
            problems += [problem.replace(str(data_dir), "DATA") for problem in check.problems]
        heads |= {market: head.sha256 for market, head in chains.heads.items()}
    if not checks:
        return None
    return Verified(certificates, not problems, checks, problems[:MOST_PROBLEMS], heads)
