"""A real InfluxDB 1.6.7 (Debian's), with users and rights, and nginx in front of it that speaks ``/api/v2/write``."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.servers.waiting import freeze

SHARED = Path(os.environ.get("SENTINEL_SHARED", Path(__file__).parents[3] / "shared"))
RIG = SHARED / "influx-rig"
LONGEST_START_S = 15.0
ADMIN = "admin:pw"
WRITER = "writer:wpw"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require(*programs: str) -> None:
    """In CI a missing program is a failure, elsewhere a skip that says so."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing or not RIG.exists():
        words = f"not here: {', '.join(missing) or RIG} (apt-get install influxdb nginx-light)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)


class InfluxServer:
    """``url`` speaks ``/write``, ``v2_url`` ``/api/v2/write``; both are the same server."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        self._folder = folder
        self._extra = extra
        self._port, self._rpc_port, self._v2_port = free_port(), free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._nginx: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self.v2_url = f"http://127.0.0.1:{self._v2_port}"

    def start(self) -> None:
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        config = (
            f'reporting-enabled = false\nbind-address = "127.0.0.1:{self._rpc_port}"\n'
            f'[meta]\n  dir = "{folder}/meta"\n[data]\n  dir = "{folder}/data"\n  wal-dir = "{folder}/wal"\n'
            "  query-log-enabled = false\n  max-series-per-database = 0\n[monitor]\n  store-enabled = false\n"
            f'[http]\n  bind-address = "127.0.0.1:{self._port}"\n  auth-enabled = true\n  log-enabled = false\n'
            f"{self._extra}\n[subscriber]\n  enabled = false\n[continuous_queries]\n  enabled = false\n"
        )
        (folder / "influxdb.conf").write_text(config)
        with (folder / "log").open("ab") as log:
            command = ["influxd", "run", "-config", str(folder / "influxdb.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._await(self._port)

    def start_v2(self) -> None:
        """nginx on the second port, after the rig's template."""
        folder = self._folder / "nginx"
        (folder / "tmp").mkdir(parents=True)
        template = (RIG / "nginx.conf.in").read_text()
        values = {
            "@USER@": "root root" if os.geteuid() == 0 else "nobody nogroup",
            "@DIR@": str(folder),
            "@PORT@": str(self._v2_port),
            "@UP@": str(self._port),
            "@WRITER_B64@": "d3JpdGVyOndwdw==",
            "@READER_B64@": "cmVhZGVyOnJwdw==",
        }
        for name, value in values.items():
            template = template.replace(name, value)
        (folder / "nginx.conf").write_text(template)
        (folder / "health.json").write_text('{"name":"influxdb","status":"pass"}')
        command = ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
        self._nginx = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._await(self._v2_port)

    def _await(self, port: int) -> None:
        until_s = time.monotonic() + LONGEST_START_S
        while time.monotonic() < until_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError(f"nobody listens on {port}; see {self._folder}/log")

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        freeze(self._process.pid)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def close(self) -> None:
        if self._nginx is not None:
            self._nginx.terminate()  # killed, it would leave its workers behind
            self._nginx.wait()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def query(self, statements: str, database: str = "", user: str = ADMIN) -> list[dict[str, Any]]:
        """By curl: a client that has nothing to do with ours."""
        command = ["curl", "-s", "-u", user, f"{self.url}/query", "--data-urlencode", f"q={statements}"]
        command += ["--data-urlencode", f"db={database}", "--data-urlencode", "epoch=ns"]
        answer = subprocess.run(command, capture_output=True, check=True).stdout
        results: list[dict[str, Any]] = msgspec.json.decode(answer).get("results", [])
        return results

    def count(self, database: str, measurement: str, field: str) -> int:
        (result,) = self.query(f'SELECT count("{field}") FROM "{measurement}"', database)
        return int(result["series"][0]["values"][0][1]) if "series" in result else 0

    def post(self, database: str, policy: str, lines: bytes) -> None:
        """Lines of nanosecond points, as the administrator."""
        where = f"{self.url}/write?db={database}&rp={policy}&precision=n"
        subprocess.run(["curl", "-sf", "-u", ADMIN, where, "--data-binary", "@-"], input=lines, check=True)

    def make(self, database: str) -> None:
        """A fresh database that the writer may write and read."""
        self.query(f'CREATE DATABASE "{database}"; GRANT ALL ON "{database}" TO writer')


@contextmanager
def influx_server(folder: Path, extra: str = "", *, with_v2: bool = False) -> Iterator[InfluxServer]:
    """A server of one's own, gone at the end."""
    require("influxd", "curl", *(["nginx"] if with_v2 else []))
    server = InfluxServer(folder, extra)
    try:
        server.start()
        server.query("CREATE USER admin WITH PASSWORD 'pw' WITH ALL PRIVILEGES")
        server.query("CREATE USER writer WITH PASSWORD 'wpw'; CREATE USER reader WITH PASSWORD 'rpw'")
        if with_v2:
            server.start_v2()
        yield server
    finally:
        server.close()
