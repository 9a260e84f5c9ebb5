"""What each kind of watch takes out of what a collector has collected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import TypeVar

from feeds.market import Market
from sentinel.cluster.reading import LiveSample, LiveTrade, reading_samples
from sentinel.config import Config
from sentinel.contract.lines import Lines, StoredTrade
from sentinel.live.events import LiveBook, LiveChanges, LiveDropped, LiveEvent, LiveState
from sentinel.live.hub import Delivery, Hub, Wish
from sentinel.pipeline.lane_book import LaneBook
from sentinel.timing.instants import NS_PER_S

NS_PER_MS = NS_PER_S // 1000

T = TypeVar("T")
Markets = frozenset[Market]
Take = Callable[[Delivery], Iterable[T]]


def trades(config: Config) -> Wish[LiveTrade]:
    """Every trade once, the oldest first."""
    return Wish(
        config,
        ("trades", config.products),
        make=lambda markets: lambda delivery: _trades(delivery.batches.get("trades", ()), markets),
        begin=_recent_trades,
    )


def samples(config: Config) -> Wish[LiveSample]:
    """Every sample at the cadence of ``config``."""
    return Wish(
        config,
        ("samples", config.products, config.book.cadence_ms),
        make=lambda markets: _samples(markets, config.book.cadence_ms),
        needs_cadence_ms=config.book.cadence_ms,
    )


def books(config: Config, cadence_ms: int, depth: int) -> Wish[LiveBook]:
    """The best levels of each proved book at a cadence."""
    return Wish(
        config,
        ("books", config.products, cadence_ms, depth),
        make=lambda markets: _books(markets, cadence_ms, depth),
    )


def everything(
    config: Config,
    cadence_ms: int,
    depth: int,
    *,
    has_trades: bool,
    has_books: bool,
    has_changes: bool,
    has_samples: bool,
) -> Wish[LiveEvent]:
    """States, and of the rest what is asked for."""

    def make(markets: Markets) -> Take[LiveEvent]:
        of_books = _books(markets, cadence_ms, depth)
        of_samples = _samples(markets, config.book.cadence_ms)

        def take(delivery: Delivery) -> Iterable[LiveEvent]:
            """A loss comes before whatever is later than it."""
            yield from _own(delivery.states, markets)
            if has_trades:
                yield from _trades(delivery.batches.get("trades", ()), markets)
            if has_changes:
                yield from _own(delivery.changes, markets)
            if has_samples:
                yield from of_samples(delivery)
            if has_books:
                yield from of_books(delivery)

        return take

    def begin(hub: Hub, markets: Markets) -> Iterable[LiveEvent]:
        yield from (state for market in sorted(markets) if (state := hub.state(market)) is not None)
        if has_trades:
            yield from _recent_trades(hub, markets)
        if has_changes and hub.tap is not None:
            yield from (book for market in sorted(markets) if (book := hub.tap.whole(market)) is not None)

    return Wish(
        config,
        ("everything", config.products, cadence_ms, depth, has_trades, has_books, has_changes, has_samples),
        make=make,
        begin=begin,
        tell=LiveDropped,
        needs_cadence_ms=config.book.cadence_ms if has_samples else None,
        needs_changes=has_changes,
    )


Own = TypeVar("Own", LiveState, LiveChanges)


def _own(items: Iterable[Own], markets: Markets) -> Iterable[Own]:
    return (item for item in items if Market(item.exchange, item.symbol) in markets)


def _samples(markets: Markets, cadence_ms: int) -> Take[LiveSample]:
    read = reading_samples(markets, cadence_ms)

    def take(delivery: Delivery) -> Iterable[LiveSample]:
        text = b"\n".join(lines.text for lines in delivery.batches.get("book", ()))
        return (found.item for found in read(text))

    return take


def _trades(lines: Iterable[Lines], markets: Markets) -> list[LiveTrade]:
    """The oldest first: venues send those of before us the newest first."""
    stored = (each.stored for each in lines if each.stored is not None)
    found = [_trade(one) for one in stored if Market(one.exchange, one.trade.product) in markets]
    return sorted(found, key=lambda trade: (trade.time_ns, trade.exchange, trade.symbol, trade.trade_id))


def _recent_trades(hub: Hub, markets: Markets) -> list[LiveTrade]:
    return _trades(chain.from_iterable(hub.recent.get(market, ()) for market in markets), markets)


def _trade(stored: StoredTrade) -> LiveTrade:
    trade = stored.trade
    return LiveTrade(
        symbol=trade.product,
        trade_id=trade.trade_id,
        price=trade.price,
        size=trade.size,
        side=trade.taker,
        time_ns=trade.venue_ns,
        received_ns=stored.received_ns,
        is_repaired=stored.is_repaired,
        exchange=stored.exchange,
    )


def _books(markets: Markets, cadence_ms: int, depth: int) -> Take[LiveBook]:
    cadence_ns = cadence_ms * NS_PER_MS
    given: dict[Market, int] = {}

    def take(delivery: Delivery) -> Iterable[LiveBook]:
        """One for each multiple of the cadence at which a sample was proved."""
        for market in markets:
            product = delivery.pipeline.products.get(market)
            sample = None if product is None else product.books.last_sample
            if product is None or sample is None or given.get(market) == sample.grid_ns // cadence_ns:
                continue
            lane = product.books.shown()
            if lane is not None:
                given[market] = sample.grid_ns // cadence_ns
                yield _book(market, lane, depth, product.books.proved_ns)

    return take


def _book(market: Market, lane: LaneBook, depth: int, proved_ns: int) -> LiveBook:
    bids, asks = lane.book.bids, lane.book.asks
    return LiveBook(
        market.symbol,
        lane.changed_ns,
        [(price, bids[price]) for price in reversed(bids.keys()[-depth:])],
        [(price, asks[price]) for price in asks.keys()[:depth]],
        market.exchange,
        proved_ns,
    )
