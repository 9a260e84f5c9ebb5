"""The wheel and the source distribution: what is in them, and that they work for somebody who has nothing else."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from email.message import Message
from email.parser import Parser
from pathlib import Path
from types import ModuleType

import pytest

from book.native import PURE
from tests import ROOT
from tests.package.conftest import KINDS
from tests.package.plain import bin_of, clean, use

ROOMS = ("book", "feeds")
"""The packages beside ``sentinel`` in the tree, inside it in a wheel."""

Wheels = Callable[[str], Path]


def installed(name: str) -> str:
    """Where a file of the tree is in the wheel."""
    return f"sentinel/{name}" if name.startswith(tuple(f"{room}/" for room in ROOMS)) else name


@pytest.fixture(scope="module")
def setup_py() -> ModuleType:
    spec = importlib.util.spec_from_file_location("our_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def metadata(wheels: Wheels) -> Message:
    with zipfile.ZipFile(wheels("native")) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(wheel.read(name).decode())


@pytest.mark.parametrize("kind", KINDS)
def test_it_installs_one_package_with_every_file_of_ours(wheels: Wheels, tracked: list[str], kind: str) -> None:
    """A page or a template forgotten in pyproject.toml would be missed only when it is asked for."""
    names = set(zipfile.ZipFile(wheels(kind)).namelist())
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"sentinel"}
    ours = {name for name in tracked if name.startswith(("book/", "feeds/", "sentinel/")) and not name.endswith(".c")}
    assert len(ours) > 50
    (told,) = (
        name for name in names if name.endswith(".dist-info/top_level.txt")
    )  # for tools that ask whose a name is
    assert zipfile.ZipFile(wheels(kind)).read(told) == b"sentinel\n"
    assert {installed(name) for name in ours} <= names
    has_compiler = kind == "native" and shutil.which("cc") is not None
    assert ("sentinel/book/speedups.abi3.so" in names) == has_compiler


@pytest.mark.parametrize("kind", KINDS)
def test_it_runs_as_it_was_built(wheels: Wheels, tmp_path: Path, kind: str) -> None:
    zipfile.ZipFile(wheels(kind)).extractall(tmp_path)
    # no other package
    command = [sys.executable, "-S", "-c", "from sentinel.book.native import is_native; print(is_native)"]
    done = subprocess.run(command, cwd=tmp_path, env=clean() | {PURE: "0"}, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str((tmp_path / "sentinel/book/speedups.abi3.so").exists())


def test_only_imports_differ_from_the_tree_and_each_on_its_line(wheels: Wheels, tracked: list[str]) -> None:
    """So a traceback says the same line, and nothing else was touched."""
    with zipfile.ZipFile(wheels("native")) as wheel:
        for name in (name for name in tracked if name.endswith(".py") and installed(name) in wheel.namelist()):
            there = wheel.read(installed(name)).decode().split("\n")
            here = (ROOT / name).read_text().split("\n")
            assert len(there) == len(here), name
            for ours, shipped in zip(here, there, strict=True):
                for room in ROOMS:
                    is_import = ours.lstrip().startswith((f"from {room}.", f"from {room} "))
                    ours = ours.replace(f"from {room}", f"from sentinel.{room}", 1) if is_import else ours
                assert ours == shipped, name


def test_an_import_that_cannot_be_written_anew_in_place_fails_the_build(setup_py: ModuleType) -> None:
    assert setup_py.rehomed("from book.proof import x\n") == "from sentinel.book.proof import x\n"
    assert setup_py.rehomed("from bookkeeping import x\nfrom .book import y\n").count("sentinel") == 0
    with pytest.raises(ValueError, match=r"import book\.proof"):
        setup_py.rehomed("import book.proof\n")


def test_no_string_names_a_module_that_a_wheel_has_elsewhere(tracked: list[str]) -> None:
    """An import by name, which nothing writes anew."""
    sources = [name for name in tracked if name.endswith(".py") and name.startswith(("book/", "feeds/", "sentinel/"))]
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in sources}
    elsewhere = {name for name in modules if name.startswith(tuple(f"{room}." for room in ROOMS))}
    for name in sources:
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value.partition(":")[0] not in elsewhere, f"{name}:{node.lineno}"


def test_a_book_py_and_a_feeds_py_of_the_users_own_are_in_nobodys_way(environment: Path, tmp_path: Path) -> None:
    """F7."""
    assert use(bin_of(environment), tmp_path, seconds=3) > 0


def test_every_module_is_imported_from_it_beside_a_book_py(environment: Path, tmp_path: Path) -> None:
    for room in ROOMS:
        (tmp_path / f"{room}.py").write_text("mine = True\n")
    (tmp_path / "user.py").write_text(
        "import importlib, pkgutil, sentinel, book, feeds\n"
        "assert book.mine and feeds.mine\n"
        "for found in pkgutil.walk_packages(sentinel.__path__, 'sentinel.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)\n"
        "print(sentinel.__file__)\n"
    )
    command = [bin_of(environment) / "python", "-W", "error", "user.py"]
    done = subprocess.run(command, cwd=tmp_path, env=clean(), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(environment)


def test_a_users_mypy_sees_real_types(environment: Path, tmp_path: Path) -> None:
    """F17."""
    (tmp_path / "book.py").write_text("")
    (tmp_path / "user.py").write_text(
        "from sentinel.data import load\nfrom sentinel.live import watch_trades\nreveal_type(load)\n"
        "reveal_type(watch_trades)\nreveal_type(load('top', 'BTC-USD', '1h').holes)\nload(3, 'BTC-USD', '1h')\n"
    )
    command = [
        *(sys.executable, "-m", "mypy", "--strict", "--python-executable", bin_of(environment) / "python"),
        *("--cache-dir", tmp_path / "cache", "user.py"),
    ]
    judged = subprocess.run(command, cwd=tmp_path, env=clean(), check=False, capture_output=True, text=True)
    found = [line for line in judged.stdout.splitlines() if line.startswith("user.py")]
    revealed = [line for line in found if "Revealed type" in line]
    assert len(revealed) == 3, judged.stdout
    assert not any('Revealed type is "Any"' in line for line in revealed), judged.stdout
    assert [line for line in found if "error" in line and "arg-type" in line], judged.stdout
    assert "py.typed" not in judged.stdout


def test_the_source_distribution_is_the_whole_tree(sdist: Path, tracked: list[str]) -> None:
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert names >= set(tracked)
    assert not [name for name in names if name.endswith((".so", ".pyc")) or "__pycache__" in name]


def test_its_metadata_say_what_it_is_for_whom_and_where(metadata: Message) -> None:
    summary = metadata["Summary"]
    assert "\n" not in summary
    assert sum(venue in summary for venue in ("Coinbase", "Kraken", "Binance", "OKX", "Bybit", "Deribit")) >= 3
    assert metadata["Author"]
    assert metadata["Maintainer"]
    assert metadata["License-Expression"] == "MIT"
    assert "market-data" in metadata["Keywords"]
    classifiers = metadata.get_all("Classifier", [])
    assert {"Typing :: Typed", *(f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 15))} <= {
        *classifiers
    }
    assert {url.partition(",")[0] for url in metadata.get_all("Project-URL", [])} >= {
        "Homepage",
        "Documentation",
        "Changelog",
        "Issues",
    }


def test_uvloop_is_asked_for_only_where_there_is_one(metadata: Message) -> None:
    (needed,) = (line for line in metadata.get_all("Requires-Dist", []) if line.startswith("uvloop"))
    assert "win32" in needed
