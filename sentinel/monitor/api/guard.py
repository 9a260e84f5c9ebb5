"""Who may look: with a token set, whoever bears it, or a browser that has given it once.

A browser that has not is shown a form instead of a line of JSON. What the form leaves behind is a cookie made from the
token, from which nobody can learn the token.

Without a token, anybody on this machine may look, but no website that is open in one of its browsers: a site can have
its own name point at 127.0.0.1, and its requests then arrive with that name.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from urllib.parse import parse_qs

from fastapi import HTTPException, Request, Response
from starlette.requests import ClientDisconnect

from sentinel.config.address import is_loopback
from sentinel.monitor.api.page import Page, login_page

COOKIE_AGE_S = 30 * 86_400
MOST_FORM_BYTES = 4096


class LoginNeeded(Exception):
    """A browser asks without a token."""


class Guard:
    """The dependency that asks for ``token``, or, if there is none, for an address of this machine."""

    def __init__(self, token: str | None) -> None:
        self._token = token
        key = (token or "").encode()
        # cookies know no port: collectors on one host must not take each other's
        self._cookie = f"sentinel_{hmac.digest(key, b'name', sha256).hex()[:8]}"
        self._pass = hmac.digest(key, b"page", sha256).hex()

    def __call__(self, request: Request) -> None:
        """
        Raises:
            LoginNeeded: for a browser
            HTTPException: for any other client
        """
        if self._token is None:
            _refuse_strangers(request)
            return
        header = request.headers.get("authorization", "")
        given = header.removeprefix("Bearer ") or request.query_params.get("token", "")
        has_pass = hmac.compare_digest(request.cookies.get(self._cookie, "").encode(), self._pass.encode())
        if has_pass or self._is_token(given):
            return
        if not header and "text/html" in request.headers.get("accept", ""):
            raise LoginNeeded
        raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})

    async def login(self, request: Request) -> Response:
        """Takes the form, and sends the browser back to where it came from."""
        body = b""
        try:
            async for part in request.stream():
                body += part
                if len(body) > MOST_FORM_BYTES:
                    raise HTTPException(413, "that is more than a token")
        except ClientDisconnect:
            raise HTTPException(400, "that is less than a form") from None
        given = parse_qs(body.decode(errors="replace")).get("token", [""])[0].strip()
        if self._token is not None and not self._is_token(given):
            return asked(login_page("That is not the token. Try again.", request.url.path))
        # relative, so that it leads back to the page below whatever path a proxy has put it
        answer = Response(status_code=303, headers={"Location": "?"})
        if self._token is not None:
            secure = "; Secure" if _is_tls(request) else ""
            kept = f"{self._cookie}={self._pass}; Max-Age={COOKIE_AGE_S}; HttpOnly; SameSite=Lax{secure}"
            answer.headers["Set-Cookie"] = kept
        return answer

    def _is_token(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())


def _is_tls(request: Request) -> bool:
    """Whether the browser speaks TLS, to a proxy of ours: it says so itself, as the origin of what it posts."""
    return request.headers.get("origin", "").startswith("https://") or request.url.scheme == "https"


def _refuse_strangers(request: Request) -> None:
    """Raises HTTPException if a name that is not this machine's was asked, or if a page of another site asks."""
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if not is_loopback(f"//{host}"):
        raise HTTPException(
            403, "without a token, only 127.0.0.1 and localhost may be asked; a proxy must send that Host"
        )
    if origin is not None and not is_loopback(origin):
        raise HTTPException(403, "without a token, no page of another site may ask")


def asked(page: Page) -> Response:
    """The form, with the status that tells other clients the same."""
    headers = page.headers | {"WWW-Authenticate": "Bearer"}
    return Response(page.content, 401, headers, media_type="text/html")
