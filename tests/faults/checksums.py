"""What a venue whose books have checksums, and no numbers, lets a judge say of proofs and losses.

The exchange knows what has become of each client's book, and writes it down when it tells it a checksum which that
cannot have. What is lost below the levels that are checked may stay unseen, until they come up.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from sentinel.simulator.facts import DialectFacts
from tests.end_to_end.judge import TruthFile
from tests.faults.warp import FOR_EVER_NS, Warp

S = 1_000_000_000
NEAR_NS = 4 * S
"""So late a loaded machine or a delay may have made the last proof, with which a gap begins."""


def judge_refuted(truth: TruthFile, product: str, instants: Sequence[int], late_ns: int) -> Iterator[str]:
    """No sample between a checksum that the client's book did not have and the next snapshot."""
    for fact in _of(truth.refuted, product):
        if truth.came_late(fact, fact["t_ns"]) or _was_replaced(truth, fact):
            continue
        snapshots = [
            snapshot["t_ns"]
            for snapshot in _of(truth.snapshots, product)
            if snapshot["connection"] is not None
            and snapshot["connection"] >= fact["connection"]
            and snapshot["t_ns"] > fact["t_ns"]
        ]
        end_ns = min(snapshots, default=instants[-1] + 1)
        inside = instants[bisect_right(instants, fact["t_ns"] + late_ns) : bisect_left(instants, end_ns)]
        if inside:
            yield f"{len(inside)} samples from {inside[0]} after a checksum at {fact['t_ns']} that cannot have fitted"


def judge_losses(
    truth: TruthFile, facts: DialectFacts, product: str, losses: Sequence[tuple[int, int | None]], warp: Warp
) -> Iterator[str]:
    """Each gap of a book that did not fit, from its last proof to the next snapshot, has in it a checksum that the
    client's book did not have, or a frame that came broken. The loss itself may be older than the gap: one of a stall
    by seconds, one below the levels that are checked by any time."""
    reasons = [fact["t_ns"] for fact in _of(truth.refuted, product)]
    reasons += [
        fault["start_ns"]
        for fault in truth.faults
        if fault["fault"] == "corrupt" and fault["channel"] == facts.book_channel and fault["product"] == product
    ]
    for start_ns, end_ns in losses:
        moments = warp.moments(start_ns)
        if any(truth.stood_near(moment, NEAR_NS) for moment in moments):
            continue
        until_ns = FOR_EVER_NS if end_ns is None else max(warp.moments(end_ns), default=end_ns)
        if moments and not any(min(moments) - NEAR_NS < reason_ns <= until_ns for reason_ns in reasons):
            yield f"a book did not fit at {start_ns}, and nothing was wrong with it; {reasons}"


def _of(facts: Sequence[dict[str, Any]], product: str) -> list[dict[str, Any]]:
    return [fact for fact in facts if fact["product"] == product]


def _was_replaced(truth: TruthFile, fact: dict[str, Any]) -> bool:
    """Whether a later connection had taken over from this one."""
    return any(
        snapshot["connection"] is not None
        and snapshot["connection"] > fact["connection"]
        and snapshot["t_ns"] < fact["t_ns"]
        for snapshot in _of(truth.snapshots, fact["product"])
    )
