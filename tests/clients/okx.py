"""ccxt.pro's `okx`, unchanged but for the URL, against `sentinel-ws simulate --venue okx`: what it saw must be what the
exchange wrote down.

    python -m tests.clients.okx .venv-clients/bin/python

How that Python is made says `compare`. ccxt takes the trades of the public address, and wants its chain whole.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from tests.clients.compare import HERE, SECONDS, Client, Seen, disagreements, enter, read_truth

PRODUCTS = ("BTC-USDT", "ETH-USDT")
CLIENT = Client("ccxt.pro okx", "okx", ("unified.py", "okx"), tops="some", side="taker")


def main(python: str) -> int:
    """Returns 0 if it agrees."""
    with tempfile.TemporaryDirectory() as folder:
        truth = Path(folder) / "truth.jsonl"
        command = [sys.executable, "-m", "sentinel", "simulate", "--venue", "okx", "--truth", str(truth)]
        command += ["--products", ",".join(PRODUCTS), "--levels", "500", "--seed", "3"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                urls = json.loads(process.stdout.readline())
                seen = listen(python, urls["okx"].removesuffix("/public"))
            finally:
                process.terminate()
        found = list(disagreements(CLIENT, seen, read_truth(truth, "okx"), PRODUCTS))
    counts = ", ".join(f"{len(seen.tops[name])} tops {len(seen.trades[name])} trades" for name in PRODUCTS)
    click.echo(f"{CLIENT.name}: {'agrees' if not found else 'DISAGREES'} ({counts})")
    for words in found:
        click.echo(f"  {words}")
    return 1 if found else 0


def listen(python: str, url: str) -> Seen:
    command = [python, str(HERE / "unified.py"), "okx", url, SECONDS, *PRODUCTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    seen = Seen()
    for line in done.stdout.splitlines():
        enter(seen, json.loads(line))
    if done.returncode:
        seen.error = done.stderr.strip().splitlines()[-1]
    return seen


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
