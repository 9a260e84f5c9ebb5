"""The pages, each put together as one file: they work below any path of a proxy and load nothing from elsewhere.

A page may run the one script and use the one style sheet that it has, and ask nobody but its own server.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files

from msgspec import Struct

from sentinel.contract.causes import CAUSES

SCRIPTS = ("core.js", "plot.js", "charts.js", "day.js", "market.js", "markets.js", "main.js")
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E"
    "%3Ccircle cx='4' cy='4' r='3' fill='%231f8a5c'/%3E%3C/svg%3E"
)


class Page(Struct, frozen=True):
    """A page as it is sent. ``headers`` are to be sent with it."""

    content: bytes
    headers: dict[str, str]


@cache
def live_page() -> Page:
    """What is collected now."""
    causes = json.dumps({cause: words.short for cause, words in CAUSES.items()})
    return _page("page.html", SCRIPTS, causes=causes.replace("<", "\\u003c"))


@cache
def docs_page() -> Page:
    """The API, as its own description has it."""
    return _page("docs.html", ("docs.js",))


def login_page(words: str, path: str) -> Page:
    """The form that asks for the token, on the way to ``path``. It is sent to the root, which takes it."""
    root = "../" * (path.count("/") - 2) + ".." if path.count("/") > 1 else "."
    action = "" if path == "/" else f' action="{escape(root)}"'
    return _page("login.html", (), words=escape(words), action=action)


def _page(name: str, scripts: tuple[str, ...], **filled: str) -> Page:
    style = _read("page.css")
    script = "\n".join(_read(each) for each in scripts)
    parts: Mapping[str, str] = {"icon": ICON, "style": style, "script": script} | filled
    content = _read(name)
    for place, text in parts.items():
        content = content.replace(f"<!--{place}-->", text)
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; connect-src 'self'; "
        "img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
    return Page(content.encode(), headers)


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
