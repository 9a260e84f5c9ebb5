"""The contenders: each takes the snapshots when made, the updates in ``run``, and shows its books in ``tops``."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from bench.corpus import START_NS, Corpus
from bench.oracle import held
from feeds.coinbase_advanced.messages import decode_message
from feeds.coinbase_advanced.protocol import CoinbaseAdvancedFeed
from feeds.protocol import Subscription
from sentinel.pipeline import LanePlan, Pipeline, Settings
from sentinel.version import software

Tops = dict[str, tuple[float, float, int, int]]
"""Product -> best bid, best ask, bid levels, ask levels."""


class Contender(Protocol):
    """One implementation under the clock."""

    name: str
    version: str
    what: str

    def run(self, corpus: Corpus) -> None: ...
    def tops(self) -> Tops: ...


class Floor:
    """msgspec's typed decode of every frame and nothing else: no Python that understands a frame can be faster."""

    name, what = "decode floor", "typed decode only"

    def __init__(self, corpus: Corpus) -> None:
        self.version = f"msgspec {version('msgspec')}"

    def run(self, corpus: Corpus) -> None:
        for frame in corpus.updates:
            decode_message(frame)

    def tops(self) -> Tops:
        return {}


class Ours:
    """The whole pure pipeline: decode, sequence, book, 10 Hz samples with all bins, lines."""

    name, what = "sentinel-ws", "decode, sequence, book, 10 Hz samples with 7 bins, lines"

    def __init__(self, corpus: Corpus) -> None:
        self.version = software()
        plans = [
            LanePlan(number, "coinbase_advanced", Subscription(frozenset({"book"}), products))
            for number, products in enumerate(corpus.lanes)
        ]
        self.pipeline = Pipeline(Settings("bench"), plans, lambda plan: CoinbaseAdvancedFeed(plan.subscription))
        self.pipeline.start(START_NS)
        for plan in plans:
            self.pipeline.opened(plan.lane, START_NS)
        for lane, frame in zip(corpus.snapshot_lanes, corpus.snapshots, strict=True):
            self.pipeline.receive(lane, frame, START_NS)
        self.tops()  # the first reader has a snapshot sorted: before the clock starts, like every peer's

    def run(self, corpus: Corpus) -> None:
        receive = self.pipeline.receive
        for lane, frame, received_ns in zip(corpus.update_lanes, corpus.updates, corpus.received_ns, strict=True):
            receive(lane, frame, received_ns)

    @property
    def lines(self) -> int:
        """How many lines were written since the last call."""
        return sum(block.text.count(b"\n") + 1 for block in self.pipeline.take().book)

    def tops(self) -> Tops:
        found: Tops = {}
        for symbol, book in held(self.pipeline).items():
            top = book.top()
            assert top is not None
            found[symbol] = top.bid, top.ask, len(book.bids), len(book.asks)
        return found


class BookOnly:
    """Our decode, sequence and book, without samples: what the book-only peers do."""

    name, what = "sentinel-ws, book only", "decode, sequence, book"

    def __init__(self, corpus: Corpus) -> None:
        self.version = software()
        self._whole = Ours(corpus)

    def run(self, corpus: Corpus) -> None:
        """All frames in one instant: no grid instant passes. The books are settled at the end, as a reader would."""
        receive = self._whole.pipeline.receive
        for lane, frame in zip(corpus.update_lanes, corpus.updates, strict=True):
            receive(lane, frame, START_NS)
        self.tops()

    def tops(self) -> Tops:
        return self._whole.tops()


class Cryptofeed:
    """cryptofeed's Coinbase feed: its message handler, its C book, no callbacks."""

    name, what = "cryptofeed", "decode, book"

    def __init__(self, corpus: Corpus) -> None:
        coinbase = import_module("cryptofeed.exchanges.coinbase").Coinbase
        self.version = version("cryptofeed")
        # what it would otherwise ask REST for
        import_module("cryptofeed.symbols").Symbols.set(coinbase.id, {name: name for name in corpus.products}, {})
        self._feed = coinbase()
        asyncio.run(self._handle(corpus.snapshots))

    def run(self, corpus: Corpus) -> None:
        asyncio.run(self._handle(corpus.updates))

    async def _handle(self, frames: list[bytes]) -> None:
        handle = self._feed.message_handler
        for frame in frames:
            await handle(frame, None, 0.0)

    def tops(self) -> Tops:
        found: Tops = {}
        for product, book in self._feed._l2_book.items():
            bids, asks = book.book.bids, book.book.asks
            found[product] = float(bids.index(0)[0]), float(asks.index(0)[0]), len(bids), len(asks)
        return found


class Ccxt:
    """ccxt.pro's coinbase: its WebSocket client's decode (orjson) and its message handler."""

    name, what = "ccxt.pro", "decode, book"

    def __init__(self, corpus: Corpus) -> None:
        self.version = version("ccxt")
        self._products = corpus.products
        asyncio.run(self._open(corpus))

    async def _open(self, corpus: Corpus) -> None:
        exchange = import_module("ccxt.pro").coinbase()
        markets = []
        for product in corpus.products:
            base, quote = product.split("-")
            precision = {"amount": 1e-8, "price": 1e-2}
            markets.append(
                {"id": product, "symbol": f"{base}/{quote}", "base": base, "quote": quote, "spot": True, "type": "spot",
                 "precision": precision, "limits": {}}
            )  # fmt: skip
        exchange.set_markets(markets)
        client = import_module("ccxt.async_support.base.ws.client").Client
        ignore: Callable[..., None] = lambda *_: None  # noqa: E731
        self._client = client("ws://nowhere", exchange.handle_message, ignore, ignore, ignore)
        self._exchange = exchange
        for frame in corpus.snapshots:
            self._client.handle_text_or_binary_message(frame.decode())
        await exchange.close()

    def run(self, corpus: Corpus) -> None:
        handle = self._client.handle_text_or_binary_message
        for text in [frame.decode() for frame in corpus.updates]:
            handle(text)

    def tops(self) -> Tops:
        found: Tops = {}
        for product in self._products:
            book = self._exchange.orderbooks[product.replace("-", "/")]
            book.limit()
            bids, asks = book["bids"], book["asks"]
            found[product] = bids[0][0], asks[0][0], len(bids), len(asks)
        return found


class OrderBookC:
    """orjson and the ``order_book`` C extension with floats: the fastest book one can put together from PyPI."""

    name, what = "orjson + order_book (C)", "decode, book"

    def __init__(self, corpus: Corpus) -> None:
        book = import_module("order_book").OrderBook
        self.version = version("order_book")
        self._loads = import_module("orjson").loads
        self._books = {product: book() for product in corpus.products}
        for frame in corpus.snapshots:
            (event,) = self._loads(frame)["events"]
            sides: dict[str, dict[float, float]] = {"bid": {}, "offer": {}}
            for level in event["updates"]:
                sides[level["side"]][float(level["price_level"])] = float(level["new_quantity"])
            held = self._books[event["product_id"]]
            held.bids, held.asks = sides["bid"], sides["offer"]

    def run(self, corpus: Corpus) -> None:
        loads, books = self._loads, self._books
        for frame in corpus.updates:
            for event in loads(frame)["events"]:
                book = books[event["product_id"]]
                bids, asks = book.bids, book.asks
                for level in event["updates"]:
                    side = bids if level["side"] == "bid" else asks
                    price, size = float(level["price_level"]), float(level["new_quantity"])
                    if size:
                        side[price] = size
                    elif price in side:
                        del side[price]

    def tops(self) -> Tops:
        return {
            product: (book.bids.index(0)[0], book.asks.index(0)[0], len(book.bids), len(book.asks))
            for product, book in self._books.items()
        }


class Cpp:
    """simdjson and two ``std::map``: what a C++ program would do. Compiled on the spot; its own clock is believed."""

    name, what = "C++ simdjson + std::map", "decode, book"
    SOURCE = Path(__file__).with_name("limit.cpp")

    def __init__(self, corpus: Corpus) -> None:
        compiler = shutil.which("g++")
        if compiler is None:
            raise ImportError("no g++")
        self._folder = tempfile.TemporaryDirectory(prefix="sentinel-bench-")
        folder = Path(self._folder.name)
        self._program = folder / "limit"
        command = [
            compiler,
            "-O3",
            "-march=native",
            "-std=c++17",
            str(self.SOURCE),
            "-o",
            str(self._program),
            "-lsimdjson",
        ]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode:
            raise ImportError("no libsimdjson-dev")
        self.version = subprocess.run(
            [compiler, "-dumpversion"], capture_output=True, text=True, check=True
        ).stdout.strip()
        self._frames = folder / "frames"
        self._frames.write_bytes(b"\n".join([*corpus.snapshots, *corpus.updates]) + b"\n")
        self._snapshots = len(corpus.snapshots)
        self._answer: dict[str, Any] = {}

    def run(self, corpus: Corpus) -> None:
        command = [str(self._program), str(self._frames), str(self._snapshots)]
        self._answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    @property
    def seconds(self) -> float:
        return float(self._answer["seconds"])

    def tops(self) -> Tops:
        return {product: tuple(top) for product, top in self._answer["tops"].items()}  # type: ignore[misc]


PEERS: list[type[Any]] = [Cryptofeed, Ccxt, OrderBookC, Cpp]
