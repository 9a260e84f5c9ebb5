"""The workflows against GitHub's schema, and what they call against the tree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    return found


def test_they_are_what_github_allows() -> None:
    command = [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", "vendor.github-workflows"]
    judged = subprocess.run([*command, *WORKFLOWS], capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


def test_every_python_we_promise_is_tested() -> None:
    jobs = load("ci.yml")["jobs"]
    versions = jobs["test"]["strategy"]["matrix"]["python"]
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert jobs["wheel"]["strategy"]["matrix"]["python"] == versions
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"] == f">={versions[0]}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_nothing_runs_for_ever_or_with_rights_it_does_not_need(path: Path) -> None:
    workflow = load(path.name)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert "uses" in job or job["timeout-minutes"] <= 45, name
        for step in job.get("steps", ()):
            assert "uses" not in step or re.search(r"@(v\d+|release/v\d+)$", step["uses"]), step


def test_what_they_call_is_there() -> None:
    jobs = load("ci.yml")["jobs"]
    for job in jobs.values():
        for step in job["steps"]:
            folder = ROOT / step.get("working-directory", ".")
            words = step.get("run", "").split()
            for word in words:
                if word.endswith((".sh", ".mjs")):
                    assert (folder / word).is_file(), word
            if words[:1] == ["make"]:
                assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    assert (ROOT / load("release.yml")["jobs"]["ci"]["uses"]).is_file()
