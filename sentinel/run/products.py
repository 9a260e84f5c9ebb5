"""``sentinel-ws products``: what the venues list."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click
import msgspec
from msgspec import Struct
from rich import box
from rich.console import Console
from rich.table import Table

from book.events import ProductState
from feeds.catalogue import VENUES
from feeds.rest import Listed, ProductKind
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.errors import SentinelError, UsageError
from sentinel.exchange.rest import RestClients, RestTrouble
from sentinel.exchange.selection import Filter
from sentinel.exchange.venues import open_rest

COLUMNS = ("exchange", "symbol", "base", "quote", "kind", "state")


class Row(Struct, frozen=True):
    """A product: ``symbol`` is the venue's own, ``base`` and ``quote`` are the names that most venues use."""

    exchange: str
    symbol: str
    base: str
    quote: str
    kind: str
    state: str


@click.command()
@click.argument("exchanges", nargs=-1, metavar="[EXCHANGE]...")
@click.option("--quote", "quotes", multiple=True, help="Only those quoted in this currency; may be given again.")
@click.option(
    "--status", "states", type=click.Choice(get_args(ProductState)), multiple=True, help="Only in this state."
)
@click.option("--kind", "kinds", type=click.Choice(get_args(ProductKind)), multiple=True, help="Only of this kind.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Instead of ./sentinel.toml.")
def products(
    exchanges: tuple[str, ...],
    quotes: tuple[str, ...],
    states: tuple[str, ...],
    kinds: tuple[ProductKind, ...],
    form: str,
    config_file: Path | None,
) -> None:
    """What each EXCHANGE lists, of all that are known by default.

    An exchange whose list cannot be fetched is named on stderr. Exits with 1 if none could.
    """
    unknown = [exchange for exchange in exchanges if exchange not in VENUES]
    if unknown:
        raise UsageError(f"unknown exchange {', '.join(unknown)}; known are {', '.join(sorted(VENUES))}")
    found = asyncio.run(_ask(load({}, config_file), sorted(set(exchanges)) or sorted(VENUES)))
    wanted = Filter(quotes, kinds, states)
    rows: list[Row] = []
    for exchange, answer in found.items():
        if isinstance(answer, RestTrouble):
            click.echo(f"sentinel-ws: no list of products of {exchange}: {answer}", err=True)
        else:
            kept = sorted((one for one in answer if wanted.keeps(one)), key=lambda one: one.symbol)
            rows += [Row(exchange, one.symbol, one.base, one.quote, one.kind, one.state) for one in kept]
    if all(isinstance(answer, RestTrouble) for answer in found.values()):
        raise SentinelError("no list of products could be had")
    _show(rows, form)


async def _ask(config: Config, exchanges: Sequence[str]) -> dict[str, list[Listed] | RestTrouble]:
    """The lists of all venues, asked at once."""
    async with open_rest(config, exchanges) as rest:
        answers = await asyncio.gather(*(_list(rest, exchange) for exchange in exchanges))
    return dict(zip(exchanges, answers, strict=True))


async def _list(rest: RestClients, exchange: str) -> list[Listed] | RestTrouble:
    try:
        return await rest.products(exchange)
    except RestTrouble as trouble:
        return trouble


def _show(rows: Sequence[Row], form: str) -> None:
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
    elif form == "csv":
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(msgspec.structs.astuple(row) for row in rows)
        click.echo(text.getvalue(), nl=False)
    else:
        shown = Table(*COLUMNS, box=box.SIMPLE_HEAD)
        for row in rows:
            shown.add_row(*msgspec.structs.astuple(row))
        Console(soft_wrap=True).print(shown)
        click.echo(f"{len(rows):,} products")
