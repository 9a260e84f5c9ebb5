"""An interpreter that has the peers: this one, or that of an environment made for them on first use.

cryptofeed 3 needs Python 3.13, so every arm of the comparison runs there, ours included.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-bench"
REQUIREMENTS = ROOT / "bench" / "requirements.txt"
MODULES = ("cryptofeed", "ccxt", "order_book", "orjson")
SHARED = ("msgspec", "numpy", "pydantic", "sortedcontainers", "zstandard")
"""What our side of the comparison needs, in the versions it has here."""

OLDEST = (3, 13)
PYTHON = "SENTINEL_BENCH_PYTHON"
"""Names an interpreter where none is found by itself."""


class NoInterpreter(Exception):
    """There is nowhere to run the peers; the text says why."""


def has_peers() -> bool:
    """Whether this interpreter has them."""
    return all(find_spec(name) for name in MODULES)


def python_with_peers() -> str:
    """The path of an interpreter that has the peers; some minutes at first use.

    Raises:
        NoInterpreter: if there is no Python of that age, or the peers cannot be installed.
    """
    if has_peers():
        return sys.executable
    python = VENV / "bin" / "python"
    wanted = [*REQUIREMENTS.read_text().split(), *(f"{name}=={version(name)}" for name in SHARED)]
    stamp = VENV / "installed.txt"
    if stamp.exists() and stamp.read_text().split() == wanted:
        return str(python)
    print("installing the peers ...", file=sys.stderr, flush=True)
    subprocess.run([_interpreter(), "-m", "venv", "--clear", str(VENV)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    if subprocess.run(install, stdout=sys.stderr, check=False).returncode:
        raise NoInterpreter("the peers cannot be installed here")
    stamp.write_text("\n".join(wanted))
    return str(python)


def _interpreter() -> str:
    """The first one that is new enough."""
    for candidate in _candidates():
        found = subprocess.run(
            [candidate, "-c", "import json, sys; print(json.dumps(sys.version_info[:2]))"],
            capture_output=True,
            check=False,
        )
        if found.returncode == 0 and tuple(json.loads(found.stdout)) >= OLDEST:
            return candidate
    raise NoInterpreter(f"the peers need Python {OLDEST[0]}.{OLDEST[1]}: none found; {PYTHON} can name one")


def _candidates() -> Iterator[str]:
    if PYTHON in os.environ:
        yield os.environ[PYTHON]
    yield sys.executable
    for minor in (13, 14):
        found = shutil.which(f"python3.{minor}")
        if found is not None:
            yield found
    # version managers keep theirs side by side
    base = Path(sys.base_prefix).parent
    for other in sorted(base.glob("3.1[3-9]*")):
        yield str(other / "bin" / "python3")
