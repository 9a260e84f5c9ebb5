"""A proxy that cannot be used is told in words that hold none of its address."""

from __future__ import annotations

import importlib.util

import pytest

from sentinel.exchange.proxies import proxy_trouble

SOCKET, REST = "wss://venue.example/stream", "https://venue.example/rest"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no", "socks", "ws", "wss"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


@pytest.mark.parametrize("url", [SOCKET, REST, "nonsense", "https://[", "ws://"])
def test_without_one_there_is_no_trouble(url: str) -> None:
    assert proxy_trouble(url) is None


@pytest.mark.parametrize("url", [SOCKET, REST])
def test_one_that_can_be_used_is_none_either(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://u:secret@proxy.example:3128")
    assert proxy_trouble(url) is None


@pytest.mark.parametrize("url", [SOCKET, REST])
@pytest.mark.parametrize("proxy", ["http://u:secret@h:99999999", "secret.example:3128", "gopher://secret:1"])
def test_one_that_cannot_be_read_keeps_its_secrets(proxy: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    trouble = proxy_trouble(url)
    assert trouble == "the proxy set for venue.example cannot be used: it must look like http://host:port"


def test_rest_takes_no_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://u:secret@proxy.example:1080")
    assert proxy_trouble(REST) == "the proxy set for venue.example cannot be used: REST needs http://, not socks5://"


@pytest.mark.parametrize(("found", "trouble"), [(object(), False), (None, True)])
def test_a_socket_takes_socks_with_a_package(found: object, trouble: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://u:secret@proxy.example:1080")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found if name == "python_socks" else None)
    words = proxy_trouble(SOCKET)
    assert (words is not None) == trouble
    assert words is None or ("python-socks" in words and "secret" not in words)


@pytest.mark.parametrize("url", [SOCKET, REST])
def test_a_host_that_needs_none_has_no_trouble_with_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "gopher://secret:1")
    monkeypatch.setenv("no_proxy", "venue.example")
    assert proxy_trouble(url) is None
