"""Seeded runs of a collector, and of what writes its archive, whose power is cut: what was synced is all there is.

    python -m tests.faults.power_cut 0-29 --at-once 2

Of a seed, the real command collects from the local exchange, and dies three times at a step that the seed draws, as in
``crash.py``. Each time what it has not synced is lost, or some of it (``cut_disk.py``), and the next life begins with
what is left. In the end store and report must be the truth: no sample and no trade is lost without being named. The
moments before each death are looked at, too: at each of them

* the journal has every line that InfluxDB has been given,
* the tapes give every line of the journal again.

And for each seed a pass over an archive (``tests/sentinel/archive/killed.py``) or a freezing is cut at some moments:
the next pass must make of it what there is without a cut, and what was certified or noted as removed must hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import click
import msgspec
from loguru import logger

from sentinel.certificates.rederive import _replay
from sentinel.disk.data_dir import JOURNAL, TAPES
from sentinel.disk.journal import JournalReader
from sentinel.disk.shards import has_tapes
from sentinel.errors import SentinelError, UsageError
from tests import ROOT, dying
from tests.faults import crash
from tests.faults.crash import KeepingInflux
from tests.faults.cut_disk import Change, Disk
from tests.faults.pool import play_each, problems_of
from tests.faults.rows import Row, merged, write
from tests.sentinel.archive import killed
from tests.sentinel.archive.killed import SCENES

DEATHS = 3
PASS = "the pass "
MOMENTS = 4
"""Of each life, besides its end, and of each pass."""


class PowerCut:
    """Cuts the power at each death, and looks at some moments before it, in ``scratch``."""

    def __init__(self, seed: int, scratch: Path, moments: int = MOMENTS) -> None:
        self.moments = 0
        """How many were looked at."""
        self._rng = random.Random(f"cut {seed}")
        self._scratch = scratch
        self._of_each = moments
        self._disk: Disk | None = None

    def environment(self, data: Path) -> dict[str, str]:
        self._disk = Disk(data)
        return self._disk.environment

    def died(self, data: Path, store: KeepingInflux) -> list[str]:
        assert self._disk is not None
        problems: list[str] = []
        changes = self._disk.changes()
        for number in range(min(self._of_each, len(changes))):
            until = self._rng.randint(1, len(changes)) if number else len(changes)
            self._disk.cut(changes[:until], self._scratch, str(self._rng.random()), is_strict=not number % 2)
            given = [line for at_ns, lines in store.kept if at_ns < changes[until - 1].time_ns for line in lines]
            found = list(_claims(self._scratch, given))
            problems += [f"after {until} of {len(changes)} changes: {problem}" for problem in found]
            self.moments += 1
        said = (data / "stderr.txt").read_text()
        self._disk.cut(changes, self._scratch, str(self._rng.random()))
        shutil.rmtree(data)
        self._scratch.rename(data)
        (data / "stderr.txt").write_text(said)
        return problems


def _claims(data: Path, given: list[bytes]) -> Iterator[str]:
    """What was said of a collector's data and does not hold: ``given`` are the lines that the store has."""
    stored: set[bytes] = set()
    if (data / JOURNAL).exists():
        try:
            with JournalReader(data / JOURNAL) as reader:
                stored = {line for batch in reader.batches() for line in batch.lines()}
        except SentinelError as error:
            yield f"the journal cannot be read: {error}"
            return
    lost = [line for line in given if line not in stored]
    if lost:
        yield f"{len(lost)} lines that the store has are not in the journal, such as {lost[0]!r}"
    again: set[bytes] = set()
    if has_tapes(data):
        scratch = data / "again.sqlite3"
        try:
            asyncio.run(_replay(data / TAPES, scratch, lambda file, offset: None))
        except UsageError:  # no run had begun
            pass
        except SentinelError as error:
            yield f"the tapes cannot be played: {error}"
            return
        with JournalReader(scratch) as reader:
            again = {line for batch in reader.batches() for line in batch.lines()}
    lost = sorted(stored - again)
    if lost:
        yield f"{len(lost)} of {len(stored)} stored lines are not on the tapes, such as {lost[0]!r}"


class Recorded:
    """A pass over an archive, each of its changes written down, and what it comes to without a cut."""

    def __init__(self, folder: Path, what: str) -> None:
        self.scene = SCENES[what](folder / "scene")
        whole = shutil.copytree(self.scene.data_dir, folder / "whole")
        live = shutil.copytree(self.scene.data_dir, folder / "live")
        self.disk = Disk(live)
        module, arguments = self.scene.command(live)
        command = [sys.executable, "-m", module, *map(str, arguments)]
        subprocess.run(command, cwd=ROOT, env=os.environ | self.disk.environment, capture_output=True, check=True)
        self.changes: Sequence[Change] = self.disk.changes()
        self._run(whole)
        self.scene.between(whole)
        self._run(whole)
        self._wanted = killed.stored(whole), killed.others(whole)

    def _run(self, data_dir: Path) -> None:
        assert dying.run(*self.scene.command(data_dir), data_dir) is not None

    def problems(self, until: int, data_dir: Path, seed: str, *, is_strict: bool) -> Iterator[str]:
        """What is wrong after a cut at a moment and the pass after it."""
        self.disk.cut(self.changes[:until], data_dir, seed, is_strict=is_strict)
        try:
            if self.scene.is_whole_at_once:
                killed.verified(data_dir)
            self.scene.between(data_dir)
            self._run(data_dir)
            killed.verified(data_dir)
        except AssertionError as error:
            yield str(error)[-500:]
            return
        rows, others = self._wanted
        found = killed.stored(data_dir)
        different = [name for name in sorted(rows.keys() | found.keys()) if rows.get(name) != found.get(name)]
        if different:
            yield f"{len(different)} files of the archive are not as without a cut, such as {different[0]}"
        different = [
            sorted(ours ^ theirs)[0]
            for ours, theirs in zip(others, killed.others(data_dir), strict=True)
            if ours != theirs
        ]
        if different:
            yield f"there is, or there is not, {', '.join(different)}"


def cut_pass(folder: Path, what: str, moments: int, seed: int) -> Iterator[str]:
    """Cuts a pass at its end and at so many seeded moments less one; gives what is wrong."""
    rng = random.Random(f"cut {what} {seed}")
    recorded = Recorded(folder, what)
    for number in range(moments):
        until = rng.randint(1, len(recorded.changes)) if number else len(recorded.changes)
        for problem in recorded.problems(until, folder / "cut", f"{seed} {number}", is_strict=not number % 2):
            yield f"{PASS}{what} after {until} of {len(recorded.changes)} changes: {problem}"


def play(keep: Path, seed: int) -> list[str]:
    """One seed; what is wrong."""
    logger.disable("sentinel")  # what is played here says what it finds in the middle of a run
    folder = keep / str(seed)
    folder.mkdir(parents=True)
    power = PowerCut(seed, folder / "cut")
    steps = crash.draw(seed)[:DEATHS]
    problems = asyncio.run(crash.run(seed, folder, steps, power))
    what = list(SCENES)[seed % len(SCENES)]
    problems += cut_pass(folder / what, what, MOMENTS, seed)
    (folder / "looked-at.json").write_bytes(msgspec.json.encode({"moments": power.moments, "of_pass": what}))
    return problems


def rows(wrong: Mapping[int, Sequence[str]], seeds: Sequence[int], keep: Path) -> list[Row]:
    """Those of the deaths, as of any other; the moments that were looked at; and the passes."""
    in_pass = {seed: [words for words in told if words.startswith(PASS)] for seed, told in wrong.items()}
    collecting = {seed for seed, told in wrong.items() if len(told) > len(in_pass[seed])}
    of_deaths = crash.rows(seeds, collecting, keep)
    notes = {seed: keep / str(seed) / "looked-at.json" for seed in seeds}
    looked_at = {seed: json.loads(note.read_text()) for seed, note in notes.items() if note.exists()}
    found = [
        msgspec.structs.replace(merged(of_deaths), fault="power cut, collector started again", lost=len(collecting)),
        Row(
            "moments of a collector at which it was cut",
            sum(one["moments"] for one in looked_at.values()),
            len(collecting),
        ),
    ]
    for what in sorted({one["of_pass"] for one in looked_at.values()}):
        passes = [seed for seed, one in looked_at.items() if one["of_pass"] == what]
        lost = sum(len(in_pass.get(seed, ())) for seed in passes)
        found.append(Row(f"power cut in a pass: {what}", len(passes) * MOMENTS, lost))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Cut the power of a collector, and of its archive, at seeded moments.")
    parser.add_argument("seeds", help="one seed, or a range such as 0-29")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=None, help="where runs are left to look at")
    parser.add_argument("--json", type=Path, default=None, help="where rows of a table are written")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    seeds = list(range(int(first), int(last or first) + 1))
    keep = options.keep or Path(tempfile.mkdtemp(prefix="sentinel-power-cuts-"))
    click.echo(f"runs are kept in {keep}")
    wrong: dict[int, list[str]] = {}
    for seed, came in play_each(partial(play, keep), seeds, options.at_once):
        problems = problems_of(came)
        click.echo("\n   ".join([f"seed {seed}: {'WRONG' if problems else 'good'}", *problems[:8]]))
        if problems:
            wrong[seed] = problems
    click.echo(f"{len(seeds) - len(wrong)} held, {len(wrong)} did not {sorted(wrong)}")
    write(options.json, rows(wrong, seeds, keep))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
