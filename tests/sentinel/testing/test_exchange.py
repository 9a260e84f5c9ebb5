"""The exchange for users' tests: of any kind, with faults by argument and the truth as objects."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import urllib.request
from decimal import Decimal
from pathlib import Path

import pytest

from sentinel.live import watch_order_book, watch_trades
from sentinel.testing import Fault, SimulatedExchange, UsageError
from sentinel.testing.plugin import Simulate
from tests import ROOT
from tests.servers.waiting import LONGEST_S


def test_it_needs_no_event_loop() -> None:
    with SimulatedExchange("BTC-USD", "ETH-USD", trade_rate=50) as exchange:
        with urllib.request.urlopen(f"{exchange.urls['rest']}/products/BTC-USD/trades", timeout=LONGEST_S) as answer:
            asked = json.load(answer)
        true = {trade.trade_id: trade for trade in exchange.trades("BTC-USD")}
        assert asked
        for trade in asked:
            mine = true[trade["trade_id"]]
            assert (mine.price, mine.size) == (Decimal(trade["price"]), Decimal(trade["size"]))
            assert (mine.side == "buy") == (trade["side"] == "sell"), "Coinbase says the maker's"
        assert {trade.product for trade in exchange.trades()} == {"BTC-USD", "ETH-USD"}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("simulated")]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(exchange.urls["rest"], timeout=LONGEST_S)


@pytest.mark.parametrize("venue", ["coinbase", "kraken", "okx"])
def test_of_any_venue(venue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an event loop of the user's own, and no plugin for it."""
    monkeypatch.chdir(tmp_path)
    with SimulatedExchange(venue=venue, trade_rate=20) as exchange:
        for name, value in exchange.environment.items():
            monkeypatch.setenv(name, value)

        async def first() -> int:
            async with asyncio.timeout(LONGEST_S), watch_trades([f"{venue}:{exchange.products[0]}"]) as trades:
                return (await trades).trade_id

        assert asyncio.run(first()) in {trade.trade_id for trade in exchange.trades()}
        assert exchange.connections() > 0


async def test_faults_strike_and_are_told(
    simulated_exchange: Simulate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exchange = simulated_exchange("BTC-USD", trade_rate=50)
    async with asyncio.timeout(LONGEST_S), watch_trades(["BTC-USD"]) as trades:
        await trades
        exchange.arm(Fault(kind="hide", count=2))
        while not (trade := await trades).is_repaired:
            pass
    hidden = [trade.trade_id for trade in exchange.trades() if trade.is_hidden]
    assert [fault.facts["trade_ids"] for fault in exchange.faults() if fault.kind == "hide"] == [[n] for n in hidden]
    assert len(hidden) == 2
    assert trade.trade_id in hidden


async def test_a_market_may_fall_silent(
    simulated_exchange: Simulate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exchange = simulated_exchange("BTC-USD", trade_rate=50)
    async with asyncio.timeout(LONGEST_S), watch_order_book(["BTC-USD"], cadence_ms=100) as books:
        await books
        exchange.stop_trading()
        before = len(exchange.trades())
        first = (await books).changed_ns
        while (await books).changed_ns <= first:  # books go on
            pass
    assert len(exchange.trades()) == before
    exchange.close()
    exchange.stop_trading()  # for good already


def test_it_is_silent_when_one_is_told_so() -> None:
    """Whatever its thread is in the middle of."""
    with SimulatedExchange("BTC-USD") as exchange:
        loop, market = exchange._loop, exchange._market
        assert loop is not None
        assert market is not None
        loop.call_soon_threadsafe(time.sleep, 0.2)
        exchange.stop_trading()
        assert market.trade_rate == 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"venue": "nyse"}, "no dialect of 'nyse', only of "),
        ({"faults": [Fault(kind="drop", feed="fast")]}, "Coinbase has no feed 'fast', only "),
        ({"venue": "kraken", "faults": [Fault(kind="announce_close")]}, "'announce_close' cannot happen at Kraken"),
    ],
)
def test_a_mistake_is_told(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SimulatedExchange("BTC-USD", **options)  # type: ignore[arg-type]


def test_a_mistake_is_told_when_it_is_armed(simulated_exchange: Simulate) -> None:
    with pytest.raises(UsageError, match="Coinbase has no feed 'fast', only "):
        simulated_exchange("BTC-USD").arm(Fault(kind="drop", feed="fast"))


USERS_TEST = """
import asyncio
from sentinel.live import LiveState, watch
from sentinel.testing import Fault

def test_a_bot_pulls_its_quotes(simulated_exchange):
    exchange = simulated_exchange("BTC-USD")

    async def bot():
        async with watch("BTC-USD") as events:
            seen = []
            async for event in events:
                if isinstance(event, LiveState):
                    seen.append((event.is_proved, event.reason))
                    if len(seen) == 2:
                        exchange.arm(Fault(kind="drop", channel="l2_data"))
                    if len(seen) == 4:
                        return seen

    assert asyncio.run(bot()) == [(False, "starting"), (True, None), (False, "sequence"), (True, None)]
"""


def test_a_users_own_suite_without_a_plugin_for_asyncio(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["sentinel.testing.plugin"]\n')
    (tmp_path / "test_bot.py").write_text(USERS_TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
