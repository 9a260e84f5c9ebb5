"""A server gives long answers in parts: pages of lists, chunks of rows. All of it is read, or it is an error."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sentinel.config import Influx
from sentinel.influx.answers import Later, Unanswered
from sentinel.influx.buckets import ensure, keep, listed
from sentinel.influx.server import InfluxError, Server, joined
from tests.sentinel.influx.test_sink_real import delivering, in_buckets, trades
from tests.sentinel.timed import timed
from tests.servers.influx import WRITER, influx_server

ORGANISATION = "desk"


class Lists:
    """The lists of a 2.x server. ``most`` is what it gives at once, whatever is asked for."""

    def __init__(self, buckets: int, organisations: int, most: int, *, has_links: bool) -> None:
        self.buckets = [{"id": f"{n:016x}", "name": f"b{n}", "retentionRules": []} for n in range(buckets)]
        self.organisations = [{"id": f"o{n}", "name": f"org{n}"} for n in range(organisations)]
        self.organisations.append({"id": "ours", "name": ORGANISATION})
        self.made: list[dict[str, Any]] = []
        self.changed: list[tuple[str, dict[str, Any]]] = []
        self._most = most
        self._has_links = has_links

    async def _list(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        everything = self.buckets if name == "buckets" else self.organisations
        if "name" in request.query:
            everything = [entry for entry in everything if entry["name"] == request.query["name"]]
        first = int(request.query.get("offset", "0"))
        limit = min(self._most, int(request.query.get("limit", "20")))
        page = everything[first : first + limit]
        links = {"self": request.path_qs}
        if self._has_links and len(page) >= limit:  # as 2.x does: the next page may be empty
            links["next"] = f"{request.path}?descending=false&limit={limit}&offset={first + limit}&org={ORGANISATION}"
        return web.json_response({"links": links if self._has_links else {}, name: page})

    async def _make(self, request: web.Request) -> web.Response:
        self.made.append(await request.json())
        return web.json_response({}, status=201)

    async def _change(self, request: web.Request) -> web.Response:
        self.changed.append((request.match_info["id"], await request.json()))
        return web.json_response({})

    async def _ping(self, _: web.Request) -> web.Response:
        return web.Response(status=204, headers={"X-Influxdb-Version": "v2.7.12"})

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[tuple[Server, Influx]]:
        app = web.Application()
        app.router.add_get("/ping", self._ping)
        app.router.add_get("/api/v2/buckets", self._list)
        app.router.add_get("/api/v2/orgs", self._list)
        app.router.add_post("/api/v2/buckets", self._make)
        app.router.add_patch("/api/v2/buckets/{id}", self._change)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        settings = Influx.model_validate({"url": url, "token": "t", "org": ORGANISATION})
        try:
            async with Server(settings, time.time_ns) as server:
                yield server, settings
        finally:
            await runner.cleanup()


@pytest.mark.parametrize("count", [0, 99, 100, 101, 200, 250])
@pytest.mark.parametrize(("most", "has_links"), [(100, True), (100, False), (20, True), (20, False)])
async def test_every_page_is_read(count: int, most: int, has_links: bool) -> None:
    async with Lists(count, 230, most, has_links=has_links).serve() as (server, settings):
        assert [bucket.name for bucket in await listed(server, settings)] == [f"b{n}" for n in range(count)]


async def test_a_bucket_beyond_the_first_page_is_there_and_a_new_one_is_made_in_our_organisation() -> None:
    lists = Lists(250, 230, 100, has_links=True)
    async with lists.serve() as (server, settings):
        assert await ensure(server, settings, ["b240", "new"]) == ["new"]
    assert [(made["name"], made["orgID"]) for made in lists.made] == [("new", "ours")]


@pytest.mark.parametrize(
    ("retention_s", "rules"), [(inf, []), (86_400.0, [{"type": "expire", "everySeconds": 86_400}])]
)
async def test_the_retention_of_a_bucket_that_is_there_is_changed(retention_s: float, rules: list[object]) -> None:
    lists = Lists(250, 1, 100, has_links=True)
    async with lists.serve() as (server, settings):
        bucket = next(bucket for bucket in await listed(server, settings) if bucket.name == "b240")
        await keep(server, settings, bucket, retention_s)
    assert lists.changed == [(f"{240:016x}", {"retentionRules": rules})]


async def test_a_server_with_a_limit_on_rows_gives_all_of_them(tmp_path: Path) -> None:
    with influx_server(tmp_path / "server", "  max-row-limit = 100") as influxd:
        influxd.make("d")
        async with delivering(tmp_path, influxd.url, **in_buckets("d")) as (journal, _):
            await journal.append(timed({"trades": trades(25_000)}))
        settings = Influx.model_validate({"url": influxd.url, "token": WRITER})
        async with Server(settings, time.time_ns) as server:
            (result,) = await server.query("SELECT trade_id FROM trades", "d")
    assert [values[1] for series in result["series"] for values in series["values"]] == list(range(1, 25_001))
    assert len(result["series"]) == 1


def chunk(*values: int, tag: str = "a", statement: int = 0, **more: bool) -> dict[str, Any]:
    series = {"name": "m", "tags": {"t": tag}, "columns": ["time"], "values": [[value] for value in values]}
    return {"statement_id": statement, "series": [series]} | more


def test_chunks_of_a_series_are_joined_and_those_of_another_are_not() -> None:
    chunks = [chunk(1, 2, partial=True), chunk(3, partial=True), chunk(4, tag="b"), chunk(5, statement=1)]
    first, second = joined(chunks)
    assert [[row[0] for row in series["values"]] for series in first["series"]] == [[1, 2, 3], [4]]
    assert [[row[0] for row in series["values"]] for series in second["series"]] == [[5]]
    assert not first["partial"]


@asynccontextmanager
async def asking(*routes: web.RouteDef) -> AsyncIterator[Server]:
    """A client of a server that answers so."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = Influx.model_validate({"url": f"http://127.0.0.1:{runner.addresses[0][1]}", "token": "t"})
    try:
        async with Server(settings, time.time_ns) as server:
            yield server
    finally:
        await runner.cleanup()


async def test_a_part_is_never_taken_for_the_whole() -> None:
    async def answers(_: web.Request) -> web.Response:
        return web.json_response({"results": [chunk(1, partial=True)]})

    async with asking(web.get("/query", answers)) as server:
        with pytest.raises(InfluxError, match="only part"):
            await server.query("SELECT a FROM m")


@pytest.mark.parametrize("status", [200, 400, 503])
async def test_an_answer_without_an_end_does_not_fill_the_memory(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.influx.server.MOST_BYTES_OF_QUERY", 2**22)
    sent = 0

    async def answers(_: web.Request) -> web.Response:
        return web.Response(status=204)

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        for _ in range(64):
            await response.write(b" " * 2**20)
            sent += 1
        return response

    routes = [
        web.get("/ping", answers),
        web.post("/api/v2/write", endless),
        web.get("/query", endless),
        web.get("/api/v2/buckets", endless),
    ]
    async with asking(*routes) as server:
        assert isinstance(await server.write("b", b"m f=1 1"), Unanswered)
        with pytest.raises(InfluxError, match="more than 4194304 bytes"):
            await server.query("SELECT a FROM m")
        with pytest.raises(InfluxError, match="more than 4194304 bytes"):
            await server.pages("/api/v2/buckets", (), "buckets")
    assert sent < 100


async def test_a_page_that_is_no_json_is_said_to_be_none(tmp_path: Path) -> None:
    """The login page of a proxy, with a status of 200."""

    async def log_in(_: web.Request) -> web.Response:
        return web.Response(text="<html>please log in</html>", content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", log_in)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = Influx.model_validate({"url": f"http://127.0.0.1:{runner.addresses[0][1]}", "org": "desk"})
    try:
        async with Server(settings, time.time_ns) as server:
            with pytest.raises(InfluxError, match=r"not JSON: 200: .*please log in"):
                await listed(server, settings)
    finally:
        await runner.cleanup()


async def test_a_token_that_no_header_can_hold_is_said_to_be_one_and_is_not_shown(tmp_path: Path) -> None:
    """As it gets into a file by two lines: an old token and a new one."""
    file = tmp_path / "token"
    file.write_text("secret-a\nsecret-b\n")
    async with Lists(1, 0, 100, has_links=True).serve() as (server, _):
        settings = Influx.model_validate({"url": server.url, "token_file": str(file)})
        async with Server(settings, time.time_ns) as strange:
            outcome = await strange.write("b", b"x y=1 1")
    assert isinstance(outcome, Later)
    assert "header" in outcome.words
    assert "secret" not in outcome.words
