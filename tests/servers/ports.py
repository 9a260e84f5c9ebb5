"""Ports for servers that must be told theirs before they listen.

What the kernel chooses (``bind`` to 0, ``connect``) it may give to anybody again as soon as nobody listens there. So
these lie below everything it chooses from, and each process has a block of its own, held by a lock on a file until it
ends. Only a stranger's server may be in the way, which is seen by trying.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import IO

LOWEST, BLOCK = 10_000, 100
CHOSEN_FROM = Path("/proc/sys/net/ipv4/ip_local_port_range")
USUALLY_CHOSEN_FROM = 32_768


def free_port() -> int:
    """One at which nobody listens, nor anybody else of ours will."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """The same, one next to the other."""
    block = _block()
    for _ in range(BLOCK):
        first = next(block.turn)
        ports = list(range(first, first + count))
        if ports[-1] < block.first + BLOCK and all(map(_is_free, ports)):
            for _ in range(count - 1):
                next(block.turn)
            return ports
    raise AssertionError(f"no {count} free ports from {block.first} on")


class Block:
    """This process's ports, each of which has its turn before the first is given again."""

    def __init__(self, first: int, lock: IO[bytes]) -> None:
        self.first, self._lock = first, lock
        self.turn = cycle(range(first, first + BLOCK))


@cache
def _block() -> Block:
    folder = Path(tempfile.gettempdir()) / f"sentinel-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for first in range(LOWEST, _lowest_chosen() - BLOCK, BLOCK):
        lock = (folder / str(first)).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return Block(first, lock)
    raise AssertionError(f"all ports below {_lowest_chosen()} are held by other tests; see {folder}")


def _lowest_chosen() -> int:
    lowest = int(CHOSEN_FROM.read_text().split()[0]) if CHOSEN_FROM.exists() else USUALLY_CHOSEN_FROM
    return lowest if lowest >= LOWEST + 2 * BLOCK else USUALLY_CHOSEN_FROM


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
