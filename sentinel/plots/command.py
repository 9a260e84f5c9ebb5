"""``sentinel-ws plot``."""

from __future__ import annotations

import io
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

import sentinel.data
from sentinel.command.options import config_option, since_option, until_option
from sentinel.config.loading import load
from sentinel.disk.files import written
from sentinel.errors import UsageError
from sentinel.timing.instants import format_ns, parse_instant_ns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".html", ".svg")
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>body{{margin:0;background:#fff}}svg{{width:100%;height:auto;max-width:1400px}}</style></head>
<body>{picture}</body></html>
"""


@click.command()
@click.argument("kind", type=click.Choice(["depth", "flow", "coverage"]))
@click.argument("symbol")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where journal and archive are.  [default: data]")
@since_option("1h")
@until_option("now")
@config_option
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help=".png, .html or .svg.  [default: KIND-SYMBOL.png]",
)
def plot(
    kind: str,
    symbol: str,
    data_dir: Path | None,
    since: str,
    until: str,
    config_file: Path | None,
    output: Path | None,
) -> None:
    """Draw the depth, the flow or the coverage of SYMBOL, such as BTC-USD. What is missing is shaded."""
    output = output or Path(f"{kind}-{quote(symbol, safe='')}.png")
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{output}: a plot is a picture, and its name ends in {', '.join(SUFFIXES)}")
    now_ns = time.time_ns()
    interval = parse_instant_ns(since, now_ns), parse_instant_ns(until, now_ns)
    if interval[0] >= interval[1]:
        raise UsageError(f"--since {since} is not before --until {until}")
    folder = load({} if data_dir is None else {"data_dir": data_dir}, config_file).data_dir
    figure = _figure(kind, symbol, folder, interval)
    with written(output) as temporary:
        temporary.write_bytes(_rendered(figure, suffix, f"{kind} of {symbol}"))
    click.echo(output)


def _figure(kind: str, symbol: str, data_dir: Path, interval: tuple[int, int]) -> Figure:
    try:
        from sentinel.plots import figures
    except ModuleNotFoundError as error:
        raise UsageError("plots need matplotlib: pip install 'sentinel-ws[plot]'") from error
    start, end = map(format_ns, interval)
    if kind == "coverage":
        accounts = sentinel.data.coverage(symbol, start, end, data_dir=data_dir)
        _require(accounts.num_rows, kind, symbol, interval)
        top = sentinel.data.load("top", symbol, start, end, columns=["mid"], data_dir=data_dir)
        return figures.coverage(symbol, accounts, top.holes, interval)
    if kind == "flow":
        loaded = sentinel.data.load("flow", symbol, start, end, data_dir=data_dir)
        _require(loaded.table.num_rows, kind, symbol, interval)
        return figures.flow(symbol, loaded, interval)
    top = sentinel.data.load("top", symbol, start, end, columns=["mid"], data_dir=data_dir)
    book = sentinel.data.load("book", symbol, start, end, columns=["side", "bps", "notional"], data_dir=data_dir)
    _require(min(top.table.num_rows, book.table.num_rows), kind, symbol, interval)
    return figures.depth(symbol, top, book, interval)


def _require(rows: int, kind: str, symbol: str, interval: tuple[int, int]) -> None:
    if not rows:
        raise UsageError(f"no {kind} of {symbol} from {format_ns(interval[0])} to {format_ns(interval[1])}")


def _rendered(figure: Figure, suffix: str, title: str) -> bytes:
    picture = io.BytesIO()
    if suffix == ".png":
        figure.savefig(picture, format="png")
    else:
        figure.savefig(picture, format="svg", metadata={"Date": None})
    if suffix != ".html":
        return picture.getvalue()
    text = picture.getvalue().decode()
    return PAGE.format(title=escape(title), picture=text[text.index("<svg") :]).encode()
