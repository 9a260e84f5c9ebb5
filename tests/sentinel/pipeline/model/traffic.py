"""Everything around the collector, in one time: markets, connections, REST, disk and clocks, while all is well."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from msgspec.structs import replace

from feeds.market import Market as MarketKey
from feeds.protocol import Subscription
from sentinel.pipeline import Cause, Command, LanePlan, Reconnect, Repair, Send
from sentinel.pipeline.inputs import KnownTrade
from tests.sentinel.pipeline.model.collector import Collector, Disk
from tests.sentinel.pipeline.model.ear import SILENCE_NS, Ear
from tests.sentinel.pipeline.model.market import MS, Deal, Market, S
from tests.sentinel.pipeline.model.rest import Rest
from tests.sentinel.pipeline.model.wire import Frame, Wire, torn

START_NS = 1_790_000_010 * S + 7 * MS
PRODUCTS = ("BTC-USD", "ETH-USD")
LAYOUTS = {
    "numbered": (("coinbase_advanced", ("book", "trades")), ("coinbase_exchange", ("trades",))),
    "alone": (("coinbase_advanced", ("book", "trades")),),
    "unnumbered": (("coinbase_exchange", ("book", "trades")),),
}

QUANTUM_NS = 50 * MS
TICK_NS, COMMIT_NS, BEAT_NS = 100 * MS, 800 * MS, 1_000 * MS
MOVE_NS, TRADE_NS = 100 * MS, 350 * MS
RECONNECT_NS = 200 * MS
SNAPSHOT_DEADLINE_NS = 10 * S


@dataclass(frozen=True)
class Heard:
    """A trade, or a heartbeat's word of one, reached run ``run`` of the collector as the world's input ``turn``."""

    run: int
    turn: int
    product: str
    era: int
    trade_id: int
    is_tail: bool


@dataclass
class Away:
    """Others collected a product from the input ``turn`` on, and until ``back_ns``; they have its trades up to
    ``last_id``. Every ``ns`` is the collector's clock."""

    product: str
    turn: int
    left_ns: int
    back_ns: int | None = None
    last_id: int = 0


@dataclass
class Run:
    """What the judge must know of one run: its ears, where its clock jumped, and whether it began with a clock that
    was behind the run before it."""

    began_ns: int
    ears: list[Ear]
    jumps: list[tuple[int, int]]
    went_back: bool = False


class Traffic:
    """``copies`` connections of each kind in ``layout``."""

    def __init__(self, layout: str = "numbered", copies: int = 1) -> None:
        self.layout, self.copies = layout, copies
        self.true_ns = START_NS
        self.wall_ahead_ns = 0
        self.turn = 0
        self.markets = {name: Market(name) for name in PRODUCTS}
        for market in self.markets.values():
            for _ in range(5):
                market.trade(self.true_ns - S)
        self.wild: dict[str, dict[int, Deal]] = {name: {} for name in PRODUCTS}
        planned = [lane for _ in range(copies) for lane in LAYOUTS[layout]]
        self.plans = [
            LanePlan(number, venue, Subscription(frozenset(channels), PRODUCTS), number // len(LAYOUTS[layout]))
            for number, (venue, channels) in enumerate(planned)
        ]
        self.disk = Disk()
        self.rest = Rest(self.markets)
        self.runs: list[Run] = []
        self.heard: list[Heard] = []
        self.wires: dict[int, Wire] = {}
        self.ears: dict[int, Ear] = {}
        self.collector: Collector | None = None
        self.wild_beats = 0
        self.requests = 0
        self.aways: list[Away] = []
        self.clock_steps_ms: list[tuple[int, int, int]] = []
        """Each with the run that found it, and the input of the world it found it by."""
        self._opens_ns: dict[int, int] = {}
        self._down_until_ns: dict[int, int] = {}
        self._commands: list[Command] = []
        self._heard_true_ns: dict[int, int] = {}
        self._deals: dict[str, list[Deal]] = {name: [] for name in PRODUCTS}
        self._due = dict.fromkeys(("tick", "commit", "beat", "move", "trade", "batch"), self.true_ns)
        self._is_calm = self._is_frozen = False
        self._last_ahead_ns = 0
        self._last_stamp_ns = 0
        self._start()

    # Time

    def wait(self, ms: int) -> None:
        """Time passes, and the market goes on."""
        end_ns = self.true_ns + ms * MS
        while self.true_ns < end_ns:
            self.true_ns = min(end_ns, self.true_ns + QUANTUM_NS)
            self._pass()

    def _pass(self) -> None:
        self._trade_and_move()
        self._converse()
        collector = self.collector
        if collector is None or self._is_frozen:
            return
        self.rest.answer(collector, self.true_ns)
        self._obey()
        if self._is_due("tick", TICK_NS):
            self._tell(collector.tick)
        if self._is_due("commit", COMMIT_NS):
            self.commit()
        for lane, opens_ns in sorted(self._opens_ns.items()):
            if opens_ns <= self.true_ns:
                self._open(lane)

    def _is_due(self, what: str, every_ns: int) -> bool:
        if self.true_ns < self._due[what]:
            return False
        self._due[what] = self.true_ns + every_ns
        return True

    def _trade_and_move(self) -> None:
        if self._is_due("move", MOVE_NS * (10 if self._is_calm else 1)):
            for name, market in self.markets.items():
                self._publish(name, market.move())
        if not self._is_calm and self._is_due("trade", TRADE_NS):
            for name in PRODUCTS:
                self.trade(name)
        if self._is_due("batch", 250 * MS):
            for name, deals in self._deals.items():
                self._publish_trades(name, deals, is_numbered=True)
                deals.clear()
        if self._is_due("beat", BEAT_NS):
            for wire in list(self.wires.values()):
                for name in PRODUCTS[:1] if wire.is_numbered else self.carried(wire.lane):
                    self._say(wire, wire.beat(name))

    def _publish(self, name: str, changes: list) -> None:
        for wire in list(self.wires.values()):
            if name in wire.books:
                self._say(wire, wire.update(name, changes))

    def trade(self, product: str) -> None:
        """One trade more."""
        deal = self.markets[product].trade(self.true_ns)
        self._deals[product].append(deal)
        self._publish_trades(product, [deal], is_numbered=False)

    def _publish_trades(self, name: str, deals: list[Deal], *, is_numbered: bool) -> None:
        for wire in list(self.wires.values()):
            if wire.is_numbered == is_numbered and name in wire.trades:
                for frame in wire.trade(name, deals):
                    self._say(wire, frame)

    def _converse(self) -> None:
        for wire in list(self.wires.values()):
            for frame in wire.due(self.true_ns):
                self._say(wire, frame)
            if wire.waiting and not self._is_held_up(wire):
                waiting, wire.waiting = wire.waiting, []
                for frame in waiting:
                    self._deliver(wire, frame)

    def _say(self, wire: Wire, frame: Frame) -> None:
        if self._is_held_up(wire) or wire.waiting:
            wire.waiting.append(frame)
        else:
            self._deliver(wire, frame)

    def _is_held_up(self, wire: Wire) -> bool:
        return self._is_frozen or wire.stalled_until_ns > self.true_ns

    def _deliver(self, wire: Wire, frame: Frame) -> None:
        """The last mile, where frames are lost, damaged and doubled."""
        collector, ear = self.collector, self.ears[wire.lane]
        if self.wires.get(wire.lane) is not wire or collector is None:
            return
        if wire.lose:
            wire.lose -= 1
            ear.lost(frame)
            return
        how, wire.tear = wire.tear, ""
        self.turn += 1
        due_from_ns = None if collector.is_suspended else collector.resumed_ns
        stamp_ns = self._stamp()
        self._heard_true_ns[wire.lane] = self.true_ns
        payload = torn(frame.payload, how) if how else frame.payload
        copies, wire.double = 1 + wire.double, 0
        for _ in range(copies):
            is_good = ear.hear(frame, stamp_ns, self.true_ns, self.turn, is_torn=bool(how), due_from_ns=due_from_ns)
            if is_good and not collector.is_suspended:
                self._note_trades(wire.lane, frame)
            collector.receive(wire.lane, payload)
        self._obey()

    def _note_trades(self, lane: int, frame: Frame) -> None:
        run = len(self.runs) - 1
        for name, trade_id in frame.ids:
            if name in self.carried(lane):
                self.heard.append(Heard(run, self.turn, name, self.markets[name].era, trade_id, is_tail=False))
        if frame.tail is not None and frame.tail[0] in self.carried(lane):
            name, trade_id = frame.tail
            self.heard.append(Heard(run, self.turn, name, self.markets[name].era, trade_id, is_tail=True))

    def _stamp(self) -> int:
        """The collector's clock; notes where it has jumped."""
        assert self.collector is not None
        stamp_ns = self.collector.now_ns()
        ahead_ns = stamp_ns - self.true_ns
        if ahead_ns != self._last_ahead_ns:
            self.runs[-1].jumps.append((self.true_ns + min(ahead_ns, self._last_ahead_ns), stamp_ns))
            self._last_ahead_ns = ahead_ns
        self._last_stamp_ns = max(self._last_stamp_ns, stamp_ns)
        return stamp_ns

    # The collector

    def _start(self) -> None:
        self.collector = Collector(
            [self._without(plan, [away.product for away in self.aways]) for plan in self.plans],
            self.disk,
            len(self.runs),
            lambda: self.true_ns + self.wall_ahead_ns,
            lambda: self.true_ns,
            self._commands.append,
        )
        began_ns = self.collector.now_ns()
        self._last_ahead_ns = began_ns - self.true_ns
        self.runs.append(Run(began_ns, [], [], began_ns < self._last_stamp_ns))
        self._obey()
        for plan in self.plans:
            if plan.markets:
                self._opens_ns[plan.lane] = self.true_ns
        if (
            self.aways
        ):  # a member begins without what others had, and takes it as at first: nothing may be stored of that
            self._replan(*(self._known(away) for away in self.aways if away.back_ns is not None))

    # What is collected

    def carried(self, lane: int) -> tuple[str, ...]:
        """The products a connection is for."""
        return self.plans[lane].subscription.products

    @property
    def away(self) -> list[str]:
        """The products that others collect now."""
        return [away.product for away in self.aways if away.back_ns is None]

    def _replan(self, *known: KnownTrade) -> None:
        collector, plans = self.collector, list(self.plans)
        assert collector is not None
        handed = [MarketKey.parse(product) for product in self.away]
        self._tell(lambda: collector.replan(plans, known, handed))

    def _known(self, away: Away) -> KnownTrade:
        """What others say of the product that they had."""
        newest = self.markets[away.product].deals[self.markets[away.product].era, away.last_id]
        return KnownTrade(MarketKey.parse(away.product), newest.trade_id, newest.point_ns)

    @staticmethod
    def _without(plan: LanePlan, products: Collection[str]) -> LanePlan:
        left = tuple(name for name in plan.subscription.products if name not in products)
        return replace(plan, subscription=replace(plan.subscription, products=left))

    def hand_over(self, product: str) -> None:
        """Others collect a product from now on."""
        if self.collector is None or product in self.away:
            return
        for number, plan in enumerate(self.plans):
            self.plans[number] = self._without(plan, [product])
            if number in self.ears:
                self.ears[number].ignore(product)
            if not self.plans[number].markets:
                self.wires.pop(number, None)
                self._opens_ns.pop(number, None)
        self.aways.append(Away(product, self.turn, self.collector.now_ns()))
        self._replan()

    def take_back(self, product: str, behind: int) -> None:
        """It is collected here again, on connections of its own. What is known of others' trades lags ``behind``."""
        if self.collector is None or product not in self.away:
            return
        away = next(away for away in self.aways if away.product == product and away.back_ns is None)
        market = self.markets[product]
        away.back_ns, away.last_id = self.collector.now_ns(), max(1, market.last_id - behind)
        empty = [plan.lane for plan in self.plans if not plan.markets]
        kinds = [(lane, copy) for copy in range(self.copies) for lane in LAYOUTS[self.layout]]
        for (venue, channels), copy in kinds:
            old = next((lane for lane in empty if self.plans[lane].venue == venue), None)
            number = len(self.plans) if old is None else old
            if old is not None:
                empty.remove(old)
            joining = LanePlan(number, venue, Subscription(frozenset(channels), (product,)), copy)
            self.plans[number : number + 1] = [joining]
            self._opens_ns[number] = self.true_ns
        self._replan(self._known(away))

    def _open(self, lane: int) -> None:
        collector = self.collector
        assert collector is not None
        del self._opens_ns[lane]
        if self._down_until_ns.get(lane, 0) > self.true_ns:
            self._tell(lambda: collector.closed(lane, "disconnected"))
            self._opens_ns[lane] = self.true_ns + BEAT_NS
            return
        is_numbered = self.plans[lane].venue == "coinbase_advanced"
        self.wires[lane] = Wire(lane, is_numbered, self.markets, self.true_ns)
        self.ears[lane] = Ear(lane, self.true_ns)
        self.runs[-1].ears.append(self.ears[lane])
        self._heard_true_ns[lane] = self.true_ns
        step_ms = (self.true_ns + self.wall_ahead_ns - collector.now_ns()) // MS
        if step_ms:
            self.clock_steps_ms.append((len(self.runs) - 1, self.turn + 1, step_ms))
        self._tell(lambda: collector.opened(lane))

    def commit(self) -> None:
        """What the committer does, at least once a second."""
        if self.collector is not None:
            collector = self.collector
            self._tell(lambda: collector.commit(self.turn))

    def _tell(self, what: object) -> None:
        self.turn += 1
        what()  # type: ignore[operator]
        self._stamp()
        self._obey()

    def _obey(self) -> None:
        while self._commands:
            command = self._commands.pop(0)
            match command:
                case Send(lane, messages) if lane in self.wires:
                    self.requests += 1
                    for message in messages:
                        self._ask(lane, message)
                case Reconnect(lane, cause):
                    self._judge_reconnect(lane, cause)
                    self._close(lane, cause)
                case Repair():
                    self.rest.request(command, self.true_ns)

    def _ask(self, lane: int, message: bytes) -> None:
        asked = json.loads(message)
        if asked["type"] == "unsubscribe":
            for name in asked["product_ids"]:
                self.ears[lane].unsubscribed(name)
        self.wires[lane].hear(message, self.true_ns)

    def _judge_reconnect(self, lane: int, cause: Cause) -> None:
        """A connection just heard is not silent, whatever the clocks do; one may be ended whose snapshot is late."""
        quiet_ns = self.true_ns - self._heard_true_ns[lane]
        books = self.carried(lane) if "book" in self.plans[lane].subscription.channels else ()
        is_late = self.ears[lane].unsound_for_ns(books, self.true_ns) >= SNAPSHOT_DEADLINE_NS
        assert quiet_ns >= SILENCE_NS or is_late, f"lane {lane} given up for {cause} after {quiet_ns / S} s"

    def _close(self, lane: int, cause: Cause) -> None:
        self.wires.pop(lane, None)
        self._opens_ns[lane] = self.true_ns + RECONNECT_NS
        collector = self.collector
        if collector is not None:
            self._tell(lambda: collector.closed(lane, cause))
