"""What REST is asked where ids of trades need not be dense: whether there is anything among those that were skipped.

A skipped id is no trade that is missing: nobody knows. What REST has is stored, and then it had been missing: that is
a gap, which is repaired the moment it is named. What REST has not got, when it has been asked often enough, is nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from book.trade_ledger import Range, TradeLedger
from feeds.market import Market
from sentinel.contract.gaps import Gap
from sentinel.pipeline.accounts import Account
from sentinel.pipeline.inputs import Command, Repair, RepairAnswer

ANSWERS = 12
"""So many answers without them, and there are none: more than an hour after the first, since REST may be late."""

FEW_ANSWERS = 3
"""The same where ids skip as a rule: most questions are about nothing, and such a venue's REST has the newest only."""

OPEN_MOST = 16
"""With more questions open, ids skip as a rule, whatever was thought of them."""

PAUSE_NS = 2_000_000_000
"""After the first answer; every further pause is twice as long. A new trade takes a moment to appear on REST."""

SKIPS_KEPT = 1_000
"""Skipped ranges of which a trade may come late all the same. Older ones are forgotten, or a venue whose ids are those
of all its products would fill the memory."""


class Question(Struct, eq=False):
    """Ids that were skipped between the points ``start_ns`` and ``end_ns``. ``due_ns`` is None while an answer is
    awaited; ``found`` counts the trades that REST had."""

    range: Range
    start_ns: int
    end_ns: int
    due_ns: int | None = None
    answers: int = 0
    found: int = 0

    @property
    def gap(self) -> Gap:
        """What turned out to have been missing."""
        first, last = self.range.first, self.range.last
        return Gap("trades", "trades", self.start_ns, self.end_ns, first, last, self.found, self.found)


class Questions:
    """Those of one numbering, whose ids are in ``ledger``."""

    def __init__(self, market: Market, ledger: TradeLedger, *, skips_ids: bool) -> None:
        self._market = market
        self._ledger = ledger
        self._skips_ids = skips_ids
        self._open: list[Question] = []

    def __iter__(self) -> Iterator[Question]:
        return iter(self._open)

    def is_due(self, now_ns: int) -> bool:
        return any(question.due_ns is not None and question.due_ns <= now_ns for question in self._open)

    def add(self, question: Question, now_ns: int) -> None:
        """To be asked at once."""
        question.due_ns = now_ns
        self._open.append(question)

    def tick(self, now_ns: int, commands: list[Command]) -> None:
        for question in self._open:
            if question.due_ns is not None and question.due_ns <= now_ns:
                question.due_ns = None
                first, last = question.range.first, question.range.last
                commands.append(Repair(self._market.symbol, first, last, self._market.exchange))

    def of(self, trade_id: int) -> Question | None:
        """The one an id belongs to."""
        asked = (question for question in self._open if question.range.first <= trade_id <= question.range.last)
        return next(asked, None)

    def found(self, trade_id: int, account: Account) -> None:
        """REST has a trade that had been skipped, and it is stored."""
        question = self.of(trade_id)
        if question is not None:
            question.found += 1
            account.missing += 1

    def answered(self, answer: RepairAnswer, now_ns: int, *, is_kept: bool) -> list[Gap]:
        """What an answer, whose trades are entered, says had been missing. One that could not be kept is no answer."""
        enough = FEW_ANSWERS if self._skips_ids or len(self._open) > OPEN_MOST else ANSWERS
        told: list[Gap] = []
        left: list[Question] = []
        for question in self._open:
            ids = question.range
            if answer.last < ids.first or ids.last < answer.first:
                left.append(question)
                continue
            if question.found and is_kept:
                told.append(question.gap)
            is_whole = answer.is_complete and answer.first <= ids.first and ids.last <= answer.last
            question.answers += is_whole and is_kept
            if not self._ledger.missing(ids) or question.answers >= enough:
                self._ledger.forget_holes(SKIPS_KEPT)
                continue
            left.append(question)
            if is_whole:
                question.due_ns = now_ns + (PAUSE_NS << max(0, question.answers - 1))
        self._open = left
        return told

    def step(self, step_ns: int) -> None:
        """The clock was put forward: no deadline has come any nearer."""
        for question in self._open:
            if question.due_ns is not None:
                question.due_ns += step_ns
