"""``python -m tests.sentinel.planted_bug collect …``: the real command, with bugs where secrets are at hand.

With ``-- FILE``, several commands: a list of their environments and words comes in on stdin, and into the file goes one
of what each said.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from sentinel.cli import cli, main
from sentinel.influx.server import Server
from sentinel.monitor.alerts import Webhook
from sentinel.run import ending


def with_bug(kind: type, name: str, times: int) -> None:
    """Its first calls raise, with the object and its secrets on the stack."""
    works, calls = getattr(kind, name), []

    async def fails(self: Any, *arguments: Any, **named: Any) -> Any:
        calls.append(self)
        if len(calls) <= times:
            raise RuntimeError(f"a bug in {self!r} with {arguments!r}")
        return await works(self, *arguments, **named)

    setattr(kind, name, fails)


def several() -> None:
    runs, before, said = json.load(sys.stdin), dict(os.environ), []
    streams = sys.stdout, sys.stderr
    for environment, words in runs:
        os.environ.clear()
        os.environ.update(before | environment)
        sys.stdout = sys.stderr = paper = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        try:
            ending.run(partial(cli, words, prog_name="sentinel-ws", standalone_mode=False))
        except Exception:  # noqa: BLE001  # as Python shows it at the end of a process
            traceback.print_exc()
        finally:
            sys.stdout, sys.stderr = streams
        said.append(paper.buffer.getvalue().decode("utf-8", "replace"))
    Path(sys.argv[2]).write_text(json.dumps(said))


if __name__ == "__main__":
    with_bug(Webhook, "send", 1)
    if sys.argv[1] == "--":
        with_bug(Server, "has_v2", 1)
        several()
    else:
        with_bug(Server, "write", 2)
        sys.exit(main())
