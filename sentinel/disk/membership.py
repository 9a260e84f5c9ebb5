"""What a member of a cluster must know to begin where no server of it can be reached: its share of last time."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec
from loguru import logger
from msgspec import Struct

from sentinel.disk.data_dir import MEMBERSHIP
from sentinel.disk.files import make_folder, replacing
from sentinel.errors import UNREADABLE, UsageError


class Membership(Struct, frozen=True):
    """``home`` is the data directory's name among those of all members, made by chance. ``markets`` was the share, None
    if there was none yet; ``sharing`` so many members had one address."""

    home: str
    markets: list[str] | None = None
    sharing: int = 1


class MembershipFile:
    """That of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / MEMBERSHIP

    def read(self) -> Membership:
        """What was kept; made anew if nothing was.

        Raises:
            UsageError: if it cannot be read.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Membership)
        except FileNotFoundError:
            made = Membership(secrets.token_hex(8))
            self.keep(made)
            return made
        except (OSError, *UNREADABLE) as error:
            raise UsageError(f"cannot read {self._path}: {error}") from error

    def keep(self, membership: Membership) -> None:
        """A disk that refuses costs no data: it is told, and the next change tries again."""
        try:
            make_folder(self._path.parent)
            with replacing(self._path) as new:
                new.write_bytes(msgspec.json.format(msgspec.json.encode(membership)) + b"\n")
        except OSError as error:
            logger.bind(reason=str(error)).error("membership_not_kept")
