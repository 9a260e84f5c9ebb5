"""``sentinel-ws simulate``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Collection
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from sentinel.command.options import Duration
from sentinel.errors import UsageError
from sentinel.simulator import faults as fault_file
from sentinel.simulator import market, recording
from sentinel.simulator.catalogue import DEFAULT_VENUE, VENUES
from sentinel.simulator.companion import accompany, words_of_command
from sentinel.simulator.connection import Stage
from sentinel.simulator.dialect import Dialect, Venue
from sentinel.simulator.exchange import Exchange
from sentinel.simulator.player import Player
from sentinel.simulator.synthetic import CLEAR_NS, MS, SyntheticMarket
from sentinel.simulator.truth import Truth
from sentinel.timing.loops import new_event_loop, on_signal

DEFAULT_LEVELS = 5000


@click.command()
@click.option("--venue", default=DEFAULT_VENUE, show_default=True, help="The exchange to imitate; a,b for several.")
@click.option("--tape", type=click.Path(path_type=Path, exists=True), help="Play this recording, not a market.")
@click.option("--products", default="2", show_default=True, help="How many, or names: NAME or VENUE:NAME.")
@click.option("--rate", type=click.FloatRange(0.1), help="Book frames a second, all products.  [default: 20 each]")
@click.option("--trade-rate", type=click.FloatRange(0), help="Takers a second, all products.  [default: 2 each]")
@click.option("--speed", type=click.FloatRange(0), default=1.0, show_default=True, help="Of a recording; 0: no waits.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same market.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: a free one; more venues: the next."
)
@click.option("--faults", type=click.Path(path_type=Path), help="A TOML file; docs/simulator.md says what goes in it.")
@click.option("--truth", type=click.Path(path_type=Path), help="Write down what really happened.")
@click.option("--truth-tops/--no-truth-tops", default=True, help="Include the best prices after each book frame.")
@click.option(
    "--levels",
    type=click.IntRange(10, 1_000_000),
    default=DEFAULT_LEVELS,
    show_default=True,
    help="Depth of each side of the first books.",
)
@click.option(
    "--clear-ms",
    type=click.FloatRange(0, 50, max_open=True),
    default=CLEAR_NS / MS,
    show_default=True,
    help="How far book frames stay from the sampling instants; 0: no quiet time.",
)
@click.option("--duration", type=Duration(), help="Stop after this long, such as 60s.")
@click.option(
    "--exec",
    "command",
    metavar="COMMAND",
    help="Run this with the addresses in its environment, as SENTINEL_*, and end with it, with its status.",
)
def simulate(**options: Any) -> None:
    """Run a local exchange: WebSocket feeds and REST of a venue, from a recording or a seeded synthetic market.

    When ready, prints one line of JSON with the addresses of each feed and of REST. With several venues, each has its
    own port, its own truth file (truth-kraken.jsonl for --truth truth.jsonl), and its addresses under its name.

    To collect from it: simulate --products BTC-USD --exec 'sentinel-ws collect BTC-USD'
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        status = runner.run(_serve(**options))
    if status:
        sys.exit(status)


async def _serve(
    *,
    venue: str,
    faults: Path | None,
    truth: Path | None,
    truth_tops: bool,
    seed: int,
    port: int,
    duration: float | None,
    products: str,
    command: str | None,
    **rest: Any,
) -> int:
    """Until it is told to stop, or the command has ended, whose status it gives."""
    words = None if command is None else words_of_command(command)
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()

    def end(number: int) -> None:
        if not stop.done():
            stop.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        on_signal(number.name, partial(end, number))
    spoken = _spoken(venue)
    if len(spoken) > 1 and rest["tape"] is not None:
        raise UsageError("a recording belongs to one venue")
    async with AsyncExitStack() as stack:
        exchanges = {}
        for at, (name, one) in enumerate(spoken.items()):
            kinds = one.facts.faults
            armed = fault_file.load(faults, one.facts.feeds, kinds, seed, time.time_ns, venue=name, venues=spoken)
            written = stack.enter_context(closing(Truth(_truth_file(truth, name, spoken), with_tops=truth_tops)))
            stage = Stage(one.facts, armed, written, time.time_ns)
            names = _names(products, name, spoken)
            exchanges[name] = Exchange(_dialect(one, stage, seed, names, **rest), stage, port and port + at)
        for exchange in exchanges.values():
            try:
                await stack.enter_async_context(exchange)
            except OSError as error:
                raise UsageError(f"cannot listen on port {port}: {os.strerror(error.errno or 0)}") from error
        urls = {name: exchange.urls for name, exchange in exchanges.items()}
        if words is not None:
            return await accompany(words, urls, stop, duration)
        click.echo(msgspec.json.encode(urls if len(urls) > 1 else urls[next(iter(urls))]))
        await asyncio.wait([stop], timeout=duration)
    return 0


def _spoken(names: str) -> dict[str, Venue]:
    listed = [name.strip() for name in names.split(",") if name.strip()]
    for name in listed:
        if name not in VENUES:
            raise UsageError(f"cannot imitate {name!r}, only {', '.join(VENUES)}")
    if not listed:
        raise UsageError("no venue to simulate")
    return {name: VENUES[name] for name in listed}


def _truth_file(path: Path | None, venue: str, venues: Collection[str]) -> Path | None:
    return path.with_stem(f"{path.stem}-{venue}") if path is not None and len(venues) > 1 else path


def _names(products: str, venue: str, venues: Collection[str]) -> int | list[str]:
    """The products of one of the venues: how many, or their names."""
    if products.isdecimal():
        return int(products)
    pairs = [name.partition(":") for name in products.split(",") if name]
    # a name may have a colon of its own
    return [
        own if colon and of in venues else f"{of}{colon}{own}"
        for of, colon, own in pairs
        if not colon or of == venue or of not in venues
    ]


def _dialect(
    venue: Venue,
    stage: Stage,
    seed: int,
    names: int | list[str],
    *,
    tape: Path | None,
    rate: float | None,
    trade_rate: float | None,
    speed: float,
    levels: int,
    clear_ms: float,
) -> Dialect:
    if tape is not None:
        if venue.recorded is None or venue.reader is None:
            raise UsageError(f"recordings of {venue.facts.name} cannot be played")
        return venue.recorded(Player(stage, recording.load(tape, [venue.reader]), speed))
    if not names:
        raise UsageError(f"no products of {venue.facts.name} to simulate")
    made = market.products(names, levels, seed, venue.facts.product_name)
    return venue.live(
        SyntheticMarket(
            stage,
            made,
            rate=20.0 * len(made) if rate is None else rate,
            trade_rate=2.0 * len(made) if trade_rate is None else trade_rate,
            seed=seed,
            clear_ns=round(clear_ms * MS),
        )
    )
