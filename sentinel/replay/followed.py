"""The books of a tape followed change by change, as rows of ``l2``: what the pipeline takes for proved, and no more.

Of a redundant pair, or of a connection and its successor, one copy is followed until it is lost, and then the other,
from the moment up to which the first was proved: so long the other keeps what it was told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from feeds.catalogue import venue_of
from feeds.market import Market
from sentinel.archive.l2 import LOST, Rows
from sentinel.archive.schedule import HOUR_NS
from sentinel.contract.gaps import DELISTED, NOT_COLLECTED
from sentinel.disk.tape import Kind
from sentinel.pipeline import Pipeline
from sentinel.pipeline.inputs import Replan
from sentinel.pipeline.lane import Lane
from sentinel.pipeline.lane_book import LaneBook
from sentinel.replay.copies import Copy, FollowedBook, Told, Trail
from sentinel.replay.play import Due

BOOK_EVERY_NS = 300_000_000_000
"""How often it is asked whether so much has changed that a whole book is worth its rows."""


class TrackState(Struct, frozen=True):
    """What the rows of the next hour depend on: the lane of the copy followed and the venue's time of its last change,
    or why there is none."""

    exchange: str
    symbol: str
    lane: int | None
    venue_ns: int | None
    cause: str


class Track:
    """The rows of one market by hour, and the copy of its book that they come from."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.hours: dict[int, Rows] = {}
        self.source: Copy | None = None
        self._copies: list[Copy] = []
        self._cause = NOT_COLLECTED
        self._venue_ns: int | None = None
        self._changed = 0
        self._written_ns = 0

    def begin(self, copies: list[Copy], now_ns: int) -> None:
        """A run begins, and with it everything later than now is void."""
        self._cut(now_ns)
        self.source, self._copies = None, copies
        self._cause, self._written_ns = NOT_COLLECTED, 0
        if copies and self._rows(now_ns).last_kind != LOST:
            self._rows(now_ns).lose(now_ns, NOT_COLLECTED)

    def go_on(self, copies: list[Copy], state: TrackState | None, hour_ns: int) -> None:
        """In the middle of a run, at the start of an hour."""
        self._copies, self._written_ns = copies, hour_ns
        if state is not None:
            self._cause, self._venue_ns = state.cause, state.venue_ns
            proved = (copy for copy in copies if copy.lane.number == state.lane and copy.of.is_proved)
            self.source = next(proved, None)
        if self.source is not None:
            self.source.book.is_held = True
        self._stand_by(hour_ns, None)
        self.begin_hour(hour_ns)

    def state(self) -> TrackState:
        lane = None if self.source is None else self.source.lane.number
        return TrackState(*self.market, lane, self._venue_ns, self._cause)

    def carry(self, copies: list[Copy], cause: str, now_ns: int) -> None:
        """Copies come and go while a run goes on. One that goes while it is followed is of a product that leaves, for
        this ``cause``."""
        self._copies = copies
        if self.source is not None and self.source not in copies:
            self.lose(self.source.proved_ns(), cause, now_ns)
        if copies and self.source is None and self._rows(now_ns).last_kind != LOST:
            self._rows(now_ns).lose(now_ns, self._cause)

    def written(self, end_ns: int) -> None:
        """The hours before are on disk."""
        self._written_ns = end_ns
        self.hours = {hour_ns: rows for hour_ns, rows in self.hours.items() if hour_ns >= end_ns}

    def end(self, cause: str) -> None:
        """Nothing more comes of this run."""
        while self.source is not None:
            self.lose(self.source.proved_ns(), cause, 0)
        self._copies = []

    def begin_hour(self, hour_ns: int) -> None:
        """Every file can be read alone."""
        if self.source is None:
            self._rows(hour_ns).lose(hour_ns, self._cause)
        else:
            self._write_book(hour_ns)

    def refresh(self, now_ns: int) -> None:
        """Writes the whole book if going through all that has changed takes longer."""
        if self.source is not None and self._changed >= len(self.source.book.bids) + len(self.source.book.asks):
            self._write_book(now_ns)

    def _write_book(self, now_ns: int) -> None:
        assert self.source is not None
        book = self.source.book
        self._rows(now_ns).add_book(now_ns, self._venue_ns, self.source.sequence(), book.bids, book.asks)
        self._changed = 0

    def _rows(self, time_ns: int) -> Rows:
        hour_ns = time_ns - time_ns % HOUR_NS
        rows = self.hours.get(hour_ns)
        if rows is None:
            rows = self.hours[hour_ns] = Rows()
        return rows

    def take(self, copy: Copy, time_ns: int, venue_ns: int | None) -> None:
        """Enters what its book was told."""
        frame = copy.lane.counter
        for bids, asks, link in copy.book.changes:
            told = Told(time_ns, venue_ns, link if frame is None else frame.expected - 1, bids, asks)
            if copy is self.source:
                self._add(told)
            elif copy.trail is not None and self.source is not None:
                copy.trail.told.append(told)
                copy.trail.go_on(self.source.proved_ns())
        copy.book.changes.clear()

    def _add(self, told: Told) -> None:
        self._venue_ns = told.venue_ns
        self._rows(told.time_ns).add_changes(*told)
        self._changed += len(told.bids) + len(told.asks)

    def follow(self, now_ns: int, venue_ns: int | None) -> None:
        """Takes a proved copy for the source, if there is none."""
        if self.source is None:
            self.source = next((copy for copy in self._copies if copy.of.is_proved), None)
            if self.source is not None:
                self.source.book.is_held = True
                self._venue_ns = venue_ns if self.source.of.since_ns == now_ns else None
                self._write_book(now_ns)
        self._stand_by(now_ns, venue_ns)

    def _stand_by(self, now_ns: int, venue_ns: int | None) -> None:
        for copy in self._copies:
            if copy is not self.source and copy.of.is_proved and copy.trail is None:
                copy.stand_by(now_ns, venue_ns if copy.of.since_ns == now_ns else None)

    def lose(self, since_ns: int, cause: str, now_ns: int) -> None:
        """The source is not proved any more: what is later is not either, nor what begins an hour till ``now_ns``."""
        self.source = None
        self._cut(since_ns)
        self._cause = cause
        # an hour that is written already was proved to its end
        since_ns = max(since_ns, self._written_ns)
        heir = next((copy for copy in self._copies if copy.trail is not None), None)
        if heir is None or heir.trail is None:
            self._be_without(since_ns, now_ns)
            return
        if heir.trail.time_ns > since_ns:
            self._be_without(since_ns, heir.trail.time_ns)
        self._hand_over(heir, heir.trail, since_ns, now_ns)

    def _be_without(self, since_ns: int, until_ns: int) -> None:
        self._rows(since_ns).lose(since_ns, self._cause)
        hour_ns = until_ns - until_ns % HOUR_NS
        if hour_ns > since_ns:
            self.begin_hour(hour_ns)

    def _hand_over(self, heir: Copy, trail: Trail, since_ns: int, now_ns: int) -> None:
        """Follows the heir from ``since_ns`` on, or from where its trail begins."""
        trail.go_on(since_ns)
        from_ns = max(since_ns, trail.time_ns)
        self._add_book(from_ns, trail)
        hour_ns = from_ns - from_ns % HOUR_NS
        while trail.told or hour_ns + HOUR_NS <= now_ns:
            next_ns = trail.told[0].time_ns if trail.told else now_ns
            if next_ns >= hour_ns + HOUR_NS:
                hour_ns = next_ns - next_ns % HOUR_NS
                self._add_book(hour_ns, trail)
            if trail.told:
                self._add(trail.next())
        self.source, heir.trail = heir, None

    def _add_book(self, time_ns: int, trail: Trail) -> None:
        self._venue_ns = trail.venue_ns
        self._rows(time_ns).add_book(time_ns, trail.venue_ns, trail.sequence, *trail.book())
        self._changed = 0

    def _cut(self, time_ns: int) -> None:
        for hour_ns in sorted(self.hours, reverse=True):
            self.hours[hour_ns].cut(time_ns)
            if len(self.hours[hour_ns]):
                break
            if hour_ns > time_ns:
                del self.hours[hour_ns]


class Follower:
    """Follows the books of one run after the other. ``tracks`` are of all markets met so far."""

    def __init__(self) -> None:
        self.tracks: dict[Market, Track] = {}
        self._pipeline: Pipeline | None = None
        self._touched: list[FollowedBook] = []
        self._by_lane: dict[int, list[tuple[Track, Copy]]] = {}
        self._owners: dict[int, tuple[Track, Copy]] = {}
        self._asked_ns = 0
        self._current: list[Track] = []

    def go_on(self, pipeline: Pipeline, states: Sequence[TrackState], hour_ns: int) -> None:
        """Begins in the middle of a run, at the start of an hour: the books are there already."""
        known = {Market(state.exchange, state.symbol): state for state in states}
        self._asked_ns = hour_ns
        for market, copies in self._attach(pipeline).items():
            self._track(market).go_on(copies, known.get(market), hour_ns)

    def states(self) -> list[TrackState]:
        """Those of the markets of this run."""
        return [track.state() for track in self._current]

    def before(self, due: Due) -> int | None:
        """Looks at the books before an input changes them; gives the hour that has begun since the last one."""
        now_ns = due.record.received_ns
        if due.pipeline is not self._pipeline:
            self._begin(due.pipeline, now_ns)
        hour_ns, asked_ns = now_ns - now_ns % HOUR_NS, now_ns - now_ns % BOOK_EVERY_NS
        is_later, is_new_hour = asked_ns > self._asked_ns, hour_ns > self._asked_ns
        if is_later:
            self._asked_ns = asked_ns
            for track in self._current:
                if is_new_hour:
                    track.begin_hour(hour_ns)
                else:
                    track.refresh(asked_ns)
        if due.record.kind is Kind.STEP:
            for _, copy in self._owners.values():
                copy.unproved_ns = copy.of.unproved_ns(copy.lane.good_ns)
        return hour_ns if is_new_hour else None

    def after(self, due: Due) -> None:
        """Enters what an input has changed."""
        record = due.record
        now_ns = record.received_ns
        lanes = [self._by_lane[record.lane]] if record.kind is Kind.FRAME else list(self._by_lane.values())
        venue_ns = None
        if self._touched and record.kind is Kind.FRAME:
            feed = due.pipeline.slots[record.lane].plan.venue
            venue_ns = venue_of(feed).frame_ns(feed, record.payload)
        renewed = []
        for book in self._touched:
            track, copy = self._owners[id(book)]
            if not book.is_held:
                renewed.append(track)
            elif copy.of.lost is copy.lost:
                track.take(copy, now_ns, venue_ns)
        self._touched.clear()
        for lane in lanes:
            for track, copy in lane:
                if copy.of.lost is not copy.lost:
                    self._lost(track, copy, now_ns, venue_ns)
                    renewed.append(track)
        if record.kind is Kind.STEP and int(record.payload) > 0:
            renewed += self._jumped(now_ns)
        for track in renewed:
            track.follow(now_ns, venue_ns)
        if record.kind in (Kind.OPENED, Kind.REPLAN):
            copies = self._attach(due.pipeline)
            for market, track in self.tracks.items():
                is_handed = isinstance(due.given, Replan) and market in due.given.handed
                track.carry(copies.get(market, []), NOT_COLLECTED if is_handed else DELISTED, now_ns)

    def end(self, cause: str) -> None:
        """Nothing more comes of this run."""
        for track in self.tracks.values():
            track.end(cause)
        self._pipeline = None
        self._by_lane, self._owners, self._current = {}, {}, []

    def _begin(self, pipeline: Pipeline, now_ns: int) -> None:
        self.end("stopped")
        self._asked_ns = now_ns - now_ns % BOOK_EVERY_NS
        copies = self._attach(pipeline)
        for market, track in self.tracks.items():
            track.begin(copies.get(market, []), now_ns)

    def _attach(self, pipeline: Pipeline) -> dict[Market, list[Copy]]:
        """Has the books of a pipeline followed, and no others. One that is new may have levels already."""
        self._pipeline = pipeline
        before = {copy.of: copy for _, copy in self._owners.values()}
        found: dict[Market, list[Copy]] = {}
        self._by_lane, self._owners = {}, {}
        for number, lane in pipeline.slots.items():
            self._by_lane[number] = []
            for symbol, of in lane.books.items():
                market, copy = Market(lane.plan.exchange, symbol), before.get(of) or self._copy(lane, of)
                found.setdefault(market, []).append(copy)
                self._by_lane[number].append((self._track(market), copy))
                self._owners[id(copy.book)] = self._track(market), copy
        self._current = [self._track(market) for market in found]
        self._touched.clear()
        return found

    def _copy(self, lane: Lane, of: LaneBook) -> Copy:
        book = FollowedBook(self._touched)
        book.replace(dict(of.book.bids), dict(of.book.asks))
        of.book = book
        return Copy(lane, of, book)

    def _track(self, market: Market) -> Track:
        track = self.tracks.get(market)
        if track is None:
            track = self.tracks[market] = Track(market)
        return track

    def _lost(self, track: Track, copy: Copy, now_ns: int, venue_ns: int | None) -> None:
        """A book was lost, and may have come back already."""
        gap = copy.lost = copy.of.lost
        assert gap is not None
        track.take(copy, now_ns, venue_ns)
        copy.leave()
        if copy is track.source:
            track.lose(gap.start_ns, gap.cause, now_ns)

    def _jumped(self, now_ns: int) -> Iterator[Track]:
        """Nobody ran at the instants that the clock was put forward over."""
        for track, copy in self._owners.values():
            if copy is not track.source:
                copy.leave()
        for track, copy in self._owners.values():
            if copy is track.source:
                track.lose(copy.unproved_ns, "clock", now_ns)
                yield track
