"""What is built is built once a run, whatever the number of workers."""

from __future__ import annotations

import fcntl
import os
import shutil
import site
import subprocess
import sys
import tarfile
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from book.native import PURE
from tests import ROOT
from tests.tarballs import extract

KINDS = {"native": {PURE: "0"}, "no compiler": {PURE: "0", "CC": "false"}, "pure": {PURE: "1"}}
"""How a wheel is built, by environment."""

Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Gives the folder of a name, which the first worker to ask for it has filled."""
    ours = tmp_path_factory.getbasetemp()
    shared = ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours

    def folder_of(name: str, fill: Callable[[Path], None]) -> Path:
        folder = shared / f"package {name}"
        with (shared / f"package {name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "done").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                (folder / "done").touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def tracked(once: Once) -> list[str]:
    """Every file of the tree, as git has it or would have it when the first worker asks."""

    def fill(folder: Path) -> None:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
        (folder / "names").write_text("\n".join(name for name in found if (ROOT / name).exists()))

    return (once("tracked", fill) / "names").read_text().splitlines()


@pytest.fixture(scope="session")
def sdist(once: Once, tracked: list[str]) -> Path:
    """The source distribution."""

    def fill(folder: Path) -> None:
        for name in tracked:
            target = folder / "tree" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
        run([sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", folder, folder / "tree"])

    (built,) = once("sdist", fill).glob("*.tar.gz")
    return built


@pytest.fixture(scope="session")
def wheels(once: Once, sdist: Path) -> Callable[[str], Path]:
    """The wheel of a kind, built of the source distribution."""

    def wheel(kind: str) -> Path:
        def fill(folder: Path) -> None:
            with tarfile.open(sdist) as packed:
                extract(packed, folder)
            (tree,) = folder.iterdir()
            run([sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, tree], **KINDS[kind])

        (built,) = once(kind, fill).glob("*.whl")
        return built

    return wheel


@pytest.fixture(scope="session")
def environment(once: Once, wheels: Callable[[str], Path]) -> Path:
    """An environment with the native wheel as pip installs it.

    What it needs comes from ours, but this checkout does not: of a folder that a ``.pth`` names no ``.pth`` is read.
    """

    def fill(folder: Path) -> None:
        venv.create(folder, with_pip=False)
        (packages,) = (folder / "lib").glob("python*/site-packages")
        (packages / "needed.pth").write_text("\n".join(site.getsitepackages()))
        run([sys.executable, "-m", "pip", "--python", folder, "install", "--no-deps", wheels("native")])

    return once("environment", fill)


def run(command: list[str | Path], **environment: str) -> None:
    done = subprocess.run(
        list(map(str, command)), env=os.environ | environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
