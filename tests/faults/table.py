"""What came of each kind of trouble in many runs: how often it was drawn, how many held, how long until
it was named and until it was healed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

from sentinel.contract.line_protocol import Value
from sentinel.simulator.facts import DialectFacts
from tests.end_to_end.judge import TruthFile
from tests.end_to_end.store import Store, fields, whole
from tests.faults.draw import Source, Trouble, draw
from tests.faults.rows import Row, named_s, spread
from tests.faults.stepped import WallOffset
from tests.faults.verdict import log_of
from tests.faults.warp import Warp

S = 1_000_000_000
AFTER_NS = 4 * S
LATE_NS = 60 * S

NAMED_BY: dict[Source, tuple[tuple[str, ...], str | None]] = {
    "venue": (("gap_open", "connection_lost", "undecodable", "unusable", "venue_closes", "refused"), None),
    "rest": (("repair_waits", "rest_holds_still", "book_not_fetched", "book_not_compared"), None),
    "disk": (("journal_refuses",), None),
    "store": (("sink_waiting", "sink_barred"), None),
    "clock": (("clock_step", "last_run_was_ahead"), None),
    "restart": (("gap_open",), "stopped"),  # by the next life, whenever that begins
}
"""The words of the log that name a trouble, and the cause of the gap that does; where several troubles meet, another
one may have given the word."""


def truth_of(folder: Path, feed: str, ahead_ns: int = 0) -> TruthFile:
    """What happened in a run, at the exchange, whose clock may have been ahead, and on the host."""
    truth = TruthFile(folder / "truth.jsonl", feed, ahead_ns)
    truth.faults += json.loads((folder / "host.json").read_text())
    return truth


def rows(seeds: Collection[int], wrong: Collection[int], keep: Path, venue: DialectFacts) -> list[Row]:
    """One for each kind. Healed: from the trouble's beginning to the end of the last book gap that began during it
    or soon after, whichever of the troubles of the run made it; none without such a gap."""
    drawn: dict[str, list[int]] = defaultdict(list)
    detected_s: dict[str, list[float]] = defaultdict(list)
    healed: dict[str, list[float]] = defaultdict(list)
    for seed in seeds:
        folder = keep / str(seed)
        for trouble in draw(seed, venue):
            drawn[trouble.name].append(seed)
        if not (folder / "host.json").exists():  # it did not come to its end, which is wrong, too
            continue
        warp, truth, store, log = (
            WallOffset(folder / "clock").warp(),
            truth_of(folder, venue.feeds[0]),
            Store(folder / "data"),
            log_of(folder / "data"),
        )
        for trouble in draw(seed, venue):
            happened = _happened(trouble, truth)
            if happened is None:
                continue
            start_ns, end_ns = happened
            events, cause = NAMED_BY[trouble.source]
            if (
                seconds := named_s(log, start_ns, events, cause, end_ns + (LATE_NS if cause else AFTER_NS))
            ) is not None:
                detected_s[trouble.name].append(seconds)
            if (seconds := healed_s(start_ns, end_ns, warp, store)) is not None:
                healed[trouble.name].append(seconds)
    return [
        Row(name, len(runs), sum(seed in wrong for seed in runs), detected_s[name], healed[name])
        for name, runs in sorted(drawn.items())
    ]


def table(found: Collection[Row]) -> Iterator[str]:
    """A line for each."""
    yield f"{'trouble':<36} drawn  held  named; healed (median, worst)"
    for row in found:
        times = f"{spread(row.detect_s, 'nothing to say')}; {spread(row.heal_s, 'no gap')}"
        yield f"{row.fault:<36} {row.runs:>5} {row.runs - row.lost:>5}  {times}"


def _happened(trouble: Trouble, truth: TruthFile) -> tuple[int, int] | None:
    name = trouble.name if trouble.fault is None else trouble.fault.kind
    happened = [fault for fault in truth.faults if fault["fault"] == name]
    if not happened:
        return None
    return happened[0]["start_ns"], happened[0].get("end_ns", happened[0]["start_ns"])


def healed_s(start_ns: int, end_ns: int, warp: Warp, store: Store) -> float | None:
    """From the beginning of a trouble to the end of the last gap of a book that began during it or soon after."""
    spans = [
        (_moment(warp, facts["start_ns"]), _moment(warp, facts["end_ns"]))
        for facts in (fields(gap) for gap in store.of("gaps") if dict(gap.tags)["channel"] == "book")
        if "end_ns" in facts
    ]
    ends = [until_ns for since_ns, until_ns in spans if start_ns <= until_ns and since_ns <= end_ns + AFTER_NS]
    return (max(ends) - start_ns) / S if ends else None


def _moment(warp: Warp, instant: Value) -> int:
    return min(warp.moments_or_step(whole(instant)))
