"""A server that refuses whatever it is asked and says all of it again: the worst that a proxy or a store can do with
what it is told in confidence. It speaks HTTP, or, with a greeting, NATS or SMTP."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote


class Parrot:
    """``heard`` is all that clients said, as they said it."""

    def __init__(self, speaks_first: bytes = b"") -> None:
        self.heard = ""
        self.port = 0
        self._speaks_first = speaks_first
        self._is_http = not speaks_first

    @property
    def meant(self) -> str:
        """What was heard, and what it says decoded: Basic's and AUTH's base64, and what is quoted."""
        found = [self.heard, unquote(self.heard)]
        for word in re.findall(r"[A-Za-z0-9+/=]{12,}", self.heard):
            try:
                found.append(base64.b64decode(word).decode())
            except ValueError:
                continue
        return "\n".join(found)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Parrot]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._is_http:
                await self._refuse(reader, writer)
            else:
                await self._greet(reader, writer)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heard += head
        line, _, rest = head.partition("\r\n")
        verb, target, _ = line.split(" ", 2)
        length = re.search(r"content-length: *(\d+)", rest, re.IGNORECASE)
        if length is not None:
            await reader.readexactly(int(length[1]))
        if target.startswith("/ping"):
            writer.write(b"HTTP/1.1 204 fine\r\nX-Influxdb-Version: v2.7.12\r\nConnection: close\r\n\r\n")
            return
        # what is secret first, as words may be cut off
        said = " ".join([*re.findall(r"\S*authorization: .*", head, re.IGNORECASE), head]).replace("\r\n", " ")
        if self.heard.count("HTTP/1.1") % 2:  # each second answer is one that no client can read
            said = said.replace("\r", "")
        status = {"CONNECT": 407, "HEAD": 403, "PUT": 403}.get(verb, 500 if target.startswith("/hook") else 401)
        body = f'{{"message": "{said} {target}"}}'.replace("\\", "").encode("latin-1")
        writer.write(
            f"HTTP/1.1 {status} {said}\r\nContent-Length: {len(body)}\r\nX-Influxdb-Error: {said}\r\n"
            f'WWW-Authenticate: Basic realm="{target}"\r\nConnection: close\r\n\r\n'.encode("latin-1")
            + body
        )
        await writer.drain()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._speaks_first)
        while line := (await reader.readline()).decode("latin-1").strip():
            self.heard += f"{line}\n"
            if line.startswith("CONNECT"):  # NATS
                writer.write(f"-ERR 'Authorization Violation {line}'\r\n".encode("latin-1"))
            elif line.upper().startswith("EHLO"):
                writer.write(b"250-parrot\r\n250 AUTH PLAIN\r\n")
            elif line.upper().startswith("AUTH"):
                said = base64.b64decode(line.split()[-1]).decode().replace("\0", " ")
                writer.write(f"535 5.7.8 {line} is {said}\r\n".encode())
            else:
                writer.write(b"250 yes\r\n")
            await writer.drain()


NATS_INFO = (
    b'INFO {"server_id":"P","server_name":"p","version":"2.11.0","proto":1,"headers":true,"max_payload":1048576,'
    b'"auth_required":true,"nonce":"abcdefgh","jetstream":true}\r\n'
)
SMTP_HELLO = b"220 parrot\r\n"
