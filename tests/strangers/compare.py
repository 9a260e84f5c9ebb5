"""Other people's readers of Parquet against an archive in an object store: DuckDB, Polars, ClickHouse, Spark.

``make strangers``, or ``python -m tests.strangers.compare PYTHON`` with the interpreter of a virtual environment that
has ``tests/strangers/requirements.txt``. It is apart from the tests since these take some 700 MB; Spark needs Java.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import click

import sentinel.data
from sentinel.archive.upload import Uploader
from sentinel.disk.object_store import ObjectPath
from tests.sentinel.archive.market import HOUR_NS
from tests.sentinel.dataset.made import DAY_NS, HOURS, make
from tests.servers.object_store import BUCKET, CREDENTIALS, object_store
from tests.strangers.readers import READERS

SCRIPT = Path(__file__).with_name("readers.py")
MAY_FAIL = {"duckdb_of_bucket"}
"""Its extension for S3 comes from a server of its makers, and not with the package."""


@click.command()
@click.argument("python", type=click.Path(exists=True, dir_okay=False))
def main(python: str) -> None:
    """Exits with 1 if any of them cannot read it, or finds something else than we do."""
    os.environ.update(CREDENTIALS)
    with tempfile.TemporaryDirectory() as folder, object_store() as store:
        data_dir = make(Path(folder) / "data")
        Uploader(data_dir, ObjectPath.of(store.url()), lambda: DAY_NS).run()
        ids = sentinel.data.load("trades", "BTC-USD", DAY_NS, DAY_NS + HOURS * HOUR_NS, data_dir=store.url()).table[
            "trade_id"
        ]
        numbers = ids.to_pylist()
        ours = [len(numbers), min(numbers), max(numbers)]
        where = [str(data_dir), f"127.0.0.1:{store.port}", f"{BUCKET}/prefix"]
        asked = subprocess.run(
            [python, str(SCRIPT), *where], stdout=subprocess.PIPE, text=True, check=True, timeout=900
        )
    told = {name: found for name, *found in map(json.loads, asked.stdout.splitlines())}
    click.echo(f"ours: {ours}")
    wrong = {name for name, found in told.items() if found != ours}
    for name, found in told.items():
        click.echo(f"{name}: {found}")
    wrong |= {reader.__name__ for reader in READERS} - told.keys() - MAY_FAIL
    if wrong:
        raise click.ClickException(f"not as ours: {', '.join(sorted(wrong))}")


if __name__ == "__main__":
    main()
