"""Any request is answered, never with a 500, and in JSON where it is refused; the next one is served as before."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import quote

from sentinel.monitor.api.app import Sight
from sentinel.monitor.api.server import HttpServer
from tests.fuzz.mutation import odd_text
from tests.fuzz.surfaces import Case
from tests.sentinel.monitor.api.eye import Eye

PATHS = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/sentinel/status",
    "/sentinel/alerts",
    "/sentinel/gaps",
    "/sentinel/report",
    "/sentinel/history/coinbase:BTC-USD",
    "/sentinel/history/{}",
    "/sentinel/book/{}",
    "/sentinel/{}",
    "/{}",
    "/sentinel/book/coinbase:BTC-USD",
]
PARAMETERS = ["since_s", "market", "minutes", "after_ns", "levels", "token", "odd"]
METHODS = ["GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "ODD"]
HEADERS = [
    "Authorization",
    "Cookie",
    "Origin",
    "Accept",
    "Content-Type",
    "Range",
    "If-None-Match",
    "Upgrade",
    "X-Odd",
    "Host",
]
TOKEN = "let-me-in"
LONGEST_S = 60.0


class Troubles(logging.Handler):
    """What the server says of its own mistakes; those of clients are warnings, and of no interest."""

    def __init__(self, told: list[str]) -> None:
        super().__init__()
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            self._told.append(self.format(record))


@contextmanager
def opened(folder: Path) -> Iterator[Case]:
    """Two real servers: one with a token, one without."""
    troubles: list[str] = []
    log, handler = logging.getLogger("uvicorn.error"), Troubles(troubles)
    log.addHandler(handler)
    loop = asyncio.new_event_loop()
    servers = {token: HttpServer(cast(Sight, Eye()), "127.0.0.1:0", token) for token in (None, TOKEN)}
    ports = {token: server._sockets[0].getsockname()[1] for token, server in servers.items()}
    running: list[asyncio.Task[None]] = []

    async def run() -> None:
        running.extend(asyncio.create_task(server.run()) for server in servers.values())
        await asyncio.wait(running)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        yield partial(_case, ports, troubles)
    finally:
        for task in running:
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()
        log.removeHandler(handler)


def _case(ports: dict[str | None, int], troubles: list[str], rng: random.Random) -> str:
    token = rng.choice(sorted(ports, key=str))
    head, body = _request(rng, token)
    status, headers, content = _ask(ports[token], head + body)
    assert status != 500, (head, content)
    assert not troubles, troubles
    assert b"Traceback" not in content
    if status is not None and status >= 400 and b"json" in headers.lower():
        json.loads(content or b"{}")
    if status in (401, 403, 404, 405, 422) and content:
        assert b"application/json" in headers or b"text/html" in headers, (head, headers)
    if rng.random() < 0.05:
        assert _ask(ports[token], b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")[0] == 200
    return "refused by the server" if status is None else str(status)


def _request(rng: random.Random, token: str | None) -> tuple[bytes, bytes]:
    path = rng.choice(PATHS).replace("{}", _quoted(rng, odd_text(rng, "BTC-USD", "coinbase:BTC-USD", "reef:BTC/USD")))
    names = [rng.choice(PARAMETERS) for _ in range(rng.choice([0, 1, 1, 2, 5]))]
    query = "&".join(f"{name}={_quoted(rng, odd_text(rng, '15', '86400', '50', 'BTC-USD'))}" for name in names)
    headers = {"Host": "127.0.0.1"}
    if token is not None and rng.random() < 0.7:
        headers["Authorization"] = f"Bearer {token}"
    for _ in range(rng.choice([0, 0, 1, 3])):
        headers[rng.choice(HEADERS)] = (
            odd_text(rng, "text/html", "Bearer x", "http://localhost", "application/json")
            .replace("\n", "")
            .replace("\r", "")
        )
    body = odd_text(rng, "token=let-me-in", '{"a":1}').encode() if rng.random() < 0.2 else b""
    headers |= {"Content-Length": str(len(body)), "Connection": "close"}
    lines = [
        f"{rng.choice(METHODS)} {path}{'?' + query if query else ''} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    head = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"
    if rng.random() < 0.05:
        at = rng.randrange(len(head))
        head = head[:at] + rng.randbytes(3) + head[at:]
    return head, body


def _quoted(rng: random.Random, text: str) -> str:
    match rng.randrange(8):
        case 0:
            return text.replace(" ", "+").replace("\n", "").replace("\r", "")
        case 1:
            return "%ff%fe" + quote(text, safe="")
        case 2:
            return quote(text)
        case _:
            return quote(text, safe="")


def _ask(port: int, request: bytes) -> tuple[int | None, bytes, bytes]:
    """Status, headers and the beginning of the content; no status for a connection that is just closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=LONGEST_S) as client:
        answer = b""
        try:
            client.sendall(request)
            while len(answer) < 2**20 and (part := client.recv(2**16)):
                answer += part
                if b"text/event-stream" in answer:
                    break
        except ConnectionError:
            pass
    head, _, content = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]) if len(words) > 1 and words[1].isdigit() else None), head, content
