"""Is the proxy of the environment (``https_proxy`` and its kin) one that can be used?

Said in words of our own, since a proxy's address may hold a password.
"""

from __future__ import annotations

import importlib.util
import urllib.request
from urllib.parse import unquote, urlsplit

from websockets.exceptions import InvalidProxy, InvalidURI
from websockets.proxy import get_proxy, parse_proxy
from websockets.uri import parse_uri

from sentinel.command.foreign import hushed


def proxy_trouble(url: str) -> str | None:
    """What a person must correct before ``url`` (ws, wss, http or https) can be reached; None if that is nothing."""
    is_socket = url.startswith("ws")
    try:
        host = urlsplit(url).hostname
        proxy = get_proxy(parse_uri(url)) if is_socket else _http_proxy(url)
    except (InvalidURI, ValueError):  # no matter of a proxy
        return None
    if proxy is None:
        return None
    try:
        scheme = parse_proxy(proxy).scheme
    except (InvalidProxy, ValueError):
        return f"the proxy set for {host} cannot be used: it must look like http://host:port"
    if scheme.startswith("socks"):
        if not is_socket:
            return f"the proxy set for {host} cannot be used: REST needs http://, not {scheme}://"
        if importlib.util.find_spec("python_socks") is None:
            return f"the proxy set for {host} cannot be used: {scheme}:// needs the package python-socks[asyncio]"
    return None


def without_passwords(words: str) -> str:
    """What went wrong on the way through a proxy, without the passwords of any: it may quote what it was told."""
    passwords = []
    for proxy in urllib.request.getproxies().values():
        try:
            passwords.append(urlsplit(proxy).password or "")
        except ValueError:
            continue
    return hushed(words, *passwords, *map(unquote, passwords))


def _http_proxy(url: str) -> str | None:
    parts = urlsplit(url)
    if parts.hostname is None or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)
