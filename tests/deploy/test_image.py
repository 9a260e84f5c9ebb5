"""The image, as far as it can be judged without a container engine."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from dockerfile_parse import DockerfileParser

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


def test_every_place_names_this_version() -> None:
    compose = (ROOT / "compose.yaml").read_text()
    assert f"image: sentinel-ws:{VERSION}\n" in compose
    assert f"newTag: {VERSION}\n" in (ROOT / "deploy/kubernetes/kustomization.yaml").read_text()
