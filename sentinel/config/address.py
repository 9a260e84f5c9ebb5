"""``HOST:PORT``, however a person writes it."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

EXAMPLE = "127.0.0.1:8080"
MOST_PORT = 65_535
LOCAL = "127.0.0.1"
ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]*)(?::(\d+))?")


def http_address(value: object) -> str:
    """``HOST:PORT`` of that, of a URL as a browser shows it, or of a port alone, which is one of this machine.

    Raises:
        ValueError: for anything else; its text says what is to be written.
    """
    text = str(value).strip()
    if text.isascii() and text.isdecimal():
        text = f"{LOCAL}:{text}"
    if "://" in text:
        scheme, _, rest = text.partition("://")
        if scheme.lower() != "http":
            raise ValueError(f"is a {scheme} URL, and only http is served; write HOST:PORT, such as {EXAMPLE}")
        text = urlsplit(f"//{rest}").netloc
    found = ADDRESS.fullmatch(text)
    if found is None or not text:
        raise ValueError(f"is not an address; write HOST:PORT, such as {EXAMPLE}")
    host, port = found.groups()
    if port is None:
        raise ValueError(f"{host} has no port; write {host}:8080, say")
    if int(port) > MOST_PORT:
        raise ValueError(f"{port} is not a port: they end at {MOST_PORT}")
    return f"{host or LOCAL}:{int(port)}"


def is_loopback(url: str) -> bool:
    """Whether its host can be no other machine, whatever a name server says."""
    name = _host(url)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_number(url: str) -> bool:
    """Whether its host is no name, so that no name server had a say in it."""
    try:
        ip_address(_host(url))
    except ValueError:
        return False
    return True


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").removesuffix(".")
    except ValueError:
        return ""
