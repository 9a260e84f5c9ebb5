"""Any bytes are a tape whose sound blocks are read, one that ends torn, or an error of ours that names the file."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from sentinel.disk.tape import TapeWriter, complete_bytes, read_blocks, read_header, read_tape
from sentinel.errors import SentinelError
from sentinel.replay.play import play
from tests.fuzz.golden import unpacked
from tests.fuzz.mutation import ODD_BYTES, damaged
from tests.fuzz.surfaces import Case, hold_line

INTS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\0\0\0", b"\0\0\0\x80"]


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    golden = sorted((unpacked(folder) / "tapes").glob("*.swtape"))
    yield partial(_case, folder, [file.read_bytes() for file in golden], [list(read_tape(file)) for file in golden])


def _case(folder: Path, tapes: list[bytes], records: list[list], rng: random.Random) -> str:  # type: ignore[type-arg]
    if rng.random() < 0.5:
        file = folder / "tape-1.swtape"
        file.write_bytes(damaged(rng, rng.choice(tapes), [*ODD_BYTES, *INTS]))
        what = "damaged"
    else:
        file, what = _rewritten(folder, rng, records), "sound, of odd records"
    try:
        read_header(file)
        assert complete_bytes(file) <= file.stat().st_size
        list(read_tape(file))
        for _, block in read_blocks(file):
            list(block)
        if rng.random() < 0.3:
            for step in play([file]):
                step.pipeline.take()
    except SentinelError as error:
        hold_line(error, str(file))
        return f"{what}, refused"
    finally:
        file.unlink()
    return what


def _rewritten(folder: Path, rng: random.Random, records: list[list]) -> Path:  # type: ignore[type-arg]
    """A tape that is whole, and holds what no collector writes."""
    header = {"created_ns": 1, "settings": {}, "lanes": [], "odd": rng.choice([None, "x", 1, [[]]])}
    writer = TapeWriter(folder, header)
    for record in rng.choice(records)[: rng.randrange(1, 60)]:
        payload = record.payload
        if rng.random() < 0.1:
            payload = damaged(rng, payload)
        writer.write(record.kind, record.lane, record.received_ns, payload)
    with suppress(OSError):
        writer.close()
    (file,) = folder.glob("*.swtape")
    return file
