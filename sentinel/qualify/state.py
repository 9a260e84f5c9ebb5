"""What a qualification knows so far, on disk: a crash or a restart costs it nothing but the last minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from sentinel.disk.files import replacing
from sentinel.errors import UNREADABLE, UsageError
from sentinel.monitor.observation import Observation
from sentinel.qualify.evidence import Environment, MemoryPoint, Verified
from sentinel.qualify.lines import LineState
from sentinel.qualify.tapes import TapeState

STATE = "state.json"
VERSION = 1


class SessionState(Struct):
    """One run of the command."""

    start_ns: int
    end_ns: int
    ended: str = "it was killed"


class ProcessState(Struct):
    """One collector process, and the last it said."""

    start_ns: int
    end_ns: int
    status: int | None = None
    last: Observation | None = None


class Known(Struct):
    """Everything. ``asked_s`` is the duration that was asked for, ``products`` the words of the command line."""

    products: list[str]
    asked_s: float
    environment: Environment
    settings: dict[str, Any]
    cadence_ns: int
    data_dir: str = ""
    version: int = VERSION
    sessions: list[SessionState] = []
    processes: list[ProcessState] = []
    series: list[MemoryPoint] = []
    tapes: TapeState = field(default_factory=TapeState)
    lines: LineState = field(default_factory=LineState)
    disk_bytes: dict[str, int] = {}
    verified: Verified | None = None
    notes: list[str] = []

    @property
    def collected_s(self) -> float:
        """How long the command has run, over all its sessions."""
        return sum(session.end_ns - session.start_ns for session in self.sessions) / 1e9


def save(known: Known, output: Path) -> None:
    """Puts it on disk, whole or not at all.

    Raises:
        OSError: if the disk refuses.
    """
    with replacing(output / STATE) as part:
        part.write_bytes(msgspec.json.encode(known))


def forget(output: Path) -> None:
    """Of a qualification that did not even begin nothing stays."""
    (output / STATE).unlink(missing_ok=True)


def read(output: Path) -> Known:
    """What an earlier session has left.

    Raises:
        UsageError: if there is nothing, or nothing that can be gone on with.
    """
    path = output / STATE
    try:
        known = msgspec.json.decode(path.read_bytes(), type=Known)
    except FileNotFoundError:
        raise UsageError(f"there is no qualification in {output} to go on with") from None
    except (OSError, *UNREADABLE) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if known.version != VERSION:
        raise UsageError(f"{path} is of another version of sentinel-ws; begin anew in another folder")
    return known
