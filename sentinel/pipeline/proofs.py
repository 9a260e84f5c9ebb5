"""What frames prove of the books of a lane, what disproves them, and what is asked for then.

A frame in sequence proves them up to now (``advance``); a hole, silence, a frame nobody can read, or another witness
takes that from them: each such book is lost, named as a gap, and fetched anew, or the connection is given up.
"""

from __future__ import annotations

from collections.abc import Sequence

from book.proof import Hole, Verdict
from book.sampler import first_instant
from feeds.errors import FeedError, Undecodable
from sentinel.contract.gaps import Cause, Gap
from sentinel.pipeline.gaps import sequence_gap
from sentinel.pipeline.inputs import Command, Note, Output, Reconnect
from sentinel.pipeline.lane import Lane
from sentinel.pipeline.lane_book import LaneBook


class Proofs:
    """Proves and loses the books of any lane; whoever calls it says since when."""

    def __init__(self, output: Output, commands: list[Command], cadence_ns: int) -> None:
        self._output = output
        self._commands = commands
        self._cadence_ns = cadence_ns

    def advance(self, lane: Lane, received_ns: int) -> None:
        """A frame in sequence proves the lane's books at every grid instant before it, but for those with a chain."""
        lane.next_grid_ns = first_instant(received_ns, self._cadence_ns)
        if received_ns - lane.good_ns >= lane.quiet_ns:
            # we stood still ourselves: what waited in the socket meanwhile says nothing of when it came
            proved = [symbol for symbol, book in lane.books.items() if book.is_proved]
            for symbol in proved:
                self.lose_book(lane, symbol, "silence", lane.good_ns)
            lane.want_snapshots(proved, received_ns, self._commands)
            return
        if lane.has_chains:
            return
        flawed = [
            symbol for symbol, book in lane.books.items() if not self.advance_book(lane, symbol, book, received_ns)
        ]
        if flawed:
            lane.want_snapshots(flawed, received_ns, self._commands)

    def advance_book(self, lane: Lane, symbol: str, book: LaneBook, received_ns: int) -> bool:
        """A frame proves this book up to now; False if it was flawed for too long, and is given up."""
        books = lane.products[symbol].books
        books.advance(book, received_ns)
        if book.flaw is None or not books.is_to_be_replaced(book, received_ns):
            return True
        books.lose(book, Gap("book", book.flaw, book.flaw_ns))
        return False

    def go_on(self, lane: Lane, verdict: Verdict | Hole, received_ns: int) -> bool:
        """Deals with a counter out of order; False if the frame is to be ignored."""
        if verdict is Verdict.DUPLICATE:
            lane.counts.duplicate += 1
            return False
        if verdict is Verdict.RESET:
            lane.counts.control += 1
            self.lose(lane, "sequence", lane.good_ns)
            self.give_up(lane, "sequence")
            return False
        assert isinstance(verdict, Hole)
        lane.counts.lost += verdict.count
        for symbol, book in lane.books.items():
            gap = sequence_gap(lane.good_ns, verdict)
            lane.products[symbol].books.lose(book, gap)
        lane.want_snapshots(list(lane.books), received_ns, self._commands)
        return True

    def undecodable(self, lane: Lane, error: FeedError, received_ns: int) -> None:
        """On a numbered feed the next frame shows whether anything was lost; elsewhere every book is suspect that the
        frame may have been about."""
        lane.counts.undecodable += 1
        self._output.notes.append(Note("undecodable", {"lane": lane.plan.lane, "error": str(error)}))
        known = error if isinstance(error, Undecodable) else None
        if not lane.is_numbered and (known is None or known.may_be_book):
            symbols = list(lane.books) if known is None or known.product is None else [known.product]
            self.doubt_books(lane, symbols, lane.good_ns, received_ns)

    def doubt_books(
        self, lane: Lane, symbols: Sequence[str], since_ns: int, now_ns: int, *, is_answer: bool = False
    ) -> None:
        """Something came that may have changed these books; ``is_answer`` if it was the snapshot that was awaited."""
        lost: list[str] = []
        for symbol in symbols:
            book = lane.books.get(symbol)
            if book is None:
                continue
            if is_answer:
                book.asked_ns, book.attempts = None, 0
            elif not book.is_proved:
                book.buffer.clear()  # only a snapshot that is later holds what could not be read
                continue
            gap = Gap("book", "undecodable", book.unproved_ns(since_ns))
            lane.products[symbol].books.lose(book, gap)
            lost.append(symbol)
        lane.want_snapshots(lost, now_ns, self._commands)  # all at once: a second request would have to wait

    def contradicted(self, lane: Lane, symbol: str, now_ns: int) -> None:
        book = lane.books[symbol]
        if book.witness is not None:
            book.witness.forget()
        lane.products[symbol].books.lose(book, Gap("book", "witness", now_ns))
        lane.want_snapshots([symbol], now_ns, self._commands)

    def lose(self, lane: Lane, cause: Cause, since_ns: int) -> None:
        for symbol in lane.books:
            self.lose_book(lane, symbol, cause, since_ns)

    def lose_book(self, lane: Lane, symbol: str, cause: Cause, since_ns: int) -> None:
        book = lane.books[symbol]
        lane.products[symbol].books.lose(book, Gap("book", cause, book.unproved_ns(since_ns)))

    def give_up(self, lane: Lane, cause: Cause) -> None:
        lane.close()
        self._commands.append(Reconnect(lane.number, cause))
