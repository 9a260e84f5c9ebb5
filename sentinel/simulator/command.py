"""``sentinel-ws simulate``."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from sentinel.errors import UsageError
from sentinel.simulator import faults as fault_file
from sentinel.simulator import market, recording
from sentinel.simulator.catalogue import DEFAULT_VENUE, VENUES
from sentinel.simulator.connection import Stage
from sentinel.simulator.dialect import Dialect, Venue
from sentinel.simulator.exchange import Exchange
from sentinel.simulator.player import Player
from sentinel.simulator.synthetic import SyntheticMarket
from sentinel.simulator.truth import Truth
from sentinel.timing.instants import parse_duration_s

DEFAULT_LEVELS = 5000


def _duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else parse_duration_s(value)
    except UsageError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--venue", default=DEFAULT_VENUE, show_default=True, help="Whose dialect is spoken.")
@click.option("--tape", type=click.Path(path_type=Path, exists=True), help="Play this recording instead of a market.")
@click.option("--products", default="BTC-USD,ETH-USD", show_default=True, help="Names, or how many.")
@click.option("--rate", type=click.FloatRange(0.1), help="Book frames a second, all products.  [default: 20 each]")
@click.option("--trade-rate", type=click.FloatRange(0), help="Takers a second, all products.  [default: 2 each]")
@click.option("--speed", type=click.FloatRange(0), default=1.0, show_default=True, help="Of a recording; 0: no waits.")
@click.option("--seed", default=1, show_default=True, help="The same seed is the same market.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 takes a free one.")
@click.option("--faults", type=click.Path(path_type=Path), help="TOML file; see sentinel/simulator/faults.py.")
@click.option("--truth", type=click.Path(path_type=Path), help="Write down what really happened, as JSON lines.")
@click.option("--truth-tops/--no-truth-tops", default=True, help="With the top after each book frame.")
@click.option("--levels", default=DEFAULT_LEVELS, show_default=True, help="Depth of each side of the first books.")
@click.option("--duration", callback=_duration, help="Stop after this long, such as 60s.")
def simulate(**options: Any) -> None:
    """Be a local exchange: WebSocket feeds and REST of a venue, from a recording or a seeded synthetic market.

    Prints one line of JSON with the addresses when it is ready.
    """
    try:
        uvloop.run(_serve(**options))
    except OSError as error:
        raise UsageError(str(error)) from error


async def _serve(
    *,
    venue: str,
    faults: Path | None,
    truth: Path | None,
    truth_tops: bool,
    seed: int,
    port: int,
    duration: float | None,
    **rest: Any,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    spoken = VENUES.get(venue)
    if spoken is None:
        raise UsageError(f"there is no dialect of {venue!r}, only of {', '.join(VENUES)}")
    armed = fault_file.load(faults, spoken.facts.feeds, spoken.facts.faults, seed, time.time_ns)
    written = Truth(truth, with_tops=truth_tops)
    stage = Stage(spoken.facts, armed, written, time.time_ns)
    try:
        async with Exchange(_dialect(spoken, stage, seed, **rest), stage, port) as exchange:
            click.echo(msgspec.json.encode(exchange.urls))
            try:
                async with asyncio.timeout(duration):
                    await stop.wait()
            except TimeoutError:
                pass
    finally:
        written.close()


def _dialect(
    venue: Venue,
    stage: Stage,
    seed: int,
    *,
    tape: Path | None,
    products: str,
    rate: float | None,
    trade_rate: float | None,
    speed: float,
    levels: int,
) -> Dialect:
    if tape is not None:
        if venue.recorded is None or venue.reader is None:
            raise UsageError(f"recordings of {venue.facts.name} cannot be played")
        return venue.recorded(Player(stage, recording.load(tape, [venue.reader]), speed))
    names = int(products) if products.isdecimal() else [name for name in products.split(",") if name]
    if not names:
        raise UsageError("no products to simulate")
    made = market.products(names, levels, seed, venue.facts.product_name)
    return venue.live(
        SyntheticMarket(
            stage,
            made,
            rate=20.0 * len(made) if rate is None else rate,
            trade_rate=2.0 * len(made) if trade_rate is None else trade_rate,
            seed=seed,
        )
    )
