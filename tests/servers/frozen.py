"""Processes that stand still."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

LONGEST_S = 120.0


def freeze(pid: int) -> None:
    """SIGSTOP; returns when none of its threads runs any more. The signal alone only asks for that."""
    os.kill(pid, signal.SIGSTOP)
    deadline_s = time.monotonic() + LONGEST_S
    while not is_frozen(pid):
        assert time.monotonic() < deadline_s, f"process {pid} does not stop"
        time.sleep(0.001)


def thaw(pid: int) -> None:
    """SIGCONT."""
    os.kill(pid, signal.SIGCONT)


def is_frozen(pid: int) -> bool:
    """Whether every thread of it is stopped, or gone."""
    return all(_state(task) in "TtZX" for task in Path(f"/proc/{pid}/task").iterdir())


def _state(task: Path) -> str:
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
