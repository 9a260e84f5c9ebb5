"""A plain wheel in a fresh environment, used as a stranger would; needs a package index.

    python -m tests.package.plain [WHEEL]     # of this tree by default

Prints what was installed and how long it took; exits with 1 at the first thing that does not work. It runs on any
Python, on nothing but its standard library.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120.0
USER = """
import book, feeds          # the user's own

import sentinel.data
import sentinel.live

assert book.mine and feeds.mine
try:
    print(sentinel.data.load("top", "BTC-USD", "1h", data_dir="data").table.num_rows)
except sentinel.data.UsageError:  # nobody collected anything
    print(0)
"""
ADDRESSES = """
import json, sys
from sentinel.config.names import venue_environment
print(json.dumps(venue_environment("coinbase", json.loads(sys.argv[1]))))
"""


class Failed(Exception):
    """A command did not do what it should."""


def bin_of(environment: Path) -> Path:
    """Where its commands are."""
    return environment / ("Scripts" if os.name == "nt" else "bin")


def use(commands: Path, folder: Path, *, seconds: int) -> int:
    """Collects from a local exchange, reports and loads, in a folder with a ``book.py`` and a ``feeds.py``; for so long
    and as often as it takes until there is a sample of the book.

    Gives how many samples of the book there are.

    Raises:
        Failed: with what a command wrote.
    """
    for name in ("book.py", "feeds.py"):
        (folder / name).write_text("mine = True\n")
    (folder / "user.py").write_text(USER)
    python, ours = commands / "python", commands / "sentinel-ws"
    simulate = [str(ours), "simulate", "--products", "BTC-USD,ETH-USD"]
    with subprocess.Popen(simulate, cwd=folder, env=clean(), stdout=subprocess.PIPE) as exchange:
        try:
            assert exchange.stdout is not None
            urls = exchange.stdout.readline().decode()
            places = json.loads(_output([python, "-c", ADDRESSES, urls], folder))
            collect = [ours, "collect", "BTC-USD", "ETH-USD", "--duration", f"{seconds}s", "--data-dir", "data"]
            samples, until_s = 0, time.monotonic() + TIMEOUT_S
            while not samples and time.monotonic() < until_s:  # a busy machine may get nowhere in so few seconds
                _output(collect, folder, places)
                samples = int(_output([python, "user.py"], folder))
        finally:
            exchange.terminate()
    if not samples:
        raise Failed("nothing was collected")
    ask: list[Path | str] = [ours, "gap-report", "--data-dir", "data", "--since", "1h", "--format", "json"]
    if not json.loads(_output(ask, folder))["products"]:
        raise Failed("gap-report knows no product")
    return samples


def clean() -> dict[str, str]:
    """This environment without our settings and without paths to modules of others."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SENTINEL_", "PYTHONPATH"))}


def _output(command: list[Path | str], folder: Path, places: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=clean() | (places or {}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"{command[0]} {command[1]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main(wheel: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="sentinel-plain-") as made:
        folder = Path(made)
        if wheel is None:
            _say("building")
            pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
            subprocess.run(pip, check=True)
            (wheel,) = folder.glob("*.whl")
        environment = folder / "environment"
        venv.create(environment, with_pip=True)
        python = bin_of(environment) / "python"
        started_s = time.monotonic()
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", str(wheel)], check=True)
        took_s = time.monotonic() - started_s
        packages = json.loads(_output([python, "-m", "pip", "list", "--format", "json"], folder))
        bytes_ = sum(path.stat().st_size for path in environment.rglob("*") if path.is_file())
        _say(
            f"{wheel.name} on {sys.version.split()[0]}: installed in {took_s:.0f} s, "
            f"{len(packages) - 1} packages beside pip, {bytes_ / 1e6:.0f} MB"
        )
        use_folder = folder / "use"
        use_folder.mkdir()
        _say(f"{use(bin_of(environment), use_folder, seconds=8)} samples of BTC-USD collected, reported and loaded")
        demo = [str(python), "-W", "error", "-m", "sentinel.run.demo", str(folder / "demo-data")]
        subprocess.run(demo, cwd=use_folder, env=clean(), check=True)


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None)
    except Failed as failed:
        sys.exit(str(failed))
