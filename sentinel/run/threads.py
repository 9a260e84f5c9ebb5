"""The threads that a collector needs, tried at its start: later, libraries in C end the process without a word."""

from __future__ import annotations

import threading

from sentinel.errors import SentinelError

NEEDED = 24
"""The journal's, those that wait for disks and readers, four that look up names, and some to spare."""


def check() -> None:
    """Starts as many as are needed, and ends them.

    Raises:
        SentinelError: if this process may not have so many.
    """
    gate = threading.Event()
    begun: list[threading.Thread] = []
    try:
        for _ in range(NEEDED):
            thread = threading.Thread(target=gate.wait)
            thread.start()
            begun.append(thread)
    except RuntimeError:
        words = f"no more than {len(begun)} of the {NEEDED} threads that a collector needs can be started"
        raise SentinelError(f"{words}: see `ulimit -u`, or the container's limit of processes") from None
    finally:
        gate.set()
        for thread in begun:
            thread.join()
