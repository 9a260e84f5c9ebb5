"""What a server may answer, one by one, and what becomes of the lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from aiohttp import web

from sentinel.config import Influx
from sentinel.disk.data_dir import DEAD_LETTERS
from sentinel.disk.delivery import SINK
from sentinel.disk.journal import Journal, JournalReader
from sentinel.errors import JournalWriteFailed
from sentinel.influx import sink as influx
from sentinel.influx.audit import send_lines
from sentinel.influx.server import Server
from tests.sentinel.influx.test_sink_real import delivering, trades
from tests.sentinel.timed import timed
from tests.servers.fake_influx import (
    FakeInflux,
    Play,
    answers,
    cuts,
    keeps_and_is_slow,
    keeps_and_resets,
    resets,
)
from tests.servers.waiting import LONGEST_S, until


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
        await journal.append(timed({"trades": trades(100)}))
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
        await journal.append(timed({"trades": trades(10)}))
    assert waits[0] == 7
    assert 0 < waits[1] <= 60
    assert len(fake.points) == 10


async def test_a_server_that_refuses_whole_batches_loses_only_the_guilty(fake: FakeInflux, tmp_path: Path) -> None:
    lines = trades(2000)
    fake.poison = {lines[n] for n in (0, 3, 4, 999, 1999)}
    async with delivering(tmp_path, fake.url, token="t") as (journal, sink):
        await journal.append(timed({"trades": lines}))
    assert set(fake.points.values()) == set(lines) - fake.poison
    with_words = Journal.open(tmp_path / "journal.sqlite3")
    with_words.close()
    assert sink.statistics.lines_set_aside == 5


async def test_a_request_that_is_too_large_is_halved(fake: FakeInflux, tmp_path: Path) -> None:
    fake.most_bytes = 20_000
    async with delivering(tmp_path, fake.url, token="t") as (journal, sink):
        await journal.append(timed({"trades": trades(3000)}))
    assert len(fake.points) == 3000
    assert sink.statistics.lines_set_aside == 0


async def test_an_audit_sends_as_much_as_the_server_takes(fake: FakeInflux) -> None:
    fake.most_bytes = 20_000
    settings = Influx.model_validate({"url": fake.url, "token": "t"})
    async with Server(settings, time.time_ns) as server:
        await send_lines(server, "b", trades(3000))
    assert len(fake.points) == 3000


async def test_lines_that_are_all_dropped_are_not_asked_for_one_by_one(fake: FakeInflux, tmp_path: Path) -> None:
    fake.plays.append(answers(422, '{"message":"partial write: points beyond retention policy dropped=1000"}'))
    async with delivering(tmp_path, fake.url, token="t") as (journal, sink):
        await journal.append(timed({"trades": trades(1000)}))
    assert sink.statistics.lines_set_aside == 1000
    assert len(fake.requests) == 1


async def test_requests_under_way_survive_a_new_token(fake: FakeInflux, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("old")
    all_sent = asyncio.Event()

    async def refuses(server: FakeInflux, request: web.Request, lines: list[bytes]) -> web.StreamResponse:
        """Those with the old token, together, once each has been sent."""
        secret.write_text("new")
        if len(server.requests) == before + 8:
            all_sent.set()
        await all_sent.wait()
        return web.json_response({"message": "unauthorized access"}, status=401)

    settings = {"token": None, "token_file": secret, "concurrency": 8, "batch_points": 10}
    async with delivering(tmp_path, fake.url, **settings) as (journal, sink):
        await journal.append(timed({"trades": trades(1)}))
        await until(lambda: sink.statistics.lines_delivered == 1)  # the first goes alone, and twice
        before = len(fake.requests)
        fake.plays += [refuses] * 8
        await journal.append(timed({"trades": trades(80, 2)}))
    assert len(fake.points) == 81
    assert sink.statistics.state == "delivering"


class Full(Journal):
    """A journal on a disk that is full the first time the sink has to note something of a kind."""

    refused: frozenset[str] = frozenset()

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        self._refuse_the_first(statement)
        super()._write(statement, rows)

    def _advance(self, sink: str, batch_id: int) -> None:
        self._refuse_the_first("advance")
        super()._advance(sink, batch_id)

    def _refuse_the_first(self, kind: str) -> None:
        if kind not in self.refused:
            self.refused |= {kind}
            raise JournalWriteFailed("no space left on device")


async def test_a_full_disk_costs_no_line(fake: FakeInflux, tmp_path: Path) -> None:
    lines = trades(100)
    fake.poison = {lines[50]}
    full = Full.open(tmp_path / "journal.sqlite3")
    async with delivering(tmp_path, fake.url, token="t", journal=full) as (journal, sink):
        await journal.append(timed({"trades": lines[:10]}))
        await journal.append(timed({"trades": lines[10:]}))
        async with asyncio.timeout(LONGEST_S):
            while len(full.refused) < 2:
                await asyncio.sleep(0.01)
            await journal.append(timed({"trades": lines[:1]}))
            while (await full.backlog(SINK)).line_count:
                await asyncio.sleep(0.01)
    assert len(fake.points) == 99
    assert sink.statistics.lines_set_aside == 1
    assert (tmp_path / DEAD_LETTERS).read_bytes().endswith(lines[50] + b"\n")


async def test_a_file_that_cannot_be_written_sets_no_line_aside_twice(fake: FakeInflux, tmp_path: Path) -> None:
    lines = trades(10)
    fake.poison = {lines[5]}
    in_the_way = tmp_path / DEAD_LETTERS
    in_the_way.mkdir()
    async with delivering(tmp_path, fake.url, token="t") as (journal, sink):
        await journal.append(timed({"trades": lines}))
        async with asyncio.timeout(LONGEST_S):
            while len(fake.points) < 9 or not stored_letters(tmp_path):
                await asyncio.sleep(0.01)
        in_the_way.rmdir()
    assert stored_letters(tmp_path) == [lines[5]]
    assert sink.statistics.lines_set_aside == 1
    assert in_the_way.read_bytes().endswith(lines[5] + b"\n")


def stored_letters(data_dir: Path) -> list[bytes]:
    with JournalReader(data_dir / "journal.sqlite3") as reader:
        return [letter.line for letter in reader.dead_letters()]


async def test_new_lines_do_not_wait_for_a_long_backlog(
    fake: FakeInflux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of arrival: with a backlog of 40 chunks what is new comes after the very next chunk."""
    monkeypatch.setattr(influx, "CHUNK_LINES", 100)
    monkeypatch.setattr(influx, "SPLIT_BATCHES", 20)
    journal = Journal.open(tmp_path / "journal.sqlite3")
    for chunk in range(40):
        await journal.append(timed({"trades": trades(100, 1 + 100 * chunk)}))
    new = trades(1, 1_000_000)

    async def accepts(server: FakeInflux, request: web.Request, lines: list[bytes]) -> web.StreamResponse:
        server.keep(lines)
        return web.Response(status=204)

    async def comes_in_between(server: FakeInflux, request: web.Request, lines: list[bytes]) -> web.StreamResponse:
        await journal.append(timed({"trades": new}))
        return await accepts(server, request, lines)

    fake.plays += [answers(503), accepts, accepts, comes_in_between]
    async with delivering(tmp_path, fake.url, token="t", journal=journal):
        pass
    order = list(fake.points.values())
    assert len(order) == 4001
    assert order.index(new[0]) < 2000, "how soon is a matter of whose turn it is"


async def test_after_a_second_outage_what_is_new_does_not_wait_for_either(
    fake: FakeInflux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influx, "CHUNK_LINES", 100)
    monkeypatch.setattr(influx, "SPLIT_BATCHES", 20)
    journal = Journal.open(tmp_path / "journal.sqlite3")

    async def written(count: int, first_id: int) -> None:
        for chunk in range(count):
            await journal.append(timed({"trades": trades(100, first_id + 100 * chunk)}))

    def comes(count: int, first_id: int) -> Play:
        async def play(server: FakeInflux, _: web.Request, lines: list[bytes]) -> web.StreamResponse:
            await written(count, first_id)
            server.keep(lines)
            return web.Response(status=204)

        return play

    await written(40, 1)
    fake.plays += [comes(0, 0), comes(40, 1_000_001), comes(0, 0), comes(1, 2_000_001)]
    async with delivering(tmp_path, fake.url, token="t", journal=journal):
        pass
    order = list(fake.points.values())
    assert len(order) == 8100
    assert order.index(trades(1, 2_000_001)[0]) < 4050, "how soon is a matter of whose turn it is"


async def test_a_gap_that_closes_is_not_opened_again_by_the_backlog(
    fake: FakeInflux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same point, written by the backlog and again by what is new: the last written must win."""
    monkeypatch.setattr(influx, "CHUNK_LINES", 100)
    monkeypatch.setattr(influx, "SPLIT_BATCHES", 20)
    journal = Journal.open(tmp_path / "journal.sqlite3")
    gap = b"gaps,cause=silence,symbol=BTC-USD repaired_count=%di 7"
    for chunk in range(40):
        await journal.append(timed({"trades": trades(100, 1 + 100 * chunk), "accounts": [gap % chunk]}))

    async def closes(server: FakeInflux, _: web.Request, lines: list[bytes]) -> web.StreamResponse:
        await journal.append(timed({"trades": trades(1, 1_000_000), "accounts": [gap % 99]}))
        server.keep(lines)
        return web.Response(status=204)

    fake.plays.append(closes)
    async with delivering(tmp_path, fake.url, token="t", journal=journal):
        pass
    assert gap % 99 in fake.points.values()
    assert len(fake.points) == 4002


async def test_accounts_go_one_after_the_other(fake: FakeInflux, tmp_path: Path) -> None:
    """A request that has to be repeated is not overtaken by the next."""
    gap = b"gaps,cause=silence,symbol=BTC-USD repaired_count=%di 7"
    fake.plays.append(answers(503))
    async with delivering(tmp_path, fake.url, token="t", timeout_s=2, batch_points=1) as (journal, _):
        await journal.append(timed({"accounts": [gap % count for count in range(5)]}))
    assert list(fake.points.values()) == [gap % 4]


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_a_slow_store_is_asked_for_as_much_as_it_answers_in_time(
    concurrency: int, fake: FakeInflux, tmp_path: Path
) -> None:
    """It takes 1,000 lines a second, and the requests are for four times of what is waited for."""
    fake.line_s = 0.001
    async with delivering(tmp_path, fake.url, token="t", timeout_s=0.5, concurrency=concurrency) as (journal, sink):
        await journal.append(timed({"trades": trades(2052)}))
    assert len(fake.points) == 2052
    assert sink.statistics.lines_set_aside == 0
    assert sink.statistics.state == "delivering"


@pytest.mark.parametrize(("first", "tries"), [(1, 1), (5000, 14)])
async def test_after_an_outage_requests_soon_are_as_large_as_before(
    first: int, tries: int, fake: FakeInflux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small they became: of the lines that are on their way, and of those that come next."""
    sleep = asyncio.sleep
    monkeypatch.setattr(influx.asyncio, "sleep", lambda seconds: sleep(0))
    fake.plays += [resets] * tries
    lines = trades(first + 10_000)
    async with delivering(tmp_path, fake.url, token="t") as (journal, _):
        await journal.append(timed({"trades": lines[:first]}))
        await until(lambda: len(fake.requests) >= tries)
        await journal.append(timed({"trades": lines[first:]}))
    assert set(fake.points.values()) == set(lines)
    assert len(fake.requests) - tries < 60


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_proxy_that_lets_only_small_requests_pass_is_sent_small_ones(
    status: int, fake: FakeInflux, tmp_path: Path
) -> None:
    """As nginx and its like answer when the store behind them takes longer than they wait."""

    async def passes_on(server: FakeInflux, _: web.Request, lines: list[bytes]) -> web.StreamResponse:
        if len(lines) > 200:
            return web.Response(status=status, text="<html><h1>no upstream in time</h1></html>")
        server.keep(lines)
        return web.Response(status=204)

    fake.plays += [passes_on] * 500
    async with delivering(tmp_path, fake.url, token="t") as (journal, sink):
        await journal.append(timed({"trades": trades(2000)}))
    assert len(fake.points) == 2000
    assert sink.statistics.lines_set_aside == 0


async def test_what_is_new_does_not_wait_for_the_backlog_of_a_slow_store(
    fake: FakeInflux, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influx, "SPLIT_BATCHES", 20)
    fake.line_s = 0.001
    journal = Journal.open(tmp_path / "journal.sqlite3")
    for batch in range(50):
        await journal.append(timed({"trades": trades(100, 1 + 100 * batch)}))
    new = trades(1, 1_000_000)
    async with delivering(tmp_path, fake.url, token="t", timeout_s=0.5, journal=journal):
        async with asyncio.timeout(LONGEST_S):
            while not fake.points:
                await asyncio.sleep(0.01)
            async with fake.busy:
                await journal.append(timed({"trades": new}))
    order = list(fake.points.values())
    assert len(order) == 5001
    assert order.index(new[0]) < 2500


async def test_a_partial_write_is_one_whatever_its_status(fake: FakeInflux, tmp_path: Path) -> None:
    """As 2.0 answers: the others are stored."""
    lines = trades(100)
    guilty = {lines[7], lines[70]}
    words = "unexpected error writing points to database: partial write: field type conflict: … dropped=%d"

    async def refuses(server: FakeInflux, _: web.Request, sent: list[bytes]) -> web.StreamResponse:
        server.keep([line for line in sent if line not in guilty])
        dropped = len(guilty & set(sent))
        if not dropped:
            return web.Response(status=204)
        return web.json_response({"code": "internal error", "message": words % dropped}, status=500)

    fake.plays += [refuses] * 100
    async with delivering(tmp_path, fake.url, token="t") as (journal, sink):
        await journal.append(timed({"trades": lines}))
    assert set(fake.points.values()) == set(lines) - guilty
    assert sink.statistics.lines_set_aside == 2


async def test_one_bucket_that_is_missing_holds_up_no_other_stream(fake: FakeInflux, tmp_path: Path) -> None:
    """And the one that is delivered does not hide it."""
    missing = web.json_response

    async def of_books_only(server: FakeInflux, request: web.Request, lines: list[bytes]) -> web.StreamResponse:
        if request.query["bucket"] == "t" and len(server.points) < 5:
            return missing({"code": "not found", "message": "bucket not found"}, status=404)
        server.keep(lines)
        return web.Response(status=204)

    fake.plays += [of_books_only] * 500
    buckets = {"bucket_trades": "t", "bucket_book": "b"}
    async with delivering(tmp_path, fake.url, token="t", **buckets) as (journal, sink):
        async with asyncio.timeout(LONGEST_S):
            await journal.append(timed({"trades": trades(1)}))
            await until(lambda: sink.statistics.state == "barred")
            for number in range(5):
                await journal.append(timed({"book": [f"top,symbol=X bid=1 {number}".encode()]}))
                while len(fake.points) <= number:
                    await asyncio.sleep(0.01)
                    assert len(fake.points) > 4 or sink.statistics.state == "barred"
    assert len(fake.points) == 6
