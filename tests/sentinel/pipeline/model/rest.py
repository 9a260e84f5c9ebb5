"""The venue's REST side and the repairer in front of it, with every way an answer may come, or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import log2
from typing import Literal

from sentinel.pipeline import Repair
from tests.sentinel.pipeline.model.collector import Collector
from tests.sentinel.pipeline.model.market import MS, Market, S

Mode = Literal["right", "in pages", "half", "empty", "late", "down"]
"""``half`` and ``empty``: REST says that it has no more. ``down``: the repairer waits until it is back."""

ANSWER_NS, LATE_NS = 900 * MS, 4_000 * MS


@dataclass
class Job:
    repair: Repair
    due_ns: int
    last: int


@dataclass
class Rest:
    """``asked``: for each product and range, when the present run of the collector has asked for it. ``spoilt`` counts
    the answers it could not keep."""

    markets: dict[str, Market]
    mode: Mode = "right"
    jobs: list[Job] = field(default_factory=list)
    asked: dict[tuple[str, int, int], list[int]] = field(default_factory=dict)
    spoilt: int = 0

    def request(self, repair: Repair, now_ns: int) -> None:
        """An order. Nobody orders twice what is on order, and what was not to be had is ordered ever more rarely."""
        for job in self.jobs:
            is_same = job.repair.symbol == repair.symbol
            overlaps = repair.first <= job.last and job.repair.first <= repair.last
            assert not (is_same and overlaps), f"{repair} is on order already: {job}"
        self.jobs.append(Job(repair, now_ns + ANSWER_NS, repair.last))
        asked_ns = self.asked.setdefault((repair.symbol, repair.first, repair.last), [])
        asked_ns.append(now_ns)
        most = 1 + self.spoilt + log2(1 + (now_ns - asked_ns[0]) / S)
        assert len(asked_ns) <= most, f"{repair} is asked for again and again: {asked_ns}"

    def forget(self) -> None:
        """The collector is gone, and its orders with it."""
        self.jobs.clear()
        self.asked.clear()
        self.spoilt = 0

    def answer(self, collector: Collector, now_ns: int) -> None:
        """Gives the answers it is time for."""
        for job in [job for job in self.jobs if job.due_ns <= now_ns]:
            self.spoilt += collector.is_suspended
            ANSWERS[self.mode](self, job, collector, now_ns)

    def _right(self, job: Job, collector: Collector, now_ns: int) -> None:
        self._end(job, collector, now_ns, 1.0)

    def _half(self, job: Job, collector: Collector, now_ns: int) -> None:
        self._end(job, collector, now_ns, 0.5)

    def _empty(self, job: Job, collector: Collector, now_ns: int) -> None:
        self._end(job, collector, now_ns, 0.0)

    def _late(self, job: Job, collector: Collector, now_ns: int) -> None:
        if job.due_ns + LATE_NS <= now_ns:
            self._end(job, collector, now_ns, 1.0)

    def _down(self, job: Job, collector: Collector, now_ns: int) -> None:
        """Nothing comes."""

    def _in_pages(self, job: Job, collector: Collector, now_ns: int) -> None:
        """The newer half now, the rest later."""
        middle = (job.repair.first + job.last) // 2
        if middle == job.last or job.last - job.repair.first > 5_000:
            self._end(job, collector, now_ns, 1.0)
            return
        symbol = job.repair.symbol
        deals = self.markets[symbol].of_rest(middle + 1, job.last, now_ns)
        last, job.last, job.due_ns = job.last, middle, now_ns + ANSWER_NS
        collector.repaired(symbol, middle + 1, last, deals, is_complete=False)

    def _end(self, job: Job, collector: Collector, now_ns: int, share: float) -> None:
        repair = job.repair
        self.jobs.remove(job)
        deals = self.markets[repair.symbol].of_rest(repair.first, job.last, now_ns)
        told = deals[: int(len(deals) * share)]
        collector.repaired(repair.symbol, repair.first, repair.last, told, is_complete=True)


ANSWERS: dict[Mode, Callable[[Rest, Job, Collector, int], None]] = {
    "right": Rest._right,
    "in pages": Rest._in_pages,
    "half": Rest._half,
    "empty": Rest._empty,
    "late": Rest._late,
    "down": Rest._down,
}
