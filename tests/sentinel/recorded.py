"""A whole recorded run in this process: the local exchange with its faults, the collector, its journal and its tape."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from feeds.market import Market
from sentinel.collector.service import Service
from sentinel.config.loading import load
from sentinel.disk.data_dir import JOURNAL, TAPES
from sentinel.disk.journal import STREAMS, Journal, JournalReader
from sentinel.exchange.venues import open_rest
from sentinel.pipeline import Output
from sentinel.replay.play import digests
from sentinel.run.collect import _tape
from sentinel.simulator.faults import Fault
from sentinel.timing.clock import Clock
from tests.servers.exchange import Market as Exchange
from tests.servers.patient import patience
from tests.servers.waiting import until

Lines = dict[str, bytes]
"""What is in each stream, as one text."""


async def record(
    exchange: Exchange, data_dir: Path, products: Sequence[str], seconds: float, faults: Sequence[Fault] = ()
) -> dict[tuple[Market, int], str]:
    """Collects into journal and tape, patiently, for ``seconds`` from when all books are proved; ``faults`` go by that
    clock. Gives the digests of the books it held at the end.

    Who replays the tape has to be as patient.
    """
    urls = exchange.urls
    venue = {"advanced_url": urls["advanced"], "exchange_url": urls["exchange"], "rest_url": urls["rest"]}
    settings = {"collector": "here", "data_dir": data_dir, "venues": {"coinbase": venue}}
    config = load({"products": tuple(products), **settings}, None)
    clock = Clock()
    journal = Journal.open(data_dir / JOURNAL)
    stop = asyncio.Event()

    async def strike(service: Service) -> None:
        await until(lambda: all(product.books.is_proved for product in service.pipeline.products.values()))
        if faults:
            exchange.arm(*faults)
        await exchange.until(exchange.faults.elapsed_s() + seconds)
        stop.set()

    try:
        with patience(), _tape(config, config.markets, clock) as tape:
            async with open_rest(config) as rest, asyncio.TaskGroup() as tasks:
                checkpoint = journal.read_checkpoint()
                draw = random.Random(1).random
                service = Service(config, clock, rest, journal, draw, checkpoint=checkpoint, tape=tape)
                tasks.create_task(strike(service))
                await service.run(stop)
    finally:
        journal.close()
    return digests(service.pipeline)


def journalled(data_dir: Path) -> Lines:
    """What was written live."""
    with JournalReader(data_dir / JOURNAL) as reader:
        return {stream: b"".join(batch.body + b"\n" for batch in reader.batches([stream])) for stream in STREAMS}


def gathered(outputs: Iterable[Output]) -> Lines:
    """What a pipeline gave."""
    found: dict[str, list[bytes]] = {stream: [] for stream in STREAMS}
    for output in outputs:
        for stream in STREAMS:
            found[stream] += [lines.text for lines in getattr(output, stream)]
    return {stream: b"".join(lines + b"\n" for lines in found[stream]) for stream in STREAMS}


def tapes(data_dir: Path) -> Path:
    return data_dir / TAPES
