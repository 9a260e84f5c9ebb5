"""What a server may answer, one by one, and what becomes of the lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from aiohttp import web

from sentinel.journal import Journal
from sentinel.sinks import influx
from tests.sentinel.sinks.test_influx_real import delivering, trades
from tests.servers.fake_influx import (
    FakeInflux,
    Play,
    answers,
    cuts,
    keeps_and_is_slow,
    keeps_and_resets,
    resets,
)


@pytest.fixture
async def fake() -> AsyncIterator[FakeInflux]:
    async with FakeInflux().serve() as served:
        yield served


@pytest.mark.parametrize(
    "play",
    [
        answers(429, '{"code":"too many requests","message":"slow down"}', Retry_After="0"),
        answers(429, Retry_After=format_datetime(datetime.now(UTC) - timedelta(seconds=5), usegmt=True)),
        answers(500, "internal error"),
        answers(502, "<html>Bad Gateway</html>"),
        answers(503, "request throttled, queue full\n"),
        answers(504),
        answers(200, "hello"),
        answers(202),
        answers(302, Location="http://127.0.0.1:9/"),
        answers(401, '{"code":"unauthorized","message":"unauthorized access"}'),
        answers(403, '{"code":"forbidden"}'),
        answers(404, '{"code":"not found","message":"bucket not found"}'),
        answers(400, '{"code":"invalid","message":"org is required"}'),
        resets,
        keeps_and_resets,
        keeps_and_is_slow,
        cuts,
    ],
)
async def test_nothing_is_lost_or_set_aside_whatever_is_answered_once(
    play: Play, fake: FakeInflux, tmp_path: Path
) -> None:
    fake.plays.append(play)
    async with delivering(tmp_path, fake.url, token="t", timeout_s=0.3) as (journal, sink):
        await journal.append({"trades": trades(100)})
    assert len(fake.points) == 100
    assert sink.statistics.lines_set_aside == 0


async def test_it_waits_as_long_as_it_is_told(
    fake: FakeInflux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    fake.plays += [answers(429, Retry_After="7"), answers(503, Retry_After=in_a_minute)]
    monkeypatch.setattr(influx.asyncio, "sleep", noted)
    async with delivering(tmp_path, fake.url, token="t") as (journal, _):
        await journal.append({"trades": trades(10)})
    assert waits[0] == 7
    assert 50 < waits[1] <= 60
    assert len(fake.points) == 10


async def test_a_server_that_refuses_whole_batches_loses_only_the_guilty(fake: FakeInflux, tmp_path: Path) -> None:
    lines = trades(2000)
    fake.poison = {lines[n] for n in (0, 3, 4, 999, 1999)}
    async with delivering(tmp_path, fake.url, token="t") as (journal, sink):
        await journal.append({"trades": lines})
    assert set(fake.points.values()) == set(lines) - fake.poison
    with_words = Journal.open(tmp_path / "journal.sqlite3")
    with_words.close()
    assert sink.statistics.lines_set_aside == 5


async def test_a_request_that_is_too_large_is_halved(fake: FakeInflux, tmp_path: Path) -> None:
    fake.most_bytes = 20_000
    async with delivering(tmp_path, fake.url, token="t") as (journal, sink):
        await journal.append({"trades": trades(3000)})
    assert len(fake.points) == 3000
    assert sink.statistics.lines_set_aside == 0


async def test_new_lines_do_not_wait_for_a_long_backlog(
    fake: FakeInflux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of arrival: with a backlog of 40 chunks what is new comes after the very next chunk."""
    monkeypatch.setattr(influx, "CHUNK_LINES", 100)
    monkeypatch.setattr(influx, "SPLIT_LINES", 400)
    journal = Journal.open(tmp_path / "journal.sqlite3")
    for chunk in range(40):
        await journal.append({"trades": trades(100, 1 + 100 * chunk)})
    new = trades(1, 1_000_000)

    async def accepts(server: FakeInflux, request: web.Request, lines: list[bytes]) -> web.StreamResponse:
        server.keep(lines)
        return web.Response(status=204)

    async def comes_in_between(server: FakeInflux, request: web.Request, lines: list[bytes]) -> web.StreamResponse:
        await journal.append({"trades": new})
        return await accepts(server, request, lines)

    fake.plays += [answers(503), accepts, accepts, comes_in_between]
    async with delivering(tmp_path, fake.url, token="t", journal=journal):
        pass
    order = list(fake.points.values())
    assert len(order) == 4001
    assert order.index(new[0]) < 500
