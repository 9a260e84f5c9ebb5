"""When a process stood still, since the machine had other things to do, is written down for the judges: what came late
then, or not at all, is nobody's fault.

``python -m tests.servers.stood MODULE …`` is ``python -m MODULE …`` whose collector writes to the file ``STOOD`` of the
environment when its event loop stood still; any collector that it starts is of ``MODULE`` and does, too.
"""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

from sentinel.collector.service import Service

FILE = "stood.jsonl"
"""Beside the truth, and beside the folders of the collectors."""

NAME = "tests.servers.stood"

STOOD = "machine"
"""As a fault: nobody's."""

LOOK_EVERY_S = 0.1
STOOD_S = 0.2
"""Longer than that is told: shorter than anything may come late without a reason."""


def read(path: Path) -> list[dict[str, Any]]:
    """As faults of a truth file: what overlaps is one, whichever process it was."""
    found: list[dict[str, Any]] = []
    told = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for fact in sorted(told, key=itemgetter("start_ns")):
        if found and fact["start_ns"] <= found[-1]["end_ns"]:
            found[-1]["end_ns"] = max(found[-1]["end_ns"], fact["end_ns"])
        else:
            found.append(fact)
    return found


async def note(path: Path) -> None:
    """Writes down when the event loop of this process stood still, until cancelled."""
    while True:
        began_s, began_ns = time.monotonic(), time.time_ns()
        try:
            await asyncio.sleep(LOOK_EVERY_S)
        finally:  # it may be told to end when it goes on
            if time.monotonic() - began_s > LOOK_EVERY_S + STOOD_S:
                fact = {"fault": STOOD, "start_ns": began_ns, "end_ns": time.time_ns()}
                with path.open("a") as file:
                    file.write(json.dumps(fact) + "\n")


@asynccontextmanager
async def noted(path: Path) -> AsyncIterator[None]:
    """For as long as it lasts."""
    noting = asyncio.create_task(note(path))
    try:
        yield
    finally:
        noting.cancel()
        with suppress(asyncio.CancelledError):
            await noting


def _watch(path: Path, module: str) -> None:
    """From the moment a collector runs."""
    run: Any = Service.run
    start: Any = asyncio.create_subprocess_exec

    async def running(service: Service, *arguments: Any, **options: Any) -> Any:
        async with noted(path):
            return await run(service, *arguments, **options)

    async def starting(program: str, *arguments: str, **options: Any) -> Any:
        is_collector = arguments[:3] == ("-m", "sentinel", "collect")
        return await start(program, *(("-m", NAME, module, *arguments[2:]) if is_collector else arguments), **options)

    Service.run = running  # type: ignore[method-assign]
    asyncio.create_subprocess_exec = starting


if __name__ == "__main__":
    module = sys.argv.pop(1)
    _watch(Path(os.environ["STOOD"]), module)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
