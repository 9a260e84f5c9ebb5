"""Credentials of both Coinbase feeds: what is sent, and that a bad key says so without showing itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from feeds.coinbase_advanced import auth as advanced
from feeds.coinbase_advanced.protocol import CoinbaseAdvancedFeed
from feeds.coinbase_exchange import auth as exchange
from feeds.coinbase_exchange.protocol import CoinbaseExchangeFeed
from feeds.errors import Unplannable
from feeds.protocol import Authenticate, Subscription

SECRET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
KEY_NAME = "organizations/o/apiKeys/k"
NOW_S = 1_700_000_000.9
SUBSCRIPTION = Subscription(frozenset({"book", "trades"}), ("BTC-USD",))


def now_s() -> float:
    return NOW_S


def nonces() -> Callable[[], str]:
    counter = itertools.count()
    return lambda: f"{next(counter):032x}"


# Exchange


def test_the_signature_of_the_test_vector() -> None:
    assert exchange.sign(SECRET, "1700000000") == "fqdfya0O8FSnHxmCQp804A8FhB/2b5TWlf6VewfapVs="


def test_the_signature_covers_the_timestamp_as_sent() -> None:
    credentials = exchange.authenticator("k", "p", SECRET, now_s)()
    assert credentials["timestamp"] == "1700000000"
    expected = hmac.new(b"0123456789abcdef0123456789abcdef", b"1700000000GET/users/self/verify", hashlib.sha256)
    assert base64.b64decode(credentials["signature"]) == expected.digest()
    assert (credentials["key"], credentials["passphrase"]) == ("k", "p")
    assert SECRET not in str(credentials)


def test_each_message_is_signed_at_its_own_time() -> None:
    seconds = itertools.count(1_700_000_000)
    authenticate = exchange.authenticator("k", "p", SECRET, lambda: next(seconds))
    feed = CoinbaseExchangeFeed(SUBSCRIPTION, book_channel="level2", authenticate=authenticate)
    messages = [json.loads(message) for message in [*feed.open(), *feed.resubscribe(["BTC-USD"])]]
    assert [message["timestamp"] for message in messages] == ["1700000000", "1700000001", "1700000002"]
    assert [message["signature"] for message in messages] == [
        exchange.sign(SECRET, message["timestamp"]) for message in messages
    ]


@pytest.mark.parametrize(
    ("key", "passphrase", "secret"),
    [
        ("", "p", SECRET),
        ("k", "", SECRET),
        ("k", "p", ""),
        ("k", "p", "hush-hush!"),
        ("k", "p", "hüsh"),
        ("k", "p", SECRET[:-1]),
    ],
)
def test_bad_exchange_credentials_say_so_without_showing_themselves(key: str, passphrase: str, secret: str) -> None:
    with pytest.raises(Unplannable) as raised:
        exchange.authenticator(key, passphrase, secret, now_s)
    assert_keeps_quiet(raised.value, secret)


def assert_keeps_quiet(error: Unplannable, secret: str) -> None:
    """One line, none of the secret, and no chained error that could hold it."""
    assert "\n" not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert not secret or not any(secret[start : start + 8] in str(error) for start in range(max(1, len(secret) - 7)))


# Advanced Trade


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, password: bytes = b"") -> str:
    is_old_form = not password and isinstance(key, ec.EllipticCurvePrivateKey)
    form = PrivateFormat.TraditionalOpenSSL if is_old_form else PrivateFormat.PKCS8
    cipher: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, cipher).decode()


P256 = ec.derive_private_key(0x5EED, ec.SECP256R1())
SEED = bytes(range(32))
EDWARDS = ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
EDWARDS_TEXT = base64.b64encode(SEED + EDWARDS.public_key().public_bytes_raw()).decode()

GOOD_KEYS = [
    pytest.param(pem(P256), "ES256", P256.public_key(), id="P-256"),
    pytest.param(pem(P256).replace("\n", "\\n"), "ES256", P256.public_key(), id="P-256 from an environment variable"),
    pytest.param("\n" + pem(P256) + "\n", "ES256", P256.public_key(), id="P-256 with blank lines"),
    pytest.param(EDWARDS_TEXT, "EdDSA", EDWARDS.public_key(), id="Ed25519"),
    pytest.param(base64.b64encode(SEED).decode() + "\n", "EdDSA", EDWARDS.public_key(), id="Ed25519 seed"),
    pytest.param(pem(EDWARDS), "EdDSA", EDWARDS.public_key(), id="Ed25519 in PEM"),
]


@pytest.mark.parametrize(("private_key", "algorithm", "public_key"), GOOD_KEYS)
def test_a_token_holds_under_the_public_key(
    private_key: str, algorithm: str, public_key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
) -> None:
    """PyJWT, which shares no code with us, checks the signature and reads the parts."""
    credentials = advanced.authenticator(KEY_NAME, private_key, now_s, nonces())()
    assert credentials.keys() == {"jwt"}
    token = credentials["jwt"]
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "typ": "JWT", "kid": KEY_NAME, "nonce": "0" * 32}
    claims = jwt.decode(token, public_key, algorithms=[algorithm], options={"verify_exp": False, "verify_nbf": False})
    assert claims == {"sub": KEY_NAME, "iss": "cdp", "nbf": 1_700_000_000, "exp": 1_700_000_120}
    assert "=" not in token


@pytest.mark.parametrize(("private_key", "algorithm", "public_key"), GOOD_KEYS[:1])
def test_a_changed_token_does_not_hold(private_key: str, algorithm: str, public_key: ec.EllipticCurvePublicKey) -> None:
    header, claims, signature = advanced.authenticator(KEY_NAME, private_key, now_s, nonces())()["jwt"].split(".")
    assert len(base64.urlsafe_b64decode(signature + "==")) == 64
    other = ec.derive_private_key(0xBAD, ec.SECP256R1()).public_key()
    for token, key in (
        (f"{header}.{claims}.{signature}", other),
        (f"{header}.{claims[:-2]}AA.{signature}", public_key),
    ):
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(token, key, algorithms=[algorithm])


def test_coordinates_with_leading_zeros_keep_their_width() -> None:
    """One signature in 128 has a short coordinate; among 600 some do."""
    authenticate = advanced.authenticator(KEY_NAME, pem(P256), now_s, nonces())
    signatures = [authenticate()["jwt"].split(".")[2] for _ in range(600)]
    assert {len(signature) for signature in signatures} == {86}


def test_each_message_gets_a_fresh_token() -> None:
    seconds = itertools.count(1_700_000_000)
    authenticate = advanced.authenticator(KEY_NAME, EDWARDS_TEXT, lambda: next(seconds), nonces())
    messages = CoinbaseAdvancedFeed(SUBSCRIPTION, authenticate=authenticate).open()
    tokens = [json.loads(message)["jwt"] for message in messages]
    assert [jwt.get_unverified_header(token)["nonce"] for token in tokens] == [f"{n:032x}" for n in range(3)]
    assert [jwt.decode(token, options={"verify_signature": False})["nbf"] for token in tokens] == [
        1_700_000_000,
        1_700_000_001,
        1_700_000_002,
    ]


BAD_KEYS = [
    pytest.param("", id="empty"),
    pytest.param("hush-hush, not a key", id="text"),
    pytest.param("schlüssel", id="not ASCII"),
    pytest.param(base64.b64encode(SEED[:31]).decode(), id="short seed"),
    pytest.param(base64.b64encode(SEED + bytes(32)).decode(), id="another public half"),
    pytest.param(EDWARDS_TEXT[:-8], id="truncated"),
    pytest.param(pem(P256)[:120], id="truncated PEM"),
    pytest.param(pem(P256).replace("MHcCAQEE", "XXXXXXXX"), id="damaged PEM"),
    pytest.param(pem(ec.derive_private_key(0x5EED, ec.SECP384R1())), id="P-384"),
    pytest.param(pem(P256, b"password"), id="encrypted PEM"),
    pytest.param(pem(rsa.generate_private_key(65537, 2048)), id="RSA"),
]


@pytest.mark.parametrize("private_key", BAD_KEYS)
def test_a_bad_private_key_says_so_without_showing_itself(private_key: str) -> None:
    with pytest.raises(Unplannable, match="private key") as raised:
        advanced.authenticator(KEY_NAME, private_key, now_s, nonces())
    assert_keeps_quiet(raised.value, private_key)


def test_a_key_without_its_name_cannot_be_used() -> None:
    with pytest.raises(Unplannable, match="key name"):
        advanced.authenticator("", EDWARDS_TEXT, now_s, nonces())


AUTHENTICATORS: list[Authenticate] = [
    exchange.authenticator("k", "p", SECRET, now_s),
    advanced.authenticator(KEY_NAME, EDWARDS_TEXT, now_s, nonces()),
]


@pytest.mark.parametrize("authenticate", AUTHENTICATORS, ids=["exchange", "advanced"])
def test_an_authenticator_does_not_print_its_secret(authenticate: Authenticate) -> None:
    assert SECRET not in repr(authenticate)
    assert EDWARDS_TEXT not in repr(authenticate)
