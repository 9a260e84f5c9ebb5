"""What was collected, in one line, with its holes.

    import sentinel.data

    top = sentinel.data.load("top", "BTC-USD", "2026-11-23T10:00Z", "2026-11-23T11:00Z")
    top.pandas()                 # or .polars(), or .table, a pyarrow.Table
    top.holes                    # what is missing in that hour; empty means that nothing is

    sentinel.data.load("trades", ["BTC-USD", "kraken:BTC/USD"], "24h")   # or "*-USD": the market is two columns
    sentinel.data.ohlcv("BTC-USD", "24h", every="1m")                    # exact; a bar says if trades are missing
    sentinel.data.scan("book", "BTC-USD", "30d").polars()                # lazily; .duckdb() and .dataset(), too
    for hour in sentinel.data.batches("book", "BTC-USD", "30d"): ...     # months, an hour in memory at a time

A product is a symbol, ``exchange:symbol``, or a symbol and its ``exchange=``. Symbols are the venue's own; ``find`` has
those of every venue by normalised names:

    for market in sentinel.data.find(base="BTC", quote="USD", kind="spot"):
        sentinel.data.load("top", market.name, "1h")        # coinbase:BTC-USD, kraken:BTC/USD, …

Reads archive and journal of a ``data_dir``, also while a collector writes them, or the archive in an object store:
``data_dir="s3://bucket/prefix"``, the ``archive.url`` of a collector. Times are an instant as the command
line takes it, a datetime with a zone, a date, a timedelta (so long ago), or a Unix time in s, ms, µs or ns.

Whatever is wrong with an argument is a ``UsageError`` of one line.
"""

from __future__ import annotations

from sentinel.archive.l2_reader import WholeBook
from sentinel.coverage.holes import Hole
from sentinel.data.candles import ohlcv
from sentinel.data.frozen import Dataset, dataset
from sentinel.data.lazily import Scan, scan
from sentinel.data.loaded import Loaded, MarketHole
from sentinel.data.loading import batches, coverage, gaps, load
from sentinel.data.market_list import MarketData, find, markets
from sentinel.data.order_books import BookAt, NoBook, bins, book, books, changes, order_book
from sentinel.errors import SentinelError, UsageError

__all__ = [
    "BookAt",
    "Dataset",
    "Hole",
    "Loaded",
    "MarketData",
    "MarketHole",
    "NoBook",
    "Scan",
    "SentinelError",
    "UsageError",
    "WholeBook",
    "batches",
    "bins",
    "book",
    "books",
    "changes",
    "coverage",
    "dataset",
    "find",
    "gaps",
    "load",
    "markets",
    "ohlcv",
    "order_book",
    "scan",
]


def __dir__() -> list[str]:
    """What a person may want, and not what this is made of."""
    return __all__
