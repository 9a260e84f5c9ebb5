"""The root of every error this package raises on purpose, and what the command line makes of each."""

from __future__ import annotations

from typing import ClassVar

UNREADABLE = (ValueError, RecursionError)
"""What decoders raise of what is not theirs, whoever wrote it: msgspec's errors are ValueErrors, and so are those of
Unicode, of TOML and of numbers with too many digits; what is nested too deeply is none."""


def one_line(text: str) -> str:
    """The text with what would end the line, or command a terminal, written out: others may have a part in it."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


class SentinelError(Exception):
    """Something went wrong that a person may have to know; its text is one clear line."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        return one_line(super().__str__())


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
