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
from rich.text import Text

from book.events import ProductState
from feeds.catalogue import VENUES
from feeds.rest import Listed, ProductKind
from sentinel.command.foreign import as_cells, visible
from sentinel.command.options import config_option, form_of, format_option, output_option, words_of
from sentinel.command.tables import Sheet, rendered
from sentinel.config import Config
from sentinel.config.loading import load
from sentinel.disk.files import tell
from sentinel.errors import SentinelError, UsageError
from sentinel.exchange.rest import RestClients, RestTrouble
from sentinel.exchange.selection import Filter
from sentinel.exchange.venues import open_rest

FORMATS = ("table", "json", "csv")
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
@format_option(*FORMATS)
@output_option
@config_option
def products(
    exchanges: tuple[str, ...],
    quotes: tuple[str, ...],
    states: tuple[str, ...],
    kinds: tuple[ProductKind, ...],
    form: str | None,
    output: Path | None,
    config_file: Path | None,
) -> None:
    """List the products of each EXCHANGE, by default of all that are known.

    An exchange whose list cannot be fetched is named on stderr. Exits with 1 if none could.
    """
    form = form_of(form, output, FORMATS)
    exchanges = tuple(words_of(exchanges))
    unknown = [exchange for exchange in exchanges if exchange not in VENUES]
    if unknown:
        raise UsageError(f"unknown exchange {', '.join(unknown)}; known are {', '.join(sorted(VENUES))}")
    found = asyncio.run(_ask(load({}, config_file), sorted(set(exchanges)) or sorted(VENUES)))
    wanted = Filter(quotes, kinds, states)
    rows: list[Row] = []
    for exchange, answer in found.items():
        if isinstance(answer, RestTrouble):
            click.echo(f"sentinel-ws: no list of products of {exchange}: {visible(str(answer))}", err=True)
        else:
            kept = sorted((one for one in answer if wanted.keeps(one)), key=lambda one: one.symbol)
            rows += [Row(exchange, one.symbol, one.base, one.quote, one.kind, one.state) for one in kept]
    if all(isinstance(answer, RestTrouble) for answer in found.values()):
        raise SentinelError("no list of products could be fetched")
    tell(_rendered(rows, form), output)


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


def _rendered(rows: Sequence[Row], form: str) -> str:
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n"
    if form == "csv":
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(as_cells(msgspec.structs.astuple(row)) for row in rows)
        return text.getvalue()
    shown = Sheet(*COLUMNS, is_keyed=False)
    for row in rows:
        shown.add_row(*map(Text, msgspec.structs.astuple(row)))
    return rendered(shown, f"{len(rows):,} products")
