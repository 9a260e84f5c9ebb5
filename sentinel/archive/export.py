"""``sentinel-ws export``: what archive and journal hold, in four formats, also while they are being written."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import Any

import click
import msgspec

from feeds.market import Market
from sentinel.config.loading import load
from sentinel.contract.line_protocol import Point, decode
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.disk.files import replacing
from sentinel.disk.history import Source, windows
from sentinel.disk.shards import archives, lost_shards, reading
from sentinel.errors import UsageError
from sentinel.timing.instants import parse_instant_ns

Windows = Iterable[Sequence[bytes]]


def as_lines(_: str, found: Windows) -> Iterator[bytes]:
    """Line protocol as it was written."""
    for lines in found:
        yield b"".join(line + b"\n" for line in lines)


def as_jsonl(_: str, found: Windows) -> Iterator[bytes]:
    """A JSON object for each point: ``time_ns``, tags, then the fields it has."""
    encoder = msgspec.json.Encoder()
    for lines in found:
        yield encoder.encode_lines([_row(decode(line)) for line in lines])


def as_csv(measurement: str, found: Windows) -> Iterator[bytes]:
    """A header, then a row for each point. A field that a point does not have is empty.

    Raises:
        UsageError: if a field turns up that no point of the first window had.
    """
    shape = MEASUREMENTS[measurement]
    columns: list[str] = []
    for lines in found:
        rows = [_spelled(_row(decode(line))) for line in lines]
        text = io.StringIO()
        if not columns:
            known = ["time_ns", *shape.tags, *shape.fields]
            columns = known + sorted({name for row in rows for name in row} - set(known))
            csv.writer(text, lineterminator="\n").writerow(columns)
        table = csv.DictWriter(text, columns, lineterminator="\n")
        try:
            table.writerows(rows)
        except ValueError as error:
            raise UsageError(f"the points have changed their fields; use jsonl: {error}") from error
        yield text.getvalue().encode()


def _row(point: Point) -> dict[str, Any]:
    return {"time_ns": point.time_ns, **dict(point.tags), **dict(point.fields)}


def _spelled(row: dict[str, Any]) -> dict[str, Any]:
    """Booleans as everybody but Python writes them."""
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in row.items()}


FORMATS: dict[str, Callable[[str, Windows], Iterator[bytes]]] = {"lp": as_lines, "csv": as_csv, "jsonl": as_jsonl}
PARQUET = "parquet"


@click.command()
@click.option("--measurement", type=click.Choice(list(MEASUREMENTS)), required=True)
@click.option(
    "--symbol", "symbols", multiple=True, help="BTC-USD, or EXCHANGE:SYMBOL; may be given again.  [default: all]"
)
@click.option("--since", metavar="TIME", help="2026-11-23T10:00:00Z, a date, or 24h ago.  [default: the beginning]")
@click.option("--until", metavar="TIME", help="Not included.  [default: the end]")
@click.option("--format", "form", type=click.Choice([*FORMATS, PARQUET]), default="lp", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="[default: stdout]")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where archive and journal are.  [default: data]")
def export(
    measurement: str,
    symbols: tuple[str, ...],
    since: str | None,
    until: str | None,
    form: str,
    output: Path | None,
    data_dir: Path | None,
) -> None:
    """Write what archive and journal hold, sorted by time; of a point written twice, the last.

    Works on a minute at a time, so months need no more memory than a day.
    """
    now_ns = time.time_ns()
    since_ns = None if since is None else parse_instant_ns(since, now_ns)
    until_ns = None if until is None else parse_instant_ns(until, now_ns)
    config = load({} if data_dir is None else {"data_dir": data_dir}, None)
    markets = [Market.parse(symbol) for symbol in symbols]
    with ExitStack() as stack:
        for shard in lost_shards(config.data_dir):
            click.echo(f"{shard} has no journal and no archive: its products are left out", err=True)
        journals = stack.enter_context(reading(config.data_dir))
        older = _archived(config.data_dir, measurement, markets)
        found = stack.enter_context(
            closing(windows(journals, measurement, markets, since_ns, until_ns, archives=older))
        )
        first = next(found, None)
        if first is None:
            of = f" of {', '.join(symbols)}" if symbols else ""
            raise UsageError(f"no {measurement}{of} in {config.data_dir} in that time")
        _write(measurement, chain([first], found), form, output)


def _archived(data_dir: Path, measurement: str, markets: Collection[Market]) -> list[Source]:
    roots = archives(data_dir)
    if not roots:
        return []
    from sentinel.archive.reader import ArchiveReader  # Arrow takes a third of a second to load

    return [ArchiveReader(root, measurement, markets) for root in roots]


def _write(measurement: str, found: Windows, form: str, path: Path | None) -> None:
    if path is None and form == PARQUET:
        raise UsageError("Parquet needs a file to be written to: --output FILE")
    try:
        if path is None:
            sys.stdout.buffer.writelines(FORMATS[form](measurement, found))
        elif form == PARQUET:
            _write_parquet(measurement, found, path)
        else:
            with replacing(path) as temporary, temporary.open("wb") as file:
                file.writelines(FORMATS[form](measurement, found))
    except OSError as error:
        if path is None:
            raise
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _write_parquet(measurement: str, found: Windows, path: Path) -> None:
    """One file with the columns of the archive, and exchange and symbol, which are folders there."""
    # Arrow takes a third of a second to load
    import pyarrow as pa

    from sentinel.archive.layout import PARTITIONS, TAG, TIME, schema
    from sentinel.archive.table_file import TableFile
    from sentinel.archive.tables import ORDER, tables

    time_column, *others = schema(measurement)
    shape = pa.schema([time_column, *(pa.field(name, TAG) for name in PARTITIONS), *others])
    with TableFile.replacing(path, shape) as file:
        for lines in found:
            table = tables(lines)[measurement].drop_columns(ORDER)
            file.append(table.set_column(0, "time", table["time"].cast(TIME)))
