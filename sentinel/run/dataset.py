"""``sentinel-ws dataset freeze | list | verify``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from feeds.market import Market
from sentinel.command.groups import CommandGroup
from sentinel.command.options import (
    config_option,
    plain_format_option,
    since_option,
    symbol_option,
    until_option,
    words_of,
)
from sentinel.command.tables import show
from sentinel.config.loading import load
from sentinel.disk.folder_option import FOLDER
from sentinel.disk.object_store import Folder
from sentinel.errors import UsageError
from sentinel.timing.instants import format_ns, parse_instant_ns

if TYPE_CHECKING:
    from sentinel.coverage.holes import Hole

FAILED = 1
data_dir_option = click.option(
    "--data-dir", type=FOLDER, help="Where archive and data sets are; a URL is read only.  [default: data]"
)


@click.group(cls=CommandGroup)
def dataset() -> None:
    """Freeze parts of the archive under a name and number, to cite and check."""


@dataset.command()
@click.argument("name")
@symbol_option
@since_option(words="From the hour this lies in.")
@until_option(words="To the end of the hour this lies in.", implied="the last one that is over")
@click.option("--measurements", multiple=True, metavar="NAME,...", help="gaps and coverage are added.  [default: all]")
@click.option("--licence", default="", help="Such as CC-BY-4.0, or its URL.")
@click.option("--description", default="", help="A sentence or two.")
@data_dir_option
@plain_format_option
@config_option
def freeze(
    name: str,
    symbols: tuple[str, ...],
    since: str | None,
    until: str | None,
    measurements: tuple[str, ...],
    licence: str,
    description: str,
    data_dir: Folder | None,
    form: str,
    config_file: Path | None,
) -> None:
    """Freeze hours of the archive as NAME@1, NAME@2, and so on, whatever happens to the archive later."""
    from sentinel.dataset.freeze import FREEZABLE, Choice
    from sentinel.dataset.freeze import freeze as freeze_it

    folder = _folder(data_dir, config_file)
    if not isinstance(folder, Path):
        raise UsageError(f"{folder}: freeze where the archive is written; its data sets go to the object store as well")
    wanted = words_of(measurements)
    unknown = sorted(set(wanted) - set(FREEZABLE))
    if unknown:
        raise UsageError(f"no measurement {', '.join(unknown)}; there are {', '.join(FREEZABLE)}")
    now_ns = time.time_ns()
    start_ns = None if since is None else parse_instant_ns(since, now_ns)
    end_ns = None if until is None else parse_instant_ns(until, now_ns)
    if start_ns is not None and start_ns >= (now_ns if end_ns is None else end_ns):
        raise UsageError(f"nothing lies between --since {since} and --until {until or 'now'}")
    choice = Choice(
        name=name,
        markets=[Market.parse(word) for word in words_of(symbols)],
        measurements=wanted,
        start_ns=start_ns,
        end_ns=end_ns,
        licence=licence,
        description=description,
    )
    found = freeze_it(folder, choice, now_ns, _missing)
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    show(f"{found.reference}: {found.rows:,} rows in {len(found.files):,} files, identity {found.identity}")
    bare = sum(file.certificate is None for file in found.files.values())
    if bare:
        show(f"{bare:,} files have no certificate: their rows do not count as verified; see sentinel-ws certify")


@dataset.command("list")
@data_dir_option
@plain_format_option
@config_option
def list_command(data_dir: Folder | None, form: str, config_file: Path | None) -> None:
    """List what is frozen."""
    from sentinel.dataset import manifest as manifests

    folder = _folder(data_dir, config_file)
    found = [manifests.read(folder, place) for place in manifests.places(folder)]
    if form == "json":
        told = [
            {
                "dataset": one.reference,
                "identity": one.identity,
                "start": format_ns(one.start_ns),
                "end": format_ns(one.end_ns),
                "markets": list(one.markets),
                "measurements": one.measurements,
                "rows": one.rows,
                "bytes": one.bytes,
                "licence": one.licence,
            }
            for one in found
        ]
        click.echo(msgspec.json.format(msgspec.json.encode(told)))
        return
    if not found:
        click.echo(f"no data set in {folder}", err=True)
    for one in found:
        span = f"{format_ns(one.start_ns)} to {format_ns(one.end_ns)}"
        sizes = f"{len(one.markets)} markets, {one.rows:,} rows, {one.bytes:,} bytes"
        show(f"{one.reference}  {span}  {sizes}  {one.identity[:12]}")


@dataset.command("verify")
@click.argument("reference", metavar="NAME@N")
@data_dir_option
@plain_format_option
@config_option
def verify_command(reference: str, data_dir: Folder | None, form: str, config_file: Path | None) -> None:
    """Check every byte of a data set against its manifest.

    Exits with 1 if anything has changed since it was frozen.
    """
    from sentinel.dataset import manifest as manifests
    from sentinel.dataset.verify import problems

    folder = _folder(data_dir, config_file)
    place = manifests.Place.parse(reference)
    manifest = manifests.read(folder, place)
    found = problems(place.folder(folder), manifest)
    if form == "json":
        told = {"dataset": reference, "identity": manifest.identity, "holds": not found, "problems": found}
        click.echo(msgspec.json.format(msgspec.json.encode(told)))
    else:
        for problem in found:
            show(problem)
        files = f"{len(manifest.files):,} files, {manifest.bytes:,} bytes"
        show(f"{reference} is {'NOT ' if found else ''}as it was frozen: {files}, identity {manifest.identity}")
    if found:
        sys.exit(FAILED)


def _folder(data_dir: Folder | None, config_file: Path | None) -> Folder:
    return load({}, config_file).data_dir if data_dir is None else data_dir


def _missing(data_dir: Path, market: Market, start_ns: int, end_ns: int) -> tuple[list[Hole], list[Hole]]:
    import sentinel.data

    samples, trades = (
        sentinel.data.load(name, str(market), start_ns, end_ns, columns=columns, data_dir=data_dir).holes
        for name, columns in (("top", []), ("trades", ["trade_id"]))
    )
    return samples, trades
