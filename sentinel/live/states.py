"""Whether each book is proved, why not, and since when: what there is to tell of it, and how it is now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from feeds.market import Market
from sentinel.contract.line_protocol import decode
from sentinel.contract.lines import Lines
from sentinel.contract.measurements import market_of
from sentinel.live.events import STARTING, LiveState
from sentinel.pipeline import Pipeline
from sentinel.pipeline.product import Product

GAP = b"gaps,"


class States:
    """Of the products of one collector. What was lost and is back within one look is told all the same: the accounts
    have it."""

    def __init__(self) -> None:
        self._told: dict[Market, LiveState] = {}
        self._unwell: set[Market] = set()
        self._news: list[LiveState] = []

    def begin(self, markets: Iterable[Market], now_ns: int) -> None:
        """These are collected, too."""
        for market in markets:
            if market not in self._told:
                self._tell(market, LiveState(market.symbol, False, STARTING, now_ns, 0, 0, market.exchange))

    def look(self, pipeline: Pipeline, accounts: Sequence[Lines]) -> list[LiveState]:
        """What has changed, in order."""
        for lines in accounts:
            if lines.text.startswith(GAP):
                self._hear(pipeline, lines.text)
        # whatever is lost has a row of its own; what is well need not be looked at
        for market in [market for market in self._unwell if market in pipeline.products]:
            told, now = self._told[market], self._now(market, pipeline.products[market])
            if (told.is_proved, told.reason, told.trades_missing) != (now.is_proved, now.reason, now.trades_missing):
                self._tell(market, now)
        found, self._news = self._news, []
        return found

    def now(self, pipeline: Pipeline, market: Market) -> LiveState | None:
        """How a product is; None for one that is not collected."""
        product = pipeline.products.get(market)
        return self._told.get(market) if product is None or market not in self._told else self._now(market, product)

    def _now(self, market: Market, product: Product) -> LiveState:
        told, books = self._told[market], product.books
        missing = sum(gap.missing_count - gap.repaired_count for gap in product.trades.open_gaps)
        told = replace(told, proved_ns=books.proved_ns, trades_missing=missing)
        if books.gaps:
            gap = books.gaps[-1]
            return replace(told, is_proved=False, reason=gap.cause, since_ns=gap.start_ns)
        proved = [lane.since_ns for lane in books.lanes.values() if lane.is_proved]
        if told.is_proved or not proved or books.next_ns is None:
            return told
        return replace(told, is_proved=True, reason=None, since_ns=min(proved))

    def _hear(self, pipeline: Pipeline, line: bytes) -> None:
        """A row of ``gaps``: one of the book has begun, or has ended; or trades are missing."""
        point = decode(line)
        tags, fields = dict(point.tags), dict(point.fields)
        market = market_of(point)
        told = self._told.get(market)
        if told is None or market not in pipeline.products:
            return
        proved_ns = pipeline.products[market].books.proved_ns
        told = replace(told, proved_ns=proved_ns)
        if tags["channel"] != "book":
            missing = int(fields["missing_count"]) - int(fields["repaired_count"])
            if missing > told.trades_missing:
                self._tell(market, replace(told, trades_missing=missing))
            return
        if told.is_proved or told.reason == STARTING:
            # what is proved now may be what came after it was back
            up_to_ns = min(proved_ns, point.time_ns)
            told = replace(told, is_proved=False, reason=tags["cause"], since_ns=point.time_ns, proved_ns=up_to_ns)
            self._tell(market, told)
        end_ns = fields.get("end_ns")
        if isinstance(end_ns, int):
            self._tell(market, replace(told, is_proved=True, reason=None, since_ns=end_ns, proved_ns=proved_ns))

    def _tell(self, market: Market, state: LiveState) -> None:
        self._told[market] = state
        self._news.append(state)
        if state.is_proved and not state.trades_missing:
            self._unwell.discard(market)
        else:
            self._unwell.add(market)
