"""Freezing, killed at some step: whatever the moment, nothing half made is listed and a second try works.

python -m tests.sentinel.dataset.killed --points 50
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from sentinel.dataset import manifest as manifests
from sentinel.dataset.verify import problems
from tests import dying
from tests.sentinel.dataset.made import make


def freeze(data_dir: Path, last_step: int = -1) -> int | None:
    """Freezes in a process of its own, which dies before ``last_step``. Gives its steps; None if it was killed."""
    command = ["dataset", "freeze", "paper", "--data-dir", data_dir]
    return dying.run("sentinel", command, data_dir / "datasets", last_step)


def try_at(folder: Path, points: int, seed: int) -> list[float]:
    """Kills at so many different steps, each time in an archive where nothing was frozen before. Gives the seconds of
    each second try."""
    healed_s = []
    steps = freeze(make(folder / "whole"))
    for step in dying.some(steps, points, seed):
        data_dir = make(folder / f"step-{step}")
        assert freeze(data_dir, step) is None
        # what is listed after the kill is whole
        made = manifests.places(data_dir)
        for place in made:
            assert problems(place.folder(data_dir), manifests.read(data_dir, place)) == []
        began_s = time.monotonic()
        assert freeze(data_dir) is not None
        healed_s.append(time.monotonic() - began_s)
        places = manifests.places(data_dir)
        assert [place.number for place in places] == list(range(1, len(made) + 2))
        found = [manifests.read(data_dir, place) for place in places]
        for place, manifest in zip(places, found, strict=True):
            assert problems(place.folder(data_dir), manifest) == []
        assert len({manifest.identity for manifest in found}) == 1
        assert not list((data_dir / "datasets").glob("*/.*.part"))
    return healed_s


@click.command()
@click.option("--points", default=50, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "told", type=Path, help="Where the seconds of the passes after a death are written.")
def main(points: int, seed: int, told: Path | None) -> None:
    """Kill the freezing of a data set at so many seeded points."""
    with tempfile.TemporaryDirectory() as folder:
        healed_s = try_at(Path(folder), points, seed)
    dying.tell(told, healed_s)
    click.echo(f"killed at {len(healed_s)} points: nothing half made, and each second try worked")


if __name__ == "__main__":
    main()
