"""A real S3 server in a process of its own: moto's, which keeps everything in memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

from tests.servers.ports import free_port

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "an-id",
    "AWS_SECRET_ACCESS_KEY": "a-secret-key",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What the environment of whoever asks it must have."""

BUCKET = "bucket"
LONGEST_START_S = 120.0


class ObjectStore:
    """One bucket, empty at each start."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server: subprocess.Popen[bytes] | None = None

    def url(self, prefix: str = "prefix") -> str:
        return f"s3://{BUCKET}/{prefix}?endpoint=127.0.0.1:{self.port}&scheme=http"

    def start(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._server = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline_s = time.monotonic() + LONGEST_START_S
        while True:
            try:
                self.request("PUT", f"/{BUCKET}")
                return
            except ConnectionRefusedError:
                assert self._server.poll() is None, "the S3 server did not start"
                assert time.monotonic() < deadline_s, "the S3 server did not start in time"
                time.sleep(0.05)

    def stop(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """As the server has it, past whatever is tested."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=LONGEST_START_S)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status < 300, content
            return content
        finally:
            connection.close()


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """One that serves, on loopback."""
    store = ObjectStore()
    try:
        store.start()
        yield store
    finally:
        store.stop()
