"""How Advanced Trade knows us: a JWT of two minutes, a fresh one in each message.

Source: reference protocols, section 2.1. A CDP key is an EC P-256 key in PEM (signs ES256) or an Ed25519 key in
base64, 32 bytes of seed and the 32 of the public key (signs EdDSA).
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from feeds.errors import Unplannable
from feeds.protocol import Authenticate

LIFE_S = 120
SEED_BYTES = 32
COORDINATE_BYTES = 32

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def authenticator(
    key_name: str, private_key: str, now_s: Callable[[], float], nonce: Callable[[], str]
) -> Authenticate:
    """Gives ``{"jwt": ...}``. ``now_s`` gives Unix seconds, ``nonce`` random hex digits, a new one for each call.

    Raises:
        Unplannable: if the name is empty or the key cannot sign; no part of the key is in the text.
    """
    if not key_name:
        raise Unplannable("coinbase_advanced: a private key needs its key name")
    key = _load(private_key)
    algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "EdDSA"

    def authenticate() -> dict[str, str]:
        now = int(now_s())
        header = {"alg": algorithm, "typ": "JWT", "kid": key_name, "nonce": nonce()}
        claims = {"sub": key_name, "iss": "cdp", "nbf": now, "exp": now + LIFE_S}
        signed = _base64url(msgspec.json.encode(header)) + b"." + _base64url(msgspec.json.encode(claims))
        return {"jwt": (signed + b"." + _base64url(_sign(key, signed))).decode()}

    return authenticate


def _load(private_key: str) -> PrivateKey:
    """A PEM that came through an environment variable often has ``\\n`` spelled as two characters."""
    text = private_key.replace("\\n", "\n").strip()
    key = _load_pem(text) if text.startswith("-----BEGIN") else _load_ed25519(text)
    if key is None:
        raise Unplannable(
            "coinbase_advanced: the private key is neither an EC P-256 key in PEM nor an Ed25519 key in base64"
        )
    return key


def _load_pem(text: str) -> PrivateKey | None:
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    return key if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1) else None


def _load_ed25519(text: str) -> PrivateKey | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    seed, public = raw[:SEED_BYTES], raw[SEED_BYTES:]
    if len(seed) != SEED_BYTES:
        return None
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    return key if public in (b"", key.public_key().public_bytes_raw()) else None


def _sign(key: PrivateKey, signed: bytes) -> bytes:
    """JOSE wants the two coordinates of an ES256 signature side by side, not in DER."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(signed)
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA256())))
    return r.to_bytes(COORDINATE_BYTES, "big") + s.to_bytes(COORDINATE_BYTES, "big")


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
