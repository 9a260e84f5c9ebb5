"""SIGHUP takes over what is safe, names what is not, and survives a mistake."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.run.reload import Reload
from tests.servers.waiting import LONGEST_S

Said = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def said() -> Iterator[Said]:
    found: Said = []
    logger.remove()
    handler = logger.add(lambda message: found.append((message.record["message"], message.record["extra"])))
    yield found
    logger.remove(handler)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sentinel.toml"
    path.write_text("")
    return path


def test_what_is_safe_is_taken_over(file: Path, said: Said) -> None:
    applied: list[Config] = []
    reload = Reload(load({}, file), lambda: load({}, file), applied.append)
    file.write_text('log_level = "DEBUG"\n[alerts]\nlateness_ms = 7\n')
    reload.reload()
    assert (applied[0].log_level, applied[0].alerts.lateness_ms) == ("DEBUG", 7)
    assert said == [("reloaded", {})]


def test_what_needs_a_restart_is_named_until_there_was_one(file: Path, said: Said) -> None:
    reload = Reload(load({}, file), lambda: load({}, file), lambda _: None)
    file.write_text('collector = "other"\nlog_level = "DEBUG"\n[influx]\norg = "desk"\n')
    reload.reload()
    reload.reload()
    assert said == 2 * [("reload_incomplete", {"needs_restart": "collector, influx.org"}), ("reloaded", {})]


def test_a_mistake_changes_nothing(file: Path, said: Said) -> None:
    applied: list[Config] = []
    reload = Reload(load({}, file), lambda: load({}, file), applied.append)
    file.write_text("log_levle = 1\n")
    reload.reload()
    assert applied == []
    assert said == [("reload_failed", {"reason": "unknown setting log_levle; did you mean log_level?"})]


async def test_the_signal_is_heard(file: Path, said: Said) -> None:
    applied = asyncio.Event()
    reload = Reload(load({}, file), lambda: load({}, file), lambda _: applied.set())
    running = asyncio.create_task(reload.run())
    await asyncio.sleep(0)  # its handler is in place from here on
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.timeout(LONGEST_S):
        await applied.wait()
    running.cancel()
    await asyncio.wait([running])
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
