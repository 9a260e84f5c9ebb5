"""The one way to the NATS servers: with the identity of the settings, and for ever, however often they go away."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nats
from loguru import logger
from nats.aio.client import Client
from nats.js import JetStreamContext

from sentinel.cluster.names import Names
from sentinel.command.foreign import hushed
from sentinel.config import Cluster
from sentinel.errors import SentinelError, UsageError
from sentinel.timing.endings import ended

RECONNECT_S = 0.5
CONNECT_S = 2
PING_S = 2
"""With two unanswered pings a server that says nothing any more is left after some 6 s."""

ANSWER_S = 5.0

CREDENTIALS = re.compile(rb"BEGIN NATS USER JWT.*\n.+\n(?:.*\n)*?.*BEGIN USER NKEY SEED.*\n(.+)")


class ClusterError(SentinelError):
    """The servers refuse us, or are not what we need."""


class NoServer(ClusterError):
    """None answers."""


class Session:
    """A connection to the servers and their JetStream. ``client.is_connected`` tells whether one is there now."""

    def __init__(self, settings: Cluster, client: Client) -> None:
        self.settings = settings
        self.names = Names(settings.name)
        self.client = client
        self.jetstream: JetStreamContext = client.jetstream(timeout=ANSWER_S)


@asynccontextmanager
async def opened(settings: Cluster, name: str, patience_s: float | None = None) -> AsyncIterator[Session]:
    """A session once a server has answered; ``name`` is ours in the servers' own lists.

    Raises:
        UsageError: if a file of the settings is no key, or no certificate.
        ClusterError: if a server refuses our identity.
        NoServer: if none has answered for ``patience_s``; None waits for ever.
    """
    trouble = Trouble(_secret(settings.password), _secret(settings.token))
    client, options = Client(), _options(settings, name)
    connecting = asyncio.ensure_future(client.connect(**options, **trouble.calls))
    refused = asyncio.ensure_future(trouble.refused.wait())
    try:
        await asyncio.wait([connecting, refused], timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if trouble.refused.is_set() and not connecting.done():
            raise ClusterError(f"cluster: {trouble.words}")
        if not connecting.done():
            where = ", ".join(settings.servers)
            raise NoServer(f"cluster: no server at {where} answers: {trouble.words or 'silence'}")
        await connecting
        trouble.said.clear()
        yield Session(settings, client)
    finally:
        trouble.is_over = True
        await ended(connecting, refused)
        with suppress(RuntimeError, OSError):  # what it wanted to send to a server that is gone; uvloop raises it here
            await client.close()


class Trouble:
    """What the client says of servers that it does not reach: each of it once, until it has reached one."""

    def __init__(self, *secrets: str) -> None:
        self._secrets = secrets
        self.words = ""
        self.is_over = False
        self.said: set[str] = set()
        self.refused = asyncio.Event()
        """Set by what no waiting mends."""
        self.calls: dict[str, Any] = {"error_cb": self.tell, "disconnected_cb": self.left, "reconnected_cb": self.back}

    async def left(self) -> None:
        if not self.is_over:
            logger.warning("cluster_disconnected")

    async def back(self) -> None:
        self.said.clear()
        logger.info("cluster_reconnected")

    async def tell(self, error: Exception) -> None:
        words = hushed(str(error), *self._secrets) or type(error).__name__
        if not self.refused.is_set():
            self.words = words
        if _refuses(error):
            self.refused.set()
        if words not in self.said:
            self.said.add(words)
            logger.bind(reason=words).warning("cluster_unreachable")


def _refuses(error: Exception) -> bool:
    """Whether it is about who we are, or who they are."""
    if isinstance(error, ssl.SSLError) and "_ALERT_" in (error.reason or ""):  # they say it of our certificate
        return True
    is_known = isinstance(error, nats.errors.AuthorizationError | ssl.SSLCertVerificationError)
    return is_known or "uthorization" in str(error)


def _options(settings: Cluster, name: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "servers": list(settings.servers),
        "name": name,
        "allow_reconnect": True,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": RECONNECT_S,
        "connect_timeout": CONNECT_S,
        "ping_interval": PING_S,
        "max_outstanding_pings": 2,
    }
    if settings.user is not None:
        options |= {"user": settings.user, "password": _secret(settings.password)}
    if settings.token is not None:
        options["token"] = _secret(settings.token)
    if settings.nkey_file is not None:
        _check_key("nkey_file", settings.nkey_file, settings.nkey_file.read_bytes())
        options["nkeys_seed"] = str(settings.nkey_file)
    if settings.creds_file is not None:
        found = CREDENTIALS.search(settings.creds_file.read_bytes())
        _check_key("creds_file", settings.creds_file, b"" if found is None else found[1])
        options["user_credentials"] = str(settings.creds_file)
    is_tls = any(server.startswith("tls:") for server in settings.servers)
    if is_tls or settings.ca_file is not None or settings.cert_file is not None:
        options["tls"] = _tls(settings)
    return options


def _check_key(name: str, path: Path, seed: bytes) -> None:
    """NATS' client looks at it when it is asked for, and in a file that is none for ever."""
    import nkeys  # comes with NATS' client

    try:
        nkeys.from_seed(bytearray(seed.strip())).wipe()
    except nkeys.NkeysError as error:
        raise UsageError(f"cluster: {name} {path} does not contain a key: {error}") from None


def _tls(settings: Cluster) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise UsageError(f"cluster: ca_file {settings.ca_file} does not contain a certificate: {error}") from None
    if settings.cert_file is not None:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except OSError as error:
            files = f"cert_file {settings.cert_file} and key_file {settings.key_file}"
            raise UsageError(f"cluster: {files} do not belong together: {error}") from None
    return context


def _secret(value: Any) -> str:
    return value.get_secret_value() if value is not None else ""
