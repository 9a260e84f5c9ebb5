"""Who is let in where a token is set: programs by header or address, browsers by a form."""

from __future__ import annotations

import aiohttp
import pytest
from playwright.async_api import expect

from tests.sentinel.monitor.api.eye import Eye, seen_by
from tests.sentinel.monitor.api.test_api import behind_a_proxy, chromium, holds, new_page, status_of

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
TOKEN = "open sesame"


async def test_a_browser_gets_a_form_and_a_program_json() -> None:
    """Tour, section 3: with a token a browser got raw JSON."""
    async with seen_by(Eye(), TOKEN) as session:
        for path in ("/", "/docs", "/sentinel/status", "/sentinel/book/BTC-USD", "/?token=of+last+year"):
            async with session.get(path, headers=BROWSER) as response:
                assert (response.status, response.content_type) == (401, "text/html")
                assert 'name="token"' in await response.text()
            async with session.get(path) as response:
                assert (response.status, response.content_type) == (401, "application/json")
                assert response.headers["WWW-Authenticate"] == "Bearer"
        for headers in ({"Authorization": "Bearer shut"}, BROWSER | {"Authorization": "Bearer shut"}):
            async with session.get("/sentinel/status", headers=headers) as response:
                assert (response.status, response.content_type) == (401, "application/json")
        assert await status_of(session, "/openapi.json") == 401


async def test_the_form_leaves_a_cookie_that_is_not_the_token() -> None:
    async with seen_by(Eye(), TOKEN) as session, seen_by(Eye(), "another") as other:
        async with session.post("/", data={"token": "shut"}, allow_redirects=False) as response:
            assert response.status == 401
            assert "That is not the token" in await response.text()
            assert not response.cookies
        async with session.post("/", data={"token": TOKEN}, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "?")
            assert "HttpOnly" in response.headers["Set-Cookie"]
            (cookie,) = response.cookies.values()
        assert "sesame" not in cookie.output()
        async with aiohttp.ClientSession(cookies={cookie.key: cookie.value}) as bare:
            for path in ("", "docs", "sentinel/status"):
                async with bare.get(f"{session._base_url}/{path}") as response:
                    assert response.status == 200
            async with bare.get(f"{other._base_url}/sentinel/status") as response:
                assert response.status == 401
        async with aiohttp.ClientSession(cookies={cookie.key: "0" * 64}) as wrong:
            async with wrong.get(f"{session._base_url}/sentinel/status") as response:
                assert response.status == 401
        async with session.post("/", data={"token": "x" * 10_000}) as response:
            assert response.status == 413


async def test_without_a_token_nobody_is_asked() -> None:
    async with seen_by(Eye()) as session:
        assert await status_of(session, "/", headers=BROWSER) == 200
        async with session.post("/", data={"token": "x"}, allow_redirects=False) as response:
            assert (response.status, "Set-Cookie" in response.headers) == (303, False)


OWN = ["127.0.0.1:8080", "127.9.0.1", "LOCALHOST:8080", "collector.localhost.", "[::1]:8080"]
STRANGE = ["evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.7", "[::1", "a@b.example"]
SHOWN = ["/", "/docs", "/openapi.json", "/metrics", "/sentinel/status", "/sentinel/alerts", "/sentinel/report"]


async def test_without_a_token_a_name_of_another_site_that_points_here_gets_nothing() -> None:
    """A page of the web may let its own name mean 127.0.0.1 and is then same-origin with what it asks here."""
    async with seen_by(Eye()) as session:
        for host in OWN:
            assert await status_of(session, "/sentinel/status", headers={"Host": host}) == 200, host
        for host in STRANGE:
            for path in SHOWN:
                async with session.get(path, headers={"Host": host}) as response:
                    assert response.status == 403, (host, path)
                    assert "a proxy must send" in await response.text()
        assert await status_of(session, "/sentinel/stream", headers={"Host": STRANGE[0]}) == 403
        assert await status_of(session, "/healthz", headers={"Host": STRANGE[0]}) == 200


async def test_without_a_token_pages_of_other_sites_are_refused() -> None:
    async with seen_by(Eye()) as session:
        for origin, status in (
            ("http://localhost:3000", 200), (str(session._base_url), 200),
            ("https://evil.example", 403), ("http://127.0.0.1.evil.example", 403), ("null", 403),
        ):  # fmt: skip
            assert await status_of(session, "/sentinel/status", headers={"Origin": origin}) == status, origin


async def test_with_a_token_the_name_is_anybodys() -> None:
    async with seen_by(Eye(), TOKEN) as session:
        headers = {"Host": "collector.example", "Authorization": f"Bearer {TOKEN}", "Origin": "https://grafana.example"}
        assert await status_of(session, "/sentinel/status", headers=headers) == 200


@pytest.mark.parametrize("path", ["/", "", "/docs"])
async def test_the_form_works_below_any_path_of_a_proxy(path: str) -> None:
    async with (
        seen_by(Eye(), TOKEN) as session,
        behind_a_proxy(str(session._base_url), "/tools/market") as address,
        chromium() as browser,
    ):
        page = await new_page(browser)
        await page.goto(f"{address}{path}")
        await page.get_by_label("Token").fill("shut")
        await page.get_by_role("button").click()
        await expect(page.get_by_role("status")).to_have_text("That is not the token. Try again.")
        await page.get_by_label("Token").fill(TOKEN)
        await page.get_by_role("button").click()
        await expect(page.locator("#head")).to_have_text("3 of 4 books are proved")
        await holds(page, "chart.samples.size > 0")
        await page.get_by_role("link", name="API").click()
        await expect(page.locator("#paths h2")).to_have_count(8)
        await page.close()


@pytest.mark.parametrize(("origin", "is_secure"), [("https://collector.example", True), ("http://127.0.0.1", False)])
async def test_the_cookie_of_a_browser_that_speaks_tls_is_sent_over_tls_only(origin: str, is_secure: bool) -> None:
    async with seen_by(Eye(), TOKEN) as session:
        form = {"data": {"token": TOKEN}, "allow_redirects": False, "headers": {"Origin": origin}}
        async with session.post("/", **form) as response:  # type: ignore[arg-type]
            assert response.headers["Set-Cookie"].endswith("; Secure") is is_secure


@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {TOKEN}"}], ids=["the form", "the page"])
@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_nobody_shows_it_in_a_frame(path: str, headers: dict[str, str]) -> None:
    async with seen_by(Eye(), TOKEN) as session, session.get(path, headers=BROWSER | headers) as response:
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
