"""A pass over the archive killed at some step: after the next one nothing is lost, nothing twice, and all is certified.

python -m tests.sentinel.archive.killed --what l2 --points 50
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner
from msgspec import Struct

from sentinel.archive.schedule import HOUR_NS, UNLIMITED
from sentinel.certificates.command import verify_command
from sentinel.certificates.rederive import _replay
from sentinel.disk.data_dir import ARCHIVE, HOURS, JOURNAL, PRUNED, TAPES
from sentinel.disk.tape import created_ns, read_tape, tape_files
from tests import dying
from tests.golden.make import tape_file, unpack_version_0_1
from tests.sentinel.archive.market import DAY_NS, trade, write
from tests.sentinel.l2_judge import moved

WORKER = "sentinel.run.archive_worker"
DAYS = 2
NEVER_S = 1e9
ALL = 10**6
"""A batch after the last one of the journal."""


class Scene(Struct, frozen=True):
    """A data directory, the pass over it that is to be killed, and what happens before the next one."""

    data_dir: Path
    command: Callable[[Path], tuple[str, list[object]]]
    between: Callable[[Path], None] = lambda data_dir: None
    is_whole_at_once: bool = False
    """Whether all is certified right after the death, too."""


def collected(data_dir: Path) -> Path:
    """A run over the end of an hour on each of some days: tapes in files of a second, and the journal to them."""
    source = tape_file("version_1")
    first_ns = next(read_tape(source)).received_ns
    for day in range(DAYS):
        moved(source, data_dir / TAPES, day * DAY_NS - first_ns % HOUR_NS - 2_500_000_000, max_age_s=1.0)
    asyncio.run(_replay(data_dir / TAPES, data_dir / JOURNAL, lambda file, offset: None))
    return data_dir


def after_ns(data_dir: Path) -> int:
    """A time when every hour is over."""
    return created_ns(tape_files(data_dir / TAPES)[-1]) + 3 * HOUR_NS


def worker(
    data_dir: Path, now_ns: int, after_id: int = 0, max_bytes: int | str = UNLIMITED, keep_tapes_s: float = NEVER_S
) -> tuple[str, list[object]]:
    """The command of a pass that has the journal before it from a batch on."""
    root = data_dir / ARCHIVE
    return WORKER, [data_dir / JOURNAL, root, after_id, now_ns, now_ns, UNLIMITED, max_bytes, keep_tapes_s]


def archive_scene(data_dir: Path) -> Scene:
    """Everything at once; before the next pass a trade of the first hour is repaired."""
    now_ns = after_ns(collected(data_dir))
    first_ns = created_ns(tape_files(data_dir / TAPES)[0])

    def repaired(folder: Path) -> None:
        asyncio.run(write(folder, [{"trades": [trade(1, first_ns - first_ns % HOUR_NS, repaired=True)]}]))

    return Scene(data_dir, lambda folder: worker(folder, now_ns), repaired)


def l2_scene(data_dir: Path) -> Scene:
    """What the journal had is archived and certified already: only the changes are missing."""
    now_ns = after_ns(collected(data_dir))
    (data_dir / TAPES).rename(data_dir / "later")
    dying.run(*worker(data_dir, now_ns), data_dir)
    (data_dir / "later").rename(data_dir / TAPES)
    return Scene(data_dir, lambda folder: worker(folder, now_ns, ALL))


def certificates_scene(data_dir: Path) -> Scene:
    """An archive that lost its certificates."""
    now_ns = after_ns(collected(data_dir))
    dying.run(*worker(data_dir, now_ns), data_dir)
    shutil.rmtree(data_dir / "certificates")
    return Scene(data_dir, lambda folder: ("sentinel", ["certify", "--data-dir", folder]))


def prune_scene(data_dir: Path) -> Scene:
    """A quarter of the days is too much, and tapes go once they are archived."""
    now_ns = after_ns(collected(data_dir))
    dying.run(*worker(data_dir, now_ns), data_dir)
    # in the middle of the older day: at the border of two, a certificate more or less would decide
    most = sum(file.stat().st_size for file in (data_dir / ARCHIVE).rglob("date=*/*")) * 3 // 4
    return Scene(data_dir, lambda folder: worker(folder, now_ns, ALL, most, 0.0), is_whole_at_once=True)


def upgrade_scene(data_dir: Path) -> Scene:
    """The first pass of this version over what version 0.1 left: of its tapes come changes, which it had not."""
    unpack_version_0_1(data_dir.parent).rename(data_dir)
    return Scene(data_dir, lambda folder: worker(folder, created_ns(tape_files(folder / TAPES)[-1]) + 3 * HOUR_NS))


SCENES = {
    "archive": archive_scene,
    "l2": l2_scene,
    "certificates": certificates_scene,
    "prune": prune_scene,
    "upgrade": upgrade_scene,
}


def rows(file: Path) -> pa.Table:
    """A file's rows, whatever the order of its columns and of the words in its dictionaries."""
    table = pq.read_table(file, partitioning=None)
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(field.type.value_type))
    return table.select(sorted(table.column_names))


def stored(data_dir: Path) -> dict[str, pa.Table]:
    """What the archive has, by file."""
    root = data_dir / ARCHIVE
    return {str(file.relative_to(root)): rows(file) for file in sorted(root.glob(f"*/*/*/{HOURS}"))}


def others(data_dir: Path) -> tuple[set[str], set[str], set[str]]:
    """All else that there is: files that are neither journal nor archive's hours, and what is noted as pruned."""
    files = {str(file.relative_to(data_dir)) for file in data_dir.rglob("*") if file.is_file()}
    notes = (data_dir / folder / PRUNED for folder in (ARCHIVE, TAPES))
    archived, taped = (set(note.read_text().splitlines()) if note.exists() else set() for note in notes)
    return {file for file in files if JOURNAL not in file and "certificates" not in file}, archived, taped


def verified(data_dir: Path) -> None:
    done = CliRunner().invoke(verify_command, ["--data-dir", str(data_dir)])
    assert done.exit_code == 0, done.output


def try_at(folder: Path, what: str, points: int, seed: int) -> list[float]:
    """Kills at so many different steps, each time in the same scene, and holds it against one without a death.
    Gives the seconds of each pass after one."""
    healed_s = []
    scene = SCENES[what](folder / "scene")
    whole = shutil.copytree(scene.data_dir, folder / "whole")
    steps = dying.some(dying.run(*scene.command(whole), whole), points, seed)
    scene.between(whole)
    assert dying.run(*scene.command(whole), whole) is not None
    verified(whole)
    wanted, wanted_others = stored(whole), others(whole)
    for step in steps:
        data_dir = shutil.copytree(scene.data_dir, folder / f"step-{step}")
        assert dying.run(*scene.command(data_dir), data_dir, step) is None
        if scene.is_whole_at_once:
            verified(data_dir)
        scene.between(data_dir)
        began_s = time.monotonic()
        assert dying.run(*scene.command(data_dir), data_dir) is not None
        healed_s.append(time.monotonic() - began_s)
        assert stored(data_dir) == wanted, f"step {step}"
        assert others(data_dir) == wanted_others, f"step {step}"
        verified(data_dir)
        shutil.rmtree(data_dir)
    return healed_s


@click.command()
@click.option("--what", type=click.Choice(list(SCENES)), required=True)
@click.option("--points", default=50, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "told", type=Path, help="Where the seconds of the passes after a death are written.")
def main(what: str, points: int, seed: int, told: Path | None) -> None:
    """Kill a pass over the archive at so many seeded points."""
    with tempfile.TemporaryDirectory() as folder:
        healed_s = try_at(Path(folder), what, points, seed)
    dying.tell(told, healed_s)
    click.echo(f"{what}: killed at {len(healed_s)} points: nothing lost, nothing twice, and everything certified holds")


if __name__ == "__main__":
    main()
