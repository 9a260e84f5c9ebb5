"""One watch for all: states, changes, the habits of ccxt, shared sockets, slow readers and clean ends (F16)."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from feeds.coinbase_advanced.protocol import CoinbaseAdvancedFeed
from sentinel.errors import UsageError
from sentinel.live import (
    LiveBook,
    LiveChanges,
    LiveDropped,
    LiveEvent,
    LiveSample,
    LiveState,
    LiveTrade,
    Watch,
    WatchClosed,
    hub,
    watch,
    watch_order_book,
    watch_samples,
    watch_trades,
)
from sentinel.live.collecting import Collecting
from sentinel.testing import Fault, SimulatedExchange
from sentinel.testing.plugin import Simulate
from tests import ROOT
from tests.servers.waiting import HOUR_S, LONGEST_S, until


async def test_awaiting_gives_the_next_item(simulated_exchange: Simulate) -> None:
    """F16a: without a sink it hung, and dropped everything."""
    simulated_exchange("BTC-USD")
    async with asyncio.timeout(LONGEST_S), watch_order_book(["BTC-USD"], cadence_ms=100) as books:
        found = [await books for _ in range(3)]
    assert all(isinstance(book, LiveBook) for book in found)
    assert found[0].changed_ns <= found[1].changed_ns <= found[2].changed_ns  # it may not have changed meanwhile
    assert found[0].proved_ns > 0


async def test_a_watch_made_each_time_goes_on_where_the_last_one_was(
    simulated_exchange: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F16a: what who comes from ccxt writes: ``while True: await exchange.watch_trades(…)``."""
    monkeypatch.setattr(hub, "LINGER_S", LONGEST_S)
    monkeypatch.setenv("SENTINEL_COINBASE_TRADES", "coinbase_advanced")  # of two feeds one may be behind
    exchange = simulated_exchange("BTC-USD", trade_rate=30)
    ids = []
    async with asyncio.timeout(LONGEST_S):
        while len(ids) < 150:
            trade = await watch_trades(["BTC-USD"])
            ids.append(trade.trade_id)
    assert ids == list(range(ids[0], ids[0] + 150))
    assert exchange.connections() == 1
    await watch_trades(["BTC-USD"]).close()


@pytest.mark.parametrize("begin", [watch_trades, watch_samples, watch_order_book, lambda products: watch(*products)])
async def test_an_unknown_product_raises(begin: Any, simulated_exchange: Simulate) -> None:
    """F16b: it hung, with nothing but a line of the log."""
    exchange = simulated_exchange("BTC-USD")
    async with asyncio.timeout(LONGEST_S):
        with pytest.raises(UsageError, match=r"^Coinbase has no product XYZ-USD"):
            await begin(["BTC-USD", "XYZ-USD"])
        async with watch_trades(["BTC-USD"]) as trades:
            await trades
            with pytest.raises(UsageError, match=r"^Coinbase has no product XYZ-USD"):
                await begin(["XYZ-USD"])
            await until(lambda: exchange.connections() >= 2)
            await trades
    assert exchange.connections() == 2


async def test_a_lost_proof_is_told_with_its_reason_and_when_it_is_back(
    simulated_exchange: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F16c: 3.4 s of silence, and nothing told a bot to pull its quotes."""
    exchange = simulated_exchange("BTC-USD")
    facts = CoinbaseAdvancedFeed.facts
    monkeypatch.setattr(CoinbaseAdvancedFeed, "facts", replace(facts, quiet_s=8.0))
    seen: list[LiveState] = []
    proved_ns = 0
    async with asyncio.timeout(LONGEST_S), watch("BTC-USD", trades=False, cadence_ms=100) as events:
        assert events.states == {}
        async for event in events:
            match event:
                case LiveState():
                    seen.append(event)
                    if len(seen) == 3:
                        now = events.states["BTC-USD"]  # on a busy machine it may be back when this is read
                        assert now == event or (now.is_proved and now.since_ns > event.since_ns)
                    if len(seen) == 4:
                        break
                case LiveBook():
                    assert seen[-1].is_proved, "no book while it is not proved"
                    if not proved_ns:
                        exchange.arm(Fault(kind="stall", duration_s=HOUR_S, feed="advanced"))
                    proved_ns = event.proved_ns
    assert [state.is_proved for state in seen] == [False, True, False, True]
    assert (seen[0].reason, seen[1].reason, seen[3].reason) == ("starting", None, None)
    assert seen[2].reason in ("silence", "disconnected")
    assert [fault.kind for fault in exchange.faults()] == ["stall"]
    assert proved_ns <= seen[2].since_ns, "since the last frame, which proved the last book"
    assert seen[2].proved_ns <= seen[2].since_ns
    assert seen[0].since_ns < seen[1].since_ns < seen[2].since_ns < seen[3].since_ns


async def test_missing_trades_are_a_state_until_they_are_repaired(simulated_exchange: Simulate) -> None:
    exchange = simulated_exchange("BTC-USD", trade_rate=20)
    missing, repaired, is_armed = [], 0, False
    async with asyncio.timeout(LONGEST_S), watch("BTC-USD", books=False) as events:
        async for event in events:
            if isinstance(event, LiveState):
                missing.append(event.trades_missing)
            if isinstance(event, LiveTrade):
                if not is_armed:
                    is_armed = True
                    exchange.arm(Fault(kind="hide", count=3))
                repaired += event.is_repaired
            if repaired == 3 and missing[-1] == 0 and len(missing) > 2:
                break
    assert max(missing) in (1, 2, 3)


async def test_the_oldest_trade_comes_first(simulated_exchange: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    """F16d: the venue's last hundred came newest first."""
    monkeypatch.setenv("SENTINEL_COINBASE_TRADES", "coinbase_advanced")  # of two feeds one may be behind
    simulated_exchange("BTC-USD", trade_rate=10)
    async with asyncio.timeout(LONGEST_S), watch_trades(["BTC-USD"]) as trades:
        ids = [(await trades).trade_id for _ in range(120)]
    assert ids == list(range(ids[0], ids[0] + 120))


PROGRAM = """
import asyncio
from sentinel.live import watch_trades
{more}
async def main():
    async with watch_trades(["BTC-USD"]) as trades:
        print((await trades).symbol)
asyncio.run(main())
"""


def test_the_library_logs_nothing_unless_asked(simulated_exchange: Simulate, tmp_path: Path) -> None:
    """F16e: its events came to stderr in loguru's own format, without their facts."""
    simulated_exchange("BTC-USD")
    errors = []
    for more in ("", "from loguru import logger; logger.enable('sentinel')"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(more=more)],
            env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST_S,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "BTC-USD\n"), done.stderr
        errors.append(done.stderr)
    assert errors[0] == ""
    assert "stopped" in errors[1]


async def test_one_that_is_closed_while_it_begins_leaves_nothing_behind(simulated_exchange: Simulate) -> None:
    """It had no subscription yet, so that closing found none to end: the collector went on for nobody."""
    simulated_exchange("BTC-USD")
    async with asyncio.timeout(LONGEST_S):
        trades = watch_trades(["BTC-USD"])
        first = asyncio.create_task(trades.next())
        await asyncio.sleep(0)  # so that it has begun
        await trades.close()
        with pytest.raises(WatchClosed):
            await first
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "sentinel.live"]


async def test_watches_share_their_sockets(simulated_exchange: Simulate) -> None:
    """F16f: books and trades opened every connection twice."""
    exchange = simulated_exchange("BTC-USD", "ETH-USD", trade_rate=20)
    async with asyncio.timeout(LONGEST_S):
        async with (
            watch_trades(["BTC-USD"]) as trades,
            watch_order_book(["BTC-USD"]) as books,
            watch_samples(["BTC-USD"]) as samples,
            watch("BTC-USD", samples=True) as events,
            watch_trades(["BTC-USD"]) as again,
        ):
            await asyncio.gather(trades, books, samples, events)
            await until(lambda: exchange.connections() >= 2)  # what has come may be of one of them
            newest = max(trade.trade_id for trade in exchange.trades("BTC-USD"))
            assert (await again).trade_id <= newest, "who comes later is given what was before, too"
            assert exchange.connections() == 2
            async with watch_trades(["ETH-USD"]) as others:
                assert (await others).symbol == "ETH-USD"
                await until(lambda: exchange.connections() >= 4)
            assert {(await trades).symbol for _ in range(150)} == {"BTC-USD"}
            assert exchange.connections() == 4
        async with watch_trades(["BTC-USD"]) as trades:
            await trades
            await until(lambda: exchange.connections() >= 6)
        assert exchange.connections() == 4 + 2, "the last to leave closes them"


class Kept:
    """A book as who follows the changes has it."""

    def __init__(self) -> None:
        self.wholes = 0
        self.tops: list[tuple[float, float, float, float]] = []
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}

    def take(self, changes: LiveChanges) -> None:
        if changes.is_whole:
            self._bids, self._asks = {}, {}
            self.wholes += 1
        for side, changed in ((self._bids, changes.bids), (self._asks, changes.asks)):
            side.update(changed)
            for price in [price for price, size in changed if not size]:
                side.pop(price)
        bid, ask = max(self._bids), min(self._asks)
        self.tops.append((bid, self._bids[bid], ask, self._asks[ask]))


def tops_of(exchange: SimulatedExchange) -> set[tuple[float, ...]]:
    return {tuple(map(float, (top.bid, top.bid_size, top.ask, top.ask_size))) for top in exchange.tops()}


async def test_changes_are_the_book(simulated_exchange: Simulate) -> None:
    exchange = simulated_exchange("BTC-USD", rate=40)
    kept, proofs = Kept(), []
    async with asyncio.timeout(LONGEST_S), watch("BTC-USD", trades=False, books=False, changes=True) as events:
        async for event in events:
            if isinstance(event, LiveState):
                proofs.append(event.is_proved)
            elif isinstance(event, LiveChanges):
                kept.take(event)
                if len(kept.tops) == 10:
                    exchange.arm(Fault(kind="drop", feed="advanced", channel="l2_data"))
            if kept.wholes == 2 and len(kept.tops) > 100:
                break
        async with watch("BTC-USD", trades=False, books=False, changes=True) as later:
            assert [type(await later), type(whole := await later)] == [LiveState, LiveChanges]
            assert isinstance(whole, LiveChanges)
            assert whole.is_whole, "who comes later begins with the book, too"
    assert proofs[:4] == [False, True, False, True]
    assert set(kept.tops) <= tops_of(exchange)


def has_both_copies(watching: Watch[LiveEvent], lost: int) -> bool:
    """Whether every connection has its book, after so many frames were lost."""
    assert isinstance(watching, Collecting)
    assert watching._place.hub is not None
    service = watching._place.hub._service
    assert service is not None
    lanes = [lane for lane in service.pipeline.lanes if lane.carries_books]
    books = [lane.books["BTC-USD"] for lane in lanes]
    return all(book.is_proved for book in books) and sum(lane.counts.lost for lane in lanes) == lost


async def test_changes_of_one_copy_go_on_with_the_other(
    simulated_exchange: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTINEL_FEEDS_CONNECTIONS", "2")
    exchange = simulated_exchange("BTC-USD", rate=40)
    kept, proofs, armed = Kept(), [], 0
    async with asyncio.timeout(LONGEST_S), watch("BTC-USD", trades=False, books=False, changes=True) as events:
        async for event in events:
            if isinstance(event, LiveState):
                proofs.append(event.is_proved)
            elif isinstance(event, LiveChanges):
                kept.take(event)
            if has_both_copies(events, armed):  # else the second would go before the first is back
                if armed == 2 and len(kept.tops) > 200:
                    break
                if armed < 2:
                    armed += 1
                    exchange.arm(Fault(kind="drop", feed="advanced", channel="l2_data", connection=armed))
    assert proofs == [False, True]
    assert kept.wholes in (2, 3)
    assert set(kept.tops) <= tops_of(exchange)


async def test_a_slow_reader_is_told_how_much_he_lost_and_where(
    simulated_exchange: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MOST_WAITING", 20)
    simulated_exchange("BTC-USD", trade_rate=50)
    events: list[LiveEvent] = []
    async with asyncio.timeout(LONGEST_S), watch("BTC-USD", books=False) as watching:
        while not events or not isinstance(events[-1], LiveTrade):
            events.append(await watching)
        assert isinstance(watching, Collecting)
        subscription = watching._place.subscription
        await until(lambda: subscription is not None and subscription.untold >= 30)
        begun = len(events)
        # two feeds bring the trades, so one may come after a later one; but none is lost without a word
        while len(events) < begun + 30 or lacking(events) > watching.dropped:
            events.append(await watching)
    lost = [event for event in events if isinstance(event, LiveDropped)]
    assert watching.dropped == lost[-1].total == sum(each.count for each in lost)
    assert isinstance(events[begun], LiveDropped), "before what comes after it"
    assert events[begun].count >= 30


def ids(events: list[LiveEvent]) -> set[int]:
    return {event.trade_id for event in events if isinstance(event, LiveTrade)}


def lacking(events: list[LiveEvent]) -> int:
    """How many trades are missing among those that came."""
    found = ids(events)
    return max(found) - min(found) + 1 - len(found)


async def test_a_closed_watch_says_so_and_leaves_nothing(simulated_exchange: Simulate) -> None:
    simulated_exchange("BTC-USD")
    tasks = asyncio.all_tasks()
    async with asyncio.timeout(LONGEST_S):
        trades = watch_trades(["BTC-USD"])
        await trades
        waiting = asyncio.create_task(_drain(trades))
        await asyncio.sleep(0)
        await trades.close()
        with pytest.raises(WatchClosed):
            await waiting
        with pytest.raises(WatchClosed):
            await trades
        assert [trade async for trade in trades] == []
    assert asyncio.all_tasks() == tasks


async def _drain(trades: Watch[LiveTrade]) -> None:
    while True:
        await trades


async def test_cancelling_ends_it(simulated_exchange: Simulate) -> None:
    simulated_exchange("BTC-USD")
    tasks = asyncio.all_tasks()
    seen = asyncio.Event()

    async def read() -> None:
        async with aclosing(watch("BTC-USD", cadence_ms=100).__aiter__()) as events:
            async for _ in events:
                seen.set()

    async with asyncio.timeout(LONGEST_S):
        reading = asyncio.create_task(read())
        await seen.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert asyncio.all_tasks() == tasks


async def test_a_watch_that_nobody_has_any_more_ends_by_itself(
    simulated_exchange: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LINGER_S", 0.05)
    simulated_exchange("BTC-USD")
    tasks = asyncio.all_tasks()
    async with asyncio.timeout(LONGEST_S):
        await watch_trades(["BTC-USD"])
        gc.collect()
        while asyncio.all_tasks() != tasks:
            await asyncio.sleep(0.02)


async def test_samples_are_those_of_the_settings(simulated_exchange: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_BOOK_CADENCE_MS", "200")
    simulated_exchange("BTC-USD")
    async with asyncio.timeout(LONGEST_S), watch("BTC-USD", trades=False, books=False, samples=True) as events:
        times: list[int] = []
        while len(times) < 4:
            event = await events
            times += [event.time_ns] if isinstance(event, LiveSample) else []
    assert [later - earlier for earlier, later in pairwise(times)] == [200_000_000] * 3


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        (lambda: watch(), "no products to watch"),
        (lambda: watch(["BTC-USD"]), "is not one product"),
        (lambda: watch("BTC-USD", trades=False, books=False), "nothing to watch"),
        (lambda: watch("BTC-USD", depth=0), "at least 1 level"),
        (lambda: watch("BTC-USD", cadence_ms=0), "cadence_ms"),
        (lambda: watch("nyse:IBM"), "nyse"),
        (lambda: watch_trades("BTC-USD"), r"give a list, such as \['BTC-USD'\]"),
        (lambda: watch_trades([]), "no products to watch"),
        (lambda: watch_order_book(["BTC-USD"], depth=-1), "at least 1 level"),
        (lambda: watch_samples(["BTC-USD"], cadence_ms=-5), "cadence_ms"),
        (lambda: watch_trades(["BTC-USD"], since="1h"), "since is for a cluster"),
    ],
)
def test_a_mistake_is_told_at_once(begin: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words) as told:
        begin()
    assert "\n" not in str(told.value)
