"""Two exchanges call a market the same: nothing of one ever reaches the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from book.events import Alias, LastTradeId, Meaning, ProductStatus, Refused, Snapshot, Trade, Unusable
from feeds.catalogue import FEEDS
from feeds.errors import FeedError
from feeds.market import Market
from feeds.protocol import FeedFacts, Subscription
from sentinel.disk.journal import Journal
from sentinel.disk.shards import deal, folder_of
from sentinel.pipeline import LanePlan, Pipeline, Repair, RepairAnswer, Settings
from sentinel.pipeline.checkpoint import decode_checkpoint
from tests.sentinel.pipeline.venue import START, SYMBOL, S, Told, tags

HERE, THERE = Market("coinbase", SYMBOL), Market("elsewhere", SYMBOL)
FAR = 900_000


class Elsewhere:
    """A feed that says in JSON what it means: a book, trades and the id of the newest trade."""

    venue = "elsewhere_plain"
    exchange = "elsewhere"
    facts = FeedFacts(book_products_per_connection=10, connects_per_s=1, messages_per_s=1, quiet_s=60)
    integrity = "sequence"
    has_single_changes = False
    first_sequence = 0

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription

    def receive(self, frame: bytes) -> Meaning:
        try:
            said = json.loads(frame)
        except ValueError as error:
            raise FeedError(str(error)) from error
        events = []
        if "book" in said:
            events.append(Snapshot(SYMBOL, {said["book"]: 1.0}, {said["book"] + 1: 1.0}))
        if "trade" in said:
            events.append(Trade(SYMBOL, said["trade"], 7.0, 1.0, "buy", said["at"], is_live=True))
        if "odd" in said:
            events += [Unusable(SYMBOL, "trades", "it is odd", b"odd"), Refused(SYMBOL, "no"), Alias(SYMBOL, "B")]
            events.append(ProductStatus(SYMBOL, "halted"))
        if "newest" in said:
            events.append(LastTradeId(SYMBOL, said["newest"]))
        return Meaning(said["number"], events)

    def open(self) -> list[bytes]:
        return []

    def subscribe(self, products: Sequence[str]) -> list[bytes]:
        return []

    def resubscribe(self, products: Sequence[str]) -> list[bytes]:
        return []

    def outbox(self) -> list[bytes]:
        return []


class Near(Elsewhere):
    """The same words of the exchange that symbols are of by default."""

    venue = "coinbase_plain"
    exchange = "coinbase"


@pytest.fixture(autouse=True)
def feeds(monkeypatch: pytest.MonkeyPatch) -> None:
    for feed in (Near, Elsewhere):
        monkeypatch.setitem(FEEDS, feed.venue, feed)


class Both:
    """One pipeline with a lane of each: ``say`` has a lane's venue say something."""

    def __init__(self, checkpoint: bytes | None = None) -> None:
        subscription = Subscription(frozenset({"book", "trades"}), (SYMBOL,))
        plans = [LanePlan(0, Near.venue, subscription), LanePlan(1, Elsewhere.venue, subscription)]
        self.pipe = Pipeline(Settings("tester"), plans, lambda plan: FEEDS[plan.venue](plan.subscription), checkpoint)
        self.now_ns = START
        self.pipe.start(START)
        self.numbers = [0, 0]
        for lane in (0, 1):
            self.pipe.opened(lane, START)

    def say(self, lane: int, **said: float) -> None:
        self.now_ns += 10_000_000
        frame = json.dumps({"number": self.numbers[lane], "at": self.now_ns} | said).encode()
        self.numbers[lane] += 1
        self.pipe.receive(lane, frame, self.now_ns)

    def wait(self) -> list[Repair]:
        """Long enough for REST to be asked."""
        self.pipe.commands.clear()
        for _ in range(2):
            self.now_ns += S
            self.say(0)
            self.say(1)
            self.pipe.tick(self.now_ns)
        return [command for command in self.pipe.commands if isinstance(command, Repair)]


def by_exchange(both: Both) -> dict[str, list[int]]:
    told = Told()
    told.take(both.pipe)
    found: dict[str, list[int]] = {}
    for point in told.trades:
        found.setdefault(tags(point)["exchange"], []).append(int(dict(point.fields)["trade_id"]))
    return found


def test_a_trade_is_of_the_exchange_that_sent_it() -> None:
    both = Both()
    both.say(0, trade=1)
    both.say(1, trade=9_001)
    both.say(0, trade=2)
    both.say(1, trade=9_002)
    assert both.wait() == []
    assert by_exchange(both) == {"coinbase": [1, 2], "elsewhere": [9_001, 9_002]}
    assert {market: product.trades.conflicts for market, product in both.pipe.products.items()} == {HERE: 0, THERE: 0}


def test_a_missing_trade_is_asked_for_where_it_is_missing() -> None:
    both = Both()
    both.say(0, trade=1)
    both.say(1, trade=1)
    both.say(1, newest=3)
    assert both.wait() == [Repair(SYMBOL, 2, 3, "elsewhere")]
    elsewhere = tuple(Trade(SYMBOL, i, 7.0, 1.0, "buy", both.now_ns, is_live=False) for i in (3, 2))
    both.pipe.repaired(RepairAnswer(SYMBOL, 2, 3, elsewhere, is_complete=True, exchange="elsewhere"), both.now_ns)
    assert by_exchange(both) == {"coinbase": [1], "elsewhere": [1, 3, 2]}
    assert both.pipe.products[THERE].trades.open_gaps == []


def test_a_heartbeat_is_of_its_own_exchange() -> None:
    both = Both()
    both.say(0, trade=1)
    both.say(1, trade=FAR)
    both.say(1, newest=FAR)
    assert both.wait() == []


def test_a_lost_frame_costs_the_book_of_its_own_exchange() -> None:
    both = Both()
    both.say(0, book=100)
    both.say(1, book=500)
    held = {market: product.books.last_sample for market, product in both.pipe.products.items()}
    assert set(held) == {HERE, THERE}
    both.numbers[1] += 1
    both.say(1)
    assert [both.pipe.products[market].books.is_proved for market in (HERE, THERE)] == [True, False]
    assert both.pipe.products[HERE].books.lanes.keys() == {0}
    assert both.pipe.products[THERE].books.lanes.keys() == {1}


def test_the_log_says_whose_product_it_speaks_of() -> None:
    both = Both()
    both.say(0, odd=1)
    both.say(1, odd=1)
    told = [(note.event, note.facts["symbol"]) for note in both.pipe.take().notes]
    events = ("unusable", "refused", "alias", "product_status")
    assert [each for each in told if each[0] in events] == [
        (event, market.short) for market in (HERE, THERE) for event in events
    ]
    odd = (Unusable(SYMBOL, "trades", "it is odd", b"odd"),)
    answer = RepairAnswer(SYMBOL, 2, 3, (), is_complete=False, unusable=odd, exchange="elsewhere")
    both.pipe.repaired(answer, both.now_ns)
    assert [note.facts["symbol"] for note in both.pipe.take().notes] == [THERE.short]


def test_a_checkpoint_keeps_both() -> None:
    both = Both()
    for lane, trade in ((0, 5), (1, 70)):
        both.say(lane, trade=trade)
    stored = both.pipe.checkpoint()
    states = decode_checkpoint(stored)
    assert {market: state.trades.held[0].first for market, state in states.items()} == {HERE: 5, THERE: 70}
    again = Both(stored)
    assert [again.pipe.products[market].trades.ledger.last for market in (HERE, THERE)] == [5, 70]
    only = Pipeline(Settings("tester"), [], lambda _: pytest.fail("no connection"), stored)
    assert decode_checkpoint(only.checkpoint()).keys() == {HERE, THERE}  # though neither is collected now


async def test_a_market_is_found_where_its_own_state_is(tmp_path: Path) -> None:
    both = Both()
    own = deal([HERE, THERE], tmp_path, 2)
    assert own == {tmp_path / "shard=00": [HERE], tmp_path / "shard=01": [THERE]}
    for folder, lane in zip(own, both.pipe.lanes, strict=True):
        pipe = Pipeline(Settings("tester"), [lane.plan], lambda plan: FEEDS[plan.venue](plan.subscription))
        folder.mkdir()
        journal = Journal.open(folder / "journal.sqlite3")
        await journal.append({}, pipe.checkpoint())
        journal.close()
    assert [folder_of(tmp_path, market) for market in (HERE, THERE)] == list(own)
    assert deal([THERE, HERE], tmp_path, 2) == own
