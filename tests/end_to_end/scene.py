"""A venue in trouble, collected by the real command over real sockets until everything that can heal has healed; and
what then holds of the books of any venue."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct

from sentinel.simulator.dialect import Venue
from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import CADENCE_NS, TruthFile
from tests.end_to_end.store import Store, fields, whole
from tests.servers.collector import collecting
from tests.servers.exchange import Market, trading
from tests.servers.waiting import until

S = 1_000_000_000
LAG_NS = 400_000_000


class Scene(Struct, frozen=True):
    """What is traded, what goes wrong, and when it is over. ``repairs`` says whether REST heals what was lost of
    trades; ``path`` is where people leave the stream's address; ``module`` the command."""

    exchange: str
    venue: Venue
    products: list[str]
    faults: tuple[Fault, ...]
    end_s: float
    settle_s: float
    levels: int = 80
    rate: float | None = None
    trade_rate: float = 20
    has_dense_ids: bool = True
    repairs: bool = True
    path: str = ""
    module: str = "sentinel"

    @property
    def markets(self) -> list[str]:
        return [f"{self.exchange}:{name}" for name in self.products]

    def trading(self, truth_path: Path) -> AbstractAsyncContextManager[Market]:
        """The venue, which begins to trade."""
        market: dict[str, Any] = {"levels": self.levels, "rate": self.rate, "trade_rate": self.trade_rate}
        return trading(self.products, truth_path, *self.faults, venue=self.venue, **market)

    async def play(self, folder: Path) -> tuple[Store, TruthFile]:
        """Collects into ``folder / "data"``; gives what is stored there, and the truth."""
        data, truth_path = folder / "data", folder / "truth.jsonl"
        async with self.trading(truth_path) as trader:
            urls = {name: url if name == "rest" else url + self.path for name, url in trader.urls.items()}
            async with collecting(urls, data, *self.markets, exchange=self.exchange, module=self.module) as collector:
                await trader.until(self.end_s)
                trader.market.trade_rate = 0.0
                if self.repairs:
                    await until(lambda: self.has_healed(data, truth_path))
                await trader.quiet_end(self.settle_s)
                assert await collector.stop() == 0
        store = Store(data)
        assert {dict(point.tags)["exchange"] for point in store.of("trades")} == {self.exchange}
        return store, TruthFile(truth_path, self.exchange)

    def has_healed(self, data: Path, truth_path: Path) -> bool:
        """Whether every trade published since the first one stored is stored, but for those that REST never tells of,
        which are named.

        It takes the truth to know: while a busy collector has yet to hear of some, none of them is named as missing.
        """
        if not (data / "journal.sqlite3").exists():
            return False
        store, truth = Store(data, self.exchange), TruthFile(truth_path)
        stored = {product: store.trades(product).keys() for product in self.products}
        if not all(stored.values()):
            return False
        published = ((product, number) for product in self.products for number in truth.trades[product])
        lost = {number for product, number in published if min(stored[product]) <= number not in stored[product]}
        hidden = hidden_for_good(truth)
        return lost == hidden and (not self.has_dense_ids or missing(store, self.products) == hidden)


def missing(store: Store, products: list[str]) -> set[int]:
    return set().union(*(store.missing_trades(name) for name in products))


def hidden_for_good(truth: TruthFile) -> set[int]:
    """The trades that REST does not have either."""
    hidden = [fact for fact in truth.faults if fact["fault"] == "hide" and fact["from_rest"]]
    return {trade_id for fact in hidden for trade_id in fact["trade_ids"]}


def book_gaps(store: Store, product: str) -> list[dict[str, Any]]:
    return [fields(gap) | dict(gap.tags) for gap in store.of("gaps", product) if dict(gap.tags)["channel"] == "book"]


def judge_instants(store: Store, truth: TruthFile, product: str) -> None:
    """Every instant is stored or in a gap, and every gap of a book has a fault to blame."""
    tops = {point.time_ns for point in store.of("top", product)}
    gaps = book_gaps(store, product)
    assert len(tops) > 50, product
    for instant in range(min(tops), max(tops) + 1, CADENCE_NS):
        is_in_gap = any(whole(gap["start_ns"]) <= instant < whole(gap.get("end_ns", instant + 1)) for gap in gaps)
        assert is_in_gap != (instant in tops), (product, instant)
    for gap in gaps:
        start_ns = whole(gap["start_ns"])
        assert any(fault["start_ns"] - S <= start_ns <= fault["start_ns"] + 4 * S for fault in truth.faults), gap


def judge_promptly(store: Store, truth: TruthFile, product: str) -> None:
    """Every stored top is one the market had at that instant or a moment before."""
    market: list[tuple[Any, ...]] = truth.tops[product]
    for point in store.of("top", product):
        instant, stored = point.time_ns, fields(point)
        held = [top for top in market if top[0] < instant]
        possible = {held[-1][1:], *(top[1:] for top in held if top[0] >= instant - LAG_NS)}
        possible |= {before[1:] for before, after in pairwise(held) if after[0] >= instant - LAG_NS}
        assert tuple(stored[name] for name in ("bid", "bid_size", "ask", "ask_size")) in possible, (product, instant)


def named_sequences(store: Store, product: str) -> set[tuple[int, int]]:
    """The holes of a book that have numbers."""
    return {(gap["start_seq"], gap["end_seq"]) for gap in book_gaps(store, product) if "start_seq" in gap}


def dropped_sequences(truth: TruthFile, product: str, channel: str) -> list[tuple[int, int]]:
    """What was dropped of a book, by the numbers it had; there is some."""
    lost = [
        (fact["sequence_first"], fact["sequence_last"])
        for fact in truth.faults
        if fact["fault"] == "drop"
        and (fact["channel"], fact["product"]) == (channel, product)
        and fact["sequence_first"] is not None
    ]
    assert lost
    return lost


def runs(lost: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """Frames lost one after the other are one hole."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(lost):
        if found and first == found[-1][1] + 1:
            found[-1] = found[-1][0], last
        else:
            found.append((first, last))
    return set(found)
