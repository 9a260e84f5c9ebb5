"""Every venue's proofs in every trouble: a venue that goes on telling its story, in its own words, whatever is lost.

``world.py`` has the crossings of clocks, copies and hand-overs, with two of Coinbase's feeds; here it is the turn of
what proves a book or a trade at each venue of the catalogue: frame counters, chains of ranges, of previous ids and of
checksums, nothing at all; books that come on the wire and books that are fetched and aligned.

Times are milliseconds, never those of the grid. Each book changes all the time, and no size comes twice, so a sample
that is not of the present book shows.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from itertools import count
from typing import Literal

from book.events import Trade
from sentinel.contract.gaps import Cause
from sentinel.pipeline import FetchBook, Reconnect, Repair, RepairAnswer, Send
from tests.feeds.dialects import DIALECTS
from tests.sentinel.pipeline.model.wire import torn
from tests.sentinel.pipeline.told_story import GRID_MS, ToldStory, ns
from tests.sentinel.pipeline.venue import pipeline

Rest = Literal["right", "old", "down", "empty"]
"""``old``: a book comes late, and is of the moment of the question. ``empty``: REST has none of the trades."""

QUANTUM_MS = 50
CHANGE_MS, TRADE_MS, BEAT_MS, COMMIT_MS = 150, 350, 1_000, 800
ANSWER_MS, SNAPSHOT_MS, FETCH_MS, OLD_MS = 20, 40, 60, 900
HEALED_WITHIN_MS = 900_000


class VenueWorld(ToldStory):
    """One collector of two products of a venue. ``lose``, ``double``, ``tear``: what happens to the next frames."""

    def __init__(self, feed: str) -> None:
        super().__init__(feed)
        self.now_ms = 7
        self.rest: Rest = "right"
        self.lose = self.double = 0
        self.tear = ""
        self.has_lost_unseen = False
        self._blind_ms: dict[str, int] = {}
        """By product, since when a checksum may not have shown what was lost: the next change may write over it."""
        self._unproved: dict[str, list[range]] = {product: [] for product in self.story.products}
        self.is_suspended = False
        self.traded: dict[str, dict[int, int]] = {product: {} for product in self.story.products}
        self._ids = {product: count(1001) for product in self.story.products}
        self._sizes = count(2)
        self._later: list[tuple[int, int, Callable[[], object]]] = []
        self._epoch = 0
        self._is_open = False
        self._down_until_ms = 0
        self._repairs: list[Repair] = []
        self._checkpoint: bytes | None = None
        self._due = dict.fromkeys(("change", "trade", "beat", "commit"), 0)
        self.pipe.start(ns(self.now_ms))

    # Time

    def wait(self, ms: int) -> None:
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            self.now_ms += QUANTUM_MS
            self._pass()

    def _pass(self) -> None:
        if not self._is_open and self.now_ms >= self._down_until_ms:
            self._open()
        for late in sorted(self._later, key=lambda item: item[0]):
            if late[0] <= self.now_ms:
                self._later.remove(late)
                if late[1] in (self._epoch, 0):
                    late[2]()
        if self._is_due("change", CHANGE_MS):
            for product in self.story.products:
                self.deliver(self.story.change(product, next(self._sizes), ns(self.now_ms)), product)
        if self._is_due("trade", TRADE_MS):
            for product in self.story.products:
                self.publish(product)
        if self._is_due("beat", BEAT_MS) and self._is_open:
            for lane in self.pipe.lanes:
                self.pipe.receive(lane.number, self.story.beat(), ns(self.now_ms))
        self.pipe.tick(ns(self.now_ms))
        self._obey()
        if self._is_due("commit", COMMIT_MS) and not self.is_suspended:
            self.commit()

    def _is_due(self, what: str, every_ms: int) -> bool:
        if self.now_ms < self._due[what]:
            return False
        self._due[what] = self.now_ms + every_ms
        return True

    def _at(self, after_ms: int, what: Callable[[], object], *, on_connection: bool = True) -> None:
        self._later.append((self.now_ms + after_ms, self._epoch if on_connection else 0, what))

    # What is told

    def deliver(self, frame: bytes, product: str | None = None) -> None:
        """The last mile of a frame of the book of ``product``, or of trades."""
        if not self._is_open:
            return
        lane = 0 if product else len(self.pipe.lanes) - 1
        if self.lose or self.tear:
            self._lost(product)
        if self.lose:
            self.lose -= 1
            return
        if product in self._blind_ms:
            self._unproved[product].append(range(self._blind_ms.pop(product), self.now_ms))
        how, self.tear = self.tear, ""
        copies, self.double = 1 + self.double, 0
        for _ in range(copies):
            self.pipe.receive(lane, torn(frame, how) if how else frame, ns(self.now_ms))

    def _lost(self, product: str | None) -> None:
        if product:
            self.has_lost_unseen |= self.integrity == "none"
            if self.integrity == "checksum":
                self._blind_ms.setdefault(product, self.now_ms)

    def publish(self, product: str, *, is_told: bool = True) -> None:
        """A trade."""
        trade_id = next(self._ids[product])
        self.traded[product][trade_id] = self.now_ms
        frame = self.story.trade(product, trade_id, ns(self.now_ms))
        if is_told:
            self.deliver(frame)

    def late_frame(self, product: str) -> None:
        """A change that comes after the next one."""
        late = self.story.change(product, next(self._sizes), ns(self.now_ms))
        self.deliver(self.story.change(product, next(self._sizes), ns(self.now_ms)), product)
        self.deliver(late, product)
        self._lost(product)

    def quiet(self, ms: int) -> None:
        """No book changes and nothing is traded; the connection is alive."""
        self._due |= {"change": self.now_ms + ms, "trade": self.now_ms + ms}
        self.wait(ms)

    # What is asked

    def _obey(self) -> None:
        for reconnect in self._taken(Reconnect):
            self.disconnect(0, reconnect.cause)
        for send in self._taken(Send):
            self._at(ANSWER_MS, partial(self._answer, send))
        for fetch in self._taken(FetchBook):
            self._fetch(fetch.symbol)
        self._repairs += self._taken(Repair)
        if self.rest != "down":
            repairs, self._repairs = self._repairs, []
            for repair in repairs:
                has_any = self.rest != "empty"
                self._at(ANSWER_MS, partial(self._mend, repair, has_any=has_any), on_connection=False)

    def _answer(self, send: Send) -> None:
        for frame in self.story.answers(send.messages):
            self.pipe.receive(send.lane, frame, ns(self.now_ms))
        if send.lane or self.facts.resync == "fetch":
            return
        asked = [self.story.read(message) for message in send.messages if message != self.facts.ping]
        for request in asked:
            if request.action == "subscribe" and DIALECTS[self.story.feed].book_channel in request.channels:
                for product in request.products:
                    self._at(SNAPSHOT_MS, partial(self._tell_book, product))

    def _tell_book(self, product: str) -> None:
        self.deliver(self.story.snapshot(product, ns(self.now_ms)), product)

    def _fetch(self, product: str) -> None:
        if self.rest == "down":
            return
        book = self.story.fetched(product)
        if self.rest == "old":
            self._at(OLD_MS, lambda: self.fetched(product, book, self.now_ms))
        else:
            self._at(FETCH_MS, lambda: self.fetched(product, self.story.fetched(product), self.now_ms))

    def _mend(self, repair: Repair, *, has_any: bool) -> None:
        """What REST has of a range."""
        if self.is_suspended:
            return
        trades = tuple(
            Trade(repair.symbol, trade_id, 100.5, 0.25, "sell", ns(at_ms), is_live=False)
            for trade_id, at_ms in self.traded[repair.symbol].items()
            if has_any and repair.first <= trade_id <= repair.last
        )
        answer = RepairAnswer(
            repair.symbol, repair.first, repair.last, trades, is_complete=True, exchange=self.exchange
        )
        self.pipe.repaired(answer, ns(self.now_ms))

    # Connections, the disk, ends

    def _open(self) -> None:
        self._is_open = True
        self._epoch += 1
        self.story.connect()
        for lane in self.pipe.lanes:
            self.pipe.opened(lane.number, ns(self.now_ms))

    def disconnect(self, down_ms: int, cause: Cause = "disconnected") -> None:
        if self._is_open:
            self._is_open = False
            self._down_until_ms = self.now_ms + 100 + down_ms
            self.close(cause, self.now_ms)

    def suspend(self) -> None:
        """The disk refuses."""
        if not self.is_suspended:
            self.commit()
            self.is_suspended = True
            self.pipe.suspend(ns(self.now_ms))

    def resume(self) -> None:
        if self.is_suspended:
            self.is_suspended = False
            self.pipe.resume(ns(self.now_ms))

    def commit(self) -> None:
        self.look()
        self._checkpoint = self.pipe.checkpoint()

    def crash(self, down_ms: int) -> None:
        """What was not committed is gone; another run goes on from what was."""
        self._later = [later for later in self._later if not later[1]]
        self._repairs.clear()
        self._is_open = self.is_suspended = False
        self._epoch += 1
        self.now_ms += down_ms
        self.pipe = pipeline(*self._plans(), checkpoint=self._checkpoint, edges_bps=(Fraction(10),))
        self.pipe.start(ns(self.now_ms))

    # The judge

    def settle(self) -> None:
        """Ends every trouble, waits until all is healed, and holds what was written against the truth."""
        self.lose = self.double = 0
        self.tear, self.rest = "", "right"
        for product in self.story.products:
            if self.story.bids[product].get("102.0"):
                self.deliver(self.story.cross(product, ns(self.now_ms), is_crossed=False), product)
        self.resume()
        end_ms = self.now_ms + HEALED_WITHIN_MS
        self.wait(3_000)
        while open_gaps := [gap for product in self.story.products for gap in self.gaps(product) if gap[2] is None]:
            assert self.now_ms < end_ms, f"not healed: {open_gaps}"
            self.wait(5_000)
        self.wait(3_000)
        self.pipe.stop(ns(self.now_ms))
        self.look()
        assert [lane.counts.residue for lane in self.pipe.lanes] == [0] * len(self.pipe.lanes)
        for product in self.story.products:
            self._judge_samples(product)
            self._judge_trades(product)

    def _judge_samples(self, product: str) -> None:
        samples = self.samples(product)
        written = [at_ms for at_ms, _ in samples]
        assert written == sorted(set(written)), "written twice, or out of order"
        assert written[-1] > self.now_ms - 1_000, f"{product} is not written at the end"
        if not self.has_lost_unseen:
            truth = {at_ms: self.size_at(product, at_ms) for at_ms in written}
            untrue = [(at_ms, size, truth[at_ms]) for at_ms, size in samples if size != truth[at_ms]]
            wrong = [one for one in untrue if not any(one[0] in span for span in self._unproved[product])]
            assert not wrong, f"{product} was not so: {wrong[:3]}"
        missing = {
            at_ms
            for _, start_ms, end_ms, *_ in self.gaps(product)
            for at_ms in range(-(-int(str(start_ms)) // GRID_MS) * GRID_MS, int(str(end_ms)), GRID_MS)
        }
        assert not missing.intersection(written), "samples inside a gap"
        silent = set(range(written[0], written[-1], GRID_MS)) - missing - set(written)
        assert not silent, f"neither written nor in a gap: {sorted(silent)[:3]}"
        withheld = self.told.total("samples_withheld", product)
        assert self.told.total("samples_written", product) == len(written)
        assert self.told.total("samples_due", product) == len(written) + withheld

    def _judge_trades(self, product: str) -> None:
        stored = self.trades(product)
        assert len(stored) == len(set(stored)), "a trade twice"
        assert set(stored) <= set(self.traded[product]), "made up"
        if not self.facts.has_dense_ids:
            return
        gaps = [gap for gap in self.told.gap_list("trades") if gap["symbol"] == product]
        named = {one for gap in gaps for one in range(int(str(gap["start_seq"])), int(str(gap["end_seq"])) + 1)}
        assert named <= set(self.traded[product]), "named and never traded"
        lost = set(range(min(stored), max(stored) + 1)) - set(stored) - named
        assert not lost, f"lost silently: {sorted(lost)[:5]}"
