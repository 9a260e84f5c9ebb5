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
from sentinel.command.foreign import as_cells
from sentinel.command.near import suggestion
from sentinel.command.options import (
    config_option,
    exchange_option,
    form_of,
    format_option,
    output_option,
    since_option,
    symbol_option,
    until_option,
    words_of,
)
from sentinel.config.loading import load
from sentinel.contract.line_protocol import Point, decode
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.disk.data_dir import MARKETS, market_of
from sentinel.disk.files import written
from sentinel.disk.history import Source, windows
from sentinel.disk.shards import archives, data_folders, lost_shards, products_of, reading
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
            raise UsageError(f"the fields of the points have changed; use --format jsonl: {error}") from error
        yield text.getvalue().encode()


def _row(point: Point) -> dict[str, Any]:
    return {"time_ns": point.time_ns, **dict(point.tags), **dict(point.fields)}


def _spelled(row: dict[str, Any]) -> dict[str, Any]:
    """Booleans as everybody but Python writes them, and no formulas."""
    values = (str(value).lower() if isinstance(value, bool) else value for value in row.values())
    return dict(zip(row, as_cells(values), strict=True))


FORMATS: dict[str, Callable[[str, Windows], Iterator[bytes]]] = {"lp": as_lines, "csv": as_csv, "jsonl": as_jsonl}
PARQUET = "parquet"
COLLECTED = ("coverage", "top")
"""Without any of these, nobody can say that nothing is missing."""


@click.command()
@click.option("--measurement", type=click.Choice(list(MEASUREMENTS)), required=True)
@symbol_option
@exchange_option
@since_option()
@until_option()
@format_option(*FORMATS, PARQUET)
@output_option
@config_option
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where archive and journal are.  [default: data]")
def export(
    measurement: str,
    symbols: tuple[str, ...],
    exchanges: tuple[str, ...],
    since: str | None,
    until: str | None,
    form: str | None,
    output: Path | None,
    config_file: Path | None,
    data_dir: Path | None,
) -> None:
    """Write what archive and journal hold, sorted by time; of a point written twice, the last.

    It works minute by minute, so months need no more memory than a day.
    """
    form = form_of(form, output, (*FORMATS, PARQUET))
    now_ns = time.time_ns()
    since_ns = None if since is None else parse_instant_ns(since, now_ns)
    until_ns = None if until is None else parse_instant_ns(until, now_ns)
    config = load({} if data_dir is None else {"data_dir": data_dir}, config_file)
    markets = [Market.parse(symbol) for symbol in words_of(symbols)]
    of = words_of(exchanges)
    with ExitStack() as stack:
        for shard in lost_shards(config.data_dir):
            click.echo(f"{shard} has no journal and no archive: its products are left out", err=True)
        journals = stack.enter_context(reading(config.data_dir))

        def found_of(name: str) -> Iterator[Sequence[bytes]]:
            older = _archived(config.data_dir, name, markets)
            found = windows(journals, name, markets, since_ns, until_ns, archives=older)
            return _of_exchanges(stack.enter_context(closing(found)), of)

        found = found_of(measurement)
        first = next(found, None)
        if first is not None:
            _write(measurement, chain([first], found), form, output)
            return
        about = "".join(f" of {name}" for name in [", ".join(symbols or of)] if name)
        if measurement != "gaps" or all(next(found_of(name), None) is None for name in COLLECTED):
            hint = suggestion(symbols[0], _names(config.data_dir)) if len(symbols) == 1 else ""
            raise UsageError(f"no {measurement}{about} in {config.data_dir} in that time{hint}")
        click.echo(f"no gaps{about} in that time", err=True)
        _write(measurement, [[]], form, output)


def _of_exchanges(found: Iterable[Sequence[bytes]], exchanges: Collection[str]) -> Iterator[Sequence[bytes]]:
    """The lines of these exchanges only, if any is named."""
    tags = {f"exchange={exchange}".encode() for exchange in exchanges}
    for lines in found:
        kept = [line for line in lines if not tags.isdisjoint(line.split(b" ", 1)[0].split(b","))] if tags else lines
        if kept:
            yield kept


def _names(data_dir: Path) -> set[str]:
    """Of every product that there is anything of."""
    markets = {market for folder in data_folders(data_dir) for market in products_of(folder)}
    archived = {market_of(folder) for root in archives(data_dir) for folder in root.glob(f"*/{MARKETS}")}
    return {market.short for market in markets | archived}


def _archived(data_dir: Path, measurement: str, markets: Collection[Market]) -> list[Source]:
    roots = archives(data_dir)
    if not roots:
        return []
    from sentinel.archive.reader import ArchiveReader  # Arrow takes a third of a second to load

    return [ArchiveReader(root, measurement, markets) for root in roots]


def _write(measurement: str, found: Windows, form: str, path: Path | None) -> None:
    if path is None and form == PARQUET:
        raise UsageError("Parquet needs a file: give --output FILE")
    if path is None:
        sys.stdout.buffer.writelines(FORMATS[form](measurement, found))
    elif form == PARQUET:
        try:
            _write_parquet(measurement, found, path)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    else:
        with written(path) as temporary, temporary.open("wb") as file:
            file.writelines(FORMATS[form](measurement, found))


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
        for lines in filter(None, found):
            table = tables(lines)[measurement].drop_columns(ORDER)
            file.append(table.set_column(0, "time", table["time"].cast(TIME)))
