"""A session of the local exchange in virtual time, frame for frame: clients, faults, REST, and the truth at the end.

    python -m tests.sentinel.simulator.coinbase.session     makes the golden one again, after a wanted change

Nothing waits: the clock moves when the market sleeps. So the same code gives the same bytes, on any machine.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import zstandard

from sentinel.simulator import market, recording, synthetic
from sentinel.simulator.coinbase import dialogue
from sentinel.simulator.coinbase.dialect import COINBASE
from sentinel.simulator.connection import Connection, Stage
from sentinel.simulator.faults import Fault, Faults
from sentinel.simulator.player import Player
from sentinel.simulator.rest import Rest
from sentinel.simulator.synthetic import SyntheticMarket
from sentinel.simulator.truth import Truth
from tests.sentinel.simulator.coinbase.client import ask, order
from tests.sentinel.simulator.virtual import START_NS, VirtualTime, Wire, on_wires

GOLDEN = Path(__file__).parents[3] / "golden" / "coinbase_dialect.jsonl.zst"
SECONDS = 12
MS = 1_000_000
PRODUCTS = ["BTC-USD", "ETH-USD", "SHIB-USD"]
SIGNED = {
    "key": dialogue.KEY,
    "passphrase": dialogue.PASSPHRASE,
    "timestamp": "1700000000",
    "signature": "fqdfya0O8FSnHxmCQp804A8FhB/2b5TWlf6VewfapVs=",
}
FAULTS = [
    Fault(kind="drop", feed="advanced", channel="l2_data", connection=1, at_s=1.0, count=2),
    Fault(kind="duplicate", feed="exchange", channel="match", at_s=1.0, count=2),
    Fault(kind="reorder", product="ETH-USD", at_s=1.5, every_s=3.0),
    Fault(kind="corrupt", how="truncate", connection=1, at_s=2.0),
    Fault(kind="corrupt", how="garbage", connection=2, at_s=2.2),
    Fault(kind="corrupt", how="nan", channel="l2_data", at_s=2.4, count=2),
    Fault(kind="corrupt", how="nan", channel="match", at_s=2.4),
    Fault(kind="delay", connection=1, at_s=3.0, delay_s=0.2),
    Fault(kind="jump", feed="advanced", at_s=4.0, skip=5),
    Fault(kind="orphan_delete", at_s=4.5),
    Fault(kind="oversize_snapshot", levels=10, connection=3),
    Fault(kind="close", connection=3, at_s=5.0, code=1012),
    Fault(kind="abort", feed="exchange", connection=4, at_s=5.0),
    Fault(kind="stall", connection=2, at_s=6.0, duration_s=0.7),
    Fault(kind="stall", connection=1, at_s=11.0, duration_s=60),
    Fault(kind="refuse_product", product="SHIB-USD", at_s=2.0, duration_s=1.0),
    Fault(kind="hide", at_s=2.0, count=3, from_rest=True),
    Fault(kind="hide", feed="exchange", at_s=3.0, count=2),
    Fault(kind="hide", feed="advanced", at_s=4.0, count=2),
    Fault(kind="cross", product="BTC-USD", at_s=7.0, duration_s=1.0),
    Fault(kind="rest", mode="429", at_s=8.0, duration_s=0.2, retry_after_s=2.5),
    Fault(kind="rest", mode="empty", at_s=8.2, duration_s=0.2),
    Fault(kind="rest", mode="garbage", at_s=8.4, duration_s=0.2),
    Fault(kind="rest", mode="down", at_s=8.6, duration_s=0.2),
    Fault(kind="drop", feed="exchange", probability=0.02, at_s=9.0, duration_s=2.0),
]


SAID: list[tuple[float, str, int, str]] = [
    # when (seconds), on which feed, by which of its connections, what
    (0.0, "advanced", 1, ask("level2", "BTC-USD", "ETH-USD")),
    (0.0, "advanced", 1, ask("market_trades", "BTC-USD", "ETH-USD")),
    (0.0, "advanced", 1, ask("heartbeats")),
    (0.1, "advanced", 2, ask("level2", *PRODUCTS)),
    (0.1, "advanced", 2, ask("ticker", "BTC-USD")),
    (0.1, "advanced", 2, ask("ticker_batch", "BTC-USD")),
    (0.1, "advanced", 2, ask("candles", "BTC-USD")),
    (0.2, "advanced", 2, ask("level2", "BTC-USD")),
    (0.3, "advanced", 2, ask("status")),
    (0.3, "advanced", 2, ask("nonsense", "BTC-USD")),
    (0.3, "advanced", 2, ask("level2", "NOPE-USD")),
    (0.4, "advanced", 2, "not json"),
    (0.4, "advanced", 2, '{"type":"hello"}'),
    (1.3, "advanced", 1, ask("level2", "BTC-USD", verb="unsubscribe")),
    (1.4, "advanced", 1, ask("level2", "BTC-USD")),
    (3.5, "advanced", 3, ask("level2", "SHIB-USD")),
    (3.5, "advanced", 3, ask("heartbeats")),
    (0.0, "exchange", 1, order("matches", "heartbeat", "level2_batch", products=("BTC-USD", "ETH-USD"))),
    (0.2, "exchange", 2, order("level2", products=("BTC-USD",))),
    (0.2, "exchange", 2, order("level2", products=("BTC-USD",), **SIGNED)),
    (0.2, "exchange", 2, order({"name": "ticker", "product_ids": ["ETH-USD"]}, "ticker_batch", products=("BTC-USD",))),
    (0.3, "exchange", 2, order()),
    (0.3, "exchange", 2, order("nonsense", products=("BTC-USD",))),
    (0.3, "exchange", 2, order("matches", products=("NOPE-USD",))),
    (0.4, "exchange", 2, "[1]"),
    (0.4, "exchange", 2, '{"type":"hello"}'),
    (1.2, "exchange", 1, order("level2_batch", products=("ETH-USD",), verb="unsubscribe")),
    (2.5, "exchange", 3, order("matches", "status", products=("SHIB-USD",))),
    (2.6, "exchange", 3, order("matches", products=("BTC-USD",))),
    (4.2, "exchange", 4, order("heartbeat", "matches", products=("ETH-USD",))),
]
LEFT = [(10.0, "advanced", 2)]
ASKED = [
    (0.5, "/time"),
    (0.5, "/products"),
    (0.5, "/products/BTC-USD"),
    (0.6, "/products/NOPE-USD"),
    (0.6, "/nothing"),
    (0.6, "/products/BTC-USD/nothing"),
    (0.7, "/products/BTC-USD/trades?limit=x"),
    (1.0, "/products/SHIB-USD/book"),
    (1.0, "/products/SHIB-USD/book?level=2"),
    (1.0, "/products/ETH-USD/ticker"),
    (5.0, "/products/BTC-USD/trades?limit=30"),
    (8.1, "/products"),
    (8.3, "/products"),
    (8.5, "/products"),
    (8.7, "/products"),
    (11.0, "/products/BTC-USD/trades"),
    *[(11.5, "/time")] * 20,
]


async def live(folder: Path) -> list[str]:
    """What a synthetic market says to everybody."""
    written: list[str] = []
    clock = VirtualTime(SECONDS)
    faults = Faults(FAULTS, 5, clock.now_ns)
    truth_file = folder / "truth.jsonl"
    with closing(Truth(truth_file)) as truth, on_wires(), mock.patch.object(synthetic, "asyncio", clock):
        products = market.products(PRODUCTS, 60, 5)
        stage = Stage(COINBASE.facts, faults, truth, clock.now_ns)
        exchange = COINBASE.live(SyntheticMarket(stage, products, rate=30, trade_rate=12, seed=5))
        rest = Rest(exchange, stage)
        made: dict[tuple[str, int], Connection] = {}

        def say(feed: Any, number: int, message: str) -> Any:
            async def act() -> None:
                faults.begin()
                if (feed, number) not in made:
                    wire: Any = Wire(f"{feed} {number}", written)
                    made[feed, number] = Connection(wire, feed, number, stage, exchange)
                    stage.connections.append(made[feed, number])
                exchange.answer(made[feed, number], message)

            return act

        def leave(feed: str, number: int) -> Any:
            async def act() -> None:
                stage.connections.remove(made[feed, number])
                made[feed, number].finish()

            return act

        def request(path: str) -> Any:
            async def act() -> None:
                answer = await rest.answer(path)
                head = [answer.status_code, answer.reason_phrase, list(answer.headers.raw_items())]
                written.append(json.dumps({"rest": path, "head": head, "body": answer.body.decode()}))

            return act

        for seconds, feed, number, message in SAID:
            clock.at(seconds, say(feed, number, message))
        for seconds, path in ASKED:
            clock.at(seconds, request(path))
        for seconds, feed, number in LEFT:
            clock.at(seconds, leave(feed, number))
        clock.due.sort(key=lambda entry: entry[0])
        with suppress(asyncio.CancelledError):
            await exchange.run()
    return written + truth_file.read_text().splitlines()


async def played(folder: Path, feed: Any, message: str, spoken: list[str]) -> list[str]:
    """What is heard of a recording: of what the first client of this feed was sent."""
    written: list[str] = []
    now_ns = START_NS + 60_000_000_000
    faults = Faults([Fault(kind="drop", count=2, product="ETH-USD"), Fault(kind="jump", skip=3)], 5, lambda: now_ns)
    truth_file = folder / "played.jsonl"
    path = folder / "recording.jsonl"
    sent = [fact["frame"] for fact in map(json.loads, spoken) if fact.get("to") == f"{feed} 1" and "frame" in fact]
    path.write_text("".join(f"{frame}\n" for frame in sent))
    sleep = asyncio.sleep

    async def moment(seconds: float) -> None:
        await (sleep(0) if seconds < 1 else asyncio.Event().wait())

    with closing(Truth(truth_file)) as truth, on_wires(), mock.patch.object(asyncio, "sleep", moment):
        assert COINBASE.reader is not None
        assert COINBASE.recorded is not None
        stage = Stage(COINBASE.facts, faults, truth, lambda: now_ns)
        exchange = COINBASE.recorded(Player(stage, recording.load(path, [COINBASE.reader]), 0))
        rest = Rest(exchange, stage)
        running = asyncio.create_task(exchange.run())
        faults.begin()
        wire: Any = Wire(f"{feed} 1", written)
        listener = Connection(wire, feed, 1, stage, exchange)
        stage.connections.append(listener)
        exchange.answer(listener, message)
        for _ in range(2 * len(sent) + 10):
            await sleep(0)
        for target in ("", "/BTC-USD/trades?limit=5", "/BTC-USD/book", "/BTC-USD/ticker"):
            answer = await rest.answer(f"/products{target}")
            written.append(json.dumps({"rest": target, "body": answer.body.decode()}))
        running.cancel()
        await asyncio.wait([running])
    return written + truth_file.read_text().splitlines()


async def session(folder: Path) -> list[str]:
    """All of it, a line of JSON each."""
    spoken = await live(folder)
    told = await played(folder, "advanced", ask("level2", "BTC-USD"), spoken)
    matches = order("matches", "heartbeat", products=("BTC-USD",))
    return spoken + told + await played(folder, "exchange", matches, spoken)


def golden() -> list[str]:
    return zstandard.ZstdDecompressor().decompress(GOLDEN.read_bytes(), 2**27).decode().splitlines()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made_in:
        lines = asyncio.run(session(Path(made_in)))
    GOLDEN.write_bytes(zstandard.ZstdCompressor(level=19).compress("\n".join(lines).encode()))
