"""The one buffer between the pipeline and everything that reads its lines: SQLite in WAL mode, on local disk.

Promises. A batch is there once ``append`` returns: for good after a crash of the process (the operating system holds
it), and after a power cut too, since every commit is synced. A transaction is all or nothing. Batch ids rise in the
order of writing and are never reused. A batch is removed only when every registered sink is past it. What the disk
loses of its end is not lost without a word (``mark``).

Shape. A transaction stores up to one batch for each stream, its lines joined by newlines and compressed with zstd, and
with them the pipeline's checkpoint, so that lines and state can never disagree. One thread owns the connection that
writes; other threads and processes read through ``JournalReader``, also while the collector runs.
"""

from sentinel.disk.journal.batches import Backlog, Batch, DeadLetter, Pruned
from sentinel.disk.journal.by_time import ByTime
from sentinel.disk.journal.check import damage
from sentinel.disk.journal.reader import ORDINARY_SPREAD_NS, JournalReader, unpacked
from sentinel.disk.journal.schema import STREAMS
from sentinel.disk.journal.writer import Journal

__all__ = [
    "ORDINARY_SPREAD_NS",
    "STREAMS",
    "Backlog",
    "Batch",
    "ByTime",
    "DeadLetter",
    "Journal",
    "JournalReader",
    "Pruned",
    "damage",
    "unpacked",
]
