"""``python -m tests.soak.seen collect …``: the real command, which also writes down what only it can know of itself.

Every few seconds a line of JSON is added to the file ``SEEN`` in the environment: how many tasks of asyncio there are,
how many blocks Python has allocated, and what the C library has in use, keeps for later and has mapped.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sentinel.cli import main
from sentinel.collector.service import Service

EVERY_S = 5.0
NAMES = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip


class _MallInfo2(ctypes.Structure):
    """mallinfo(3): ``uordblks`` is in use, ``fordblks`` free and kept, ``hblkhd`` mapped on its own."""

    _fields_ = [(name, ctypes.c_size_t) for name in NAMES]


def _watch(path: Path, loop: asyncio.AbstractEventLoop) -> None:
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = _MallInfo2
    while True:
        info = library.mallinfo2()
        found = {
            "tasks": len(asyncio.all_tasks(loop)),
            "blocks": sys.getallocatedblocks(),
            "collections": sum(each["collections"] for each in gc.get_stats()),
            "malloc_used": info.uordblks + info.hblkhd,
            "malloc_free": info.fordblks,
        }
        with path.open("a") as file:
            file.write(json.dumps({"t_ns": time.time_ns(), **found}) + "\n")
        time.sleep(EVERY_S)


def watched(path: Path) -> None:
    """From the moment a collector runs."""
    run: Any = Service.run

    async def running(service: Service, *arguments: Any, **options: Any) -> Any:
        threading.Thread(target=_watch, args=(path, asyncio.get_running_loop()), daemon=True).start()
        return await run(service, *arguments, **options)

    Service.run = running  # type: ignore[method-assign]


if __name__ == "__main__":
    if path := os.environ.pop("SEEN", ""):
        watched(Path(path))
    sys.exit(main())
