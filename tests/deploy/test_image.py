"""The image, as far as it can be judged without a container engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

from book.native import PURE
from tests import ROOT

BIN = Path(sys.executable).parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def last_stage() -> dict[str, list[str]]:
    """The instructions of the stage that is shipped."""
    parser = DockerfileParser(path=str(ROOT / "Dockerfile"))
    found: dict[str, list[str]] = {}
    for step in parser.structure:
        if step["instruction"] == "FROM":
            found = {}
        found.setdefault(step["instruction"], []).append(step["value"])
    return found


def test_hadolint_has_nothing_to_say() -> None:
    judged = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stdout) == (0, "")


def test_shellcheck_has_nothing_to_say() -> None:
    scripts = sorted((ROOT / "deploy").rglob("*.sh"))
    assert scripts
    judged = subprocess.run([BIN / "shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stdout) == (0, "")


def test_bases_are_pinned_to_a_version() -> None:
    bases = DockerfileParser(path=str(ROOT / "Dockerfile")).parent_images
    assert bases
    for base in bases:
        assert re.search(r":\d+\.\d+\.\d+", base), base


def test_it_runs_as_nobody_in_particular() -> None:
    assert last_stage()["USER"] == ["10001:10001"]


def test_it_writes_only_where_the_volume_is() -> None:
    stage = last_stage()
    assert stage["VOLUME"] == ["/data"]
    assert "SENTINEL_DATA_DIR=/data" in stage["ENV"][0]
    assert "PYTHONDONTWRITEBYTECODE=1" in stage["ENV"][0]


def test_its_health_is_asked_where_it_is_served() -> None:
    stage = last_stage()
    (address,) = re.findall(r"SENTINEL_HTTP=(\S+)", stage["ENV"][0])
    assert f"http://{address}/healthz" in stage["HEALTHCHECK"][0]


def is_in_the_build_context(path: Path) -> bool:
    """By the rules of .dockerignore: the last pattern that matches decides."""
    is_in = True
    for rule in (ROOT / ".dockerignore").read_text().split("\n"):
        pattern = rule.removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        parents = [path, *path.parents][:-1]
        if any(fnmatch(str(part), pattern) or fnmatch(part.name, pattern.removeprefix("**/")) for part in parents):
            is_in = rule.startswith("!")
    return is_in


def test_everything_it_copies_is_there_and_in_the_build_context() -> None:
    copied = [
        word
        for step in DockerfileParser(path=str(ROOT / "Dockerfile")).structure
        if step["instruction"] == "COPY" and "--from" not in step["value"]
        for word in step["value"].split()[:-1]
    ]
    assert {"pyproject.toml", "sentinel"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists(), name
        assert is_in_the_build_context(Path(name)), name
    assert not is_in_the_build_context(Path("tests/conftest.py"))
    assert not is_in_the_build_context(Path(".env"))


WITHOUT_COMPILER = {"CC": "false", PURE: "0"}
WITH_COMPILER = {PURE: "0"}


@pytest.fixture(scope="module", params=[WITH_COMPILER, WITHOUT_COMPILER, {PURE: "1"}], ids=["native", "no cc", "pure"])
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image installs, built of the tree as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "book", "feeds", "sentinel"):
        subprocess.run(["cp", "-r", ROOT / name, source], check=True)
    for build in source.glob("book/*.so"):
        build.unlink()
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source]
    subprocess.run(command, check=True, capture_output=True, timeout=110, env=os.environ | request.param)
    (built,) = folder.glob("*.whl")
    has_compiler = request.param is WITH_COMPILER and shutil.which("cc") is not None
    assert ("book/speedups.abi3.so" in zipfile.ZipFile(built).namelist()) == has_compiler
    return built


def test_the_package_holds_every_file_of_ours(wheel: Path) -> None:
    """A page or a template forgotten in pyproject.toml would be missed only when it is asked for."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "book", "feeds", "sentinel"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert len(tracked) > 50
    assert {path for path in tracked if (ROOT / path).exists() and not path.endswith(".c")} <= packed


def test_the_package_runs_as_it_was_built(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    command = [sys.executable, "-S", "-c", "from book.native import is_native; print(is_native)"]  # no other package
    environment = os.environ | {PURE: "0"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str((tmp_path / "book/speedups.abi3.so").exists())


def test_every_place_names_this_version() -> None:
    compose = (ROOT / "compose.yaml").read_text()
    assert f"image: sentinel-ws:{VERSION}\n" in compose
    assert f"newTag: {VERSION}\n" in (ROOT / "deploy/kubernetes/kustomization.yaml").read_text()
