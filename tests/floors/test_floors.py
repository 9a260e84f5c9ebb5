"""What pyproject.toml allows is what ``make floors`` tries."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata

import pytest

from tests import ROOT

NEEDED = re.compile(r"^([A-Za-z0-9-]+)(?:\[[^]]*\])?>=([0-9.]+)")
PINNED = re.compile(r"^([A-Za-z0-9-]+)(?:\[[^]]*\])?==([0-9.]+)$", re.MULTILINE)


def numbers(version: str) -> tuple[int, ...]:
    """``2.0`` is ``2.0.0``."""
    found = tuple(map(int, version.split(".")))
    return found + (0,) * (3 - len(found))


def test_the_oldest_that_is_allowed_is_what_is_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name != "dev"}
    lines = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]
    allowed = {found[1]: numbers(found[2]) for line in lines if (found := NEEDED.match(line))}
    tried = dict(PINNED.findall((ROOT / "tests/floors/requirements.txt").read_text()))
    assert len(allowed) == len(lines), "each has a lower bound, and no upper one"
    assert {name: numbers(tried.get(name, "0")) for name in allowed} == allowed


def test_both_locks_pin_all_that_is_needed() -> None:
    needed = {line.partition(";")[0] for line in metadata.requires("sentinel-ws") or () if "extra" not in line}
    names = {re.split(r"[\[><=]", line.lower())[0].strip() for line in needed}
    assert len(names) > 10
    for lock in ("requirements.lock", "requirements-dev.lock"):
        pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text(), re.MULTILINE))
        assert names <= pinned, lock


def pinned(lock: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Each package's version, and the hashes of its files."""
    packages = re.split(r"^(?=[a-z])", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]
    found = {}
    for package in packages:
        name, version = re.findall(r"\A([a-z0-9-]+)==([^ ;\\\n]+)", package)[0]
        found[name] = version, frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})\b", package))
    return found


@pytest.mark.parametrize(
    ("lock", "least", "most"), [("requirements.lock", 40, 60), ("requirements-dev.lock", 140, 200)]
)
def test_a_lock_has_the_hash_of_everything_and_names_no_host(lock: str, least: int, most: int) -> None:
    """Where a single package has one, pip refuses whatever has none: so it is all or nothing."""
    packages = pinned(lock)
    assert least < len(packages) < most
    assert [name for name, (_, hashes) in packages.items() if not hashes] == []
    assert not re.search(r"://|^--", (ROOT / lock).read_text(), re.MULTILINE)


def test_what_both_locks_pin_is_the_same_files() -> None:
    assert pinned("requirements.lock").items() <= pinned("requirements-dev.lock").items()
