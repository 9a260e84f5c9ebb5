"""A damaged row of the journal is an error that names it; a row that reads as sound is as it was written."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import zstandard

from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader
from sentinel.disk.journal.batches import batch_of, packer, state_of
from sentinel.errors import BatchDamaged, JournalError
from tests.fuzz.golden import unpacked
from tests.fuzz.mutation import ODD_BYTES, damaged
from tests.fuzz.surfaces import Case, hold_line

ODD: list[Any] = [None, -1, 0, 2**63 - 1, -(2**63), 1.5, "", "x", b"", b"\x28\xb5\x2f\xfd", b"\xff" * 9]
COLUMNS = ("stream", "first_ns", "last_ns", "line_count", "raw_bytes", "body")


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    path = unpacked(folder) / JOURNAL
    with JournalReader(path) as journal:
        whole = {batch.id: batch.body for batch in journal.batches()}
    pack = packer().compress
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for number, body in whole.items():  # as they are stored today
            db.execute("UPDATE batches SET body = ? WHERE id = ?", (pack(body), number))
        yield partial(_case, path, db, whole)


def _case(path: Path, db: sqlite3.Connection, whole: dict[int, bytes], rng: random.Random) -> str:
    number = rng.choice(sorted(whole))
    what = rng.choice(["body", "body", "row", "checkpoint"])
    db.execute("BEGIN")
    try:
        if what == "checkpoint":
            (state,) = db.execute("SELECT body FROM checkpoint").fetchone()
            db.execute(
                "UPDATE checkpoint SET body = ?", (damaged(rng, state) if rng.random() < 0.8 else rng.choice(ODD),)
            )
            _hold_checkpoint(db, path)
        else:
            _hold_batch(db, number, whole[number], rng, what)
    except sqlite3.IntegrityError:
        return f"{what}, refused by the schema"
    finally:
        db.execute("ROLLBACK")
    return what


def _hold_batch(db: sqlite3.Connection, number: int, body: bytes, rng: random.Random, what: str) -> None:
    row = db.execute(
        "SELECT id, stream, first_ns, last_ns, line_count, raw_bytes, body FROM batches WHERE id = ?", (number,)
    ).fetchone()
    if what == "body":
        row = (*row[:-1], damaged(rng, row[-1], ODD_BYTES))
    else:
        at = rng.randrange(1, len(row))
        row = (*row[:at], rng.choice(ODD), *row[at + 1 :])
    try:
        batch = batch_of(row, zstandard.ZstdDecompressor())
    except BatchDamaged as error:
        hold_line(error, f"batch {number} ")
        return
    assert batch.body == body
    batch.lines()


def _hold_checkpoint(db: sqlite3.Connection, path: Path) -> None:
    (body,) = db.execute("SELECT body FROM checkpoint").fetchone()
    try:
        state_of(body, zstandard.ZstdDecompressor())
    except JournalError as error:
        hold_line(error, "damaged")
