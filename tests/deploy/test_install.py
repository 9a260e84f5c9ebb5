"""``deploy/install.py``: nobody looks at a silent terminal for a minute and a half, and a failure is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.servers.waiting import LONGEST_S

PIP = """#!/bin/sh
i=0
while [ $i -lt 12 ]; do i=$((i + 1)); echo "Collecting package-$i==1.0 (from -r lock)"; done
echo "Installing collected packages: package-1, package-2"
{end}
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(
        "# pinned\n" + "".join(f"package-{number}==1.0 \\\n    --hash=sha256:0\n" for number in range(1, 13))
    )
    return path


def install(lock: Path, end: str) -> subprocess.CompletedProcess[str]:
    pip = lock.with_name("pip")
    pip.write_text(PIP.format(end=end))
    pip.chmod(0o755)
    command = [sys.executable, str(ROOT / "deploy" / "install.py"), str(pip), str(lock)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)


def test_it_says_what_it_installs_and_how_far_it_is(lock: Path) -> None:
    done = install(lock, "exit 0")
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert first.startswith("Installing 12 packages from requirements.lock")
    assert rest[0] == "  10 of 12: package-10"
    assert rest[1] == "  unpacking 12 packages"
    assert rest[2].startswith("  installed in ")


def test_a_failure_is_pips_and_with_its_words(lock: Path) -> None:
    done = install(lock, "echo 'ERROR: no matching distribution' >&2; exit 3")
    assert done.returncode == 3
    assert "ERROR: no matching distribution" in done.stderr
