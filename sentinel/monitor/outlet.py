"""Text for a stream that nobody may be reading: a pipe that is full, a terminal that is held, a reader that has left.

Whoever writes never waits. A thread of its own hands on what is waiting, and is left behind if it hangs to the end.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import IO

MOST_WAITING_BYTES = 1024 * 1024
LAST_WORDS_S = 1.0
"""What a reader gets at the end to take what is waiting."""


class Outlet:
    """Looks like a text stream. What finds more than ``most_bytes`` waiting is dropped.

    ``told`` is called from the thread, with how many writes were dropped, as soon as the reader has caught up; it may
    write. If the reader does not come to the end, ``close`` calls it. ``is_broken`` once nobody can ever read: what
    comes then is dropped without a word.
    """

    def __init__(
        self,
        stream: IO[str] | None,
        told: Callable[[int], object] = lambda dropped: None,
        most_bytes: int = MOST_WAITING_BYTES,
    ) -> None:
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self.is_broken = stream is None  # as Python has it when the descriptor is closed
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._told = told
        self._most_bytes = most_bytes
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._is_closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)
        self._thread.start()

    def __enter__(self) -> Outlet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def write(self, text: str) -> int:
        """Takes the text, or drops it; what the stream's encoding does not have is escaped."""
        self.put(text.encode(self.encoding, "backslashreplace"))
        return len(text)

    def put(self, data: bytes) -> None:
        """Takes what is encoded already."""
        with self._changed:
            if self.is_broken:
                return
            if self._waiting_bytes + len(data) > self._most_bytes:
                self._dropped += 1
                return
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            self._changed.notify()

    def flush(self) -> None:
        """For those who think this is a file: the thread needs no telling."""

    def close(self, timeout_s: float = LAST_WORDS_S) -> None:
        """Gives the reader a last chance, and leaves."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._told(self._dropped + len(self._waiting))

    def _run(self) -> None:
        while not self.is_broken:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._dropped or self._is_closing)
                data = b"".join(self._waiting)
                dropped = 0
                if not data:
                    dropped, self._dropped = self._dropped, 0
                    if not dropped:
                        return
                self._waiting.clear()
            if dropped:
                self._told(dropped)
                continue
            try:
                self._hand_on(data)
            except (OSError, ValueError):  # the reader has left, or the stream was closed
                self.is_broken = True
            with self._changed:
                self._waiting_bytes -= len(data)

    def _hand_on(self, data: bytes) -> None:
        """By the descriptor: the stream's own buffer would be flushed once more, and hang, when the process ends."""
        if self._descriptor is None:
            assert self._stream is not None
            self._stream.write(data.decode(self.encoding))
            self._stream.flush()
            return
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # whoever gave it to us does not wait either
                select.select([], [self._descriptor], [])


def _descriptor(stream: IO[str] | None) -> int | None:
    """None for a stream that is only in memory."""
    if stream is None:
        return None
    try:
        stream.flush()
        return stream.fileno()
    except (OSError, ValueError):
        return None
