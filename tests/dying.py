"""A command killed for real at some step on the file system, by SIGKILL and by its own hand.

Every step that Python is about to take is told to a hook, so that each of them can be the last: what changes a folder,
and what opens a file to write it or a half-made one. Between two of these a death makes no difference.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests import ROOT
from tests.servers.waiting import LONGEST_S

CHILD = """
import os, runpy, signal, sys
CHANGES = ("os.link", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")
told, last, folder, module = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
sys.argv, seen, is_over = sys.argv[4:], 0, False
def step(event, arguments):
    global seen
    if is_over or (event != "open" and event not in CHANGES):
        return
    if event == "open":
        path, _, flags = arguments
        is_written = flags & (os.O_WRONLY | os.O_RDWR) or ".part" in str(path)
        if not is_written or not str(path).startswith(folder):
            return
    if seen == last:
        os.kill(os.getpid(), signal.SIGKILL)
    seen += 1
sys.addaudithook(step)
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as end:
    if end.code:
        raise
finally:
    is_over = True
    open(told, "w").write(str(seen))
"""


def run(module: str, arguments: Sequence[object], folder: Path, last_step: int = -1) -> int | None:
    """Runs ``python -m module`` in a process of its own, which dies before ``last_step`` of those in ``folder``.

    Gives how many steps it took; None if it was killed.
    """
    with tempfile.NamedTemporaryFile() as told:
        command = [sys.executable, "-c", CHILD, told.name, str(last_step), str(folder), module, *map(str, arguments)]
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
        if done.returncode == -signal.SIGKILL:
            return None
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return int(told.read())


def tell(path: Path | None, times_s: Sequence[float]) -> None:
    """For a campaign that was told where to."""
    if path is not None:
        path.write_text(json.dumps(times_s))


def some(steps: int | None, points: int, seed: int) -> list[int]:
    """So many different ones of the steps, or all."""
    assert steps, "nothing was done"
    return sorted(random.Random(seed).sample(range(steps), min(points, steps)))
