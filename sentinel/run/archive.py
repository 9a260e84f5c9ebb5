"""``sentinel-ws archive``: everything the journal, the tapes or InfluxDB have, into the archive."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, track

from sentinel.archive.archiver import Hour, all_hours, alone, write_hours
from sentinel.archive.schedule import HOUR_NS, end_of_archive_ns
from sentinel.certificates.issuer import Folders, issue_noted
from sentinel.command.options import config_option, since_option, until_option
from sentinel.command.tables import show
from sentinel.config import Influx
from sentinel.config.loading import load
from sentinel.disk.data_dir import ARCHIVE, JOURNAL, TAPES
from sentinel.disk.journal import STREAMS, JournalReader
from sentinel.disk.shards import has_tapes, shard_folders
from sentinel.disk.tape import tape_files
from sentinel.errors import UsageError
from sentinel.timing.instants import format_ns, parse_instant_ns


@click.command()
@since_option(words="From the hour this lies in.")
@until_option(words="Not included; may cut an hour: `now` takes all.", implied="the last full hour")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where journal and archive are.  [default: data]")
@click.option("--influx-url", help="Take the points from this InfluxDB instead of the journal; needs --since.")
@config_option
def archive(
    since: str | None, until: str | None, data_dir: Path | None, influx_url: str | None, config_file: Path | None
) -> None:
    """Write or update the Parquet archive, from journal and tapes or from InfluxDB.

    A collector does this itself every hour; this command is for data from elsewhere, or a lost archive. What an hour's
    file already has stays; a point that both have is taken from the source. Changes of the books come from the tapes;
    an hour that is cut short has them up to the cut, until a later pass writes it whole. With several processes, each
    shard has its own archive.
    """
    now_ns = time.time_ns()
    since_ns = None if since is None else parse_instant_ns(since, now_ns)
    until_ns = end_of_archive_ns(now_ns) if until is None else parse_instant_ns(until, now_ns)
    is_cut = since is not None or until is not None
    flags: dict[str, object] = {} if data_dir is None else {"data_dir": data_dir}
    if influx_url is not None:
        flags["influx"] = {"url": influx_url}
    config = load(flags, config_file)
    if influx_url is not None:
        if since_ns is None:
            raise UsageError("--influx-url needs --since: we cannot know how far back the server has points")
        folder = config.data_dir
        written = _from_influx(config.influx, folder, since_ns, until_ns)
        _certify(folder, written, min(until_ns, end_of_archive_ns(now_ns)), is_cut=is_cut)
    else:
        for folder in _folders(config.data_dir):
            written = []
            if (folder / JOURNAL).exists() or not has_tapes(folder):
                written += _from_journal(folder, since_ns, until_ns)
            if has_tapes(folder):
                written += _from_tapes(folder, since_ns, until_ns)
            _certify(folder, written, min(until_ns, end_of_archive_ns(now_ns)), is_cut=is_cut)


def _folders(data_dir: Path) -> list[Path]:
    """Wherever there is anything to be archived; itself, if there is nothing."""
    candidates = [data_dir, *shard_folders(data_dir)]
    return [folder for folder in candidates if (folder / JOURNAL).exists() or has_tapes(folder)] or [data_dir]


def _certify(folder: Path, written: list[Path], end_ns: int, *, is_cut: bool) -> None:
    """Issues the certificates of the hours that are over by ``end_ns``, and says what was written."""
    with alone(folder / ARCHIVE):
        issue_noted(Folders.of(folder), end_ns)
    if written:
        show(f"{len(written)} files written in {folder / ARCHIVE}")
    elif is_cut:
        show(f"nothing to write in {folder / ARCHIVE}: no data in that time")
    else:
        show(f"nothing to write in {folder / ARCHIVE}: no full hour yet; --until now takes the hour under way")


def _from_journal(folder: Path, since_ns: int | None, until_ns: int) -> list[Path]:
    console = Console(stderr=True)
    with JournalReader(folder / JOURNAL) as reader, alone(folder / ARCHIVE):
        hours = all_hours(reader, since_ns, until_ns)
        shown = track(hours, "archive", console=console, transient=True, disable=not console.is_terminal)
        return write_hours(reader, folder / ARCHIVE, shown, until_ns)


def _from_tapes(folder: Path, since_ns: int | None, until_ns: int) -> list[Path]:
    from sentinel.replay.l2 import L2Archiver  # with the pipeline and its feeds
    from sentinel.replay.play import progress

    archiver = L2Archiver(folder / TAPES, folder / ARCHIVE, until_ns, since_ns=since_ns or 0, is_over=True)
    with alone(folder / ARCHIVE), progress(tape_files(folder / TAPES), "tapes") as passed:
        archiver.write_hours(from_start=True, passed=passed)
    return archiver.files


def _from_influx(settings: Influx, folder: Path, since_ns: int, until_ns: int) -> list[Path]:
    """Hour by hour through a journal of its own, which is made into files as any other."""
    from sentinel.archive.remote import fetch  # with InfluxDB's client

    console = Console(stderr=True)
    starts = range(since_ns - since_ns % HOUR_NS, until_ns, HOUR_NS)
    written = []
    with alone(folder / ARCHIVE), Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("archive", total=len(starts))
        for start_ns in starts:

            def asked(measurement: str, symbol: str, at_ns: int) -> None:
                shown.update(task, description=f"{format_ns(at_ns)} {measurement} {symbol}")

            with tempfile.TemporaryDirectory(prefix=".backfill-", dir=folder) as scratch:
                journal = Path(scratch) / JOURNAL
                fetch(settings, journal, max(start_ns, since_ns), min(start_ns + HOUR_NS, until_ns), asked)
                with JournalReader(journal) as reader:
                    hours = [Hour(start_ns, stream) for stream in STREAMS if reader.span(stream)]
                    written += write_hours(reader, folder / ARCHIVE, hours, until_ns)
            shown.advance(task)
    return written
