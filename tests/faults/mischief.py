"""The troubles of ``bad_network.py``: what a network, and who sits in it, does to connections for a while."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from sentinel.exchange.stamped_socket import MAX_FRAME_BYTES
from tests.faults.network import HEAD_ENDS, Mischief, Network, Passage, Strike, Talk
from tests.sentinel.cluster.identities import Authority
from tests.servers.frames import CONTINUATION, PING, deflated, frame
from tests.servers.waiting import until

MIB = 1 << 20
OPENING_S = 12.0
"""Longer than a handshake may take."""

BYTE_EVERY_S = 0.01
MOST_MIB, FLOODED_MIB, LARGE_MIB = 300, 600, 1500
"""Of memory, three times what was seen: a collector of two markets has 90 MiB, one that has more than it can read
180, and one that is sent a frame of 64 MiB, or what inflates to more, 430 to 500: there are the bytes, the text, and
what it is decoded to. A bomb that were inflated as a whole would need 2 GiB."""

FLOOD, FLOOD_PER_S, FLOOD_PIECE, FLOOD_MOST_S = 1_000_000, 100_000, 1000, 30.0
NAME = "localhost"
"""The exchange answers no other one."""


class Scene:
    """How a collector gets to the network: at which address, and with which settings."""

    scheme, host = "ws", "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def network(self, exchange_port: int) -> Network:
        return Network(exchange_port, (self.host,))

    def settings(self, port: int) -> dict[str, str]:
        return {}


class OverIPv6(Scene):
    """There is no other way."""

    host = "[::1]"

    def network(self, exchange_port: int) -> Network:
        return Network(exchange_port, ("::1",))


class Secured(Scene):
    """By TLS; ``shown`` are the certificates that there are, by whose they are."""

    scheme, host = "wss", "localhost"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        known, unknown = Authority(folder), Authority(folder, "unknown")
        self._ca_file = known.ca_file
        self.shown = {
            "venue": _context(known, "localhost", 1),
            "expired": _context(known, "localhost", -0.5),
            "another host": _context(known, "elsewhere", 1),
            "nobody known": _context(unknown, "localhost", 1),
        }

    def network(self, exchange_port: int) -> Network:
        return Network(exchange_port, context=self.shown["venue"])

    def settings(self, port: int) -> dict[str, str]:
        return {"SSL_CERT_FILE": str(self._ca_file)}


def _context(authority: Authority, name: str, days: float) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown = authority.certificate(name, days)
    context.load_cert_chain(shown.cert_file, shown.key_file)
    return context


class ByProxy(Scene):
    """CONNECT; REST goes straight."""

    host = "localhost"

    def network(self, exchange_port: int) -> Network:
        return Network(exchange_port, is_asked=True)

    def settings(self, port: int) -> dict[str, str]:
        return {"http_proxy": f"http://127.0.0.1:{port}", "no_proxy": "127.0.0.1"}


class ByName(Scene):
    """The resolver is ours (``name_shim.c``, preloaded): it says what ``is_at`` was told last."""

    host = NAME
    places = ("127.0.0.1", "127.0.0.3")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._file = folder / "address"
        self._library = folder / "name_shim.so"
        source = Path(__file__).with_name("name_shim.c")
        subprocess.run(["cc", "-O1", "-std=gnu17", "-shared", "-fPIC", "-o", self._library, source, "-ldl"], check=True)
        self.is_at(self.places[0])

    def is_at(self, address: str) -> None:
        """An empty one: it does not answer."""
        new = self._file.with_suffix(".new")
        new.write_text(address)
        new.replace(self._file)

    def network(self, exchange_port: int) -> Network:
        return Network(exchange_port, self.places)

    def settings(self, port: int) -> dict[str, str]:
        return {"SHIM_NAME": NAME, "SHIM_ADDRESS": str(self._file), "LD_PRELOAD": str(self._library)}


Cause = Callable[[Scene, Network, Callable[[], bool]], Awaitable[int]]
"""Makes a trouble, and ends it, not before the log says what it is; gives how many messages it repeated."""


class Trouble(NamedTuple):
    """``words`` is a pattern of what the log must say of it. ``is_of_one``: it is done to one connection only;
    ``is_slow``: that one hears everything late. ``most_mib`` is the memory a collector may have at most."""

    name: str
    words: str
    cause: Cause
    scene: type[Scene] = Scene
    is_of_one: bool = False
    is_slow: bool = False
    most_mib: int = MOST_MIB


def _lasting(mischief: Mischief, seconds: float) -> Cause:
    async def cause(scene: Scene, network: Network, is_told: Callable[[], bool]) -> int:
        async with network.doing(mischief):
            await asyncio.sleep(seconds)
            await until(is_told)
        return 0

    return cause


# Who comes meets somebody else.


def _answering(answer: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(HEAD_ENDS)
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return talk


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 101 Switching Protocols\r\nX-Padding: ".ljust(10_000, b"x"):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(BYTE_EVERY_S)


async def _closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """At once."""


def _met(name: str, words: str, talk: Talk, seconds: float = 4.0) -> Trouble:
    return Trouble(name, words, _lasting(Mischief(meets=talk, ends_all=True), seconds))


def _refused(status: str, *headers: str, body: str = "") -> Trouble:
    answer = "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", body])
    name = f"handshake answered by {' and '.join([status, *headers])}"
    return _met(name, f"HTTP {status[:3]}", _answering(answer.encode()))


# A connection is taken hold of.


async def _stands(passage: Passage) -> None:
    """Packets stop, both ways."""
    passage.down.clear()
    passage.up.clear()


async def _trickles(passage: Passage) -> None:
    async def tell(frame: bytes) -> None:
        for byte in frame:
            await passage.say(bytes([byte]))
            await asyncio.sleep(BYTE_EVERY_S)

    passage.instead(tell)


async def _breaks(passage: Passage) -> None:
    async def tell(frame: bytes) -> None:
        await passage.say(frame[: len(frame) // 2])
        passage.cut()

    passage.instead(tell)


def _sends(*pieces: bytes, is_deaf: bool = False) -> Strike:
    """These in turn, as fast as they are taken, and nothing else."""

    async def strike(passage: Passage) -> None:
        passage.down.clear()
        if is_deaf:
            passage.up.clear()
        number = 0
        while True:
            await passage.say(pieces[min(number, len(pieces) - 1)])
            number += 1

    return strike


def _sends_one(piece: bytes) -> Strike:
    async def strike(passage: Passage) -> None:
        await passage.say(piece)

    return strike


def _struck(
    name: str, words: str, strike: Strike, seconds: float = 4.0, *, is_slow: bool = False, most_mib: int = MOST_MIB
) -> Trouble:
    cause = _lasting(Mischief(strikes=strike), seconds)
    return Trouble(name, words, cause, is_of_one=True, is_slow=is_slow, most_mib=most_mib)


def _large(name: str, words: str, strike: Strike) -> Trouble:
    return _struck(name, words, strike, 8.0, most_mib=LARGE_MIB)


async def _floods(scene: Scene, network: Network, is_told: Callable[[], bool]) -> int:
    """The venue's last message over and over, as often as it is taken, and its news between them: up to 100,000 a
    second for 10 s, or half a minute if they are taken more slowly."""
    began_s, given, is_over = time.monotonic(), 0, asyncio.Event()

    async def strike(passage: Passage) -> None:
        nonlocal given
        while given < FLOOD and (elapsed_s := time.monotonic() - began_s) < FLOOD_MOST_S:
            if elapsed_s < given / FLOOD_PER_S:
                await asyncio.sleep(given / FLOOD_PER_S - elapsed_s)
            await passage.say(frame(passage.last_message) * FLOOD_PIECE)
            given += FLOOD_PIECE
        is_over.set()

    async with network.doing(Mischief(strikes=strike, is_spared=True)):
        await is_over.wait()
    return given


def snapshot(size: int) -> bytes:
    """A message of at most so many bytes, with as many levels as fit."""
    level = b'{"side":"bid","event_time":"2026-01-01T00:00:00Z","price_level":"%d","new_quantity":"1"},'
    head = b'{"channel":"l2_data","timestamp":"2026-01-01T00:00:00Z","sequence_num":0,"events":[{"type":"snapshot",'
    head += b'"product_id":"BTC-USD","updates":['
    count = (size - len(head) - 4) // (len(level) + 5)
    return head + b"".join(level % number for number in range(1_000_000, 1_000_000 + count))[:-1] + b"]}]}"


# And the rest.


def _shown(who: str, words: str) -> Trouble:
    async def cause(scene: Scene, network: Network, is_told: Callable[[], bool]) -> int:
        assert isinstance(scene, Secured)
        return await _lasting(Mischief(shows=scene.shown[who], ends_all=True), 4.0)(scene, network, is_told)

    return Trouble(f"certificate: {who}", words, cause, Secured)


async def _moves(scene: Scene, network: Network, is_told: Callable[[], bool]) -> int:
    """The resolver fails, then tells of an address where nobody is, then of another one, where the venue is now."""
    assert isinstance(scene, ByName)
    for address in ("", "127.0.0.2", scene.places[1]):
        scene.is_at(address)
        network.cut_all()
        await asyncio.sleep(3.0)
        await until(is_told)
    return 0


_REFUSING = _lasting(Mischief(refuses=True, ends_all=True), 4.0)
_RESETTING = _lasting(Mischief(ends_all=True), 1.0)

TROUBLES = [
    _met("accepts TCP and says nothing", "no handshake within", _silent, OPENING_S),
    _met("handshake byte by byte", "no handshake within", _slow, OPENING_S),
    _met("every new connection is closed at once", "did not receive a valid HTTP response", _closing),
    Trouble("every connection is refused", "ConnectionRefusedError", _REFUSING),
    _refused("200 OK", "Content-Type: text/html", body="<html>Please log in</html>"),
    _refused("302 Found", "Location: http://127.0.0.1:9/login"),
    _refused("403 Forbidden"),
    _refused("429 Too Many Requests"),
    _refused("429 Too Many Requests", "Retry-After: 7"),
    _refused("451 Unavailable For Legal Reasons"),
    _refused("503 Service Unavailable"),
    _refused("503 Service Unavailable", "Retry-After: 7"),
    _shown("expired", "certificate has expired"),
    _shown("another host", "certificate is not valid for 'localhost'"),
    _shown("nobody known", "unable to get local issuer certificate"),
    Trouble("the name fails, then moves", "gaierror", _moves, ByName),
    Trouble("an HTTP proxy dies", "ConnectionRefusedError", _REFUSING, ByProxy),
    Trouble("IPv6 only, all reset", "ConnectionResetError", _RESETTING, OverIPv6),
    _struck("half-open: packets stop both ways", "silence", _stands, 6.0),
    _struck("frames byte by byte", "silence", _trickles, 6.0, is_slow=True),
    _struck("reset in the middle of each frame", "ConnectionResetError", _breaks),
    _large("a frame of 64 MiB", "undecodable|silence", _sends_one(frame(b" " * MAX_FRAME_BYTES))),
    _large("a frame of more than 64 MiB", "too big", _sends_one(frame(b" " * (MAX_FRAME_BYTES + 1)))),
    _large("a snapshot of 64 MiB", "sequence|silence", _sends_one(frame(snapshot(MAX_FRAME_BYTES)))),
    _large("a deflate bomb of 1 GiB", "too big", _sends_one(deflated(1024, level=9))),
    _large("deflate bombs of 63 MiB without end", "undecodable|silence", _sends(deflated(63, level=9))),
    _struck(
        "fragments without end",
        "fragments",
        _sends(frame(b"{", is_last=False), frame(b"", CONTINUATION, is_last=False) * 1000),
    ),
    _struck("pings without end", "silence", _sends(frame(b"p" * 125, PING) * 1000)),
    _struck(
        "pings without end, no answer is read",
        "does not read|silence",
        _sends(frame(b"p" * 125, PING) * 1000, is_deaf=True),
    ),
    Trouble(
        "as many messages as are taken, up to 100,000 a second",
        "more has come than could be read",
        _floods,
        is_of_one=True,
        is_slow=True,
        most_mib=FLOODED_MIB,
    ),
]
