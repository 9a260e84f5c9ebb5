"""Who a client or a server is to NATS: nkeys, the chain of tokens of a credentials file, certificates. As ``nsc`` and
``openssl`` make them, for tests."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import nkeys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

UNLIMITED = {
    "subs": -1,
    "data": -1,
    "payload": -1,
    "imports": -1,
    "exports": -1,
    "wildcards": True,
    "conn": -1,
    "leaf": -1,
    "mem_storage": -1,
    "disk_storage": -1,
    "streams": -1,
    "consumer": -1,
}


class Key:
    """An nkey: of a user, an account or an operator."""

    def __init__(self, prefix: int) -> None:
        self.seed = bytes(nkeys.encode_seed(os.urandom(32), prefix))
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public = bytes(self._pair.public_key).decode()

    def signed(self, subject: Key, kind: str, claims: dict[str, Any]) -> str:
        """A token in which this key says something of another one."""
        content: dict[str, Any] = {
            "iat": 1_700_000_000,
            "iss": self.public,
            "name": kind,
            "sub": subject.public,
            "nats": {**claims, "type": kind, "version": 2},
        }
        content["jti"] = base64.b32encode(hashlib.sha256(json.dumps(content).encode()).digest()).decode().strip("=")
        parts = [json.dumps(part).encode() for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, content)]
        text = b".".join(map(_unpadded, parts))
        return (text + b"." + _unpadded(self._pair.sign(text))).decode()


def _unpadded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def user_key() -> Key:
    return Key(nkeys.PREFIX_BYTE_USER)


def credentials(file: Path) -> str:
    """Writes a user's credentials file; gives what the server's configuration says of operator and account."""
    operator, account, system = (
        Key(prefix) for prefix in (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_ACCOUNT)
    )
    user = user_key()
    token = account.signed(user, "user", {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1})
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    permissions = {"default_permissions": {"pub": {}, "sub": {}}}
    ours = operator.signed(account, "account", {"limits": UNLIMITED, **permissions})
    theirs = operator.signed(system, "account", {"limits": {**UNLIMITED, "mem_storage": 0, "disk_storage": 0}})
    return (
        f"operator: {operator.signed(operator, 'operator', {'system_account': system.public})}\n"
        f"system_account: {system.public}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {account.public}: {ours}, {system.public}: {theirs} }}\n"
    )


class Certificate(NamedTuple):
    """Files in PEM."""

    cert_file: Path
    key_file: Path


class Authority:
    """A certificate authority of our own."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        itself = x509.BasicConstraints(ca=True, path_length=None)
        signs = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = self._builder(self._name, self._key.public_key())
        builder = builder.add_extension(itself, critical=True).add_extension(signs, critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.ca_file = folder / f"{name}.pem"
        self.ca_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def certificate(self, name: str, days: float = 1) -> Certificate:
        """One for a server on loopback, or a client, which is good for so many days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(name)])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = self._builder(subject, key.public_key(), days)
        builder = builder.add_extension(names, critical=False).add_extension(authority, critical=False)
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        made.cert_file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        made.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return made

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: float = 1) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )
