"""``sentinel-ws archive``: everything the journal has, into the archive."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track

from sentinel.archive.archiver import all_hours, alone, write_hours
from sentinel.archive.schedule import FOLDER, HOUR_NS, end_of_archive_ns
from sentinel.certificates.issuer import Folders, hours_of, issue
from sentinel.collect import JOURNAL_FILE
from sentinel.config import load
from sentinel.journal import JournalReader
from sentinel.times import parse_instant_ns


@click.command()
@click.option("--since", metavar="TIME", help="From the hour this lies in.  [default: the beginning]")
@click.option("--until", metavar="TIME", help="Not included; may cut an hour.  [default: the last full hour]")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where journal and archive are.  [default: data]")
def archive(since: str | None, until: str | None, data_dir: Path | None) -> None:
    """Write Parquet files from the journal, or bring them up to date.

    A collector does so by itself every hour; this is for a journal from elsewhere, or a lost archive.
    """
    now_ns = time.time_ns()
    since_ns = None if since is None else parse_instant_ns(since, now_ns)
    until_ns = end_of_archive_ns(now_ns) if until is None else parse_instant_ns(until, now_ns)
    folder = load({} if data_dir is None else {"data_dir": data_dir}, None).data_dir
    console = Console(stderr=True)
    with JournalReader(folder / JOURNAL_FILE) as reader, alone(folder / FOLDER):
        hours = all_hours(reader, since_ns, until_ns)
        shown = track(hours, "archive", console=console, transient=True, disable=not console.is_terminal)
        written = write_hours(reader, folder / FOLDER, shown, until_ns)
        end_ns = min(until_ns, end_of_archive_ns(now_ns))
        issue(Folders.of(folder), [hour for hour in hours_of(written) if hour.hour_ns + HOUR_NS <= end_ns])
    click.echo(f"{len(written)} files written in {folder / FOLDER}")
