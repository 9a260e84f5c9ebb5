"""Gaps as the log tells of them."""

from __future__ import annotations

from book.proof import Hole, Verdict
from sentinel.contract.gaps import Gap
from sentinel.pipeline.inputs import Note


def note_of(gap: Gap, symbol: str) -> Note:
    """A gap as it stands."""
    facts: dict[str, str | int | None] = {
        "symbol": symbol,
        "channel": gap.channel,
        "cause": gap.cause,
        "start_ns": gap.start_ns,
        "end_ns": gap.end_ns,
        "missing_count": gap.missing_count,
        "repaired_count": gap.repaired_count,
    }
    if gap.start_seq is not None:
        facts |= {"start_seq": gap.start_seq, "end_seq": gap.end_seq}
    return Note("gap_given_up" if gap.given_up else "gap_open" if gap.is_open else "gap_closed", facts)


def sequence_gap(last_good_ns: int, verdict: Hole | Verdict) -> Gap:
    """What ``verdict`` says of it never arrived; the last that was good did at ``last_good_ns``."""
    if isinstance(verdict, Verdict):
        return Gap("book", "sequence", last_good_ns)
    return Gap(
        "book", "sequence", last_good_ns, start_seq=verdict.first, end_seq=verdict.last, missing_count=verdict.count
    )
