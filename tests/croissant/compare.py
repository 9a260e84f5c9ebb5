"""Croissant's own validator on the metadata of a data set: it must object to nothing and read the rows we read.

python3 -m venv .venv-croissant && .venv-croissant/bin/pip install -r tests/croissant/requirements.txt
python -m tests.croissant.compare .venv-croissant/bin/python
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from click.testing import CliRunner

import sentinel.data
from sentinel.dataset.croissant import CROISSANT
from sentinel.run.dataset import dataset
from tests.sentinel.archive.market import SYMBOLS
from tests.sentinel.dataset.made import make


@click.command()
@click.argument("python", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(python: Path) -> None:
    """PYTHON is that of the environment with mlcroissant."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = make(Path(folder))
        options = ["--licence", "https://creativecommons.org/licenses/by/4.0/", "--data-dir", str(data_dir)]
        CliRunner().invoke(dataset, ["freeze", "paper", *options], catch_exceptions=False)
        found = sentinel.data.dataset("paper@1", data_dir=data_dir)
        command = [python, Path(__file__).parent / "validate.py", found.folder / CROISSANT]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            sys.exit(f"mlcroissant cannot read it: {done.stderr[-2000:]}")
        said = json.loads(done.stdout)
        wrong = [*said["errors"], *said["warnings"]]
        for name in found.manifest.measurements:
            ours = sum(found.load(name, symbol, only_verified=False).table.num_rows for symbol in SYMBOLS)
            theirs = said["rows"][name]
            if len(theirs) != ours or {row["symbol"] for row in theirs} != set(SYMBOLS):
                wrong.append(f"{name}: it reads {len(theirs)} rows, we read {ours}")
    if wrong:
        sys.exit("\n".join(wrong))
    click.echo("mlcroissant objects to nothing, and reads the same rows")


if __name__ == "__main__":
    main()
