"""Any settings, in a file or in the environment, give a configuration or one line that says which is wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from functools import partial
from pathlib import Path

from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.config.names import environment_name, known_keys
from sentinel.errors import UsageError
from tests import ROOT
from tests.fuzz.mutation import ODD_BYTES, damaged, odd_text
from tests.fuzz.surfaces import Case, hold_line

ODD_VALUES = [
    "true",
    "0",
    "-1",
    "9223372036854775808",
    "9" * 5000,
    "0x7f",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "1_0",
    "[]",
    "{}",
    "[[]]",
    '""',
    '"\\u0000"',
    "'nan'",
    "2026-11-23",
    "2026-11-23T10:00:00Z",
    "10:00:00",
    "[1]",
    '["BTC-USD"]',
    '["BTC-USD", 7]',
    "{ a = 1 }",
    '["kraken:*"]',
    '"1s"',
    '"1e9"',
    '"http://127.0.0.1:1"',
    '"http://[::1"',
    '"http://x:99999999"',
    "[" * 2000 + "]" * 2000,
    "{ a = " * 2000 + "1" + "}" * 2000,
    '"' + "x" * 3000 + '"',
    "'''a\nb'''",
    '"${HOME}"',
    '"~"',
]
SECRET = "hunter2-hunter2"


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    example = (ROOT / "sentinel.example.toml").read_bytes()
    with chdir(folder):
        yield partial(_case, folder, example)


def _case(folder: Path, example: bytes, rng: random.Random) -> str:
    file, environment, what = None, {}, "environment"
    if rng.random() < 0.7:
        file, what = folder / "odd.toml", "file"
        file.write_bytes(_damaged(rng, example) if rng.random() < 0.2 else _made(rng))
    if file is None or rng.random() < 0.2:
        keys = rng.choices(sorted(known_keys()), k=rng.randrange(1, 4))
        environment = {environment_name(key): odd_text(rng, "1", "true", "BTC-USD").replace("\0", "") for key in keys}
        environment["SENTINEL_INFLUX_TOKEN"] = SECRET
    try:
        config = load({}, file, environment, lambda text: None)
    except UsageError as error:
        hold_line(error)
        _hold_secret(error)
        return f"{what} refused"
    assert isinstance(config, Config)
    return what


def _hold_secret(error: Exception) -> None:
    assert SECRET not in str(error)


def _damaged(rng: random.Random, example: bytes) -> bytes:
    lines = [line.removeprefix(b"# ") if rng.random() < 0.3 else line for line in example.splitlines(keepends=True)]
    return damaged(rng, b"".join(lines), [*ODD_BYTES, b"[", b"]", b"=", b'"""', b"'", b"#"])


def _made(rng: random.Random) -> bytes:
    """A few settings by their names, with odd values."""
    lines = []
    for key in rng.choices(sorted(known_keys()), k=rng.randrange(1, 5)):
        name = key if rng.random() < 0.9 else rng.choice([key[:-1], f"{key}.x", key.split(".", maxsplit=1)[0]])
        lines.append(f"{name} = {rng.choice(ODD_VALUES)}")
    return "\n".join(lines).encode()
