"""The report, or why there is none, sent where the settings say: by mail, to a webhook, or both.

A mail has the table in its body, twice (plain, and set in a fixed width), and the page as a file. A webhook gets the
figures without the single gaps. No secret is in what is sent or said: neither a password nor the webhook's address.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
import time
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from html import escape
from urllib.parse import urlsplit

import msgspec

from sentinel.command.foreign import hushed
from sentinel.config import Report as Settings
from sentinel.errors import SentinelError
from sentinel.gap_report.html import as_html
from sentinel.gap_report.report import Report
from sentinel.gap_report.text import as_table
from sentinel.gap_report.words import count, coverage, duration, percent, window_words
from sentinel.webhook import post

ATTEMPTS = 3
TIMEOUT_S = 30.0
MOST_NAMED = 10
WIDTH = 100
FIXED = '<!doctype html><html lang="en"><body><pre style="font:13px/1.35 monospace">{}</pre></body></html>'


class NotSent(SentinelError):
    """A mail server or a webhook did not take the report."""


def headline(report: Report) -> str:
    """One line: the verdict, of how much, of when."""
    lacking = sum(not product.is_complete for product in report.products)
    what = f"{len(report.products):,} products" if len(report.products) > 1 else "1 product"
    of = f"{lacking:,} of {what}" if lacking else what
    return f"gap report: {report.verdict}, {of}, {window_words(report.window)}"


def summary(report: Report) -> str:
    """A few lines for a chat: the verdict, which products lack something, and what each cause cost."""
    lines = [f"sentinel-ws {headline(report)}"]
    lacking = [product for product in report.products if not product.is_complete]
    for product in lacking[:MOST_NAMED]:
        missing = f", {product.trades.missing:,} missing" if product.trades.missing else ""
        name = report.names[product.market]
        lines.append(f"{name}: book {percent(product.book_clean)} clean, trades {coverage(product)}{missing}")
    if len(lacking) > MOST_NAMED:
        lines.append(f"and {len(lacking) - MOST_NAMED:,} more")
    for cause in report.causes:
        counts = {"samples": cause.samples, "trades": cause.trades, "repaired": cause.repaired}
        costs = "".join(f", {count(number)} {name}" for name, number in counts.items() if number)
        times = "1 gap" if cause.gaps == 1 else f"{cause.gaps:,} gaps"
        lines.append(f"{cause.channel}, {cause.words}: {times}, {duration(cause.duration_ns)}{costs}")
    return "\n".join(lines)


def send(report: Report, settings: Settings) -> list[str]:
    """To whom it was sent.

    Raises:
        NotSent: if any of them did not take it; the others have it all the same.
    """
    text = as_table(report, width=WIDTH)
    figures = msgspec.to_builtins(report)
    for product in figures["products"]:
        del product["gaps"]
    mail = _mail(settings, f"[sentinel-ws] {headline(report)}", f"{summary(report)}\n\n{text}", as_html(report))
    return asyncio.run(_delivered(settings, mail, {"text": summary(report), **figures}))


def send_failure(why: str, settings: Settings) -> list[str]:
    """Says instead of a report that there is none: silence would read as if all were well.

    Raises:
        NotSent: as ``send``.
    """
    words = f"sentinel-ws made no gap report: {why}"
    mail = _mail(settings, "[sentinel-ws] no gap report", words, None)
    return asyncio.run(_delivered(settings, mail, {"text": words, "error": why}))


async def _delivered(settings: Settings, mail: EmailMessage | None, figures: dict[str, object]) -> list[str]:
    sent, refused = [], []
    if mail is not None:
        names = ", ".join(settings.mail_to)
        reason = await asyncio.to_thread(_post_mail, settings, mail, time.sleep)
        refused += [f"mail to {names}: {reason}"] if reason else []
        sent += [] if reason else [f"mail to {names}"]
    if settings.webhook_url is not None:
        reason = await _post_figures(settings, figures, asyncio.sleep)
        name = f"webhook at {urlsplit(settings.webhook_url.get_secret_value()).hostname}"
        refused += [f"{name}: {reason}"] if reason else []
        sent += [] if reason else [name]
    if refused:
        raise NotSent(f"not sent: {'; '.join(refused)}{f' (but {sent[0]} was)' if sent else ''}")
    return sent


async def _post_figures(
    settings: Settings, figures: dict[str, object], pause: Callable[[float], Awaitable[object]]
) -> str | None:
    shown = {"text": figures["text"]} if settings.webhook_shape == "slack" else figures
    url = "" if settings.webhook_url is None else settings.webhook_url.get_secret_value()
    return await post(url, msgspec.json.encode(shown), pause)


def _mail(settings: Settings, subject: str, text: str, page: str | None) -> EmailMessage | None:
    if not settings.mail_to:
        return None
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = settings.mail_from or settings.mail_to[0]
    message["To"] = ", ".join(settings.mail_to)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=message["From"].rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    message.add_alternative(FIXED.format(escape(text)), subtype="html")
    if page is not None:
        message.add_attachment(page, subtype="html", filename="gap-report.html")
    return message


def _post_mail(settings: Settings, message: EmailMessage, pause: Callable[[float], object]) -> str | None:
    """None once it was accepted, else why it never was. A refusal for good is not tried again."""
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(2.0**attempt)
        try:
            refused = _offer_mail(settings, message)
        except smtplib.SMTPResponseException as error:
            reason = f"{error.smtp_code} {_spelled(error.smtp_error)}"
            if error.smtp_code >= 500:
                break
        except smtplib.SMTPRecipientsRefused as error:
            return _refusals(error.recipients)
        except (smtplib.SMTPException, OSError) as error:
            reason = f"{type(error).__name__}: {error}"
        else:
            return _refusals(refused)
    host, port = settings.smtp_address
    password = "" if settings.smtp_password is None else settings.smtp_password.get_secret_value()
    return f"{host}:{port} {hushed(reason, password)}"


def _offer_mail(settings: Settings, message: EmailMessage) -> dict[str, tuple[int, bytes]]:
    """Those of the recipients that were refused."""
    context = ssl.create_default_context(cafile=settings.smtp_ca_file)
    if settings.smtp_security == "tls":
        client: smtplib.SMTP = smtplib.SMTP_SSL(*settings.smtp_address, timeout=TIMEOUT_S, context=context)
    else:
        client = smtplib.SMTP(*settings.smtp_address, timeout=TIMEOUT_S)
    with client:
        if settings.smtp_security == "starttls":
            client.starttls(context=context)
        if settings.smtp_user is not None and settings.smtp_password is not None:
            client.login(settings.smtp_user, settings.smtp_password.get_secret_value())
        return client.send_message(message)


def _refusals(refused: dict[str, tuple[int, bytes]]) -> str | None:
    words = [f"{address} refused: {code} {_spelled(words)}" for address, (code, words) in refused.items()]
    return "; ".join(words) or None


def _spelled(words: bytes | str) -> str:
    text = words.decode(errors="replace") if isinstance(words, bytes) else words
    return " ".join(text.split())
