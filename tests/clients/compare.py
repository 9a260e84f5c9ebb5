"""Other people's clients against `sentinel-ws simulate`: what they saw must be what the exchange wrote down.

    python3 -m venv .venv-clients && .venv-clients/bin/pip install -r tests/clients/requirements.txt
    python -m tests.clients.compare .venv-clients/bin/python

A client that does not agree has found an error of our exchange, or of its own; either is worth knowing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import click

from sentinel.simulator.coinbase import dialogue

HERE = Path(__file__).parent
PRODUCTS = ("BTC-USD", "ETH-USD")
SECONDS = "10"
MOSTLY = 0.9
FLIPPED = {"buy": "sell", "sell": "buy"}

TopOfBook = tuple[float, float, float, float]


@dataclass
class Seen:
    """What a client, or the truth file, said."""

    tops: dict[str, list[TopOfBook]] = field(default_factory=lambda: defaultdict(list))
    trades: dict[str, dict[int, tuple[float, float, str]]] = field(default_factory=lambda: defaultdict(dict))
    sequence: list[int] = field(default_factory=list)
    beats: list[int] = field(default_factory=list)
    error: str | None = None


@dataclass(frozen=True)
class Client:
    """One program. ``feed`` names the book in the truth file, ``side`` whose side of a trade it tells, ``tops`` what
    its tops must be of the truth's: ``all`` in a row; ``some`` of them in order, since one may stand for several frames
    that came together; ``between``: the venue sends changes one by one, so there are others between the truth's."""

    name: str
    feed: str
    script: tuple[str, ...]
    tops: Literal["all", "some", "between"]
    side: Literal["maker", "taker"]
    venue: str = "coinbase"
    products: tuple[str, ...] = PRODUCTS


CLIENTS = (
    Client(
        "ccxt.pro kraken",
        "kraken",
        ("kraken.py",),
        tops="some",
        side="taker",
        venue="kraken",
        products=("BTC/USD", "ETH/USD"),
    ),
    Client("coinbase-advanced-py", "advanced", ("advanced.py",), tops="all", side="maker"),
    # ccxt hands Advanced Trade's maker side on as it is, and turns that of Exchange into the taker's
    Client("ccxt.pro coinbase", "advanced", ("unified.py", "coinbase"), tops="some", side="maker"),
    Client("ccxt.pro coinbaseexchange", "exchange", ("unified.py", "coinbaseexchange"), tops="between", side="taker"),
    # ccxt takes trades from the public address, too, and knows the path itself
    Client(
        "ccxt.pro okx",
        "okx",
        ("unified.py", "okx"),
        tops="some",
        side="taker",
        venue="okx",
        products=("BTC-USDT", "ETH-USDT"),
    ),
    Client(
        "ccxt.pro deribit",
        "deribit",
        ("deribit.py", "deribit"),
        tops="some",
        side="taker",
        venue="deribit",
        products=("BTC-PERPETUAL", "ETH-PERPETUAL"),
    ),
    Client(
        "ccxt.pro coinbaseinternational",
        "coinbase_derivatives",
        ("deribit.py", "coinbaseinternational"),
        tops="some",
        side="taker",
        venue="coinbase_derivatives",
        products=("BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL"),
    ),
    Client(
        "ccxt.pro binance",
        "binance",
        ("binance.py",),
        tops="some",
        side="taker",
        venue="binance",
        products=("BTCUSDT", "ETHUSDT"),
    ),
    *(
        Client(
            f"ccxt.pro bybit, {category}",
            venue,
            ("bybit.py", category),
            tops="some",
            side="taker",
            venue=venue,
            products=("BTCUSDT", "ETHUSDT"),
        )
        for venue, category in (("bybit", "spot"), ("bybit_linear", "linear"))
    ),
)


@contextmanager
def exchange(client: Client, truth: Path) -> Iterator[dict[str, str]]:
    """The command in a process of its own; gives its addresses."""
    command = [sys.executable, "-m", "sentinel", "simulate", "--venue", client.venue, "--truth", str(truth)]
    command += ["--products", ",".join(client.products)]
    with subprocess.Popen([*command, "--levels", "500", "--seed", "3"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def listen(client: Client, python: str, url: str) -> Seen:
    script, *more = client.script
    keys = {"apiKey": dialogue.KEY, "secret": dialogue.SECRET, "password": dialogue.PASSPHRASE}
    environment = os.environ | (keys if client.feed == "exchange" else {})
    command = [python, str(HERE / script), *more, url, SECONDS, *client.products]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    seen = Seen()
    for line in done.stdout.splitlines():
        enter(seen, json.loads(line))
    if done.returncode:
        seen.error = done.stderr.strip().splitlines()[-1]
    return seen


def enter(seen: Seen, fact: dict[str, Any]) -> None:
    match fact["kind"]:
        case "top":
            top = (float(fact["bid"]), float(fact["bid_size"]), float(fact["ask"]), float(fact["ask_size"]))
            seen.tops[fact["product"]].append(top)
        case "trade":
            side = fact.get("side") or fact["maker_side"]
            trade = (float(fact["price"]), float(fact["size"]), side)
            seen.trades[fact["product"]][int(fact["trade_id"])] = trade
        case "sequence":
            seen.sequence.append(fact["number"])
        case "beat":
            seen.beats.append(fact["counter"])


def read_truth(path: Path, feed: str) -> Seen:
    seen = Seen()
    for line in path.read_text().splitlines():
        fact = json.loads(line)
        if fact["kind"] == "trade" or (fact["kind"] == "top" and fact["feed"] == feed):
            enter(seen, fact)
    return seen


def fits(tops: list[TopOfBook], truth: list[TopOfBook], rule: str) -> bool:
    if rule == "all":
        return any(truth[start : start + len(tops)] == tops for start in range(len(truth) - len(tops) + 1))
    if rule == "some":
        rest = iter(truth)
        return all(top in rest for top in tops)
    matcher = SequenceMatcher(None, changes(truth), changes(tops), autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) >= MOSTLY * len(changes(truth))


def changes(tops: list[TopOfBook]) -> list[TopOfBook]:
    return [top for top, _ in groupby(tops)]


def disagreements(client: Client, seen: Seen, truth: Seen) -> Iterator[str]:
    if seen.error is not None:
        yield seen.error
    for product in client.products:
        tops, trades = seen.tops[product], seen.trades[product]
        if len(tops) < 20 or not trades:
            yield f"{product}: only {len(tops)} tops and {len(trades)} trades"
            continue
        # the snapshot is the book of the frame before, so the first top may be told twice
        if not fits(tops[1:], truth.tops[product], client.tops):
            strange = [top for top in tops[1:] if top not in set(truth.tops[product])]
            yield f"{product}: tops are not the exchange's; {len(strange)} of {len(tops)} never were: {strange[:2]}"
        if sorted(trades) != list(range(min(trades), max(trades) + 1)):
            yield f"{product}: trade ids with holes"
        for trade_id, trade in trades.items():
            price, size, maker = truth.trades[product][trade_id]
            if trade != (price, size, maker if client.side == "maker" else FLIPPED[maker]):
                yield f"{product}: trade {trade_id} is {trade}, published was {(price, size, maker)} (maker's side)"
                break
    for name, numbers in (("sequence_num", seen.sequence), ("heartbeat_counter", seen.beats)):
        if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            yield f"{name} does not rise by one"


def main(python: str) -> int:
    """Runs every client; returns 0 when all agree."""
    failed = 0
    for client in CLIENTS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "truth.jsonl"
            with exchange(client, path) as urls:
                seen = listen(client, python, urls[client.feed])
            found = list(disagreements(client, seen, read_truth(path, client.feed)))
        counts = ", ".join(f"{len(seen.tops[name])} tops {len(seen.trades[name])} trades" for name in client.products)
        click.echo(f"{client.name}: {'agrees' if not found else 'DISAGREES'} ({counts}, {len(seen.beats)} beats)")
        for words in found:
            click.echo(f"  {words}")
        failed += bool(found)
    click.echo(f"{len(CLIENTS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
