"""What a person did ends in one line and an exit status, however deep it was wrapped (F6, F11 of the tour)."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from sentinel.errors import JournalError, UsageError
from sentinel.run import ending
from tests import ROOT
from tests.servers.collector import unset_environment
from tests.servers.waiting import LONGEST_S


def raising(error: BaseException) -> Callable[[], object]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UsageError("no such thing"), 2, "sentinel-ws: no such thing\n"),
        (JournalError("the last lines are lost"), 1, "sentinel-ws: the last lines are lost\n"),
        (ExceptionGroup("", [ExceptionGroup("", [UsageError("taken")])]), 2, "sentinel-ws: taken\n"),
        (ExceptionGroup("", [OSError(errno.ENOSPC, "full"), UsageError("taken")]), 2, "sentinel-ws: taken\n"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 1, "sentinel-ws: x: No space left on device\n"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "sentinel-ws: x: Permission denied\n"),
        (FileExistsError(errno.EEXIST, "File exists", "x"), 2, "sentinel-ws: x: File exists\n"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 0, ""),
        (KeyboardInterrupt(), 130, "Aborted!\n"),
        (click.Abort(), 130, "Aborted!\n"),
        (SystemExit(3), 3, ""),
        (SystemExit(None), 0, ""),
    ],
)
def test_it_ends_with_a_line(
    error: BaseException, status: int, words: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "_leave_stdout", lambda: None)
    assert ending.run(raising(error)) == status
    assert capfd.readouterr().err == words


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), ExceptionGroup("", [UsageError("taken"), IndexError()]), OSError("without a number")]
)
def test_a_fault_of_the_program_is_not_hidden(error: Exception) -> None:
    with pytest.raises(type(error)):
        ending.run(raising(error))


def sentinel_ws(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = unset_environment() | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "sentinel", *arguments]
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=120, check=False)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = sentinel_ws("simulate", "--port", str(port), "--levels", "10", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (2, f"sentinel-ws: cannot listen on port {port}: {IN_USE}\n")
        collect = f"sentinel-ws collect BTC-USD --duration 3s --http 127.0.0.1:{port}"
        done = sentinel_ws("simulate", "--products", "BTC-USD", "--levels", "10", "--exec", collect, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.endswith(f"sentinel-ws: cannot listen on 127.0.0.1:{port}: {IN_USE}\n")
        assert "Traceback" not in done.stderr


IN_USE = os.strerror(errno.EADDRINUSE)


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate", "--levels", "0"],
        ["simulate", "--levels", "-4"],
        ["simulate", "--levels", "many"],
        ["simulate", "--duration", "soon"],
        ["simulate", "--exec", "'"],
        ["simulate", "--exec", ""],
        ["simulate", "--exec", "no-such-command"],
        ["export", "--measurement", "trades", "--output", "nowhere/x.csv"],
        ["capabilities", "--output", "nowhere/x.json"],
        ["capabilities", "--output", "x.parquet"],
        ["plot", "depth", "BTC-USD", "--output", "x.csv"],
        ["gap-report", "--since", "tomorrow"],
        ["gap-report", "--since", "12345"],
        ["verify", "--from", "soon"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_a_line(arguments: list[str], tmp_path: Path) -> None:
    done = sentinel_ws(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 4


def test_ctrl_c_before_anything_has_begun_is_quiet(tmp_path: Path) -> None:
    """While modules are still being imported there was a traceback."""
    script = (
        "import os, signal, sys, sentinel.__main__ as begin\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'sentinel.cli':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "begin.main()\n"
    )
    clean = unset_environment() | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "Aborted!\n")


def test_streams_that_are_closed(tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m sentinel capabilities >&- 2>&-"
    clean = unset_environment() | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, shell=True, cwd=tmp_path, env=clean, timeout=LONGEST_S, check=False).returncode == 0
