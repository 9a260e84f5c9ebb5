"""How Coinbase Exchange knows us: an HMAC over the current second. Source: reference protocols, section 1.3."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

from feeds.errors import Unplannable
from feeds.protocol import Authenticate


def sign(secret: str, timestamp: str) -> str:
    """The ``signature`` that goes with exactly this spelling of ``timestamp`` (Unix seconds).

    Raises:
        Unplannable: if the secret is not base64.
    """
    prehash = f"{timestamp}GET/users/self/verify".encode()
    return base64.b64encode(hmac.digest(_key(secret), prehash, hashlib.sha256)).decode()


def authenticator(key: str, passphrase: str, secret: str, now_s: Callable[[], float]) -> Authenticate:
    """Signs a message with the time of its sending; ``now_s`` gives Unix seconds.

    Raises:
        Unplannable: if a part is empty or the secret is not base64; no part of a credential is in the text.
    """
    if not key or not passphrase:
        raise Unplannable("coinbase_exchange: a key needs its passphrase and its secret")
    _key(secret)

    def authenticate() -> dict[str, str]:
        timestamp = str(int(now_s()))
        return {"key": key, "passphrase": passphrase, "timestamp": timestamp, "signature": sign(secret, timestamp)}

    return authenticate


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret, validate=True)
    except ValueError:
        key = b""
    if not key:
        raise Unplannable("coinbase_exchange: the secret is not base64; copy it once more from the venue")
    return key
