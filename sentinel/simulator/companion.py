"""``simulate --exec``: a command beside the exchange, which finds it by its environment and ends it by ending."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence

import click

from sentinel.config.names import venue_environment
from sentinel.errors import UsageError

OURS = "sentinel-ws"
PATIENCE_S = 15.0
"""A collector ends within 10 s of being asked to."""

SIGNALLED = 128
"""What a shell adds to the number of a signal that ended a command."""


def words_of_command(command: str) -> list[str]:
    """The words of a command line. ``sentinel-ws`` is this one, wherever it is installed.

    Raises:
        UsageError: if it is none.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--exec {command!r}: {error}") from error
    if not words:
        raise UsageError("--exec needs a command, such as 'sentinel-ws collect BTC-USD'")
    return [sys.executable, "-m", "sentinel", *words[1:]] if words[0] == OURS else words


async def accompany(
    words: Sequence[str], urls: Mapping[str, Mapping[str, str]], stop: asyncio.Future[int], duration_s: float | None
) -> int:
    """Runs a command with the addresses of the exchanges in its environment; gives its exit status.

    Once ``stop`` has a signal, or after ``duration_s``, it is asked to end, and killed if it does not.

    Raises:
        UsageError: if it cannot be run.
    """
    environment = dict(os.environ)
    for exchange, addresses in urls.items():
        environment |= venue_environment(exchange, addresses)
    click.echo(f"simulating {', '.join(urls)} at {', '.join(each['rest'] for each in urls.values())}", err=True)
    try:
        process = await asyncio.create_subprocess_exec(*words, env=environment)
    except OSError as error:
        raise UsageError(f"cannot run {words[0]}: {os.strerror(error.errno or 0)}") from error
    ended = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait([ended, stop], timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            # Ctrl-C in a terminal has gone to the command as well, and a second signal would end it at once
            if not (stop.done() and stop.result() == signal.SIGINT and sys.stdin.isatty()):
                process.terminate()
            await asyncio.wait([ended], timeout=PATIENCE_S)
    finally:
        if process.returncode is None:
            process.kill()
    status = await ended
    return SIGNALLED - status if status < 0 else status
