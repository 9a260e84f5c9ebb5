"""The judge of the report holds it against what is stored of the same minutes, and of no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from feeds.market import Market
from sentinel.contract.line_protocol import Value
from tests.end_to_end.judge import CADENCE_NS
from tests.faults.reported import judge_report
from tests.faults.warp import Warp
from tests.sentinel.archive.market import line, write

S = 1_000_000_000
MINUTE_NS = 60 * S
FIRST_NS = 1_700_000_000 * S // MINUTE_NS * MINUTE_NS
SYMBOL = "BTC-USD"
TAGS = {"collector": "a", "exchange": "coinbase", "symbol": SYMBOL}
SAMPLES = 10


def coverage(minute_ns: int, samples: int, **more: Value) -> bytes:
    counts: dict[str, Value] = {"samples_due": samples, "samples_written": samples, "samples_withheld": 0}
    return line("coverage", TAGS, {**counts, "integrity": "sequence", **more}, minute_ns)


def gap_of_trades(start_ns: int, repaired: int) -> bytes:
    facts: dict[str, Value] = {"start_ns": start_ns, "end_ns": start_ns + S // 5, "start_seq": 1, "end_seq": 4}
    tags = {**TAGS, "channel": "trades", "cause": "trades"}
    return line("gaps", tags, {**facts, "missing_count": 4, "repaired_count": repaired}, start_ns)


def samples(first_ns: int) -> list[bytes]:
    tops: dict[str, Value] = {"bid": 1.0, "bid_size": 1.0, "ask": 2.0, "ask_size": 1.0}
    return [line("top", TAGS, tops, first_ns + number * CADENCE_NS) for number in range(SAMPLES)]


@pytest.mark.parametrize("first_sample_ns", [FIRST_NS, FIRST_NS + MINUTE_NS])
@pytest.mark.parametrize("gap_ns", [FIRST_NS + 54 * S, FIRST_NS + 2 * MINUTE_NS + S])
async def test_a_gap_of_other_minutes_than_the_samples_is_no_part_of_their_report(
    first_sample_ns: int, gap_ns: int, tmp_path: Path
) -> None:
    sampled_ns = first_sample_ns // MINUTE_NS * MINUTE_NS
    minutes = {FIRST_NS, FIRST_NS + MINUTE_NS, gap_ns // MINUTE_NS * MINUTE_NS}
    accounts = [coverage(minute_ns, SAMPLES if minute_ns == sampled_ns else 0) for minute_ns in sorted(minutes)]
    for repaired in (0, 4):  # named as lost first, and then as repaired
        folder = tmp_path / str(repaired)
        rows = [*accounts, gap_of_trades(gap_ns, repaired)]
        await write(folder, [{"accounts": rows, "book": samples(first_sample_ns)}])
        assert list(judge_report(folder, [Market("coinbase", SYMBOL)], Warp())) == []
