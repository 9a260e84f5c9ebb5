"""What goes wrong around the collector. Each method is a step of the state machine; ``calm`` ends every trouble, and
``judge.py`` then says whether what the disk holds is the truth.
"""

from __future__ import annotations

from tests.sentinel.pipeline.model.market import MS, Deal
from tests.sentinel.pipeline.model.rest import Mode
from tests.sentinel.pipeline.model.traffic import PRODUCTS, Traffic


class World(Traffic):
    """The traffic, and whatever may happen to it."""

    def freeze(self, ms: int, *, tick_first: bool) -> None:
        """The process stands still; what came meanwhile waits in its sockets."""
        self._is_frozen = True
        self.wait(ms)
        self._is_frozen = False
        if tick_first and self.collector is not None:
            self._tell(self.collector.tick)
        self.wait(1)

    def lose(self, lane: int, count: int) -> None:
        """The next frames of a connection never arrive."""
        if lane in self.wires:
            self.wires[lane].lose = count

    def double(self, lane: int) -> None:
        """The next frame arrives twice."""
        if lane in self.wires:
            self.wires[lane].double = 1

    def tear(self, lane: int, how: str) -> None:
        """The next frame arrives damaged."""
        if lane in self.wires:
            self.wires[lane].tear = how

    def cross_copy(self, lane: int, product: str) -> None:
        """One connection tells a level that crosses its book; only another snapshot takes it away."""
        wire = self.wires.get(lane)
        if wire is not None and product in wire.books and product not in wire.extra:
            self._say(wire, wire.cross(product))

    def cross_market(self, product: str) -> None:
        """The market itself is crossed, or is so no longer."""
        self._publish(product, self.markets[product].cross())

    def stray(self, lane: int, kind: str) -> None:
        """A frame of a product or channel nobody asked for."""
        if lane in self.wires:
            self._say(self.wires[lane], self.wires[lane].stray(kind))

    def stall(self, lane: int, ms: int) -> None:
        """What a connection says comes late, all at once."""
        if lane in self.wires:
            self.wires[lane].stalled_until_ns = self.true_ns + ms * MS

    def disconnect(self, lane: int, down_ms: int) -> None:
        """A connection ends, and none can be opened for a while."""
        self._down_until_ns[lane] = self.true_ns + down_ms * MS
        if lane in self.wires:
            self._close(lane, "disconnected")

    def rest_is(self, mode: Mode) -> None:
        """How REST answers from now on."""
        self.rest.mode = mode

    def compare(self, product: str) -> None:
        """REST says what the whole book is."""
        collector, book = self.collector, self.markets[product].book
        if collector is not None and not book.is_crossed:
            self._tell(lambda: collector.compared(product, self.true_ns, book))

    def hide(self, product: str, places: frozenset[str], count: int) -> None:
        """The next trades are not told everywhere."""
        self.markets[product].hides += [places] * count

    def disk_refuses(self, most_held: int) -> None:
        self.disk.refuses, self.disk.most_held = True, most_held

    def disk_is_back(self) -> None:
        self.disk.refuses = False

    def step_clock(self, ms: int) -> None:
        """Somebody sets the wall clock."""
        self.wall_ahead_ns += ms * MS

    def begin_ids_anew(self, product: str, *, at_one: bool) -> None:
        """The venue's trade ids start again, or go back over some that were used."""
        market = self.markets[product]
        market.begin_anew(1 if at_one else market.last_id - 5)

    def wild_heartbeat(self, product: str) -> None:
        """One heartbeat names an id beyond belief."""
        for wire in list(self.wires.values()):
            if not wire.is_numbered:
                self.wild_beats += 1
                self._say(wire, wire.beat(product, 10**12 * self.wild_beats))
                return

    def wild_trade(self, product: str) -> None:
        """One trade carries an id beyond belief."""
        for wire in list(self.wires.values()):
            if product in wire.trades:
                deal = Deal(
                    -1, 10**9 * (1 + len(self.wild[product])), 10_000, 1_000, "buy", self.true_ns // 1000 * 1000
                )
                self.wild[product][deal.trade_id] = deal
                for frame in wire.trade(product, [deal]):
                    self._say(wire, frame)
                return

    def stop(self) -> None:
        """SIGTERM: an end in order."""
        if self.collector is not None:
            self.turn += 1
            self.collector.stop(self.turn)
            self._gone()

    def kill(self, commits_lost: int = 0) -> None:
        """SIGKILL; a power cut may take the last commits with it."""
        if self.collector is not None:
            del self.disk.batches[len(self.disk.batches) - commits_lost :]
            self._gone()

    def _gone(self) -> None:
        assert self.collector is not None
        residues = self.collector.residues()
        assert not any(residues), f"frames in no account: {residues}"
        self._last_stamp_ns = max(self._last_stamp_ns, self.collector.now_ns())
        self.collector = None
        self.wires.clear()
        self._opens_ns.clear()
        self._commands.clear()
        self.rest.forget()

    def start(self) -> None:
        """The collector is started again, with what the disk holds."""
        if self.collector is None:
            self._start()

    # The end

    def calm(self) -> None:
        """Every trouble is over, the disk's last of all, and everything that was published is heard of once more."""
        self.rest.mode = "right"
        if self.disk.refuses:
            self.wait(2_500)
        self.disk.refuses = False
        self._down_until_ns.clear()
        for wire in self.wires.values():
            wire.lose = wire.double = wire.stalled_until_ns = 0
            wire.tear = ""
        for name, market in self.markets.items():
            market.hides.clear()
            if market.is_crossed:
                self.cross_market(name)
        self.start()
        for name in self.away:
            self.take_back(name, behind=0)
        self.wait(1_500)
        for name in PRODUCTS:
            self.trade(name)
        self._is_calm = True
        self.wait(4_000)

    def are_books_good(self) -> bool:
        """Every connection tells its books, and they are what the market is, as far as anybody can know."""
        return not self._opens_ns and all(
            self.ears[lane].is_sound(product)
            for lane, wire in self.wires.items()
            for product in self.carried(lane)
            if "book" in self.plans[lane].subscription.channels
        )
