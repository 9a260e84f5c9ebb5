"""Shared by all tests: Hypothesis profiles and the leak guard."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from loguru import logger

from tests import ROOT
from tests.captures import ADVANCED, lines_of

pytest_plugins = ["sentinel.testing.plugin"]

FOUND = DirectoryBasedExampleDatabase(ROOT / ".hypothesis" / "examples")
settings.register_profile("dev", max_examples=60, deadline=None, database=FOUND)
settings.register_profile(
    "ci", max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fuzz", max_examples=1_000_000, deadline=None, database=FOUND)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")

os.environ.pop("COLUMNS", None)  # xdist gives its workers that of its own terminal, and a pipe has no width

OPEN_FILES = Path("/proc/self/fd")


def _sockets_and_databases() -> set[str]:
    """What open descriptors point at, of the kinds a test may leak; pipes and log files are pytest's own."""
    found = set()
    for entry in OPEN_FILES.iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:") or ".sqlite3" in target or ".swtape" in target:
            found.add(target)
    return found


@pytest.fixture(scope="session", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests run in a folder of their own: what a command writes where it stands must not be in the tree, which other
    tests beside this one pack and count."""
    with chdir(tmp_path_factory.mktemp("elsewhere")):
        yield


@pytest.fixture(autouse=True)
def leak_guard() -> Iterator[None]:
    """Fails a test that leaves a thread, a socket, a database or a tape open behind it."""
    threads = set(threading.enumerate())
    files = _sockets_and_databases() if OPEN_FILES.exists() else set()
    yield
    for thread in set(threading.enumerate()) - threads:
        if not thread.name.startswith(("asyncio_", "ThreadPoolExecutor", "AnyIO", "Dummy-")):  # "Dummy-": not Python's
            thread.join(timeout=60)
            assert not thread.is_alive(), f"leaked thread {thread.name}"
    if OPEN_FILES.exists():
        leaked = _sockets_and_databases() - files
        assert not leaked, f"left open: {sorted(leaked)}"


@pytest.fixture(autouse=True)
def told_logs() -> None:
    """``sentinel.live`` keeps the log to itself unless asked, in whichever process it is imported."""
    logger.enable("sentinel")


@pytest.fixture(scope="session")
def advanced_frames() -> list[bytes]:
    """The 1,030 frames of the Advanced Trade recording, byte for byte."""
    return lines_of(f"{ADVANCED}/raw.jsonl.zst")
