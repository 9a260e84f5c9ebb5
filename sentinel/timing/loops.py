"""The event loop, and signals in it: uvloop's where it is installed, Python's own elsewhere (Windows, PyPy)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop  # type: ignore[assignment]

__all__ = ["new_event_loop", "on_signal"]


def on_signal(name: str, call: Callable[[], object]) -> Callable[[], object]:
    """Has the running loop make ``call`` at each signal of this name, and gives what ends that.

    A signal that this platform does not have, as Windows has no SIGHUP, never comes.
    """
    number = getattr(signal, name, None)
    if number is None:
        return lambda: None
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(number, call)
    except NotImplementedError:  # Windows
        before = signal.signal(number, lambda *_: loop.call_soon_threadsafe(call))
        return lambda: signal.signal(number, before)
    return lambda: loop.remove_signal_handler(number)
