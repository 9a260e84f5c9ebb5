"""An InfluxDB that accepts everything and keeps nothing, so that a bench measures the collector and not a database."""

from __future__ import annotations

import asyncio
import sys

import uvloop

ANSWER = b"HTTP/1.1 204 No Content\r\nX-Influxdb-Version: v2.7.12\r\nContent-Length: 0\r\n\r\n"
LENGTH = b"content-length:"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, found, rest = head.partition(LENGTH)
            if found:
                await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
            writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionResetError):
        writer.close()


async def _serve() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, limit=2**22)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(uvloop.run(_serve()))
