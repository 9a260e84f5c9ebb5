"""``sentinel-ws tape-from``: a recording made by others, as a tape, so that everything that reads tapes can read it."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from feeds.catalogue import FEEDS, VENUES
from feeds.protocol import Subscription
from sentinel.disk.data_dir import TAPE_SUFFIX
from sentinel.disk.tape import Kind, TapeWriter, tape_files
from sentinel.errors import UsageError
from sentinel.pipeline import LanePlan, Settings
from sentinel.simulator.catalogue import VENUES as DIALECTS
from sentinel.simulator.recording import Recording, load
from sentinel.version import software

TICK_NS = 100_000_000
QUIET_NS = 2_000_000_000
"""Recordings without heartbeats have longer silences than a live connection is allowed: time stands still in them."""

BLOCK_BYTES = 4 * 2**20
"""So much is held in memory and written at a time."""


def tape_from(path: Path, directory: Path) -> None:
    """Writes a tape of the first connection of a capture, as a collector would have recorded it.

    Raises:
        UsageError: if there is nothing playable at ``path``, if there is a tape in ``directory`` already, or it cannot
            be written.
    """
    recording = load(path, [venue.reader for venue in DIALECTS.values() if venue.reader is not None])[0]
    if any(directory.glob(f"*{TAPE_SUFFIX}")):
        raise UsageError(f"there is a tape in {directory} already; give each a folder of its own")
    try:
        _write(recording, directory)
    except OSError as error:
        for part in directory.glob(f"*{TAPE_SUFFIX}"):
            part.unlink()
        raise UsageError(f"cannot write to {directory}: {error.strerror}") from error


def _write(recording: Recording, directory: Path) -> None:
    tape = TapeWriter(directory, _header(recording))
    now_ns = recording.first_ns
    tape.write(Kind.START, 0, now_ns, b"")
    tape.write(Kind.OPENED, 0, now_ns, b"0")
    gathered_bytes = 0
    for offset_ns, frame in recording.frames():
        received_ns = recording.first_ns + offset_ns
        for tick_ns in range(now_ns - now_ns % TICK_NS + TICK_NS, min(received_ns, now_ns + QUIET_NS), TICK_NS):
            tape.write(Kind.TICK, 0, tick_ns, b"")
        payload = frame.text.encode()
        tape.write(Kind.FRAME, 0, received_ns, payload)
        now_ns = received_ns
        gathered_bytes += len(payload)
        if gathered_bytes >= BLOCK_BYTES:
            tape.flush()
            gathered_bytes = 0
    tape.write(Kind.STOP, 0, now_ns, b"")
    tape.close()


def _header(recording: Recording) -> dict[str, object]:
    subscription = Subscription(frozenset({"book", "trades"}), recording.products)
    exchange = next(exchange for exchange, dialect in DIALECTS.items() if dialect.reader is recording.reader)
    feed = recording.feed if recording.feed in FEEDS else f"{exchange}_{recording.feed}"
    book = next(book for book, of in VENUES[exchange].books.items() if of == feed)
    return {
        "created_ns": recording.first_ns,
        "software": software(),
        "settings": msgspec.to_builtins(Settings("capture"), enc_hook=str),
        "lanes": msgspec.to_builtins([LanePlan(0, feed, subscription)]),
        "books": {exchange: book},
    }


@click.command("tape-from")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder for the tape.")
def command(capture: Path, output: Path) -> None:
    """Make a tape of CAPTURE, frames one a line, such as raw.jsonl.zst with raw.recv_ts.txt.zst beside it."""
    tape_from(capture, output)
    for file in tape_files(output):
        click.echo(file)
