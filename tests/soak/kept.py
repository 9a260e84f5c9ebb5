"""What a reader has seen of a journal while its collector ran: retention takes batches, but not before that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from sentinel.contract.line_protocol import decode, measurement_of
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader

JUDGED = frozenset({b"top", b"trades", b"gaps", b"coverage"})


class Keeper:
    """Copies the lines that are judged into a file for each exchange below ``folder``.

    ``sampled`` has the series of samples that there are lines of, as they are written.
    """

    def __init__(self, data_dir: Path, folder: Path) -> None:
        self._journal = data_dir / JOURNAL
        self._folder = folder
        self._last_id = 0
        self._lock = Lock()  # of who is not waited for any more, the thread goes on
        self.sampled: set[bytes] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> None:
        """Everything since the last time.

        Raises:
            AssertionError: if there were batches in between that nobody has seen.
        """
        if not self._journal.exists():
            return
        lines: dict[str, list[bytes]] = {}
        with self._lock, JournalReader(self._journal) as reader:
            for batch in reader.batches(after_id=self._last_id):
                assert batch.id == self._last_id + 1, f"batches {self._last_id + 1} to {batch.id - 1} were not seen"
                self._last_id = batch.id
                for line in batch.lines():
                    if (name := measurement_of(line)) in JUDGED:
                        if name == b"top":
                            self.sampled.add(line.partition(b" ")[0])
                        lines.setdefault(exchange_of(line), []).append(line)
            for exchange, found in lines.items():
                with (self._folder / f"{exchange}.lp").open("ab") as file:
                    file.write(b"\n".join(found) + b"\n")


def exchange_of(line: bytes) -> str:
    tags = line.partition(b" ")[0]
    for tag in tags.split(b",")[1:]:
        name, _, value = tag.partition(b"=")
        if name == b"exchange":
            return value.decode()
    return dict(decode(line).tags)["exchange"]


def kept_lines(folder: Path, exchange: str) -> Iterator[bytes]:
    """In the order of writing."""
    with (folder / f"{exchange}.lp").open("rb") as file:
        for line in file:
            yield line.rstrip(b"\n")
