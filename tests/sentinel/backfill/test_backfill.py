"""Trades of before the collector, fetched by REST: all of them, once, wherever it was interrupted."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from book.events import Trade, Unusable
from feeds.market import Market
from feeds.rest import TradePage
from sentinel.backfill.order import in_order
from sentinel.backfill.search import first_id_from
from sentinel.backfill.task import Task, read, task_path, unfinished, write
from sentinel.backfill.worker import Backfiller
from sentinel.contract.line_protocol import decode
from sentinel.contract.lines import Lines
from sentinel.disk.data_dir import JOURNAL
from sentinel.disk.journal import Journal, JournalReader
from sentinel.errors import JournalWriteFailed
from sentinel.exchange.rest import RestTrouble

S = 1_000_000_000
MINUTE_NS = 60 * S
BEGUN_NS = 1_786_309_200 * S
BTC = Market("coinbase", "BTC-USD")
FIRST, COUNT, EVERY_NS = 7_001, 20_000, 400_000_000


def trade(trade_id: int, off_ns: int = 0) -> Trade:
    time_ns = BEGUN_NS + (trade_id - FIRST) * EVERY_NS + off_ns
    return Trade("BTC-USD", trade_id, 100.5, 0.25, "buy", time_ns, is_live=False)


class Venue:
    """Ids ``FIRST`` and up, a trade each 0.4 s; pages of at most 1,000, the newest of what is asked for."""

    def __init__(self, *lacking: int, upwards: bool = False) -> None:
        self.asked: list[tuple[int, int]] = []
        self.troubles = 0
        self._lacking = set(lacking)
        self._upwards = upwards

    async def trades(self, market: Market, first: int, last: int, *, is_spare: bool = False) -> TradePage:
        assert market == BTC
        assert is_spare, "repairs come first"
        self.asked.append((first, last))
        if self.troubles:
            self.troubles -= 1
            raise RestTrouble("status 503")
        if self._upwards:
            last = min(last, first + 999)
        else:
            first = max(first, last - 999)
        there = range(max(first, FIRST), min(last + 1, FIRST + COUNT))
        found: list[Trade | Unusable] = [trade(number) for number in there if number not in self._lacking]
        return TradePage(first, last, found[::-1])

    async def fetch(self, first: int, last: int) -> Sequence[Trade]:
        page = await self.trades(BTC, first, last, is_spare=True)
        return [record for record in reversed(page.records) if isinstance(record, Trade)]


class Store:
    """A journal that may refuse, or be killed after so many transactions."""

    def __init__(self, *, refuses: int = 0, dies_after: int | None = None) -> None:
        self.lines: dict[str, list[Lines]] = {"trades": [], "accounts": []}
        self._refuses = refuses
        self._dies_after = dies_after

    async def append(self, batches: Mapping[str, Sequence[Lines]], checkpoint: bytes | None = None) -> None:
        assert checkpoint is None, "the collector's state is not ours"
        if self._refuses:
            self._refuses -= 1
            raise JournalWriteFailed("disk full")
        for stream, lines in batches.items():
            self.lines[stream] += lines
        if self._dies_after is not None:
            self._dies_after -= 1
            if self._dies_after == 0:
                raise KeyboardInterrupt

    async def fold(self) -> None:
        """There is no log."""

    def ids(self) -> list[int]:
        """Of the points: what is written twice is the same point."""
        points = {}
        for line in self.lines["trades"]:
            point = decode(line.text)
            assert dict(point.fields)["repaired"] is True
            points[point.time_ns, point.tags] = dict(point.fields)["trade_id"]
        return sorted(int(number) for number in points.values())

    def minutes(self) -> dict[int, dict[str, object]]:
        points = (decode(line.text) for line in self.lines["accounts"])
        return {point.time_ns: dict(point.fields) for point in points}


def task(since_ns: int, until_ns: int, before_id: int) -> Task:
    return Task(exchange="coinbase", symbol="BTC-USD", since_ns=since_ns, until_ns=until_ns, before_id=before_id)


async def no_sleep(seconds: float) -> None:
    """Time passes at once."""


def worker(folder: Path, venue: Venue, store: Store) -> Backfiller:
    return Backfiller(folder, venue, store, lambda: 1.0, no_sleep)


@pytest.mark.parametrize("number", [FIRST, FIRST + 1, FIRST + 150, FIRST + 9_999, FIRST + 15_000])
@pytest.mark.parametrize("late_ns", [0, 1, -1])
def test_the_first_id_of_a_time_is_found(number: int, late_ns: int) -> None:
    venue = Venue()
    found = asyncio.run(first_id_from(venue.fetch, trade(number).venue_ns + late_ns, FIRST + COUNT))
    assert found == number + (late_ns > 0)
    assert len(venue.asked) < 25


def test_what_is_not_there_any_more_is_older() -> None:
    venue = Venue()
    assert asyncio.run(first_id_from(venue.fetch, 0, FIRST + COUNT)) == FIRST
    assert asyncio.run(first_id_from(venue.fetch, BEGUN_NS * 2, FIRST + COUNT)) == FIRST + COUNT


@pytest.mark.parametrize("upwards", [False, True])
def test_all_of_a_range_once_and_every_minute_accounted_for(tmp_path: Path, upwards: bool) -> None:
    store = Store()
    since_ns, until_ns = BEGUN_NS - 3 * MINUTE_NS, BEGUN_NS + 61 * MINUTE_NS + S
    order = task(since_ns, until_ns, FIRST + COUNT)
    path = task_path(tmp_path, order)
    asyncio.run(worker(tmp_path, Venue(upwards=upwards), store).carry_out(path, order))
    expected = [FIRST + n for n in range(COUNT) if BEGUN_NS + n * EVERY_NS < until_ns]
    assert store.ids() == expected
    minutes = store.minutes()
    assert list(minutes) == list(range(since_ns, until_ns, MINUTE_NS))
    assert minutes[since_ns] == {"trades": 0, "missing": 0}
    assert minutes[BEGUN_NS] == {"trades": 150, "missing": 0, "first_trade_id": FIRST, "last_trade_id": FIRST + 149}
    done = read(path)
    assert done is not None
    assert (done.state, done.stored, done.missing, done.share) == ("done", len(expected), 0, 1.0)
    assert not list(unfinished(tmp_path))


@pytest.mark.parametrize("transactions", [1, 2, 3])
def test_killed_between_the_journal_and_its_note_it_goes_on(tmp_path: Path, transactions: int) -> None:
    order = task(BEGUN_NS, BEGUN_NS + 90 * MINUTE_NS, FIRST + COUNT)
    path = task_path(tmp_path, order)
    write(path, order)
    store = Store(dies_after=transactions)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(worker(tmp_path, Venue(), store).carry_out(path, order))
    ((found, again),) = unfinished(tmp_path)
    assert found == path
    asyncio.run(worker(tmp_path, Venue(), store).carry_out(path, again))
    assert store.ids() == [FIRST + n for n in range(90 * 150)]
    assert sum(int(str(minute["trades"])) for minute in store.minutes().values()) == 90 * 150


def test_ids_that_the_venue_lacks_are_named_and_trouble_is_waited_for(tmp_path: Path) -> None:
    venue, store = Venue(FIRST + 10, FIRST + 11), Store()
    venue.troubles = 3
    order = task(BEGUN_NS, BEGUN_NS + 2 * MINUTE_NS, FIRST + COUNT)
    asyncio.run(worker(tmp_path, venue, store).carry_out(task_path(tmp_path, order), order))
    assert (order.state, order.stored, order.missing) == ("done", 298, 2)
    assert sum(int(str(minute["missing"])) for minute in store.minutes().values()) == 2


DAY_NS = 86_400 * S


class Liar(Venue):
    """Says that trades were at other times."""

    def __init__(self, times_ns: Mapping[int, int], answers: int) -> None:
        super().__init__()
        self._times_ns = times_ns
        self._answers = answers

    async def trades(self, market: Market, first: int, last: int, *, is_spare: bool = False) -> TradePage:
        page = await super().trades(market, first, last, is_spare=is_spare)
        self._answers -= 1
        return page if self._answers < 0 else TradePage(page.first, page.last, [*map(self._told, page.records)])

    def _told(self, record: Trade | Unusable) -> Trade | Unusable:
        assert isinstance(record, Trade)
        return structs.replace(record, venue_ns=self._times_ns.get(record.trade_id, record.venue_ns))


@pytest.mark.parametrize("off_ns", [-30 * DAY_NS, -DAY_NS // 24, DAY_NS // 24, 3650 * DAY_NS])
@pytest.mark.parametrize("places", [[140], [3, 140, 299], [299], [298, 299]])
@pytest.mark.parametrize("answers", [1, 10**6])
def test_a_trade_of_a_time_that_cannot_be_its_own_is_lacking(
    tmp_path: Path, off_ns: int, places: list[int], answers: int
) -> None:
    wrong = {FIRST + place: trade(FIRST + place).venue_ns + off_ns for place in places}
    store, order = Store(), task(BEGUN_NS, BEGUN_NS + 2 * MINUTE_NS, FIRST + 300)
    order.first_id, order.last_id, order.next_id, order.next_minute_ns = FIRST, FIRST + 299, FIRST, BEGUN_NS
    asyncio.run(worker(tmp_path, Liar(wrong, answers), store).carry_out(task_path(tmp_path, order), order))
    lacking = wrong if answers > 1 else {}
    assert store.ids() == [FIRST + place for place in range(300) if FIRST + place not in lacking]
    assert (order.state, order.missing) == ("done", len(lacking))
    assert list(store.minutes()) == [BEGUN_NS, BEGUN_NS + MINUTE_NS]


def test_one_empty_answer_is_no_proof_that_there_is_nothing(tmp_path: Path) -> None:
    venue, store = Venue(), Store()
    whole = venue.trades
    empty = iter([False, True] * 1_000)

    async def trades(market: Market, first: int, last: int, *, is_spare: bool = False) -> TradePage:
        page = await whole(market, first, last, is_spare=is_spare)
        return TradePage(page.first, page.last, ()) if next(empty) else page

    venue.trades = trades  # type: ignore[method-assign]
    order = task(BEGUN_NS, BEGUN_NS + 5 * MINUTE_NS, FIRST + COUNT)
    asyncio.run(worker(tmp_path, venue, store).carry_out(task_path(tmp_path, order), order))
    assert store.ids() == [FIRST + n for n in range(5 * 150)]
    assert order.missing == 0
    assert len(venue.asked) < 100


@given(
    count=st.integers(5, 60),
    places=st.sets(st.integers(2, 56), max_size=3),
    off_s=st.sampled_from([-5000, 5000, 10**9]),
    small_s=st.lists(st.sampled_from([-2, 0, 1, 30]), min_size=60, max_size=60),
)
def test_who_is_in_order_is_not_doubted_for_the_sake_of_one_who_is_not(
    count: int, places: set[int], off_s: int, small_s: list[int]
) -> None:
    """Unless it is among the first two or the last two, where nobody can say which of them is wrong."""
    wrong = {place for place in places if place < count - 2 and not {place - 1, place - 2} & places}
    trades = [trade(FIRST + place, off_s * S if place in wrong else 0) for place in range(count)]
    kept = in_order(trades, BEGUN_NS - DAY_NS, BEGUN_NS + DAY_NS)
    assert kept == [trades[place] for place in range(count) if place not in wrong]
    trades = [trade(FIRST + place, small_s[place] * S) for place in range(count)]
    assert in_order(trades, BEGUN_NS, BEGUN_NS + MINUTE_NS) == trades


def test_a_journal_that_refuses_is_tried_again(tmp_path: Path) -> None:
    store = Store(refuses=1)
    order = task(BEGUN_NS, BEGUN_NS + 2 * MINUTE_NS, FIRST + COUNT)
    path = task_path(tmp_path, order)
    asyncio.run(worker(tmp_path, Venue(), store).carry_out(path, order))
    waiting = read(path)
    assert waiting is not None
    assert (waiting.state, waiting.reason) == ("waiting", "disk full")
    asyncio.run(worker(tmp_path, Venue(), store).carry_out(path, waiting))
    assert store.ids() == [FIRST + n for n in range(300)]


async def test_what_a_task_says_is_stored_is_there_without_the_log_too(tmp_path: Path) -> None:
    """Nothing would fetch it again: it is older than what the collector's state speaks of."""
    path = tmp_path / JOURNAL
    order = task(BEGUN_NS, BEGUN_NS + 50 * MINUTE_NS, FIRST + COUNT)
    journal = Journal.open(path)
    try:
        await Backfiller(tmp_path, Venue(), journal, lambda: 1.0, no_sleep).carry_out(task_path(tmp_path, order), order)
        shutil.copy(path, tmp_path / "alone.sqlite3")
    finally:
        journal.close()
    assert order.state == "done"
    with JournalReader(tmp_path / "alone.sqlite3") as reader:
        assert sum(batch.line_count for batch in reader.batches(["trades"])) == order.stored == 50 * 150


def test_a_file_that_is_no_task_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "backfill"
    folder.mkdir()
    (folder / "torn.json").write_bytes(b'{"exchange":"coin')
    order = task(0, 1, 1)
    write(task_path(tmp_path, order), order)
    assert [path.name for path, _ in unfinished(tmp_path)] == [task_path(tmp_path, order).name]
    assert re.fullmatch(r"coinbase%3ABTC-USD-0-1\.json", task_path(tmp_path, order).name)
    assert msgspec.json.decode(task_path(tmp_path, order).read_bytes())["state"] == "waiting"
