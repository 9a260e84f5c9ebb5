"""Everything that is measured for RESULTS.md: each part a process of its own, so that none is in another's way."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.peers.environment import SHARED
from book.native import FLAVOUR
from book.native import PURE as PURE_ENVIRONMENT

ROOT = Path(__file__).parents[1]
LIBRARIES = (*SHARED, "websockets", "uvloop", "pyarrow")
REAL_LEVELS = 23_000
"""A side of BTC-USD."""

REAL_RATE = 20
"""Book frames a second of BTC-USD: the recording has 16."""


IN_BOTH = ("ratios", "scale")
WITHOUT = ", pure Python"
"""These parts are measured once more without the C extension, under this name."""


@dataclass(frozen=True)
class Effort:
    """How long to measure. ``options`` are those of each part."""

    scale_s: int
    curve_s: int
    ratios: tuple[str, ...]
    peers: tuple[str, ...]
    venues: tuple[str, ...]
    suites: tuple[str, ...]


FULL = Effort(60, 10, (), (), ("--minutes", "3", "--products", "40"), ("--benchmark-max-time=0.5",))
QUICK = Effort(
    3,
    1,
    ("--rounds", "3"),
    ("--repeats", "1", "--rounds", "1"),
    ("--minutes", "0.2", "--products", "2"),
    ("--benchmark-max-time=0.01",),
)


@dataclass
class Measured:
    """What every part printed, by its name; of one that failed, its last words in ``failures``."""

    machine: dict[str, str]
    found: dict[str, Any]
    failures: dict[str, str]

    def part(self, name: str, command: list[str], *, is_pure: bool = False) -> None:
        """Runs a part that prints JSON, a line for each object."""
        print(f"{name} ...", file=sys.stderr, flush=True)
        environment = os.environ | ({PURE_ENVIRONMENT: "1"} if is_pure else {})
        command = [sys.executable, "-m", *command]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        try:
            self.found[name] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        except json.JSONDecodeError as error:
            self.failures[name] = str(error)
        if done.returncode:
            self.failures[name] = _last_words(done)
        print(self.failures.get(name, "done"), file=sys.stderr, flush=True)

    def pure(self) -> Measured:
        """The same without the C extension, as far as that was measured."""
        peers = (self.found.get("peers") or [{}])[0].get("ratios", {})
        native, pure = peers.get("floor_ratio"), peers.get("pure_floor_ratio")
        ratios = {}
        if native and pure:
            of_whole = {name: peers.get(name) for name in ("floor_ratio", "vs_cryptofeed", "vs_ccxt")}
            ratios = {name: value and round(value * pure / native, 3) for name, value in of_whole.items()}
        found = {name: self.found[f"{name}{WITHOUT}"] for name in IN_BOTH if f"{name}{WITHOUT}" in self.found}
        return Measured(self.machine, found | {"peers": [{"ratios": ratios}]}, {})


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return lines[-1].replace(str(ROOT.parent), "..") if lines else f"exit status {done.returncode}"


def measure(effort: Effort) -> Measured:
    """Some ten minutes with ``FULL``."""
    measured = Measured(_machine(), {}, {})
    with tempfile.TemporaryDirectory(prefix="sentinel-bench-") as folder:
        written = Path(folder) / "suites.json"
        suites = ["pytest", "bench", "-c", "setup.cfg", "-o", "python_files=bench_*.py", "-n", "0", "-q"]
        measured.part("suites", [*suites, f"--benchmark-json={written}", *effort.suites])
        measured.found["suites"] = json.loads(written.read_text())["benchmarks"] if written.exists() else []
    measured.part("ratios", ["bench.ratios", "--json", *effort.ratios])
    measured.part(f"ratios{WITHOUT}", ["bench.ratios", "--json", *effort.ratios], is_pure=True)
    measured.part("peers", ["bench.peers", "--json", "--facts", *effort.peers])
    scale = ["bench.scale", "--json", "--duration"]
    measured.part("scale", [*scale, str(effort.scale_s)])
    measured.part(f"scale{WITHOUT}", [*scale, str(effort.scale_s)], is_pure=True)
    one = ["--products", "1", "--rate", str(REAL_RATE), "--levels", str(REAL_LEVELS)]
    measured.part("one product", [*scale, str(max(1, effort.scale_s // 3)), *one])
    measured.part("curve", [*scale, str(effort.curve_s), "--curve"])
    measured.part("venues", ["tests.soak.venues", "--calm", "--json", *effort.venues])
    return measured


def _machine() -> dict[str, str]:
    """Where this is: nothing that tells whose machine it is."""
    cpu = _field("/proc/cpuinfo", "model name") or platform.machine()
    memory_kb = int(_field("/proc/meminfo", "MemTotal").split()[0])
    commit = _git("rev-parse", "--short", "HEAD")
    if _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/RESULTS.md", ":!bench/RESULTS.svg"):
        commit += ", with changes"
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit,
        "cpu": f"{cpu}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory_kb / 2**20:.1f} GiB",
        "system": f"Linux {platform.release()}",
        "Python": platform.python_version(),
        "hottest loops": FLAVOUR,
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
    }


def _field(path: str, name: str) -> str:
    rows = (line.partition(":") for line in Path(path).read_text().splitlines())
    return next((value.strip() for key, _, value in rows if key.strip() == name), "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or ("unknown" if done.returncode else "")
