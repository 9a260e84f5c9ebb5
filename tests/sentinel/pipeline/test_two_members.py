"""Two collectors that hand a market to each other, die and come back: together they lose no trade."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from feeds.market import Market
from sentinel.pipeline import Pipeline, Repair, RepairAnswer
from sentinel.pipeline.checkpoint import decode_checkpoint
from sentinel.pipeline.inputs import KnownTrade, Replan
from tests.sentinel.pipeline.test_trades import rest
from tests.sentinel.pipeline.venue import START, Connection, S, Told, pipeline, plan

MARKET = Market("coinbase", "ETH-USD")
OURS, NOTHING = plan(0, products=(MARKET.symbol,)), plan(0, products=())
Tails = dict[str, tuple[int, int]]


class Member:
    """One of them: what it has on disk, and while it runs its pipeline. ``is_ours``: it collects the market."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.told = Told()
        self.checkpoint: bytes | None = None
        self.pipe: Pipeline | None = None
        self.wire: Connection | None = None
        self.is_ours = False

    def start(self, now_ns: int, tails: Tails, *, is_ours: bool) -> None:
        self.pipe = pipeline(NOTHING, checkpoint=self.checkpoint, tells_parts=True)
        self.pipe.start(now_ns)
        self.take(now_ns, tails) if is_ours else self.hand_over(now_ns)

    def take(self, now_ns: int, tails: Tails) -> None:
        assert self.pipe is not None
        newest = max(tails.values(), default=None)
        known = () if newest is None else (KnownTrade(MARKET, *newest),)
        self.pipe.feed(Replan((OURS,), known), now_ns)
        self.is_ours, self.wire = True, Connection()
        self.pipe.opened(0, now_ns)
        self.pipe.receive(0, self.wire.snapshot(9.0, 11.0, product=MARKET.symbol), now_ns)

    def hand_over(self, now_ns: int) -> None:
        assert self.pipe is not None
        self.pipe.feed(Replan((NOTHING,), (), (MARKET,)), now_ns)
        self.is_ours, self.wire = False, None

    def hear(self, trade_id: int, now_ns: int) -> None:
        if self.pipe is not None and self.wire is not None:
            self.pipe.receive(0, self.wire.trades(trade_id, product=MARKET.symbol), now_ns)

    def pass_time(self, now_ns: int, newest: int, *, has_rest: bool) -> None:
        if self.pipe is None:
            return
        if self.wire is not None:
            self.pipe.receive(0, self.wire.beat(), now_ns)
        self.pipe.tick(now_ns)
        for command in self.pipe.commands.copy() if has_rest else ():
            if isinstance(command, Repair):
                self.pipe.commands.remove(command)
                ids = range(command.first, min(command.last, newest) + 1)
                answer = RepairAnswer(command.symbol, command.first, command.last, rest(*ids), is_complete=True)
                self.pipe.repaired(answer, now_ns)

    def commit(self) -> None:
        if self.pipe is not None:
            self.told.take(self.pipe)
            self.checkpoint = self.pipe.checkpoint()

    def tell(self, tails: Tails) -> None:
        state = decode_checkpoint(self.checkpoint).get(MARKET)
        tail = None if state is None else state.trades.tail()
        if tail is not None:
            tails[self.name] = max(tail, tails.get(self.name, tail))

    def kill(self) -> None:
        self.pipe = self.wire = None
        self.is_ours = False

    @property
    def stored(self) -> set[int]:
        return {int(dict(point.fields)["trade_id"]) for point in self.told.trades}


STEP = st.tuples(
    st.sampled_from(["trade", "trade", "trade", "time", "commit", "tell", "take", "hand", "kill", "start", "rest"]),
    st.booleans(),
)


@given(st.lists(STEP, max_size=60))
def test_whoever_hands_over_to_whom_and_dies_no_trade_is_lost(steps: list[tuple[str, bool]]) -> None:
    members, tails = (Member("a"), Member("b")), Tails()
    now_ns, trade_id, has_rest = START, 1_000, True

    def let_pass() -> None:
        for member in members:
            member.pass_time(now_ns, trade_id, has_rest=has_rest)

    for member in members:
        member.start(now_ns, {}, is_ours=member is members[0])
    members[0].hear(trade_id, now_ns)
    members[0].commit()
    members[0].tell(tails)
    for what, is_second in steps:
        one, other = members[is_second], members[not is_second]
        now_ns += S
        match what:
            case "trade":
                trade_id += 1
                for member in members:
                    member.hear(trade_id, now_ns)
            case "commit":
                one.commit()
            case "tell" if one.pipe is not None:
                one.tell(tails)
            case "take" if one.pipe is not None and not one.is_ours:
                one.take(now_ns, tails)
            case "hand" if one.is_ours and other.is_ours:
                one.hand_over(now_ns)
            case "kill":
                one.kill()
            case "start" if one.pipe is None:
                one.start(now_ns, tails, is_ours=not other.is_ours)
            case "rest":
                has_rest = not has_rest
        let_pass()
    has_rest = True
    for member in members:
        if member.pipe is None:
            member.start(now_ns, tails, is_ours=False)
    if not any(member.is_ours for member in members):
        members[0].take(now_ns, tails)
    trade_id += 1
    for member in members:
        member.hear(trade_id, now_ns)
    for _ in range(12):
        now_ns += S
        let_pass()
    for member in members:
        member.commit()
    assert members[0].stored | members[1].stored == set(range(1_000, trade_id + 1))
    for member in members:
        assert len(member.told.trades) >= len(member.stored)
        lacking = [gap for gap in member.told.gap_list("trades") if gap["repaired_count"] != gap["missing_count"]]
        assert lacking == []
        assert not any(gap["cause"] == "delisted" for gap in member.told.gap_list())
