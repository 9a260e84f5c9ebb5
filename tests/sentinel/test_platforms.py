"""What Linux has and Windows or macOS lack: nothing of it may be needed to import us, to be stopped or to lock."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sentinel.disk import files, lock
from sentinel.timing.loops import on_signal
from tests.servers.waiting import LONGEST_S

EVERY_MODULE_WITHOUT = """
import importlib, pkgutil, signal, sys

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"uvloop", "fcntl", "resource", "termios", "pwd", "grp", "syslog"}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Lacking())
del signal.SIGHUP, signal.SIGKILL
for room in ("book", "feeds", "sentinel"):
    for found in pkgutil.walk_packages(importlib.import_module(room).__path__, f"{room}."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
from sentinel.timing.loops import new_event_loop
print(new_event_loop.__module__)
"""


def test_every_module_is_imported_where_uvloop_and_what_is_unix_are_absent() -> None:
    command = [sys.executable, "-W", "error", "-c", EVERY_MODULE_WITHOUT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "asyncio.events"), done.stderr


class WindowsLoop(asyncio.SelectorEventLoop):
    """As Windows' loops do."""

    def add_signal_handler(self, *_: object) -> None:
        raise NotImplementedError


def test_a_signal_is_heard_by_loops_that_take_no_handler_and_no_more_once_that_is_ended() -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def heard() -> None:
        is_heard = asyncio.Event()
        deafen = on_signal("SIGTERM", is_heard.set)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(LONGEST_S):
            await is_heard.wait()
        deafen()

    with asyncio.Runner(loop_factory=WindowsLoop) as runner:
        runner.run(heard())
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_the_platform_lacks_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGHUP")
    assert on_signal("SIGHUP", lambda: None)() is None


def test_windows_locks_by_its_own_means(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    taken: list[int] = []

    def locking(descriptor: int, mode: int, length: int) -> None:
        if taken:
            raise PermissionError
        taken.append(descriptor)

    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    with lock.hold(tmp_path / ".lock"), pytest.raises(lock.Held):
        lock.hold(tmp_path / ".lock")


def test_windows_opens_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "name", "nt")
    files.sync_folder(tmp_path / "that is not there")
