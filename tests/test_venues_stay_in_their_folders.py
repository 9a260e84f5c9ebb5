"""What is known of a venue is in its folder: no name, text or comment elsewhere speaks of one. Part of ``make check``.

Documentation strings may name a venue as an example.
"""

from __future__ import annotations

import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT

VENUE = "coinbase"
PLACES = ("book", "feeds", "sentinel")
CATALOGUE = "catalogue.py"
BEFORE_A_STATEMENT = {tokenize.ENCODING, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
NO_MATTER = {tokenize.NL, tokenize.COMMENT}


def spoken_of(path: Path) -> Iterator[str]:
    """Where a file names the venue in a token that is no documentation string."""
    before = tokenize.ENCODING
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            is_documentation = token.type == tokenize.STRING and before in BEFORE_A_STATEMENT
            if VENUE in token.string.lower() and not is_documentation:
                yield f"{path}:{token.start[0]}: {token.string}"
            if token.type not in NO_MATTER:
                before = token.type


def elsewhere(root: Path) -> list[str]:
    """All such places outside the venue's folders and the catalogues."""
    files = sorted(path for place in PLACES for path in (root / place).rglob("*.py"))
    is_home = {path: path.name == CATALOGUE or any(part.startswith(VENUE) for part in path.parts) for path in files}
    return [found for path in files if not is_home[path] for found in spoken_of(path.relative_to(root))]


def test_no_venue_is_spoken_of_outside_its_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert elsewhere(Path()) == []


@pytest.mark.parametrize(
    "line", ["COINBASE = 1", "is_coinbase = True", "x = 'coinbase'", "x = f'{x}-Coinbase'", "x = 1  # as Coinbase does"]
)
def test_a_venue_spoken_of_is_found(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("sentinel/run", "feeds/coinbase_new", "feeds"):
        Path(place).mkdir(parents=True, exist_ok=True)
    text = f'"""Such as Coinbase."""\n{line}\n"""As of Coinbase."""\n'
    for name in ("sentinel/run/new.py", "feeds/coinbase_new/protocol.py", "feeds/catalogue.py"):
        Path(name).write_text(text)
    (found,) = elsewhere(Path())
    assert found.startswith("sentinel/run/new.py:2: ")
