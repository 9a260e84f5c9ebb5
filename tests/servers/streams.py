"""Streams that nobody reads from."""

from __future__ import annotations

import os
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def filled_pipe() -> tuple[int, int]:
    """A reading end and a writing end into which nothing more goes."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return reading, writing


@contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """Nobody reads, and nothing more goes in."""
    reading, writing = filled_pipe()
    yield reading, writing
    for end in (reading, writing):
        os.close(end)


@contextmanager
def held_terminal() -> Iterator[tuple[int, int]]:
    """A terminal whose output is held, as by Ctrl-S."""
    reading, writing = os.openpty()
    termios.tcflow(writing, termios.TCOOFF)
    yield reading, writing
    for end in (reading, writing):
        os.close(end)
