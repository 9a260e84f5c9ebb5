"""The root of every error this package raises on purpose, and what the command line makes of each."""

from __future__ import annotations

from typing import ClassVar


class SentinelError(Exception):
    """Something went wrong that a person may have to know; its text is one clear line."""

    exit_code: ClassVar[int] = 1


class UsageError(SentinelError):
    """The person asked for something that cannot be: a wrong value, a missing file, no data."""

    exit_code: ClassVar[int] = 2


class InUse(UsageError):
    """A data directory belongs to a process that runs."""


class JournalError(SentinelError):
    """The journal cannot be read or written."""


class JournalWriteFailed(JournalError):
    """The disk refused a transaction; everything before it is safe, and the next one may be tried."""


class BatchDamaged(JournalError):
    """A batch of the journal is not as it was written; the others are no worse for it."""


class TapeCorrupt(SentinelError):
    """A tape is damaged before its end, where no crash can have torn it."""

    def __init__(self, file: str, offset: int, why: str) -> None:
        self.file, self.offset, self.why = file, offset, why
        super().__init__(f"{file} is damaged at byte {offset}: {why}")
