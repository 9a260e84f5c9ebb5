"""Which markets there are in the data, and what each is."""

from __future__ import annotations

from datetime import date
from typing import get_args

from msgspec import Struct

from feeds.market import Market
from feeds.rest import ProductKind
from sentinel.archive.inventory import inventory
from sentinel.archive.layout import Series
from sentinel.contract.measurements import MEASUREMENTS
from sentinel.data.asked import DATA_DIR, DataDir, folder
from sentinel.disk.product_list import read_listings
from sentinel.disk.shards import data_folders
from sentinel.errors import UsageError


class MarketData(Struct, frozen=True, kw_only=True):
    """A market, and what there is of it: which measurements, and the first and the last day (UTC) of any of them.

    ``base``, ``quote`` and ``kind`` are what the venue's list says, in the names that most venues use (``BTC``, not
    ``XBT``); None while that has not been had. ``name`` is what ``load`` and all others take.
    """

    exchange: str
    symbol: str
    base: str | None
    quote: str | None
    kind: ProductKind | None
    first_day: date
    last_day: date
    measurements: tuple[str, ...]

    @property
    def name(self) -> str:
        """``kraken:BTC/USD``"""
        return str(Market(self.exchange, self.symbol))


def markets(*, data_dir: DataDir = DATA_DIR) -> list[MarketData]:
    """Every market there is in the data, by exchange, then symbol.

        >>> sentinel.data.markets()
        [MarketData(exchange='coinbase', symbol='BTC-USD', base='BTC', quote='USD', kind='spot',
                    first_day=datetime.date(2026, 11, 23), last_day=datetime.date(2026, 11, 26),
                    measurements=('trades', 'book', 'top', 'flow', 'gaps', 'coverage')), …]

    No data is read for it: it takes milliseconds, whatever there is.

    Raises:
        UsageError: for a ``data_dir`` without data.
    """
    listings, found = read_listings(folder(data_dir)), inventory(data_folders(folder(data_dir)))
    known = []
    for market in sorted({series.market for series in found}):
        names = tuple(name for name in MEASUREMENTS if Series(name, market) in found)
        days = [day for name in names for day in found[Series(name, market)]]
        listed = listings.get(market)
        known.append(
            MarketData(
                **market._asdict(),
                base=None if listed is None else listed.base,
                quote=None if listed is None else listed.quote,
                kind=None if listed is None else listed.kind,
                first_day=min(days),
                last_day=max(days),
                measurements=names,
            )
        )
    return known


def find(
    *,
    base: str | None = None,
    quote: str | None = None,
    kind: ProductKind | None = None,
    exchange: str | None = None,
    data_dir: DataDir = DATA_DIR,
) -> list[MarketData]:
    """The markets in the data, of every venue, that are what is asked for; None is anything.

        >>> [market.name for market in sentinel.data.find(base="BTC", quote="USD", kind="spot")]
        ['coinbase:BTC-USD', 'kraken:BTC/USD']

    One whose venue's list has not been had is not found by ``base``, ``quote`` or ``kind``.

    Raises:
        UsageError: for a kind that does not exist, or a ``data_dir`` without data.
    """
    if kind is not None and kind not in get_args(ProductKind):
        raise UsageError(f"no kind {kind!r}; there are {', '.join(get_args(ProductKind))}")
    asked = {"base": base, "quote": quote, "kind": kind, "exchange": exchange}
    wanted = {name: value for name, value in asked.items() if value is not None}
    return [
        market
        for market in markets(data_dir=data_dir)
        if all(getattr(market, name) == value for name, value in wanted.items())
    ]
