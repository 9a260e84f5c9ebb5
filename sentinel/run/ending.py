"""How a command ends that does not end well: what a person can do something about is one line, and an exit status."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress

import click

from sentinel.command.foreign import visible
from sentinel.errors import SentinelError
from sentinel.monitor.outlet import Outlet

INTERRUPTED = 130
FAULT, MISTAKE = 1, 2
OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG}
"""What a person may have to mend, but did not ask for."""


def run(command: Callable[[], object]) -> int:
    """Runs it, and gives the exit status. What is no person's business is raised."""
    try:
        status = command()
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _tell("Aborted!")
        return INTERRUPTED
    except SystemExit as end:
        _flush()
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except (sqlite3.Error, UnicodeDecodeError) as error:  # what Python's own module says of a damaged file
        _tell(f"sentinel-ws: the journal cannot be read: {error}")
        return FAULT
    except (SentinelError, OSError, BaseExceptionGroup) as error:
        found = cause_of(error)
        if found is None:
            raise
        return _ended_by(found)
    return status if isinstance(status, int) else 0


def cause_of(error: BaseException) -> SentinelError | OSError | None:
    """What of an error a person can do something about, however deep it lies in groups; None if it is anything else."""
    leaves = list(_leaves(error))
    if not all(isinstance(leaf, SentinelError | OSError) for leaf in leaves):
        return None
    return min(leaves, key=lambda leaf: not isinstance(leaf, SentinelError))  # type: ignore[return-value]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _ended_by(error: SentinelError | OSError) -> int:
    if isinstance(error, BrokenPipeError):  # the reader of our stdout has left, as `| head` does
        _leave_stdout()
        return 0
    if isinstance(error, SentinelError):
        _tell(f"sentinel-ws: {error}")
        return error.exit_code
    if error.errno is None:
        raise error
    where = "" if error.filename is None else f"{error.filename}: "
    _tell(f"sentinel-ws: {where}{error.strerror}")
    _flush()
    return FAULT if error.errno in OF_THE_MACHINE else MISTAKE


def _tell(line: str) -> None:
    try:
        with Outlet(sys.stderr) as outlet:  # nobody may be reading it, and the end must not wait
            outlet.write(f"{visible(line)}\n")
    except RuntimeError:  # there may be no thread for it
        sys.stderr.write(f"{visible(line)}\n")


def _flush() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _leave_stdout()


def _leave_stdout() -> None:
    """What is still in the stream would be written once more when the process ends, and fail again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
