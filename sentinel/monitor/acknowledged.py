"""What an operator has acknowledged: alerts that are known, and are to be told no more while they are no worse.

A file each in the data directory, so that it outlives the collector. Whoever acknowledges makes the file, the collector
takes it away when the alert has cleared, has become worse, or was to be silent only until a time that has come.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct

from sentinel.disk.data_dir import ACKNOWLEDGED
from sentinel.disk.files import make_folder, replacing
from sentinel.errors import UNREADABLE

Key = tuple[str, str]
"""Kind and ``about`` of an alert."""


class Acknowledgement(Struct, frozen=True):
    """``at_ns`` is when, ``until_ns`` until when at most. ``amount`` is how much was known, such as trades missing, and
    None until the collector has taken notice; more of it is told again."""

    kind: str
    about: str
    at_ns: int
    note: str = ""
    until_ns: int | None = None
    amount: int | None = None

    @property
    def key(self) -> Key:
        return self.kind, self.about

    def holds(self, amount: int, now_ns: int) -> bool:
        """Whether it still covers an alert of that amount."""
        is_over = self.until_ns is not None and now_ns >= self.until_ns
        return not is_over and (self.amount is None or amount <= self.amount)


class AcknowledgedFolder:
    """Those in a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / ACKNOWLEDGED

    def read(self) -> dict[Key, Acknowledgement]:
        """All of them. One that is unreadable counts as none."""
        found = {}
        for file in sorted(self._folder.glob("*.json")):
            try:
                one = msgspec.json.decode(file.read_bytes(), type=Acknowledgement)
            except (OSError, *UNREADABLE):
                continue
            found[one.key] = one
        return found

    def put(self, one: Acknowledgement) -> None:
        """Adds or replaces one."""
        make_folder(self._folder)
        with replacing(self._file(one.key)) as temporary:
            temporary.write_bytes(msgspec.json.encode(one))

    def drop(self, key: Key) -> bool:
        """Whether there was one, which is gone now."""
        file = self._file(key)
        is_there = file.exists()
        file.unlink(missing_ok=True)
        return is_there

    def settle(self, before: Mapping[Key, Acknowledgement], after: Mapping[Key, Acknowledgement]) -> None:
        """Stores what has changed between two views of it."""
        for key in before.keys() - after.keys():
            self.drop(key)
        for key, one in after.items():
            if before.get(key) != one:
                self.put(one)

    def _file(self, key: Key) -> Path:
        kind, about = (quote(part, safe="") for part in key)
        return self._folder / f"{kind}~{about}.json"
