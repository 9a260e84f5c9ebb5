"""A mail server that keeps what it is given: STARTTLS, TLS from the start, AUTH, and refusals on request."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ADDRESS = "127.0.0.1"


class MailServer:
    """``mails`` is what was accepted, ``seen`` every line heard from clients but those of mails, ``secure`` whether the
    last mail came by TLS. ``replies`` are given instead of the first answers to MAIL, one for each."""

    def __init__(self, folder: Path, *, user: str | None = None, password: str = "", is_tls: bool = False) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.seen: list[str] = []
        self.secure = False
        self.replies: list[str] = []
        self.refused_recipients: set[str] = set()
        self.ca_file = folder / "mail.pem"
        self.port = 0
        self._key_file = folder / "mail.key"
        self._login = None if user is None else f"\0{user}\0{password}"
        self._is_tls = is_tls
        _certify(self.ca_file, self._key_file)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[MailServer]:
        """Listens on loopback, at a ``port`` of the system's choice."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, self._key_file)
        self._context = context
        server = await asyncio.start_server(self._serve, ADDRESS, 0, ssl=context if self._is_tls else None)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())

        is_secure, is_known = self._is_tls, self._login is None
        to: list[str] = []
        say("220 here")
        while line := (await reader.readline()).decode().strip():
            self.seen.append(line)
            verb = line.split()[0].upper()
            if verb == "EHLO":
                offers = [] if is_secure else ["STARTTLS"]
                say("\r\n".join(["250-here", *(f"250-{offer}" for offer in offers), "250 AUTH PLAIN"]))
            elif verb == "STARTTLS":
                say("220 go on")
                await writer.start_tls(self._context)
                is_secure = True
            elif verb == "AUTH":
                is_known = base64.b64decode(line.split()[2]).decode() == self._login
                say("235 welcome" if is_known else "535 5.7.8 wrong user or password")
            elif verb == "MAIL" and (self.replies or not is_known):
                say(self.replies.pop(0) if self.replies else "530 5.7.0 who are you?")
            elif verb == "RCPT":
                address = line.partition("<")[2].partition(">")[0]
                is_refused = address in self.refused_recipients
                to += [] if is_refused else [address]
                say("550 5.1.1 nobody of that name" if is_refused else "250 yes")
            elif verb == "DATA":
                say("354 go on")
                content = await reader.readuntil(b"\r\n.\r\n")
                mail = message_from_bytes(content[:-3].replace(b"\r\n..", b"\r\n."), policy=policy.default)
                assert isinstance(mail, EmailMessage)
                self.mails.append(mail)
                self.recipients, self.secure = to, is_secure
                say("250 taken")
            elif verb == "QUIT":
                say("221 bye")
                break
            else:
                say("250 yes")
            await writer.drain()


def _certify(certificate_file: Path, key_file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
