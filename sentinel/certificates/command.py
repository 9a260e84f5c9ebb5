"""``sentinel-ws certify`` and ``sentinel-ws verify``."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.text import Text

from sentinel.archive.archiver import alone
from sentinel.archive.schedule import HOUR_NS, end_of_archive_ns
from sentinel.certificates import certificate as papers
from sentinel.certificates.issuer import Folders, all_hours, issue
from sentinel.certificates.verify import Check, Stored, check_journal, read_chains, verify, within
from sentinel.command.options import config_option, plain_format_option, since_option, until_option
from sentinel.command.tables import Sheet, show
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.disk.data_dir import CERTIFICATES, JOURNAL, TAPE_SUFFIX
from sentinel.disk.folder_option import FOLDER
from sentinel.disk.object_store import Folder
from sentinel.disk.shards import data_folders
from sentinel.errors import UsageError
from sentinel.timing.instants import parse_instant_ns

FAILED = 1
MOST_SHOWN = 20


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the archive is.  [default: data]")
@config_option
def certify(data_dir: Path | None, config_file: Path | None) -> None:
    """Seal each complete hour of the archive that has no certificate, or has changed since.

    A collector does this itself as it writes an hour; this command is for archives from elsewhere, or a lost hour.
    """
    config = _config(data_dir, None, config_file)
    console = Console(stderr=True)
    written = hours_over = 0
    for folder in data_folders(config.data_dir):
        folders = Folders.of(folder)
        if not folders.archive.is_dir():
            raise UsageError(f"no archive in {folder}; sentinel-ws archive writes one")
        with alone(folders.archive):
            end_ns = end_of_archive_ns(time.time_ns())
            hours = sorted(hour for hour in all_hours(folders) if hour.hour_ns + HOUR_NS <= end_ns)
            with console.status(f"certifying {len(hours)} hours"):
                written += len(issue(folders, hours))
            hours_over += len(hours)
    if written:
        show(f"{written} certificates written")
    elif hours_over:
        show("nothing to write: every hour that is over has its certificate")
    else:
        show("nothing to write: no hour of the archive is over yet")


@click.command("verify")
@click.option("--data-dir", type=FOLDER, help="Where archive and certificates are; may be a URL.  [default: data]")
@click.option("--influx-url", help="Also compare with what this InfluxDB holds.")
@since_option(words="From the hour this lies in.")
@until_option()
@click.option("--no-replay", is_flag=True, help="Do not derive the archive again from the tapes.")
@plain_format_option
@config_option
def verify_command(
    data_dir: Folder | None,
    influx_url: str | None,
    since: str | None,
    until: str | None,
    no_replay: bool,
    form: str,
    config_file: Path | None,
) -> None:
    """Check that everything that was certified is still there and unchanged.

    Exits with 1 if anything is missing or different.
    """
    now_ns = time.time_ns()
    since_ns = 0 if since is None else parse_instant_ns(since, now_ns) // HOUR_NS * HOUR_NS
    until_ns = 2**63 - 1 if until is None else parse_instant_ns(until, now_ns)
    config = _config(None, influx_url, config_file)
    root = data_dir or config.data_dir
    checks: dict[str, Check] = {}
    heads: dict[str, papers.Head] = {}
    every = [(folder, read_chains(folder / CERTIFICATES)) for folder in data_folders(root)]
    # neither journal nor tapes are in an object store
    journals = {folder: check_journal(folder / JOURNAL) for folder, _ in every if isinstance(folder, Path)}
    is_damaged = any(check.problems for check in (*journals.values(), *(chains.check for _, chains in every)))
    if not is_damaged and not any(within(chains.latest, since_ns, until_ns) for _, chains in every):
        raise UsageError(f"nothing certified in {root} in that time; see sentinel-ws certify")
    for folder, chains in every:
        latest = within(chains.latest, since_ns, until_ns)
        found = [chains.check, *verify(Stored.of(folder), chains.latest, latest)]
        if isinstance(folder, Path):
            found.append(journals[folder])
            if not no_replay:
                found.append(_rederive(Folders.of(folder), latest))
        if influx_url is not None:
            found.append(asyncio.run(_compare_influx(config, latest)))
        heads |= chains.heads
        for check in found:
            _add(checks, check)
    holds = not any(check.problems for check in checks.values())
    if form == "json":
        told = {"holds": holds, "checks": list(checks.values()), "heads": heads}
        click.echo(msgspec.json.format(msgspec.json.encode(told)))
    else:
        _show(checks, heads, holds=holds)
    if not holds:
        sys.exit(FAILED)


def _config(data_dir: Path | None, influx_url: str | None, config_file: Path | None) -> Config:
    flags: dict[str, object] = {} if data_dir is None else {"data_dir": data_dir}
    if influx_url is not None:
        flags["influx"] = {"url": influx_url}
    return load(flags, config_file)


def _rederive(folders: Folders, latest: list[papers.Certificate]) -> Check:
    from sentinel.certificates.rederive import check_tapes_against_archive  # with the pipeline and its feeds
    from sentinel.replay.play import progress

    files = sorted(folders.tapes.glob(f"*{TAPE_SUFFIX}"))
    with progress(files, "tapes") as passed:
        return check_tapes_against_archive(folders, latest, passed)


async def _compare_influx(config: Config, latest: list[papers.Certificate]) -> Check:
    from sentinel.certificates.influx import check_influx  # with InfluxDB's client
    from sentinel.influx.server import Server

    async with Server(config.influx, time.time_ns) as server:
        return await check_influx(server, config.influx, latest)


def _add(checks: dict[str, Check], check: Check) -> None:
    """One line for each kind, over all shards."""
    known = checks.setdefault(check.name, Check(check.name, claim=check.claim))
    known.compared += check.compared
    known.problems = known.problems + check.problems
    known.note = known.note or check.note


def _show(checks: dict[str, Check], heads: dict[str, papers.Head], *, holds: bool) -> None:
    table = Sheet("check", "compared", "holds", "note", numbers=("compared",), words=("check", "note"))
    for check in checks.values():
        verdict = (
            f"[red]no: {len(check.problems)}[/]" if check.problems else ("[green]yes[/]" if check.compared else "-")
        )
        table.add_row(check.claim, f"{check.compared:,}", verdict, Text(check.note))
    # two checks may find the same wrong
    problems = list(dict.fromkeys(problem for check in checks.values() for problem in check.problems))
    lines = [Text(problem, "red") for problem in problems[:MOST_SHOWN]]
    if len(problems) > MOST_SHOWN:
        lines.append(Text(f"and {len(problems) - MOST_SHOWN} more; --format json has them all"))
    for market, head in heads.items():
        lines.append(Text(f"{market}: chain of {head.number}, its head is {head.sha256}", overflow="fold"))
    lines.append(Text("everything certified holds" if holds else "NOT everything certified holds", "bold"))
    show(table, *lines)
