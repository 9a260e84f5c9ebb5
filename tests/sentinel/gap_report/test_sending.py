"""``gap-report --send`` to a real mail server and a real webhook."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from sentinel.cli import cli
from sentinel.config.loading import load
from sentinel.contract.line_protocol import Value
from sentinel.errors import UsageError
from sentinel.gap_report import sending
from tests.sentinel.archive.market import line, write
from tests.servers.smtp import MailServer

MINUTE_NS = 60 * 10**9
START_NS = 1_700_000_040 * 10**9
PASSWORD = "correct horse"
WINDOW = ("--since", str(START_NS), "--until", str(START_NS + MINUTE_NS))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A minute of two products, one of them with a gap of a second."""
    rows = []
    for symbol, withheld in (("BTC-USD", 10), ("ETH-USD", 0)):
        tags = {"collector": "a", "exchange": "coinbase", "symbol": symbol}
        counts: dict[str, Value] = {"samples_due": 600, "samples_written": 600 - withheld, "samples_withheld": withheld}
        rows.append(line("coverage", tags, counts, START_NS))
    tags = {"cause": "sequence", "channel": "book", "collector": "a", "exchange": "coinbase", "symbol": "BTC-USD"}
    facts: dict[str, Value] = {"start_ns": START_NS, "end_ns": START_NS + 10**9, "missing_count": 2}
    rows.append(line("gaps", tags, facts, START_NS))
    folder = tmp_path / "data"
    asyncio.run(write(folder, [{"accounts": rows}]))
    return folder


async def report(data: Path, *arguments: str, **settings: str) -> Result:
    environment = {f"SENTINEL_REPORT_{name.upper()}": value for name, value in settings.items()}
    asked = ["gap-report", "--data-dir", str(data), *WINDOW, "--send", *arguments]
    return await asyncio.to_thread(lambda: CliRunner().invoke(cli, asked, env=environment))


def mail_to(server: MailServer, **more: str) -> dict[str, str]:
    where = {"smtp_server": f"127.0.0.1:{server.port}", "smtp_ca_file": str(server.ca_file)}
    return where | {"mail_to": "ops@example.com, desk@example.com"} | more


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_the_report_goes_by_mail(data: Path, tmp_path: Path, security: str) -> None:
    password_file = tmp_path / "password"
    password_file.write_text(f"{PASSWORD}\n")
    mail = MailServer(tmp_path, user="sentinel", password=PASSWORD, is_tls=security == "tls")
    async with mail.running():
        who = {"smtp_user": "sentinel", "smtp_password_file": str(password_file), "smtp_security": security}
        told = await report(data, **mail_to(mail, **who))
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout == "incomplete; sent: mail to ops@example.com, desk@example.com\n"
    (taken,) = mail.mails
    assert mail.secure
    assert mail.recipients == ["ops@example.com", "desk@example.com"]
    assert taken["subject"] == (
        "[sentinel-ws] gap report: incomplete, 1 of 2 products, 2023-11-14 22:14:00 to 2023-11-14 22:15:00 UTC"
    )
    assert taken["from"] == "ops@example.com"
    assert taken["auto-submitted"] == "auto-generated"
    plain, fixed = (taken.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert fixed is not None
    assert "BTC-USD: book 98.333 % clean, trades 100 %" in plain.get_content()
    assert "book, frames lost: 1 gap, 1.0 s, 10 samples" in plain.get_content()
    assert "<pre" in fixed.get_content()
    (page,) = taken.iter_attachments()
    assert page.get_filename() == "gap-report.html"
    assert "<!doctype html>" in page.get_content()
    assert PASSWORD not in taken.as_string() + told.output


@asynccontextmanager
async def webhook(status: int = 200) -> AsyncIterator[tuple[str, list[Any]]]:
    received: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        received.append(await request.json())
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/hook/s3cret", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook/s3cret", received
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("shape", ["json", "slack"])
async def test_the_report_goes_to_a_webhook(data: Path, tmp_path: Path, shape: str) -> None:
    async with webhook() as (url, received):
        url_file = tmp_path / "url"
        url_file.write_text(url)
        told = await report(data, "--fail-under", "99", webhook_url_file=str(url_file), webhook_shape=shape)
    assert told.exit_code == 3, "it was sent, and is under what was asked for"
    assert told.stdout == "incomplete; sent: webhook at 127.0.0.1\n"
    (body,) = received
    assert body["text"].startswith("sentinel-ws gap report: incomplete, 1 of 2 products, 2023-11-14 22:14:00 to")
    if shape == "slack":
        assert list(body) == ["text"]
    else:
        assert body["verdict"] == "incomplete"
        assert [product["symbol"] for product in body["products"]] == ["BTC-USD", "ETH-USD"]
        assert body["causes"][0]["words"] == "frames lost"
        assert "gaps" not in body["products"][0]


async def test_what_is_not_taken_is_one_line_without_secrets_and_the_others_have_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_wait(_: float) -> None:
        return None

    monkeypatch.setattr(sending.asyncio, "sleep", no_wait)
    mail = MailServer(tmp_path, user="sentinel", password="another")
    async with mail.running(), webhook(500) as (url, received):
        who = {"smtp_user": "sentinel", "smtp_password": PASSWORD}
        told = await report(data, webhook_url=url, **mail_to(mail, **who))
    assert isinstance(told.exception, sending.NotSent)
    assert told.exception.exit_code == 1
    words = str(told.exception)
    assert words == (
        "not sent: mail to ops@example.com, desk@example.com: "
        f"127.0.0.1:{mail.port} 535 5.7.8 wrong user or password; webhook at 127.0.0.1: status 500"
    )
    assert len(received) == 5
    assert not mail.mails
    assert "s3cret" not in words
    assert PASSWORD not in words


async def test_a_server_that_is_busy_is_asked_again_and_a_refused_recipient_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(sending.time, "sleep", waited.append)
    mail = MailServer(tmp_path)
    mail.replies = ["451 4.7.1 come again"]
    mail.refused_recipients = {"desk@example.com"}
    async with mail.running():
        told = await report(data, **mail_to(mail))
    assert waited == [2.0]
    assert mail.recipients == ["ops@example.com"]
    assert str(told.exception).endswith("desk@example.com refused: 550 5.1.1 nobody of that name")


async def test_a_certificate_that_nobody_vouches_for_gets_no_password(data: Path, tmp_path: Path) -> None:
    monkey = pytest.MonkeyPatch()
    monkey.setattr(sending.time, "sleep", lambda _: None)
    mail = MailServer(tmp_path, user="sentinel", password=PASSWORD)
    async with mail.running():
        settings = mail_to(mail, smtp_user="sentinel", smtp_password=PASSWORD)
        del settings["smtp_ca_file"]
        told = await report(data, **settings)
    monkey.undo()
    assert "CERTIFICATE_VERIFY_FAILED" in str(told.exception)
    assert not any(line.startswith("AUTH") for line in mail.seen)


async def test_that_there_is_no_report_is_sent_too(tmp_path: Path) -> None:
    async with webhook() as (url, received):
        told = await report(tmp_path / "nothing", webhook_url=url)
    assert isinstance(told.exception, UsageError)
    (body,) = received
    assert body["text"].startswith("sentinel-ws made no gap report: no journal")
    assert body["error"] in body["text"]


async def test_where_neither_is_a_report_nor_somebody_who_takes_word_of_that_both_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_wait(_: float) -> None:
        return None

    monkeypatch.setattr(sending.asyncio, "sleep", no_wait)
    async with webhook(500) as (url, _):
        told = await report(tmp_path / "nothing", webhook_url=url)
    assert isinstance(told.exception, UsageError)
    assert str(told.exception).startswith("no journal")
    assert "not sent: webhook at 127.0.0.1: status 500" in told.stderr


async def test_nowhere_to_send_it_is_a_mistake(data: Path) -> None:
    told = await report(data)
    assert isinstance(told.exception, UsageError)
    assert "nowhere to send it" in str(told.exception)


def test_a_password_is_not_sent_in_the_clear() -> None:
    settings = {"smtp_server": "mail.example.com", "mail_to": ["a@b.c"], "smtp_user": "a", "smtp_password": PASSWORD}
    with pytest.raises(UsageError, match="readable on its way") as raised:
        load({"report": settings | {"smtp_security": "none"}}, None, {})
    assert PASSWORD not in str(raised.value)


def test_a_port_that_there_cannot_be_is_a_mistake() -> None:
    settings = {"smtp_server": "mail.example.com:70000", "mail_to": ["a@b.c"]}
    with pytest.raises(UsageError, match="70000 is not a port"):
        load({"report": settings}, None, {})


async def test_a_file_can_be_written_too(data: Path, tmp_path: Path) -> None:
    async with webhook() as (url, _):
        told = await report(data, "--format", "json", "--output", str(tmp_path / "report.json"), webhook_url=url)
    assert told.exit_code == 0
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "incomplete"
