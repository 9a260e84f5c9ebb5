"""Who collects which market: by rendezvous hashing over the live members, and make before break. Pure.

Each member ranks all members for a market by a hash of both; the first ``replicas`` are its owners. Whoever joins or
leaves changes the owners of its own share only. A market that changes its owner is let go by the old one when the new
ones vouch for it, that is, say that their book of it is proved. That word may be out of date: so a member that is about
to let a market go stops vouching for it first, and looks again once the servers have its word. Of two that mean to
leave a market to each other, one at least finds that the other does not vouch for it any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b

from msgspec import Struct

from feeds.market import Market

Owners = Mapping[Market, Sequence[str]]


def _weight(member: str, market: str) -> bytes:
    return blake2b(f"{member}|{market}".encode(), digest_size=8).digest()


def owners(markets: Iterable[Market], members: Collection[str], replicas: int) -> dict[Market, tuple[str, ...]]:
    """The members that are to collect each market: ``replicas`` of them, or all if there are fewer.

    Cost: a hash for each pair, O(markets · members · log members).
    """
    names = sorted(members)

    def ranked(market: str) -> list[str]:
        return sorted(names, key=lambda name: _weight(name, market), reverse=True)

    return {market: tuple(ranked(str(market))[:replicas]) for market in markets}


class Hand(Struct, frozen=True):
    """The markets that ``member`` collects: ``held``, of which those in ``parting`` are about to be let go."""

    member: str
    held: frozenset[Market] = frozenset()
    parting: frozenset[Market] = frozenset()

    def vouched(self, proved: Collection[Market]) -> set[Market]:
        """Those of its markets that its word may say are proved."""
        return set((self.held - self.parting).intersection(proved))

    def after(self, dealt: Owners, vouched: Mapping[str, Collection[Market]]) -> Hand:
        """Takes what is its own now, and lets go what its owners have.

        ``vouched`` is the word of each live member that stays, read after our own word, with what ``parting`` is now,
        had reached the servers.
        """
        due = {market for market, names in dealt.items() if self.member in names}
        ready = {
            market
            for market in self.held - due
            if (names := dealt.get(market)) and all(market in vouched.get(name, ()) for name in names)
        }
        gone = ready & self.parting
        return Hand(self.member, (self.held | due) - gone, frozenset(ready - gone))
