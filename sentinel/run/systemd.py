"""What systemd is told: ready, alive, stopping.

The protocol is sd_notify(3): one datagram for each message to the socket that ``NOTIFY_SOCKET`` names. Outside a unit
with ``Type=notify`` the variable is absent and nothing is sent.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping

from loguru import logger

US_PER_S = 1_000_000
WITHOUT_WATCHDOG_S = 3600.0


async def accompany(stop: asyncio.Event, environment: Mapping[str, str] = os.environ) -> None:
    """Says ``READY``, then ``WATCHDOG`` twice in each of the unit's ``WatchdogSec``, and ``STOPPING`` once ``stop`` is
    set. It lives on the collector's own event loop, so a loop that hangs goes silent and systemd restarts it."""
    address = environment.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract namespace
        address = "\0" + address[1:]
    interval_s = int(environment.get("WATCHDOG_USEC", 0)) / US_PER_S / 2 or WITHOUT_WATCHDOG_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notify:
        _tell(notify, address, b"READY=1")
        while not stop.is_set():
            _tell(notify, address, b"WATCHDOG=1")
            try:
                async with asyncio.timeout(interval_s):
                    await stop.wait()
            except TimeoutError:
                continue
        _tell(notify, address, b"STOPPING=1")


def _tell(notify: socket.socket, address: str, message: bytes) -> None:
    """A collector that cannot reach systemd goes on collecting."""
    try:
        notify.sendto(message, address)
    except OSError as error:
        logger.bind(message=message.decode(), error=str(error)).warning("systemd_not_told")
