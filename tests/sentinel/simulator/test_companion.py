"""``simulate --exec``: the command finds the exchanges by its environment, and its end is the end of all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import JournalReader
from tests import ROOT
from tests.servers.collector import unset_environment

ENVIRONMENT = unset_environment() | {"PYTHONPATH": str(ROOT)}
SIMULATE = (sys.executable, "-m", "sentinel", "simulate", "--levels", "50")


def simulate(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*SIMULATE, *arguments]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


def test_collect_needs_no_address(tmp_path: Path) -> None:
    done = simulate("--products", "BTC-USD", "--exec", "sentinel-ws collect BTC-USD --duration 10s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with JournalReader(tmp_path / "data" / JOURNAL) as reader:
        assert reader.line_count() > 0
    told = [json.loads(line) for line in done.stderr.splitlines()[1:]]
    assert [line["event"] for line in told][-1] == "collected"
    assert told[0]["data_dir"] == str(tmp_path / "data")
    assert told[-1]["samples"] > 0
    assert told[-1]["trades"] > 0


def test_stdout_is_the_commands_and_its_status_is_passed_on(tmp_path: Path) -> None:
    code = f'"{sys.executable}" -c "print(1); raise SystemExit(7)"'
    done = simulate("--exec", code, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (7, "1\n")


def test_several_venues(tmp_path: Path) -> None:
    code = f"'{sys.executable}' -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    done = simulate("--venue", "coinbase,kraken", "--products", "1", "--exec", code, cwd=tmp_path)
    found = json.loads(done.stdout)
    assert {"SENTINEL_COINBASE_REST_URL", "SENTINEL_KRAKEN_URL", "SENTINEL_KRAKEN_REST_URL"} <= found.keys()


def test_a_signal_reaches_the_command(tmp_path: Path) -> None:
    script = tmp_path / "waits.py"
    script.write_text(
        "import signal, sys\nsignal.signal(15, lambda *_: sys.exit(9))\nprint('up', flush=True)\nsignal.pause()\n"
    )
    code = f"'{sys.executable}' '{script}'"
    with subprocess.Popen(
        [*SIMULATE, "--exec", code], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(120) == 9


def test_after_its_duration_the_command_is_ended(tmp_path: Path) -> None:
    done = simulate("--duration", "1s", "--exec", "sleep 1000", cwd=tmp_path)
    assert done.returncode == 128 + signal.SIGTERM
