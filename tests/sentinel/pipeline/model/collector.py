"""One run of the collector from its door inwards, and the disk behind it: all there is of the product in this model.

The disk does what ``committer.py`` does: lines and their checkpoint are stored together, what is refused is kept up
to a limit, and beyond it the collection is suspended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from book.events import Trade
from book.trade_ledger import Range
from feeds.catalogue import FEEDS
from feeds.market import Market
from sentinel.collector.intake import Intake
from sentinel.pipeline import BookAnswer, Cause, Command, LanePlan, Pipeline, RepairAnswer, Settings
from sentinel.pipeline.checkpoint import decode_checkpoint
from sentinel.pipeline.inputs import KnownTrade
from sentinel.timing.clock import Clock
from tests.sentinel.pipeline.model.market import Book, Deal

EDGES_BPS = (Fraction(4), Fraction(50))


@dataclass
class Batch:
    """What one commit stored: by which run, and after which input of the world."""

    run: int
    turn: int
    trades: list[bytes]
    book: list[bytes]
    accounts: list[bytes]
    checkpoint: bytes


@dataclass
class Disk:
    """``most_held`` lines wait for a disk that refuses; more suspend the collection."""

    batches: list[Batch] = field(default_factory=list)
    refuses: bool = False
    most_held: int = 0

    @property
    def checkpoint(self) -> bytes | None:
        return self.batches[-1].checkpoint if self.batches else None


class Collector:
    """``wall_ns`` may jump, ``monotonic_ns`` never does. Commands go to ``carry_out``."""

    def __init__(
        self,
        plans: Sequence[LanePlan],
        disk: Disk,
        run: int,
        wall_ns: Callable[[], int],
        monotonic_ns: Callable[[], int],
        carry_out: Callable[[Command], None],
    ) -> None:
        self.disk = disk
        self.run = run
        self.is_suspended = False
        self.resumed_ns = 0
        self._clock = Clock(wall_ns, monotonic_ns)
        self._pipeline = Pipeline(
            Settings("model", EDGES_BPS, tells_parts=True),
            plans,
            lambda plan: FEEDS[plan.venue](plan.subscription),  # type: ignore[call-arg]
            disk.checkpoint,
        )
        self._door = Intake(self._pipeline, self._clock, carry_out)
        self._held: dict[str, list[bytes]] = {"trades": [], "book": [], "accounts": []}
        self._door.start(disk.checkpoint)

    def now_ns(self) -> int:
        """The instant the collector would stamp on a frame."""
        return self._clock.now_ns()

    def opened(self, lane: int) -> None:
        self._door.opened(lane)

    def closed(self, lane: int, cause: Cause) -> None:
        self._door.closed(lane, cause)

    def receive(self, lane: int, payload: bytes) -> None:
        self._door.receive(lane, payload, self.now_ns())

    def tick(self) -> None:
        self._door.tick()

    def replan(self, plans: Sequence[LanePlan], known: Sequence[KnownTrade], handed: Sequence[Market]) -> None:
        self._door.replan(plans, known, handed)

    def repaired(self, symbol: str, first: int, last: int, deals: Sequence[Deal], *, is_complete: bool) -> None:
        trades = tuple(_trade(symbol, deal) for deal in deals)
        self._door.repaired(RepairAnswer(symbol, first, last, trades, is_complete))

    def compared(self, symbol: str, venue_ns: int, book: Book) -> None:
        bids, asks = ({price / 100: size / 1000 for price, size in side} for side in book)
        self._door.compared(BookAnswer(symbol, venue_ns, bids, asks))

    def commit(self, turn: int) -> None:
        output, checkpoint = self._door.take(), self._door.checkpoint()
        for stream, lines in self._held.items():
            lines += [item.text for item in getattr(output, stream)]
        if self.disk.refuses:
            if not self.is_suspended and sum(map(len, self._held.values())) > self.disk.most_held:
                self.is_suspended = True
                self._door.suspend()
            return
        self.disk.batches.append(Batch(self.run, turn, **self._held, checkpoint=checkpoint))
        self._held = {stream: [] for stream in self._held}
        if self.is_suspended:
            self.is_suspended = False
            self.resumed_ns = self.now_ns()
            self._door.resume()

    def stop(self, turn: int) -> None:
        """The end in order: last lines, last commit."""
        self._door.stop()
        self.commit(turn)

    def residues(self) -> list[int]:
        """Frames received that are in no account, lane by lane."""
        return [lane.counts.residue for lane in self._pipeline.lanes]


def named_by(checkpoint: bytes) -> dict[str, list[Range]]:
    """Trade ids a report finds in a checkpoint: jumped over and not yet announced."""
    products = decode_checkpoint(checkpoint)
    return {market.symbol: [hole.range for hole in state.trades.jumps] for market, state in products.items()}


def _trade(symbol: str, deal: Deal) -> Trade:
    taker = "sell" if deal.maker == "buy" else "buy"
    return Trade(symbol, deal.trade_id, deal.price / 100, deal.size / 1000, taker, deal.venue_ns, is_live=False)
