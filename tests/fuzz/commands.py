"""Runs a command of ours in this process, as ``sentinel-ws`` would."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from unittest.mock import patch

from sentinel.cli import cli
from sentinel.run import ending

STATUSES = (0, 1, 2, 3)
MOST_LINES = 3
"""What is wrong is a line or two. Click shows how a command is used above that, and what could be chosen, indented."""


def run(arguments: Sequence[str]) -> tuple[int, str]:
    """Its status and what it said on stderr. Raises what would have been a traceback."""
    out, told = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with redirect_stdout(out), redirect_stderr(told), patch("sys.stdin", io.TextIOWrapper(io.BytesIO())):
        command = partial(cli, list(arguments), prog_name="sentinel-ws", standalone_mode=False)
        status = ending.run(command)
    return status, told.getvalue()


def hold(status: int, told: str) -> None:
    """A status that is documented, and where it is not well, a line that says why."""
    assert status in STATUSES, status
    assert "Traceback" not in told, told
    if status in (1, 2):
        assert told.strip(), status
    if status == 2:
        lines = [line for line in told.strip().splitlines() if line and not line.startswith(("Usage:", "Try ", "\t"))]
        assert len(lines) <= MOST_LINES, told
