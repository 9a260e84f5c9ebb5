"""Who collects what: evenly, moving as little as can be, and never nobody."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from feeds.market import Market
from sentinel.cluster.deal import Hand, owners

MARKETS = [Market("coinbase", f"P{number}-USD") for number in range(200)]
NAMES = st.sets(st.text("abcdefghij-", min_size=1, max_size=4), min_size=1, max_size=7)


@given(NAMES, st.integers(1, 5))
def test_each_market_has_as_many_owners_as_there_are_to_be(members: set[str], replicas: int) -> None:
    dealt = owners(MARKETS[:20], members, replicas)
    assert dealt.keys() == set(MARKETS[:20])
    for names in dealt.values():
        assert len(set(names)) == len(names) == min(replicas, len(members))
        assert members.issuperset(names)


@given(NAMES, st.integers(1, 5), st.data())
def test_only_the_share_of_who_leaves_or_joins_moves(members: set[str], replicas: int, data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(members)))
    before, after = owners(MARKETS[:50], members, replicas), owners(MARKETS[:50], members - {gone}, replicas)
    for market in MARKETS[:50]:
        if gone not in before[market]:
            assert after[market] == before[market]
        else:
            assert set(before[market]) - {gone} <= set(after[market])


@settings(max_examples=30)
@given(st.sets(st.text("abcdefghij", min_size=3, max_size=8), min_size=2, max_size=5))
def test_shares_are_about_even(members: set[str]) -> None:
    """Like throws of a die: within five standard deviations of the mean."""
    dealt = owners(MARKETS, members, 1)
    mean = len(MARKETS) / len(members)
    for name in members:
        share = sum(name in names for names in dealt.values())
        assert abs(share - mean) < 5 * mean**0.5


def test_two_that_leave_a_market_to_each_other_do_not_both_let_it_go() -> None:
    """Each goes by a word of the other that is out of date by the time it acts."""
    (market,) = MARKETS[:1]
    old, new = Hand("old", frozenset({market})), Hand("new", frozenset({market}))
    both = {"old": {market}, "new": {market}}
    old_acts = old.after({market: ("new",)}, both)
    new_acts = new.after({market: ("old",)}, both)  # it is about to leave
    assert old_acts.held | new_acts.held == {market}
    told = {name: hand.vouched({market}) for name, hand in (("old", old_acts), ("new", new_acts))}
    assert old_acts.after({market: ("new",)}, told).held == {market}
    assert old_acts.after({market: ("new",)}, {"old": set(), "new": {market}}).held == set()


class Member:
    """One of the model: what its word on the servers says, and what it is about."""

    def __init__(self, name: str) -> None:
        self.hand = Hand(name)
        self.proved: set[Market] = set()
        self.is_leaving = False
        self.word: set[Market] | None = None
        self.said: tuple[frozenset[Market], bool] | None = None
        self.seen: dict[str, set[Market]] | None = None


class Cluster(RuleBasedStateMachine):
    """Members that tell, read and act one after the other in any order, each step by itself."""

    members = Bundle("members")

    def __init__(self) -> None:
        super().__init__()
        self.live: list[Member] = []
        self.covered: set[Market] = set()
        self.markets = MARKETS[:6]

    @initialize(target=members, replicas=st.integers(1, 3))
    def begin(self, replicas: int) -> Member:
        self.replicas = replicas
        return self.join("m0")

    @rule(target=members, name=st.sampled_from(["m1", "m2", "m3", "m4"]))
    def joins(self, name: str) -> object:
        return multiple() if any(one.hand.member == name for one in self.live) else self.join(name)

    def join(self, name: str) -> Member:
        member = Member(name)
        self.live.append(member)
        return member

    @rule(member=members)
    def tells(self, member: Member) -> None:
        if member in self.live:
            member.word = member.hand.vouched(member.proved)
            member.said = member.hand.parting, member.is_leaving

    @rule(member=members)
    def reads(self, member: Member) -> None:
        """Only after its own word has reached the servers."""
        if member in self.live and member.said == (member.hand.parting, member.is_leaving):
            words = [one for one in self.live if one.word is not None and not (one.said and one.said[1])]
            member.seen = {one.hand.member: set(one.word or ()) for one in words}

    @rule(member=members)
    def acts(self, member: Member) -> None:
        if member in self.live and member.seen is not None:
            member.hand = member.hand.after(owners(self.markets, member.seen, self.replicas), member.seen)
            member.proved &= member.hand.held
            member.seen = None

    @rule(member=members)
    def proves(self, member: Member) -> None:
        member.proved |= member.hand.held
        if member in self.live:
            self.covered |= member.hand.held

    @rule(member=members)
    def has_a_round(self, member: Member) -> None:
        for step in (self.tells, self.reads, self.acts, self.proves):
            step(member=member)

    @rule()
    def all_have_rounds(self) -> None:
        for member in [*self.live, *self.live]:
            self.has_a_round(member=member)

    @rule(member=members)
    def is_told_to_end(self, member: Member) -> None:
        if sum(not one.is_leaving for one in self.live) > 1:
            member.is_leaving = True

    @rule(member=consumes(members))
    def goes(self, member: Member) -> None:
        if member in self.live and member.is_leaving and not member.hand.held:
            self.live.remove(member)

    @invariant()
    def what_was_proved_is_never_without_a_proved_holder(self) -> None:
        proved = {market for one in self.live for market in one.proved & one.hand.held}
        assert self.covered <= proved

    def teardown(self) -> None:
        """Left alone, they come to rest: each market with its owners, and with nobody else."""
        for _ in range(6):
            for one in list(self.live):
                self.tells(member=one)
                self.reads(member=one)
                self.acts(member=one)
                self.proves(member=one)
        staying = {one.hand.member for one in self.live if not one.is_leaving}
        for market, names in owners(self.markets, staying, self.replicas).items():
            assert {one.hand.member for one in self.live if market in one.hand.held} == set(names)


TestCluster = Cluster.TestCase
TestCluster.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
