"""``--http``: a port, an address, or a URL as it is pasted from a browser (F13 of the tour)."""

from __future__ import annotations

import re

import pytest

from sentinel.config.address import http_address


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("8080", "127.0.0.1:8080"),
        (8080, "127.0.0.1:8080"),
        (":8080", "127.0.0.1:8080"),
        (" http://127.0.0.1:18080/ ", "127.0.0.1:18080"),
        ("http://localhost:18080/sentinel/status?token=x#top", "localhost:18080"),
        ("HTTP://collector.example:80", "collector.example:80"),
        ("[::1]:8080", "[::1]:8080"),
        ("http://[::1]:8080/", "[::1]:8080"),
        ("0.0.0.0:0", "0.0.0.0:0"),
    ],
)
def test_an_address(given: object, address: str) -> None:
    assert http_address(given) == address


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("127.0.0.1", "127.0.0.1 has no port; write 127.0.0.1:8080"),
        ("http://localhost/", "localhost has no port; write localhost:8080"),
        ("https://127.0.0.1:8080", "only http is served; write HOST:PORT"),
        ("127.0.0.1:99999", "99999 is not a port"),
        ("", "is not an address; write HOST:PORT, such as 127.0.0.1:8080"),
        ("a b:8080", "is not an address"),
        ("host:port", "is not an address"),
        ("user@host:80", "is not an address"),
    ],
)
def test_what_is_no_address_says_what_to_write(given: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        http_address(given)
