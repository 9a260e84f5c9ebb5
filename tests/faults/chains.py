"""What a venue whose numbers are those of each product's book lets a judge say of proofs and holes.

One number missing costs its own book only, and until that has a new snapshot nothing more is named of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sentinel.simulator.facts import DialectFacts
from tests.end_to_end.judge import TruthFile

S = 1_000_000_000
CALM_NS = 4 * S
"""What happens further away than this from a loss has nothing to do with it."""

LOSING = {"drop", "reorder", "corrupt", "jump", "stall"}
HARMLESS = {"hide", "store"}
"""What neither loses a frame nor ends a proof."""

Loss = dict[str, Any]


def losses(truth: TruthFile, facts: DialectFacts, product: str) -> list[Loss]:
    """The frames of the product's book that a connection lost, in the order of their numbers."""
    found = [
        fault
        for fault in truth.faults
        if fault["fault"] in LOSING
        and fault["product"] == product
        and fault["sequence_first"] is not None
        and fault["channel"] in (None, facts.book_channel)
    ]
    return sorted(found, key=lambda loss: (loss["connection"], loss["sequence_first"]))


def judge_unproved(
    truth: TruthFile, facts: DialectFacts, product: str, instants: Sequence[int], late_ns: int
) -> Iterator[str]:
    """No sample between a lost change and a snapshot that has it, or that a later connection goes on from."""
    for loss in losses(truth, facts, product):
        start_ns, later = loss["start_ns"], _later(truth, product, loss)
        snapshots = [fact["t_ns"] for fact in truth.snapshots if fact["product"] == product and _has(fact, loss, later)]
        if any(opened_ns < start_ns for opened_ns in later):
            continue  # another connection had taken over from this one
        if loss["fault"] == "reorder" and loss in truth.of_snapshots:
            continue  # nothing is lost: it comes after the first change that follows from it
        if truth.came_late(loss, start_ns):
            continue
        end_ns = min(snapshots, default=instants[-1] + 1)
        inside = instants[bisect_right(instants, start_ns + late_ns) : bisect_left(instants, end_ns)]
        if inside:
            yield f"{len(inside)} samples from {inside[0]} after {loss['fault']} at {start_ns}"


def _later(truth: TruthFile, product: str, loss: Loss) -> list[int]:
    """When later connections than the one of the loss were asked for the product."""
    return [
        fact["t_ns"]
        for fact in truth.connections
        if fact["event"] == "message"
        and fact["feed"] == loss["feed"]
        and fact["connection"] > loss["connection"]
        and product.lower() in fact["text"].lower()  # venues write it in different ways
    ]


def _has(snapshot: dict[str, Any], loss: Loss, later: Sequence[int]) -> bool:
    """Whether a book may be known again with this snapshot."""
    if snapshot["connection"] is None:
        return snapshot["sequence"] >= loss["sequence_last"] or any(at_ns <= snapshot["t_ns"] for at_ns in later)
    is_after = snapshot["t_ns"] > loss["start_ns"]
    return is_after and snapshot["feed"] == loss["feed"] and snapshot["connection"] >= loss["connection"]


def judge_holes(truth: TruthFile, facts: DialectFacts, product: str, named: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Every number that is named was lost; and what was lost in calm water, by a drop alone, is named exactly."""
    of_numbering: dict[tuple[int, int], list[list[Loss]]] = defaultdict(list)
    for loss in losses(truth, facts, product):
        earlier = of_numbering[loss["connection"], _snapshots_before(truth, loss)]
        if earlier and loss["sequence_first"] <= earlier[-1][-1]["sequence_last"] + 1:
            earlier[-1].append(loss)
        else:
            earlier.append([loss])
    runs = [run for found in of_numbering.values() for run in found]
    lost = [(run[0]["sequence_first"], max(loss["sequence_last"] for loss in run)) for run in runs]
    for first, last_number in named:
        if not any(begin <= first and last_number <= end for begin, end in lost):
            yield f"the hole {first, last_number} is named and did not happen; {lost}"
    for run, hole in zip(runs, lost, strict=True):
        if _is_calm(truth, run) and hole not in named:
            yield f"the hole {hole} is not named; {named}"


def _snapshots_before(truth: TruthFile, loss: Loss) -> int:
    """How many its connection had been sent: with one, numbers may begin anew, and what was lost before is over."""
    return sum(
        all(fact[name] == loss[name] for name in ("feed", "connection", "product")) and fact["t_ns"] <= loss["start_ns"]
        for fact in truth.snapshots
    )


def _is_calm(truth: TruthFile, run: Sequence[Loss]) -> bool:
    """Whether the frames were only dropped, on a connection that went on, and nothing else happened around them."""
    start_ns, end_ns = run[0]["start_ns"] - CALM_NS, run[-1]["end_ns"] + CALM_NS
    others = (
        fault for fault in truth.troubles if fault["fault"].partition(":")[0] not in HARMLESS and fault not in run
    )
    is_alone = not any(fault["start_ns"] <= end_ns and start_ns <= fault["end_ns"] for fault in others)
    has_changed = any(
        fact["event"] in ("opened", "closed") and start_ns <= fact["t_ns"] <= end_ns for fact in truth.connections
    )
    return is_alone and not has_changed and all(loss["fault"] == "drop" for loss in run)
