"""``docs/licences.md``: the licence of everything in the lock files, as each package says it of itself.

    python -m tests.licences        # writes the page, from what is installed; nothing is asked of anybody

What another system needs, and this one does not have, keeps its line, or is in ``ELSEWHERE``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from tests import ROOT

PAGE = ROOT / "docs" / "licences.md"
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)
ROW = re.compile(r"^\| `(\S+)` \| (\S+) \| (.+) \|$", re.MULTILINE)
ELSEWHERE = {
    "appnope": "BSD-2-Clause",
    "axe-playwright-python": "MIT",
    "colorama": "BSD-3-Clause",
    "win32-setctime": "MIT",
}
"""Of what is not installed on Linux, or says nothing of itself: from its repository."""

HEAD = """# Licences of what it needs

sentinel-ws is under the MIT licence; this is what the packages in its lock files say of their own, as made by
`python -m tests.licences` from what is installed. `tests/test_licences.py` holds the page to the lock files.

"""
TABLE = "| package | version | licence |\n|---|---|---|\n"


class Package(NamedTuple):
    """One line of a lock file."""

    name: str
    version: str


def locked(file: str) -> list[Package]:
    """What a lock file pins, in its order."""
    return [Package(*found) for found in PINNED.findall((ROOT / file).read_text())]


def licence(name: str) -> str | None:
    """As an installed package says it: as an expression, in classifiers, or in words if they are few."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    kinds = [kind.rpartition(" :: ")[2] for kind in about.get_all("Classifier") or [] if kind.startswith("License ::")]
    words = (about.get("License") or "").strip()
    said = about.get("License-Expression") or " or ".join(kinds) or ("" if "\n" in words else words)
    return said.replace("|", "or") or None


def rows(packages: Iterable[Package], known: dict[Package, str]) -> str:
    found = []
    for package in packages:
        said = licence(package.name) or ELSEWHERE.get(package.name) or known.get(package)
        if said is None:
            raise SystemExit(f"no licence of {package.name} is known: install it, or look it up for ELSEWHERE")
        found.append(f"| `{package.name}` | {package.version} | {said} |\n")
    return TABLE + "".join(found)


def page(before: str) -> str:
    """The page; lines of packages that are not installed are those of ``before``."""
    known = {Package(name, version): said for name, version, said in ROW.findall(before)}
    to_run = locked("requirements.lock")
    more = [package for package in locked("requirements-dev.lock") if package not in to_run]
    return (
        f"{HEAD}## To run\n\nEverything in `requirements.lock`.\n\n{rows(to_run, known)}\n"
        "## To plot, to query and to develop\n\nWhat is in `requirements-dev.lock` besides. None of it is in the image"
        f" or the wheel.\n\n{rows(more, known)}"
    )


def main() -> None:
    Path(PAGE).write_text(page(PAGE.read_text() if PAGE.exists() else ""))


if __name__ == "__main__":
    main()
