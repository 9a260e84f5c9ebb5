"""A venue in trouble, collected by the real command over real sockets until everything that can heal has healed; and
what then holds of the books of any venue."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from msgspec import Struct

from sentinel.simulator.dialect import Venue
from sentinel.simulator.faults import Fault
from tests.end_to_end.judge import CALM_NS, TruthFile, judge_grid
from tests.end_to_end.store import Store, fields, has, whole
from tests.servers.collector import collecting
from tests.servers.exchange import Market, trading
from tests.servers.waiting import until

S = 1_000_000_000
SAMPLES, TRADES = 60, 60
"""So many of each product, at least, are waited for."""


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
        """The venue, which begins to trade; nothing goes wrong yet."""
        market: dict[str, Any] = {"levels": self.levels, "rate": self.rate, "trade_rate": self.trade_rate}
        return trading(self.products, truth_path, venue=self.venue, **market)

    async def play(self, folder: Path) -> tuple[Store, TruthFile]:
        """Collects into ``folder / "data"``; gives what is stored there, and the truth."""
        data, truth_path = folder / "data", folder / "truth.jsonl"
        async with self.trading(truth_path) as trader:
            urls = {name: url if name == "rest" else url + self.path for name, url in trader.urls.items()}
            async with collecting(urls, data, *self.markets, exchange=self.exchange, module=self.module) as collector:
                await until(lambda: has(data, self.products, top=1, trades=1))
                trader.arm(*self.faults)
                await trader.until(self.end_s)
                await until(lambda: has(data, self.products, top=SAMPLES, trades=TRADES))
                await self.end(trader, data, truth_path)
                assert await collector.stop() == 0
        store = Store(data)
        assert {dict(point.tags)["exchange"] for point in store.of("trades")} == {self.exchange}
        return store, TruthFile(truth_path, self.exchange)

    async def end(self, trader: Market, data: Path, truth_path: Path) -> None:
        """Nothing new comes any more, and what can be repaired is. Trading goes on while that takes time: where only
        the next trade tells of those before it, none may be the last while nobody listens: nor any that is hidden."""
        due = sum(fault.count for fault in self.faults if fault.kind == "hide")
        await until(lambda: len(hidden(TruthFile(truth_path))) >= due)
        if self.repairs:
            newest = {name: max(TruthFile(truth_path).trades[name]) for name in self.products}
            await until(lambda: self.has_healed(data, truth_path, newest))
        await trader.quiet_end(self.settle_s)
        if self.repairs:
            await until(
                lambda: missing(Store(data, self.exchange), self.products) <= hidden_for_good(TruthFile(truth_path))
            )

    def has_healed(self, data: Path, truth_path: Path, newest: dict[str, int]) -> bool:
        """Whether every trade published from the first one stored to the ``newest`` of its product is stored, but for
        those that REST never tells of, which are named.

        It takes the truth to know: while a busy collector has yet to hear of some, none of them is named as missing.
        """
        store, truth = Store(data, self.exchange), TruthFile(truth_path)
        stored = {product: store.trades(product).keys() for product in self.products}
        if not all(stored.values()):
            return False
        due = {
            name: [number for number in truth.trades[name] if min(stored[name]) <= number <= newest[name]]
            for name in self.products
        }
        lost = {number for name, numbers in due.items() for number in numbers if number not in stored[name]}
        gone = hidden_for_good(truth) & {number for numbers in due.values() for number in numbers}
        return lost == gone and (not self.has_dense_ids or missing(store, self.products) >= gone)


def missing(store: Store, products: list[str]) -> set[int]:
    return set().union(*(store.missing_trades(name) for name in products))


def hidden(truth: TruthFile, *, is_for_good: bool = False) -> set[int]:
    """The trades that were on no stream; only those that REST does not have either, if ``is_for_good``."""
    facts = [fact for fact in truth.faults if fact["fault"] == "hide" and (fact["from_rest"] or not is_for_good)]
    return {trade_id for fact in facts for trade_id in fact["trade_ids"]}


def hidden_for_good(truth: TruthFile) -> set[int]:
    """The trades that REST does not have either."""
    return hidden(truth, is_for_good=True)


def book_gaps(store: Store, product: str) -> list[dict[str, Any]]:
    return [fields(gap) | dict(gap.tags) for gap in store.of("gaps", product) if dict(gap.tags)["channel"] == "book"]


def judge_instants(store: Store, truth: TruthFile, product: str) -> None:
    """Every instant is stored or in a gap, and every gap of a book has a fault to blame."""
    assert judge_grid(store, product) >= SAMPLES
    for gap in book_gaps(store, product):
        start_ns = whole(gap["start_ns"])
        is_blamed = any(fault["start_ns"] - S <= start_ns <= fault["start_ns"] + 4 * S for fault in truth.faults)
        assert is_blamed or truth.stood_near(start_ns, CALM_NS), gap


def named_sequences(store: Store, product: str) -> set[tuple[int, int]]:
    """The holes of a book that have numbers."""
    return {(gap["start_seq"], gap["end_seq"]) for gap in book_gaps(store, product) if "start_seq" in gap}


def dropped_sequences(truth: TruthFile, product: str, channel: str) -> list[tuple[int, int]]:
    """What was dropped of a book, by the numbers it had; there is some. Where the machine stood still, nobody knows
    whether the connection went on to tell of it: then there is none."""
    if not truth.is_calm:
        return []
    lost = [
        (fact["sequence_first"], fact["sequence_last"])
        for fact in truth.faults
        if fact["fault"] == "drop"
        and (fact["channel"], fact["product"]) == (channel, product)
        and fact["sequence_first"] is not None
    ]
    assert lost
    return lost


def is_named_as_one(lost: list[tuple[int, int]], named: set[tuple[int, int]]) -> bool:
    """Whether what was dropped is one hole, from the first to the last of it."""
    return not lost or (min(lost)[0], max(lost)[1]) in named


def runs(lost: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """Frames lost one after the other are one hole."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(lost):
        if found and first == found[-1][1] + 1:
            found[-1] = found[-1][0], last
        else:
            found.append((first, last))
    return set(found)
