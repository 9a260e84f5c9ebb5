"""What came of each kind of trouble in many runs: how often it was drawn, how many held, how long it took to heal."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from statistics import median

from sentinel.contract.line_protocol import Value
from sentinel.simulator.facts import DialectFacts
from tests.end_to_end.judge import TruthFile
from tests.end_to_end.store import Store, fields, whole
from tests.faults.draw import Trouble, draw
from tests.faults.stepped import WallOffset
from tests.faults.warp import Warp

S = 1_000_000_000
AFTER_NS = 4 * S


def truth_of(folder: Path, feed: str) -> TruthFile:
    """What happened in a run, at the exchange and on the host."""
    truth = TruthFile(folder / "truth.jsonl", feed)
    truth.faults += json.loads((folder / "host.json").read_text())
    return truth


def table(seeds: Collection[int], wrong: Collection[int], keep: Path, venue: DialectFacts) -> Iterator[str]:
    """A line for each kind. Healed: from the trouble's beginning to the end of the last book gap that began during it
    or soon after, whichever of the troubles of the run made it; none without such a gap."""
    drawn: dict[str, list[int]] = defaultdict(list)
    healed_s: dict[str, list[float]] = defaultdict(list)
    for seed in seeds:
        folder = keep / str(seed)
        if not (folder / "host.json").exists():
            continue
        warp, truth, store = (
            WallOffset(folder / "clock").warp(),
            truth_of(folder, venue.feeds[0]),
            Store(folder / "data"),
        )
        for trouble in draw(seed, venue):
            drawn[trouble.name].append(seed)
            if (seconds := _healed_s(trouble, warp, truth, store)) is not None:
                healed_s[trouble.name].append(seconds)
    yield f"{'trouble':<36} drawn  held  healed (median, worst)"
    for name, runs in sorted(drawn.items()):
        times = healed_s[name]
        healed = f"{median(times):.1f} s, {max(times):.1f} s" if times else "no gap"
        yield f"{name:<36} {len(runs):>5} {sum(seed not in wrong for seed in runs):>5}  {healed}"


def _healed_s(trouble: Trouble, warp: Warp, truth: TruthFile, store: Store) -> float | None:
    name = trouble.name if trouble.fault is None else trouble.fault.kind
    happened = [fault for fault in truth.faults if fault["fault"] == name]
    if not happened:
        return None
    start_ns, end_ns = happened[0]["start_ns"], happened[0].get("end_ns", happened[0]["start_ns"])
    spans = [
        (_moment(warp, facts["start_ns"]), _moment(warp, facts["end_ns"]))
        for facts in (fields(gap) for gap in store.of("gaps") if dict(gap.tags)["channel"] == "book")
        if "end_ns" in facts
    ]
    ends = [until_ns for since_ns, until_ns in spans if start_ns <= until_ns and since_ns <= end_ns + AFTER_NS]
    return (max(ends) - start_ns) / S if ends else None


def _moment(warp: Warp, instant: Value) -> int:
    return min(warp.moments(whole(instant)), default=whole(instant))
