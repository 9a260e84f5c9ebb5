"""Every command at 40 and 80 columns and to a pipe, in locales without UTF-8, and its help: no traceback, no line wider
than the terminal, nothing cut off (F9 to F12 of the tour)."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

import sentinel.cli
from tests import ROOT
from tests.end_to_end.store import has
from tests.sentinel.command.test_options import leaves
from tests.servers.collector import unset_environment
from tests.servers.waiting import LONGEST_S

PRODUCTS = "BTC-USD,ETH-USD"
FAULTS = '[[fault]]\nkind = "drop"\nfeed = "advanced"\nat_s = 2.0\ncount = 4\n[[fault]]\nkind = "hide"\nat_s = 3.0\n'
CASES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("alerts", "test"): (),
    ("archive",): ("--until", "now"),
    ("audit",): ("--influx-url", "http://127.0.0.1:1"),
    ("backfill", "trades"): ("BTC-USD", "--since", "soon"),
    ("buckets", "ensure"): ("--influx-url", "http://127.0.0.1:1"),
    ("buckets", "list"): ("--influx-url", "http://127.0.0.1:1"),
    ("buckets", "rotate"): ("--influx-url", "http://127.0.0.1:1"),
    ("capabilities",): (),
    ("certify",): (),
    ("check-config",): (),
    ("alerts", "acknowledge"): ("silence", "coinbase"),
    ("alerts", "list"): ("--http", "127.0.0.1:1"),
    ("cluster", "status"): (),
    ("collect",): ("BTC/USD",),
    ("dataset", "freeze"): ("name", "--since", "now"),
    ("dataset", "list"): (),
    ("dataset", "verify"): ("name@1",),
    ("deliver", "archive"): (),
    ("deliver", "influx"): (),
    ("export",): ("--measurement", "gaps", "--format", "csv"),
    ("gap-report",): (),
    ("plot",): ("coverage", "BTC-USD", "--output", "x.doc"),
    ("products",): ("nowhere",),
    ("qualify",): ("BTC/USD",),
    ("replay",): ("data/tapes", "--digest"),
    ("simulate",): ("--products", "0"),
    ("sql",): ("SELECT symbol, cause, missing_count FROM gaps",),
    ("status",): (),
    ("tape-from",): ("nowhere", "--output", "x"),
    ("top",): (),
    ("verify",): (),
}
"""How each command is called here; most that need a server or a network show what they say without one."""

ENDS_WELL = {("capabilities",), ("check-config",), ("export",), ("gap-report",), ("replay",), ("sql",)}
OF_DATA = {("export",), ("replay",)}
"""What they write is for programs."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where some seconds of a market with faults were collected."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "faults.toml").write_text(FAULTS)
    (folder / "sentinel.toml").write_text('products = ["BTC-USD", "ETH-USD"]\n')
    collect = "sentinel-ws collect BTC-USD ETH-USD --duration 6s"
    simulate = ("simulate", "--products", PRODUCTS, "--levels", "300", "--faults", "faults.toml", "--exec", collect)
    done = sentinel_ws(*simulate, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def sentinel_ws(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "sentinel", *arguments],
        cwd=cwd,
        env=unset_environment() | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        timeout=120,
        check=False,
    )


class Here:
    """The command line in this process, with streams of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(place)
        for name in list(os.environ):
            if name.startswith("SENTINEL_"):
                monkeypatch.delenv(name)

    def run(self, *arguments: str, encoding: str = "utf-8", columns: int | None = None) -> tuple[int, str, str]:
        """Exit status, stdout and stderr."""
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        with self._monkeypatch.context() as patched:
            if columns is None:
                patched.delenv("COLUMNS", raising=False)
            else:
                patched.setenv("COLUMNS", str(columns))
            patched.setattr(sys, "argv", ["sentinel-ws", *arguments])
            patched.setattr(sys, "stdout", streams[0])
            patched.setattr(sys, "stderr", streams[1])
            with pytest.raises(SystemExit) as ended:
                sentinel.cli.main()
            for stream in streams:
                stream.flush()
        out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams)  # type: ignore[attr-defined]
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, place: Path) -> Here:
    return Here(monkeypatch, place)


def commands() -> list[tuple[str, ...]]:
    return [path for path, _ in leaves()]


def test_every_command_is_swept() -> None:
    assert sorted(CASES) == sorted(commands())


def check(path: tuple[str, ...], columns: int, status: int, out: str, err: str) -> None:
    assert "Traceback" not in out + err
    assert "…" not in out
    if path in ENDS_WELL:
        assert status == 0, err
    if status == 2:
        assert err
    if path not in OF_DATA:
        assert max(map(len, out.splitlines()), default=0) <= columns


@pytest.mark.parametrize(
    ("columns", "encoding"), [(40, "utf-8"), (80, "utf-8"), (80, "latin-1"), (40, "ascii"), (80, "cp1252")]
)
@pytest.mark.parametrize("path", sorted(CASES), ids=" ".join)
def test_it_fits_the_terminal(path: tuple[str, ...], columns: int, encoding: str, here: Here) -> None:
    check(path, columns, *here.run(*path, *CASES[path], encoding=encoding, columns=columns))


@pytest.mark.parametrize("path", sorted(CASES), ids=" ".join)
def test_to_a_pipe_nothing_wraps(path: tuple[str, ...], here: Here) -> None:
    status, out, err = here.run(*path, *CASES[path])
    check(path, 10_000, status, out, err)


@pytest.mark.parametrize(("columns", "encoding"), [(40, "utf-8"), (80, "latin-1")])
@pytest.mark.parametrize("path", [(), *sorted(CASES), ("alerts",), ("buckets",), ("dataset",)], ids=" ".join)
def test_help_fits_the_terminal_and_is_whole(path: tuple[str, ...], columns: int, encoding: str, here: Here) -> None:
    status, out, err = here.run(*path, "--help", encoding=encoding, columns=columns)
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= columns
    assert "..." not in out.replace("[ARGS]...", "").replace("]...", "").replace(",...", "")


def test_the_list_of_a_group_has_whole_sentences(here: Here) -> None:
    _, out, _ = here.run("--help", columns=80)
    words = " ".join(out.split())
    for path, command in leaves():
        if len(path) == 1:
            assert " ".join(command.get_short_help_str(limit=10_000).split()) in words


def in_terminal(place: Path, columns: int, *arguments: str, **environment: str) -> tuple[int, str]:
    """Exit status and what a terminal of so many columns was shown."""
    pid, descriptor = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        os.chdir(place)
        clean = unset_environment() | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "NO_COLOR": "1"} | environment
        clean.pop("COLUMNS", None)
        os.execve(sys.executable, [sys.executable, "-m", "sentinel", *arguments], clean)
    shown = b""
    try:
        while piece := os.read(descriptor, 65536):
            shown += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


@pytest.mark.parametrize("columns", [40, 80])
def test_a_real_terminal(columns: int, place: Path) -> None:
    status, shown = in_terminal(place, columns, "gap-report")
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert status == 0
    assert "BTC-USD" in text
    assert max(map(len, text.splitlines())) <= columns


@pytest.mark.parametrize("language", ["C", "POSIX", "no_SUCH.latin1"])
def test_a_real_locale_without_utf8(language: str, place: Path) -> None:
    plain = {"LC_ALL": language, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = sentinel_ws("gap-report", cwd=place, **plain)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_the_configuration_is_utf8_in_any_locale(place: Path, tmp_path: Path) -> None:
    config = tmp_path / "own.toml"
    config.write_text('products = ["BTC-USD"]\ndata_dir = "Märkte"  # größer\n', encoding="utf-8")
    done = sentinel_ws("check-config", "--config", str(config), cwd=tmp_path, PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted(ENDS_WELL - {("check-config",)}), ids=" ".join)
def test_a_full_disk_behind_stdout_is_one_line(path: tuple[str, ...], place: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sentinel", *path, *CASES[path]],
            cwd=place,
            env=unset_environment() | {"PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.decode() == "sentinel-ws: No space left on device\n"


@pytest.mark.parametrize("path", sorted(ENDS_WELL), ids=" ".join)
def test_a_reader_that_leaves_is_no_failure(path: tuple[str, ...], place: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "sentinel", *path, *CASES[path]],
        cwd=place,
        env=unset_environment() | {"PYTHONPATH": str(ROOT)},
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_no_gaps_are_good_news(place: Path) -> None:
    done = sentinel_ws(
        "export", "--measurement", "gaps", "--symbol", "BTC-USD", "--format", "csv", "--exchange", "coinbase",
        "--since", "2020-01-01", "--until", "2020-01-02", cwd=place,
    )  # fmt: skip
    assert done.returncode == 2  # nobody collected on that day, so nobody can say so
    clean, until_s = place / "clean", time.monotonic() + LONGEST_S
    while not has(clean, ["BTC-USD"], top=1):  # a busy machine may get nowhere in so few seconds
        assert time.monotonic() < until_s
        shutil.rmtree(clean, ignore_errors=True)
        whole = sentinel_ws("simulate", "--products", "BTC-USD", "--exec", COLLECT_CLEAN, cwd=place)
        assert whole.returncode == 0, whole.stderr
    done = sentinel_ws("export", "--measurement", "gaps", "--format", "csv", "--data-dir", "clean", cwd=place)
    assert (done.returncode, done.stderr) == (0, b"no gaps in that time\n")
    (header,) = done.stdout.decode().splitlines()
    assert header.startswith("time_ns,exchange,symbol")


COLLECT_CLEAN = "sentinel-ws collect BTC-USD --data-dir clean --duration 3s"
